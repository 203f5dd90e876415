"""From the tables of a `.tflite` file to a `Graph`."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.tflite.flat import Array, Damaged, Flat, damage_reported, item, load
from edgecompile.tflite.graph import Graph, Op, Quantization, Signature, Tensor
from edgecompile.tflite.options import option_fields, schema_names

_NO_NUMPY_FORM = {"STRING", "RESOURCE", "VARIANT", "INT4", "INT2", "UINT4", "BFLOAT16", "FLOAT8_E4M3FN", "FLOAT8_E5M2"}
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "BFLOAT16": 16, "FLOAT8_E4M3FN": 8, "FLOAT8_E5M2": 8}
"""Size of one element of the dtypes that numpy has no form for, where it is fixed."""

_MAX_TENSOR_BYTES = 1 << 40
"""1 TiB: no device holds a larger tensor, so a shape that asks for one is damage."""

_MAX_RANK = 32
"""Dimensions that numpy 1 can hold; TFLite kernels take 8 at most."""

_PLACEHOLDER = 1
"""Writers of files with content outside the flatbuffer put 1 for an offset or size not known yet (TFLite schema)."""


def read(path: Path) -> Graph:
    """Return the graph of the file at path.

    Raises:
        ModelError: not a TFLite flatbuffer, or damaged.
    """
    content = load(path)
    with damage_reported(path):
        flat = Flat(content)
        codes = [_op_code(flat, item(code, what="an operator code")) for code in flat.each(flat.root, "OperatorCodes")]
        subgraphs = [item(s, what="a subgraph") for s in flat.each(flat.root, "Subgraphs")]
        if not subgraphs:
            raise Damaged("it holds no graph")
        signatures = _signatures(flat, len(subgraphs))
        description, metadata = flat.text(flat.root.Description()), _metadata(flat)
        graphs: list[Graph] = []
        for number in reversed(range(len(subgraphs))):
            main = number == 0
            tensors, ops = _body(flat, subgraphs[number], codes)
            graphs.append(
                Graph(
                    tensors=tensors,
                    ops=ops,
                    inputs=_indices(flat, subgraphs[number], "Inputs", len(tensors)),
                    outputs=_indices(flat, subgraphs[number], "Outputs", len(tensors)),
                    signatures=_checked(signatures.get(number, ()), len(tensors)),
                    subgraphs=len(subgraphs),
                    description=description,
                    metadata=metadata,
                    name=flat.text(subgraphs[number].Name()),
                    bodies=tuple(reversed(graphs)) if main else (),
                )
            )
        return graphs[-1]


def _body(flat: Flat, subgraph: Any, codes: list[tuple[str, int, bool]]) -> tuple[tuple[Tensor, ...], tuple[Op, ...]]:
    tensors = tuple(
        _tensor(flat, i, item(t, what=f"tensor {i}")) for i, t in enumerate(flat.each(subgraph, "Tensors"))
    )
    ops = tuple(
        _op(flat, i, item(o, what=f"operator {i}"), codes, len(tensors))
        for i, o in enumerate(flat.each(subgraph, "Operators"))
    )
    return tensors, ops


def _op_code(flat: Flat, code: Any) -> tuple[str, int, bool]:
    """Return name, version, and whether it is a custom op."""
    builtin = schema_names("BuiltinOperator")
    # Codes above 127 do not fit the old field, which then holds 127; older files have only the old one.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = builtin.get(number, f"UNKNOWN_{number}")
    if name == "CUSTOM":
        return flat.text(code.CustomCode()) or "CUSTOM", code.Version(), True
    return name, code.Version(), False


def _op(flat: Flat, index: int, op: Any, codes: list[tuple[str, int, bool]], tensors: int) -> Op:
    if op.OpcodeIndex() >= len(codes):
        raise Damaged(f"operator {index} has code {op.OpcodeIndex()} of {len(codes)}")
    name, version, custom = codes[op.OpcodeIndex()]
    custom_options = flat.view(op, "CustomOptions")
    if op.LargeCustomOptionsOffset() > _PLACEHOLDER:
        custom_options = flat.outside(op.LargeCustomOptionsOffset(), op.LargeCustomOptionsSize())
    return Op(
        index=index,
        name=name,
        version=version,
        inputs=_indices(flat, op, "Inputs", tensors, lowest=-1),
        outputs=_indices(flat, op, "Outputs", tensors),
        options=option_fields(flat, op),
        custom=custom,
        custom_options=custom_options,
    )


def _indices(flat: Flat, table: Any, field: str, tensors: int, *, lowest: int = 0) -> tuple[int, ...]:
    found: tuple[int, ...] = tuple(flat.vector(table, field).tolist())
    for i in found:
        if not lowest <= i < tensors:
            raise Damaged(f"{field.lower()} name tensor {i}, and there are {tensors}")
    return found


@cache
def _dtypes() -> dict[int, tuple[str, np.dtype[Any] | None, int | None]]:
    """Return type number → our name, numpy's form (little endian, as stored) and bits of an element, where fixed."""
    found: dict[int, tuple[str, np.dtype[Any] | None, int | None]] = {}
    for number, name in schema_names("TensorType").items():
        form = None if name in _NO_NUMPY_FORM else np.dtype(name.lower()).newbyteorder("<")
        found[number] = name.lower(), form, 8 * form.itemsize if form else _BITS.get(name)
    return found


