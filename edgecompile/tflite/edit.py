"""Rewrite `.tflite` files: the schema's object form, and back to bytes that devices can read in place.

`Model` is `ModelT` of the schema that the LiteRT wheel ships: lists of mutable tables. Its arrays are read-only views
of the bytes they were read from; replace them, never write into them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.associated import AssociatedError, read_archive, with_archive
from edgecompile.tflite.flat import IDENTIFIER, PLACEHOLDER, DamageError, damage_reported, load
from edgecompile.tflite.graph import unique_names
from edgecompile.tflite.values import Array

Model = Any
"""`ai_edge_litert.schema_py_generated.ModelT`, which has no types of its own."""

DEFAULT_SIGNATURE = "serving_default"
"""The key that TensorFlow gives the only signature."""

BUFFER_ALIGNMENT = 16
"""Bytes; `force_align` of a buffer's content in the TFLite schema. Kernels read constants where they lie."""


def read_model(source: Path | bytes) -> Model:
    """Return a `.tflite` file, or its bytes, in the schema's object form.

    Content that lies outside the flatbuffer is taken inside, and files of an archive behind it are kept as
    `associated`, unless they cannot be read. Give only what `read_graph` took: the object form is built without a limit
    on work.

    Raises:
        ModelError: not a `.tflite` file, or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    path = source if isinstance(source, Path) else None
    content = load(source) if isinstance(source, Path) else source
    with damage_reported(path):
        if content[4:8] != IDENTIFIER:
            raise DamageError(f"bytes 4 to 8 are not {IDENTIFIER!r}")
        model = schema.ModelT.InitFromPackedBuf(content)
        for buffer in model.buffers or []:
            if buffer.offset > PLACEHOLDER:
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
        for op in (op for subgraph in model.subgraphs or [] for op in subgraph.operators or []):
            if op.largeCustomOptionsOffset > PLACEHOLDER:
                op.customOptions = np.frombuffer(
                    content, np.uint8, op.largeCustomOptionsSize, op.largeCustomOptionsOffset
                )
            op.largeCustomOptionsOffset = op.largeCustomOptionsSize = 0
    with contextlib.suppress(AssociatedError):
        model.associated = read_archive(content)
    return model


def write_model(model: Model) -> bytes:
    """Return model as the bytes of a `.tflite` file; equal models give equal bytes.

    Files that `read_model` found behind the flatbuffer follow it again. Content of buffers that nothing names is left
    out, such as what a rewrite has put other constants in the place of; buffers keep their numbers.

    Raises:
        ModelError: the content exceeds the 2 GB that a flatbuffer can hold.
    """
    from flatbuffers import builder as flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no types
        """A builder that aligns vectors of bytes as the schema demands; the generated code does not."""

        def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802  # flatbuffers calls it so
            self.Prep(BUFFER_ALIGNMENT if x.itemsize == 1 else x.itemsize, x.nbytes)
            start: int = super().CreateNumpyVector(x)
            return start

    for buffer in model.buffers or []:
        if buffer.data is not None:
            buffer.data = np.asarray(buffer.data, np.uint8)
    builder = Aligned(1 << 16)
    every, model.buffers = model.buffers, _named(model)
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    except flatbuffers.BuilderSizeError:
        raise ModelError("the model exceeds the 2 GB that a .tflite file can hold") from None
    finally:
        model.buffers = every
    return with_archive(bytes(builder.Output()), getattr(model, "associated", {}))


def buffers_named(model: Model) -> frozenset[int]:
    """Return the numbers of buffers that a tensor or metadata of model names, and 0, which is empty by convention."""
    tensors = [tensor.buffer for subgraph in model.subgraphs or [] for tensor in subgraph.tensors or []]
    about = [entry.buffer for entry in model.metadata or []]
    further = [] if model.metadataBuffer is None else [int(i) for i in model.metadataBuffer]
    return frozenset({0, *tensors, *about, *further})


def _named(model: Model) -> list[Any] | None:
    """Return the buffers of model, empty ones in the place of those that nothing names."""
    from ai_edge_litert import schema_py_generated as schema

    if model.buffers is None:
        return None
    named = buffers_named(model)
    return [buffer if i in named else schema.BufferT() for i, buffer in enumerate(model.buffers)]


def add_signature(model: Model, *, key: str = DEFAULT_SIGNATURE) -> bool:
    """Give model a signature named after its tensors, unless it has one; return whether it was given.

    The names are those of `Graph.input_names` and `Graph.output_names`.
    """
    from ai_edge_litert import schema_py_generated as schema

    if model.signatureDefs:
        return False
    main = model.subgraphs[0]
    model.signatureDefs = [
        schema.SignatureDefT(
            signatureKey=key.encode(),
            subgraphIndex=0,
            inputs=_entries(main, main.inputs, "input"),
            outputs=_entries(main, main.outputs, "output"),
        )
    ]
    return True


def _entries(subgraph: Any, indices: Sequence[int], role: str) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    names = unique_names([text(subgraph.tensors[i].name) or f"{role}_{at}" for at, i in enumerate(indices)])
    return [schema.TensorMapT(name=n.encode(), tensorIndex=int(i)) for n, i in zip(names, indices, strict=True)]


def make_names_unique(model: Model) -> dict[str, str]:
    """Give every tensor of model a name of its own; return new name → old name of those that changed.

    litert-quantizer tells tensors apart by their names alone. Signatures keep theirs.
    """
    tensors = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors]
    old = [text(tensor.name) for tensor in tensors]
    new = unique_names([name or "tensor" for name in old])
    for tensor, name in zip(tensors, new, strict=True):
        tensor.name = name.encode()
    return {n: o for n, o in zip(new, old, strict=True) if n != o}


def text(name: bytes | str | None) -> str:
    """Return a name of the object form, which is bytes where it was read and may be a str where it was set."""
    return name if isinstance(name, str) else (name or b"").decode("utf-8", "replace")
