"""The same model for the same runtime in fewer bytes: without what a device never reads, and nothing stored twice.

Gone are names of tensors and subgraphs, signatures, descriptions, metadata, min and max, shape signatures of fixed
shapes, tensors that nothing uses, and content that no tensor refers to; for TFLite Micro also the scales of biases of
convolutions. Equal vectors, tables and buffers are stored once, which the flatbuffers format allows: what refers to
them does not care.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import BUFFER_ALIGNMENT, Model, text
from edgecompile.tflite.flat import IDENTIFIER
from edgecompile.tflite.values import Array

Runtime = Literal["any", "tflm"]
"""What the packed file is for: every runtime that takes the model, or TFLite Micro (LiteRT's reference kernels too)."""

KEPT_METADATA = frozenset({"OfflineMemoryAllocation"})
"""Metadata that a runtime acts on: TFLite Micro's memory plan."""


_CONVOLUTIONS = frozenset({3, 4})
"""BuiltinOperator numbers of CONV_2D and DEPTHWISE_CONV_2D (TFLite schema)."""


def strip(model: Model, *, runtime: Runtime = "any") -> None:
    """Take out of model what no runtime needs, or what this one does not; what it computes stays."""
    model.description, model.signatureDefs = None, None
    model.metadata = [m for m in model.metadata or [] if text(m.name) in KEPT_METADATA] or None
    model.metadataBuffer = None
    for subgraph in model.subgraphs:
        subgraph.name = None
        _drop_unused_tensors(model, subgraph)
        for tensor in subgraph.tensors:
            tensor.name = None
            _strip_tensor(tensor)
        if runtime == "tflm":
            _strip_biases(model, subgraph)
    _share_buffers(model)
    _share_codes(model)


def _drop_unused_tensors(model: Model, subgraph: Any) -> None:
    if model.metadata or _control_flow(model):
        return  # the plan counts tensors; bodies of loops are called by position
    groups = [subgraph.inputs, subgraph.outputs]
    for op in subgraph.operators or []:
        groups += [op.inputs, op.outputs, op.intermediates]
    used = sorted({int(i) for group in groups if group is not None for i in group if i >= 0})
    place = np.full(len(subgraph.tensors) + 1, -1, np.int32)  # the last entry: -1 stays -1
    place[used] = np.arange(len(used), dtype=np.int32)
    subgraph.tensors = [subgraph.tensors[i] for i in used]
    subgraph.inputs, subgraph.outputs = place[np.asarray(subgraph.inputs)], place[np.asarray(subgraph.outputs)]
    for op in subgraph.operators or []:
        for field in ("inputs", "outputs", "intermediates"):
            if getattr(op, field) is not None:
                setattr(op, field, place[np.asarray(getattr(op, field), np.int32)])


def _control_flow(model: Model) -> bool:
    return len(model.subgraphs) > 1


def _strip_tensor(tensor: Any) -> None:
    signature, shape = tensor.shapeSignature, tensor.shape
    if signature is not None and shape is not None and np.array_equal(signature, shape):
        tensor.shapeSignature = None
    how = tensor.quantization
    if how is None:
        return
    how.min = how.max = None
    if how.scale is None or not len(how.scale):
        tensor.quantization = None
    elif len(how.scale) == 1:
        how.quantizedDimension = 0


def _strip_biases(model: Model, subgraph: Any) -> None:
    """Take the scales off biases of convolutions that have a scale for each channel.

    Their kernels take the product of the scales of input and filter, and compare it with the bias's only where there is
    one for all. XNNPACK wants it, and leaves convolutions without it to LiteRT's slower kernels.
    """
    for op in subgraph.operators or []:
        code = model.operatorCodes[op.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) not in _CONVOLUTIONS or len(op.inputs) < 3:
            continue
        how, bias = subgraph.tensors[op.inputs[1]].quantization, int(op.inputs[2])
        if bias >= 0 and how is not None and len(how.scale) > 1:
            subgraph.tensors[bias].quantization = None


def _share_buffers(model: Model) -> None:
    """Let equal content be one buffer, and drop buffers that nothing refers to; buffer 0 stays empty."""
    users = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    users += model.metadata or []
    kept, place = model.buffers[:1], {b"": 0}
    for user in users:
        data = model.buffers[user.buffer].data
        content = b"" if data is None else np.asarray(data, np.uint8).tobytes()
        if content not in place:
            place[content] = len(kept)
            kept.append(model.buffers[user.buffer])
        user.buffer = place[content]
    model.buffers = kept


def _share_codes(model: Model) -> None:
    """Drop operator codes that no op refers to."""
    ops = [op for subgraph in model.subgraphs for op in subgraph.operators or []]
    used = sorted({op.opcodeIndex for op in ops})
    place = {old: new for new, old in enumerate(used)}
    model.operatorCodes = [model.operatorCodes[i] for i in used]
    for op in ops:
        op.opcodeIndex = place[op.opcodeIndex]


def least_bytes(model: Model) -> int:
    """Return the bytes of what a stripped model cannot do without: constants, scales, zero points, each stored once.

    A packed file adds the tables that say what these are. LiteRT demands as many zero points as scales.
    """
    vectors = {b"": 0} | {bytes(d): len(d) for b in model.buffers if (d := b.data) is not None}
    hows = [t.quantization for subgraph in model.subgraphs for t in subgraph.tensors if t.quantization is not None]
    for field, dtype in (("scale", "<f4"), ("zeroPoint", "<i8")):
        stored = {np.asarray(v, dtype).tobytes() for how in hows if (v := getattr(how, field)) is not None}
        vectors |= {field.encode() + v: len(v) for v in stored}
    return sum(vectors.values())


def write_packed(model: Model) -> bytes:
    """Return model as the bytes of a `.tflite` file in which nothing is stored twice; equal models give equal bytes.

    Raises:
        ModelError: the content exceeds the 2 GB that a flatbuffer can hold.
    """
    from flatbuffers import builder as flatbuffers

    class Compact(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no types
        """A builder that gives back what it has written already when the same is to be written again.

        Positions are counted from the end of the buffer, which grows towards its start.
        """

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.current_vtable: list[int] | None
            self._seen: dict[tuple[Any, ...], int] = {}
            self._refs: list[tuple[int, int]] = []  # (where, to what) of references in the vector or table that is open
            self._began = self._content = 0  # before and after the padding in front of it
            self._kind: tuple[Any, ...] = ()
            self._least_alignment = 1  # of the vector that is opened next

        def StartVector(self, size: int, count: int, alignment: int) -> int:  # noqa: N802  # flatbuffers calls it so
            alignment, self._least_alignment = max(alignment, self._least_alignment), 1
            self._open(("vector", size, alignment))
            self._content = int(super().StartVector(size, count, alignment))
            return self._content

        def EndVector(self, *count: int) -> int:  # noqa: N802
            return self._once(self._kind, super().EndVector(*count))

        def CreateString(self, s: str | bytes, *rest: Any) -> int:  # noqa: N802
            self._open(("string",))
            return int(super().CreateString(s, *rest))

        def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802
            # The generated code does not align bytes as the schema demands of a buffer's content.
            self._least_alignment = BUFFER_ALIGNMENT if x.itemsize == 1 else 1
            return int(super().CreateNumpyVector(x))

        def StartObject(self, fields: int) -> None:  # noqa: N802
            self._open(("table",))
            super().StartObject(fields)

        def EndObject(self) -> int:  # noqa: N802
            fields = tuple(place - self._content if place else 0 for place in self.current_vtable or ())
            key = self._key(("table", fields), self.Offset())
            if key in self._seen:
                self.current_vtable, self.nested = None, False
                return self._back_to(self._seen[key])
            self._seen[key] = int(super().EndObject())
            return self._seen[key]

        def PrependUOffsetTRelative(self, offset: int) -> None:  # noqa: N802
            super().PrependUOffsetTRelative(offset)
            self._refs.append((self.Offset() - self._content, offset))

        def _open(self, kind: tuple[Any, ...]) -> None:
            self._kind, self._refs = kind, []
            self._began = self._content = self.Offset()

        def _key(self, kind: tuple[Any, ...], end: int) -> tuple[Any, ...]:
            """Return what was written since the start, with what references refer to in place of their distances."""
            content = bytearray(self.Bytes[self.head : self.head + end - self._content])
            for place, _ in self._refs:
                at = len(content) - place
                content[at : at + 4] = bytes(4)
            return (kind, bytes(content), tuple(self._refs))

        def _once(self, kind: tuple[Any, ...], end: int) -> int:
            key = self._key(kind, end)
            return self._back_to(self._seen[key]) if key in self._seen else self._seen.setdefault(key, end)

        def _back_to(self, earlier: int) -> int:
            """Take back what was written since the start; earlier is the same."""
            self.head = len(self.Bytes) - self._began
            return earlier

    for buffer in model.buffers or []:
        if buffer.data is not None:
            buffer.data = np.asarray(buffer.data, np.uint8)
    builder = Compact(1 << 16)
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    except flatbuffers.BuilderSizeError:
        raise ModelError("the model exceeds the 2 GB that a .tflite file can hold") from None
    return bytes(builder.Output())


def pack_model(model: Model, *, runtime: Runtime = "any") -> bytes:
    """Strip model, which is changed, and return its packed bytes."""
    strip(model, runtime=runtime)
    return write_packed(model)
