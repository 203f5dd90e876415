"""From the tables of a `.tflite` file to values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from edgecompile.tflite.flat import PLACEHOLDER, DamageError, Flat, item
from edgecompile.tflite.options import option_fields, schema_names
from edgecompile.tflite.values import Array, Op, Quantization, Signature, Tensor

_NO_NUMPY_FORM = {"STRING", "RESOURCE", "VARIANT", "INT4", "INT2", "UINT4", "BFLOAT16", "FLOAT8_E4M3FN", "FLOAT8_E5M2"}
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "BFLOAT16": 16, "FLOAT8_E4M3FN": 8, "FLOAT8_E5M2": 8}
"""Size of one element of the dtypes that numpy has no form for, where it is fixed."""

_MAX_TENSOR_BYTES = 1 << 40
"""1 TiB: no device holds a larger tensor, so a shape that asks for one is damage."""

_MAX_RANK = 32
"""Dimensions that numpy 1 can hold; TFLite kernels take 8 at most."""


class OpCode(NamedTuple):
    """What an operator of the file refers to by number."""

    name: str
    version: int
    custom: bool


def read_op_code(flat: Flat, code: Any) -> OpCode:
    """Return the entry of an OperatorCode table."""
    builtin = schema_names("BuiltinOperator")
    # Codes above 127 do not fit the old field, which then holds 127; older files have only the old one.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = builtin.get(number, f"UNKNOWN_{number}")
    if name == "CUSTOM":
        return OpCode(flat.text(code.CustomCode()) or "CUSTOM", code.Version(), custom=True)
    return OpCode(name, code.Version(), custom=False)


def read_op(flat: Flat, index: int, op: Any, codes: Sequence[OpCode], tensors: int) -> Op:
    """Return operator number index of a subgraph with so many tensors."""
    if op.OpcodeIndex() >= len(codes):
        raise DamageError(f"operator {index} has code {op.OpcodeIndex()} of {len(codes)}")
    code = codes[op.OpcodeIndex()]
    custom_options = flat.view(op, "CustomOptions")
    if op.LargeCustomOptionsOffset() > PLACEHOLDER:
        custom_options = flat.outside(op.LargeCustomOptionsOffset(), op.LargeCustomOptionsSize())
    return Op(
        index=index,
        name=code.name,
        version=code.version,
        inputs=read_indices(flat, op, "Inputs", tensors, lowest=-1),
        outputs=read_indices(flat, op, "Outputs", tensors),
        options=option_fields(flat, op),
        custom=code.custom,
        custom_options=custom_options,
    )


def read_indices(flat: Flat, table: Any, field: str, tensors: int, *, lowest: int = 0) -> tuple[int, ...]:
    """Return a vector of tensor numbers, all of them at least lowest and below tensors."""
    found: tuple[int, ...] = tuple(flat.vector(table, field).tolist())
    for i in found:
        if not lowest <= i < tensors:
            raise DamageError(f"{field.lower()} name tensor {i}, and there are {tensors}")
    return found


@cache
def _dtypes() -> dict[int, tuple[str, np.dtype[Any] | None, int | None]]:
    """Return type number → our name, numpy's form (little endian, as stored) and bits of an element, where fixed."""
    found: dict[int, tuple[str, np.dtype[Any] | None, int | None]] = {}
    for number, name in schema_names("TensorType").items():
        form = None if name in _NO_NUMPY_FORM else np.dtype(name.lower()).newbyteorder("<")
        found[number] = name.lower(), form, 8 * form.itemsize if form else _BITS.get(name)
    return found


def read_tensor(flat: Flat, index: int, tensor: Any) -> Tensor:
    """Return tensor number index of a subgraph."""
    name = flat.text(tensor.Name())
    shape = tuple(flat.vector(tensor, "Shape").tolist())
    dtype, form, bits = _dtypes().get(tensor.Type(), (f"unknown_{tensor.Type()}", None, None))
    if len(shape) > _MAX_RANK or min(shape, default=0) < 0 or math.prod(shape) * (bits or 8) > 8 * _MAX_TENSOR_BYTES:
        raise DamageError(f"tensor {index} `{name[:80]}` has the shape {list(shape[:_MAX_RANK])}")
    raw = _content(flat, tensor.Buffer())
    sparse = tensor.Sparsity() is not None
    if raw is not None and bits and not sparse and raw.nbytes != -(-math.prod(shape) * bits // 8):
        raise DamageError(f"tensor {index} `{name[:80]}` {dtype}{list(shape)} has {raw.nbytes} bytes of content")
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
        raise DamageError(f"a tensor has buffer {number} of {flat.root.BuffersLength()}")
    buffer = item(flat.root.Buffers(number), what=f"buffer {number}")
    stored = flat.view(buffer, "Data")
    if stored is not None and stored.size:
        return stored
    if buffer.Offset() > PLACEHOLDER and buffer.Size() > PLACEHOLDER:
        return flat.outside(buffer.Offset(), buffer.Size())
    return None


def _quantization(flat: Flat, table: Any, shape: tuple[int, ...], name: str) -> Quantization | None:
    if table is None:
        return None
    scale, zero = flat.vector(table, "Scale"), flat.vector(table, "ZeroPoint")
    if not scale.size:
        return None
    if zero.size not in (0, scale.size):
        raise DamageError(f"tensor `{name[:80]}` has {scale.size} scales and {zero.size} zero points")
    # Early converters put the kernel's channel axis on its one-dimensional bias, where only axis 0 can be meant.
    axis = 0 if len(shape) == 1 else table.QuantizedDimension()
    if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
        raise DamageError(f"tensor `{name[:80]}` {list(shape)} has {scale.size} scales along axis {axis}")
    return Quantization(scale, zero if zero.size else np.zeros(scale.size, np.int64), axis)


def read_signatures(flat: Flat, tensors: Sequence[int]) -> dict[int, tuple[Signature, ...]]:
    """Return subgraph number → its signatures; tensors has the number of tensors of each subgraph."""
    found: dict[int, tuple[Signature, ...]] = {}
    for table in flat.each(flat.root, "SignatureDefs"):
        signature = item(table, what="a signature")
        number = signature.SubgraphIndex()
        if number >= len(tensors):
            raise DamageError(f"a signature names subgraph {number} of {len(tensors)}")
        made = Signature(
            key=flat.text(signature.SignatureKey()),
            inputs=_name_map(flat, signature, "Inputs", tensors[number]),
            outputs=_name_map(flat, signature, "Outputs", tensors[number]),
        )
        found[number] = (*found.get(number, ()), made)
    return found


def _name_map(flat: Flat, signature: Any, field: str, tensors: int) -> dict[str, int]:
    entries = [item(entry, what="a signature entry") for entry in flat.each(signature, field)]
    found: dict[str, int] = {flat.text(entry.Name()): entry.TensorIndex() for entry in entries}
    for name, i in found.items():
        if i >= tensors:
            raise DamageError(f"signature entry `{name[:80]}` names tensor {i}, and there are {tensors}")
    return found


def read_metadata(flat: Flat) -> dict[str, Array]:
    """Return name → content of the metadata buffers."""
    found = {}
    for table in flat.each(flat.root, "Metadata"):
        entry = item(table, what="a metadata entry")
        content = _content(flat, entry.Buffer())
        found[flat.text(entry.Name())] = np.empty(0, np.uint8) if content is None else content
    return found
