"""Aliases: ops that a quantizer misjudges, quantized under the name of an op that it judges right.

A quantizer decides by an op's name alone which scales its input and output may have. The integer kernels of the ops
below take any two scales, yet a quantizer leaves them in float, or gives the output the scale of the input, with which
it saturates. Under the name of an op that reads and writes the same kinds of tensors, each gets the scales of its own
calibrated ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from edgecompile.tflite.draft import LARGEST_OLD_CODE
from edgecompile.tflite.edit import Model


class Alias(NamedTuple):
    """The name that an op goes by while it is quantized."""

    name: str
    """Schema name of another op."""
    version: int
    """Of the op's integer kernel (TensorFlow Lite, tools/versioning/op_version.cc), for the file in the end."""


Aliases = Mapping[str, Alias]
"""Schema name of an op → its alias."""

_ELU: Aliases = {"ELU": Alias("RELU", version=1)}
"""int8 only, by a table of 256 codes (TensorFlow Lite, kernels/activations.cc; TFLite Micro, kernels/elu.cc)."""
_SUMS: Aliases = {"SUM": Alias("MEAN", version=2), "REDUCE_PROD": Alias("MEAN", version=2)}

LITERT_QUANTIZER: Mapping[int, Aliases] = {8: _ELU, 16: {}}
"""Bits of activations → aliases for litert-quantizer."""

RUNTIME_QUANTIZER: Mapping[int, Aliases] = {8: {**_ELU, **_SUMS}, 16: _SUMS}
"""The same for LiteRT's own quantizer."""


def put_on(model: Model, aliases: Aliases) -> dict[int, str]:
    """Let ops of model go by their aliases, in place; return number of the op code → name of the op."""
    from ai_edge_litert import schema_py_generated as schema

    numbers = {getattr(schema.BuiltinOperator, name): name for name in aliases}
    worn = {}
    for at, code in enumerate(model.operatorCodes):
        name = numbers.get(max(int(code.builtinCode), int(code.deprecatedBuiltinCode)))
        if name is not None:
            worn[at] = name
            _rename(code, aliases[name].name)
    return worn


def take_off(model: Model, aliases: Aliases, worn: Mapping[int, str]) -> None:
    """Give ops their own names back, in place.

    Args:
        model: what a quantizer made of the model that `put_on` changed; it may have added op codes behind the others.
        aliases: those that `put_on` was given.
        worn: what `put_on` gave.
    """
    for at, name in worn.items():
        model.operatorCodes[at].version = aliases[name].version
        _rename(model.operatorCodes[at], name)


def _rename(code: Any, name: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, LARGEST_OLD_CODE)
