"""TFLite's float ops in fixed arithmetic: op name → function of its options and inputs.

Formulas are those of LiteRT's reference kernels (tensorflow/lite/kernels/internal/reference); where these approximate,
the exact function stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgecompile.tflite.fixed import functions
from edgecompile.tflite.fixed.conv import Windows, pooled
from edgecompile.tflite.fixed.functions import activated
from edgecompile.tflite.fixed.grid import Array, exact_product, exact_sum, on_grid, sum_bits

Options = Mapping[str, Any]
Function = Callable[..., Array]
"""Takes the options and the inputs (None for one that is absent), gives the output in float32 or float64."""

_BETA = 1.0
"""Of SOFTMAX, where its options do not say."""


def _add_n(_: Options, *x: Array) -> Array:
    total = x[0]
    for more in x[1:]:
        total = total + more
    return total


def _axes(x: Array, axes: Array) -> tuple[int, ...]:
    return tuple(sorted({int(a) % x.ndim for a in np.ravel(axes)})) if x.ndim else ()


def _sum(options: Options, x: Array, axes: Array) -> Array:
    along = _axes(x, axes)
    return _kept(options, exact_sum(x, along), along)


def _mean(options: Options, x: Array, axes: Array) -> Array:
    along = _axes(x, axes)
    return _kept(options, exact_sum(x, along) / np.prod([x.shape[a] for a in along]), along)


def _product(options: Options, x: Array, axes: Array) -> Array:
    along, found = _axes(x, axes), x
    for axis in along:  # accumulate goes step by step
        found = np.take(np.multiply.accumulate(found, axis=axis), [-1], axis=axis)
    return _kept(options, found, along)


def _kept(options: Options, reduced: Array, along: tuple[int, ...]) -> Array:
    return reduced if options.get("keep_dims") else reduced.squeeze(along)


def _cumulative(options: Options, x: Array, axis: Array) -> Array:
    at = int(np.ravel(axis)[0]) % x.ndim
    wide = on_grid(x.astype(np.float64), sum_bits(x.shape[at]))
    wide = np.flip(wide, at) if options.get("reverse") else wide
    sums = np.cumsum(wide, axis=at) - (wide if options.get("exclusive") else 0.0)
    return np.flip(sums, at) if options.get("reverse") else sums


def _average_pool(options: Options, x: Array) -> Array:
    sums, counts = pooled(x, Windows.of(options, (options["filter_height"], options["filter_width"])))
    return activated(sums / counts, options)


def _l2_pool(options: Options, x: Array) -> Array:
    squares = np.square(x.astype(np.float64))
    sums, counts = pooled(squares, Windows.of(options, (options["filter_height"], options["filter_width"])))
    return activated(np.sqrt(sums / counts), options)


def _l2_normalization(options: Options, x: Array) -> Array:
    squares = exact_sum(np.square(x.astype(np.float64)), -1 % x.ndim)
    return activated(np.asarray(x / np.maximum(np.sqrt(squares), 1e-6)), options)


def _softmax(options: Options, x: Array) -> Array:
    e = functions.exp((x.astype(np.float64) - x.max(axis=-1, keepdims=True)) * options.get("beta", _BETA))
    return np.asarray(e / exact_sum(e, x.ndim - 1))


def _log_softmax(_: Options, x: Array) -> Array:
    shifted = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - functions.log(exact_sum(functions.exp(shifted), x.ndim - 1)))


def _gelu(options: Options, x: Array) -> Array:
    wide = x.astype(np.float64)
    if options.get("approximate"):
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * (wide * wide * wide))
        return 0.5 * wide * (1 + functions.tanh(inner))
    return 0.5 * wide * (1 + functions.erf(wide * math.sqrt(0.5)))


def _batch_matmul(options: Options, a: Array, b: Array) -> Array:
    a = np.swapaxes(a, -1, -2) if options.get("adj_x") else a
    b = np.swapaxes(b, -1, -2) if options.get("adj_y") else b
    return exact_product(a, b)


def _resize_bilinear(options: Options, x: Array, size: Array) -> Array:
    """Interpolate along height, then along width."""
    for axis, wanted in ((1, int(size[0])), (2, int(size[1]))):
        have = x.shape[axis]
        if options.get("align_corners") and wanted > 1:
            at = np.arange(wanted) * ((have - 1) / (wanted - 1))
        elif options.get("half_pixel_centers"):
            at = (np.arange(wanted) + 0.5) * (have / wanted) - 0.5
        else:
            at = np.arange(wanted) * (have / wanted)
        low = np.floor(at)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        near, far = (np.clip(i, 0, have - 1).astype(np.intp) for i in (low, low + 1))
        x = np.take(x, near, axis) * (1 - share) + np.take(x, far, axis) * share
    return x


def _prelu(_: Options, x: Array, slope: Array) -> Array:
    return np.where(x >= 0, x, x * slope)


def _leaky(options: Options, x: Array) -> Array:
    return np.where(x >= 0, x, x * np.float32(options.get("alpha", 0.0)))


def _elu(_: Options, x: Array) -> Array:
    return np.where(x >= 0, x, functions.exp(np.minimum(x, 0)) - 1)


def _hard_swish(_: Options, x: Array) -> Array:
    return x * np.clip(x + np.float32(3), 0, 6) / np.float32(6)


def _fused(function: Callable[[Array, Array], Array]) -> Function:
    return lambda options, a, b: activated(np.asarray(function(a, b)), options)


def _plain(function: Callable[..., Array]) -> Function:
    return lambda _, *x: np.asarray(function(*x))


FUNCTIONS: Mapping[str, Function] = {
    "ABS": _plain(np.abs),
    "ADD": _fused(np.add),
    "ADD_N": _add_n,
    "AVERAGE_POOL_2D": _average_pool,
    "BATCH_MATMUL": _batch_matmul,
    "COS": _plain(functions.cos),
    "CUMSUM": _cumulative,
    "DIV": _fused(np.divide),
    "ELU": _elu,
    "EXP": _plain(functions.exp),
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _l2_normalization,
    "L2_POOL_2D": _l2_pool,
    "LEAKY_RELU": _leaky,
    "LOG": _plain(functions.log),
    "LOGISTIC": _plain(functions.logistic),
    "LOG_SOFTMAX": _log_softmax,
    "MEAN": _mean,
    "MUL": _fused(np.multiply),
    "NEG": _plain(np.negative),
    "POW": _plain(functions.power),
    "PRELU": _prelu,
    "REDUCE_PROD": _product,
    "RELU": _plain(lambda x: np.maximum(x, 0)),
    "RELU6": _plain(lambda x: np.clip(x, 0, 6)),
    "RELU_0_TO_1": _plain(lambda x: np.clip(x, 0, 1)),
    "RELU_N1_TO_1": _plain(lambda x: np.clip(x, -1, 1)),
    "RESIZE_BILINEAR": _resize_bilinear,
    "RSQRT": _plain(lambda x: 1 / np.sqrt(x.astype(np.float64))),
    "SIN": _plain(functions.sin),
    "SOFTMAX": _softmax,
    "SQRT": _plain(np.sqrt),
    "SQUARE": _plain(np.square),
    "SQUARED_DIFFERENCE": _plain(lambda a, b: np.square(a - b)),
    "SUB": _fused(np.subtract),
    "SUM": _sum,
    "TANH": _plain(functions.tanh),
}
"""Ops without weights of their own."""
