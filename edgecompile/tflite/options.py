"""Options of TFLite operators as plain values."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from edgecompile.tflite.flat import Flat

_ENUM_FIELDS = {
    "padding": "Padding",
    "fused_activation_function": "ActivationFunctionType",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
    "kernel_type": "LSTMKernelType",
    "combiner": "CombinerType",
    "mode": "MirrorPadMode",
    **dict.fromkeys(("in_data_type", "out_data_type", "output_type", "idx_out_type", "out_type"), "TensorType"),
    **dict.fromkeys(("quantized_bias_type", "key_dtype", "value_dtype"), "TensorType"),
}
"""Option fields of an enumeration; no name means two things."""


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
    enum = _ENUM_FIELDS.get(field)
    if enum is not None and isinstance(value, int):
        name = schema_names(enum).get(value, f"UNKNOWN_{value}")
        return name.lower() if enum == "TensorType" else name
    return () if value is None else value


@cache
def _snake(name: str) -> str:
    """Return strideW → stride_w, dilationWFactor → dilation_w_factor."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
