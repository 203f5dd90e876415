"""Pieces of C text: identifiers, numbers, arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

NOTICE = "/* Written by edgecompile; changes are lost with the next build. */"

_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "bool": "uint8_t",
}
_TFLITE_TYPES = {
    "int8": "kTfLiteInt8",
    "uint8": "kTfLiteUInt8",
    "int16": "kTfLiteInt16",
    "uint16": "kTfLiteUInt16",
    "int32": "kTfLiteInt32",
    "uint32": "kTfLiteUInt32",
    "int64": "kTfLiteInt64",
    "float32": "kTfLiteFloat32",
    "bool": "kTfLiteBool",
}
"""Names of TfLiteType, tensorflow/lite/core/c/c_api_types.h."""
_PER_LINE = 16


def c_type(dtype: str) -> str:
    """Return the C type of a dtype that tensors on a microcontroller have."""
    return _TYPES[dtype]


def tflite_type(dtype: str) -> str:
    """Return TFLite Micro's name of a dtype that tensors on a microcontroller have."""
    return _TFLITE_TYPES[dtype]


def float_literal(value: float) -> str:
    """Return the shortest C literal of a float32 that reads back as it."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def quoted(text: str) -> str:
    """Return a C string literal, in ASCII."""
    escaped = "".join(c if c.isascii() and c.isprintable() and c not in '"\\?' else _escape(c) for c in text)
    return f'"{escaped}"'


def _escape(c: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in c.encode())


def comment(text: str) -> str:
    """Return text without what would end a comment."""
    return re.sub(r"\s+", " ", text).replace("*/", "* /")


def array(values: npt.NDArray[Any]) -> str:
    """Return the elements of an array, flat, in lines of 16."""
    flat = values.reshape(-1)
    show = float_literal if flat.dtype.kind == "f" else (lambda v: str(int(v)))
    words = [show(v) for v in flat]
    return ",\n".join("    " + ", ".join(words[i : i + _PER_LINE]) for i in range(0, len(words), _PER_LINE))


def header(name: str, body: str) -> str:
    """Return a header file with its guard."""
    guard = name.upper().replace(".", "_") + "_"
    return f"{NOTICE}\n#ifndef {guard}\n#define {guard}\n\n{body}\n#endif  /* {guard} */\n"
