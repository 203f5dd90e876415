"""What rewrites of an 8-bit model share: versions, scales, and the shapes of new tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecompile.backends.edgetpu.oprules import EIGHT_BIT
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op, Tensor

Rewriting = Callable[[Draft, Graph, Op], bool]
"""Puts other ops in the place of one; False, and nothing changed, where the op is not of the form that it rewrites.
Its docstring is the sentence that the user reads."""

_INT8_VERSIONS: Mapping[str, int] = {
    "CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    **dict.fromkeys(("PRELU", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "RELU_N1_TO_1"), 1),
}
"""Op → the version that TensorFlow's converter gives it on int8, where that is not 2 (`op_version.cc`)."""


@dataclass(frozen=True)
class Rewrite:
    """A rewrite and how exact it is.

    Attributes:
        apply: makes it.
        codes: the largest difference of an output code that is allowed on any input; 0: the outputs are equal.
        moves: an op that stays on the CPU is moved to where it cuts less off; else all ops come onto the Edge TPU.
    """

    apply: Rewriting
    codes: int
    moves: bool = False


def version(name: str, item: Tensor) -> int:
    """Return the version of an op that computes tensors like item, int8 or uint8; one that the compiler maps."""
    if item.dtype == "int8" or name == "RELU":
        return _INT8_VERSIONS.get(name, 2)
    return 1


def eight_bit(*tensors: Tensor) -> bool:
    """Return whether all tensors have 8 bits and one scale, of one dtype."""
    one_scale = all(t.quantization is not None and not t.quantization.per_channel for t in tensors)
    return one_scale and len({t.dtype for t in tensors}) == 1 and tensors[0].dtype in EIGHT_BIT


def same_codes(first: Tensor, second: Tensor) -> bool:
    """Return whether equal codes of both stand for equal values."""
    return (
        eight_bit(first, second)
        and scale_of(first) == scale_of(second)
        and zero_point_of(first) == zero_point_of(second)
    )


def scale_of(item: Tensor) -> float:
    """Return the scale of a tensor that has one."""
    assert item.quantization is not None, "asked after `eight_bit`"
    return float(item.quantization.scale[0])


def zero_point_of(item: Tensor) -> int:
    """Return the zero point of a tensor that has one scale."""
    assert item.quantization is not None, "asked after `eight_bit`"
    return int(item.quantization.zero_point[0])


def codes_of(item: Tensor) -> tuple[int, int]:
    """Return the lowest and the highest code of an 8-bit tensor."""
    bounds = np.iinfo(item.dtype)
    return int(bounds.min), int(bounds.max)


def scalar(draft: Draft, name: str, value: float, like: Tensor) -> int:
    """Add a constant of one number, above 0, in the dtype of like; its code is exact: the highest."""
    low, high = codes_of(like)
    zero_point = max(low, 0)
    return draft.constant(
        name, np.array(high, like.dtype), scale=[value / (high - zero_point)], zero_point=[zero_point]
    )


def sizes(draft: Draft, name: str, values: Sequence[int]) -> int:
    """Add a constant of int32 numbers: a shape, axes or a size."""
    return draft.constant(name, np.asarray(values, np.int32))


def reshape(draft: Draft, given: int, made: int, shape: Sequence[int], name: str) -> Any:
    """Return a RESHAPE of tensor given to tensor made, of this shape; its constant gets this name."""
    from ai_edge_litert import schema_py_generated as schema

    options = schema.ReshapeOptionsT(newShape=list(shape))
    return draft.op("RESHAPE", [given, sizes(draft, name, shape)], [made], version=1, options=options)
