"""Options of TFLite operators as plain values."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache
from typing import Any, cast

import numpy as np

from edgecompile.tflite.flat import DamageError, Flat

_ENUM_FIELDS = {
    "combiner": "CombinerType",
    "fused_activation_function": "ActivationFunctionType",
    "kernel_type": "LSTMKernelType",
    "mode": "MirrorPadMode",
    "padding": "Padding",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}
"""Option fields of an enumeration; no name means two things."""

_DTYPE_FIELDS = frozenset(
    {
        "idx_out_type",
        "in_data_type",
        "key_dtype",
        "out_data_type",
        "out_type",
        "output_type",
        "quantized_bias_type",
        "value_dtype",
    }
)


@cache
def schema_names(enum: str) -> dict[int, str]:
    """Return number → name of an enumeration of the schema."""
    from ai_edge_litert import schema_py_generated as schema

    return {number: name for name, number in vars(getattr(schema, enum)).items() if isinstance(number, int)}


def option_fields(flat: Flat, op: Any) -> dict[str, Any]:
    """Return the fields of an operator's builtin options, snake_case; see `Op.options`."""
    for union, number, table in (
        ("BuiltinOptions", op.BuiltinOptionsType(), op.BuiltinOptions()),
        ("BuiltinOptions2", op.BuiltinOptions2Type(), op.BuiltinOptions2()),
    ):
        name = schema_names(union).get(number, "NONE")
        if table is not None and name != "NONE":
            unpacked = getattr(flat.schema, f"{name}T").InitFromBuf(table.Bytes, table.Pos)
            return {_snake(key): _plain(flat, _snake(key), value) for key, value in vars(unpacked).items()}
    return {}


def _plain(flat: Flat, field: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return flat.numbers(value)
    if isinstance(value, bytes):
        return flat.text(value)
    if value is None:
        return ()
    if field in _DTYPE_FIELDS:
        return schema_names("TensorType").get(value, f"unknown_{value}").lower()
    if field not in _ENUM_FIELDS:
        return value
    if value not in schema_names(_ENUM_FIELDS[field]):
        raise DamageError(f"an operator has `{field}` {value}")
    return _members(_ENUM_FIELDS[field])(value)


@cache
def _members(enum: str) -> type[IntEnum]:
    return cast("type[IntEnum]", IntEnum(enum, {name: number for number, name in schema_names(enum).items()}))


@cache
def _snake(name: str) -> str:
    """Return strideW → stride_w, dilationWFactor → dilation_w_factor."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