def _tensor(flat: Flat, index: int, tensor: Any) -> Tensor:
    name = flat.text(tensor.Name())
    shape = tuple(flat.vector(tensor, "Shape").tolist())
    dtype, form, bits = _dtypes().get(tensor.Type(), (f"unknown_{tensor.Type()}", None, None))
    if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or math.prod(shape) * (bits or 8) > 8 * _MAX_TENSOR_BYTES:
        raise Damaged(f"tensor {index} `{name[:80]}` has the shape {list(shape[:_MAX_RANK])}")
    raw = _content(flat, tensor.Buffer())
    sparse = tensor.Sparsity() is not None
    if raw is not None and bits and not sparse and raw.nbytes != -(-math.prod(shape) * bits // 8):
        raise Damaged(f"tensor {index} `{name[:80]}` {dtype}{list(shape)} has {raw.nbytes} bytes of content")
    return Tensor(
        index=index,
        name=name,
        shape=shape,
        shape_signature=tuple(flat.vector(tensor, "ShapeSignature").tolist()) or shape,
        dtype=dtype,
        quantization=_quantization(flat, tensor.Quantization(), shape, name),
        data=raw.view(form).reshape(shape) if raw is not None and form and not sparse else None,
        is_variable=bool(tensor.IsVariable()),
        raw=raw,
        buffer=tensor.Buffer(),
        sparse=sparse,
    )


def _content(flat: Flat, number: int) -> Array | None:
    if number == 0:  # "the 0th entry of this array must be an empty buffer" (TFLite schema); some writers leave it out
        return None
    if number >= flat.root.BuffersLength():
        raise Damaged(f"a tensor has buffer {number} of {flat.root.BuffersLength()}")
    buffer = item(flat.root.Buffers(number), what=f"buffer {number}")
    stored = flat.view(buffer, "Data")
    if stored is not None and stored.size:
        return stored
    if buffer.Offset() > _PLACEHOLDER and buffer.Size() > _PLACEHOLDER:
        return flat.outside(buffer.Offset(), buffer.Size())
    return None


def _quantization(flat: Flat, table: Any, shape: tuple[int, ...], name: str) -> Quantization | None:
    if table is None:
        return None
    scale, zero = flat.vector(table, "Scale"), flat.vector(table, "ZeroPoint")
    if not scale.size:
        return None
    if zero.size not in (0, scale.size):
        raise Damaged(f"tensor `{name[:80]}` has {scale.size} scales and {zero.size} zero points")
    # Early converters put the kernel's channel axis on its one-dimensional bias, where only axis 0 can be meant.
    axis = 0 if len(shape) == 1 else table.QuantizedDimension()
    if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
        raise Damaged(f"tensor `{name[:80]}` {list(shape)} has {scale.size} scales along axis {axis}")
    return Quantization(scale, zero if zero.size else np.zeros(scale.size, np.int64), axis)


def _signatures(flat: Flat, subgraphs: int) -> dict[int, tuple[Signature, ...]]:
    """Return subgraph number → its signatures."""
    found: dict[int, tuple[Signature, ...]] = {}
    for table in flat.each(flat.root, "SignatureDefs"):
        signature = item(table, what="a signature")
        number = signature.SubgraphIndex()
        if number >= subgraphs:
            raise Damaged(f"a signature names subgraph {number} of {subgraphs}")
        made = Signature(
            key=flat.text(signature.SignatureKey()),
            inputs=_name_map(flat, signature, "Inputs"),
            outputs=_name_map(flat, signature, "Outputs"),
        )
        found[number] = (*found.get(number, ()), made)
    return found


def _name_map(flat: Flat, signature: Any, field: str) -> dict[str, int]:
    entries = [item(entry, what="a signature entry") for entry in flat.each(signature, field)]
    return {flat.text(entry.Name()): entry.TensorIndex() for entry in entries}


def _checked(signatures: tuple[Signature, ...], tensors: int) -> tuple[Signature, ...]:
    for signature in signatures:
        for name, i in (*signature.inputs.items(), *signature.outputs.items()):
            if i >= tensors:
                raise Damaged(f"signature entry `{name[:80]}` names tensor {i}, and there are {tensors}")
    return signatures


def _metadata(flat: Flat) -> dict[str, Array]:
    found = {}
    for table in flat.each(flat.root, "Metadata"):
        entry = item(table, what="a metadata entry")
        content = _content(flat, entry.Buffer())
        found[flat.text(entry.Name())] = np.empty(0, np.uint8) if content is None else content
    return found
