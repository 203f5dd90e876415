"""Exact sums: operands rounded to integers times a power of two, so few bits each that float64 holds every sum.

Then no addition is ever rounded: the sum is the same in every order, with and without fused multiply-add, on any BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_EXACT = 53
"""Bits of integers that float64 holds exactly."""
MOST_BITS = 22
"""Bits of an operand: what `on_grid` can keep in float32."""
_BLOCK = 1 << 16
"""Values summed at a time: they stay in a processor's cache."""
_FAR = 100
"""Exponents beyond which the numbers of float32 do not reach for `on_grid`."""


def product_bits(terms: int) -> int:
    """Return how many bits both operands of a sum of that many products may have."""
    return min(MOST_BITS, (_EXACT - _log2(terms)) // 2)


def sum_bits(terms: int) -> int:
    """Return how many bits the terms of a plain sum may have."""
    return min(50, _EXACT - _log2(terms))


def _log2(terms: int) -> int:
    """Return the smallest n with 2^n >= terms."""
    return max(terms - 1, 0).bit_length()


def on_grid(values: Array, bits: int, *, largest: Array | float | None = None) -> Array:
    """Return values rounded, half to even, to multiples of a power of two: of `bits` bits each.

    Adding and subtracting a number whose last bit is worth that power does the rounding.

    Args:
        values: float32 or float64, finite; the dtype is kept.
        bits: at most `MOST_BITS` for float32, 50 for float64.
        largest: bounds that no magnitude exceeds, broadcastable to values: a grid each; None: one grid for all.
    """
    if largest is None:
        largest = largest_of(values)
    exponent = np.frexp(largest)[1]
    if values.dtype == np.float32 and (np.ndim(exponent) or abs(int(exponent)) > _FAR):
        return np.asarray(on_grid(values.astype(np.float64), bits, largest=largest).astype(np.float32))
    mantissa = 23 if values.dtype == np.float32 else 52
    magic = np.asarray(np.ldexp(1.5, np.maximum(exponent, -900) + (mantissa - bits)), values.dtype)
    rounded: Array = values + magic
    rounded -= magic
    return rounded


def largest_of(values: Array) -> float:
    """Return the largest magnitude; 0 of no values."""
    return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


def exact_sum(values: Array, axis: int | tuple[int, ...]) -> Doubles:
    """Return the sums of values along axis, which is kept with size 1; values are rounded so that sums are exact.

    Args:
        values: float32 or float64, finite.
        axis: one or several.
    """
    axes = (axis,) if isinstance(axis, int) else axis
    terms = int(np.prod([values.shape[a] for a in axes]))
    bits = min(sum_bits(terms), MOST_BITS if values.dtype == np.float32 else 50)
    return np.asarray(np.sum(on_grid(values, bits), axis=axes, keepdims=True, dtype=np.float64))


def column_sums(values: Floats) -> Doubles:
    """Return the sum of each column of values, [n, width], rounded so that sums are exact."""
    largest = largest_of(values)
    bits = min(sum_bits(len(values)), MOST_BITS)
    rows = max(1, _BLOCK // values.shape[1])
    total, ones = np.zeros(values.shape[1]), np.ones(rows)
    for start in range(0, len(values), rows):
        part = on_grid(values[start : start + rows], bits, largest=largest).astype(np.float64)
        total += ones[: len(part)] @ part
    return total


def exact_product(a: Array, b: Array) -> Doubles:
    """Return a @ b of float32 or float64 matrices, stacked or not, both rounded so that sums are exact."""
    bits = product_bits(a.shape[-1])
    return np.asarray(on_grid(a, bits).astype(np.float64) @ on_grid(b, bits).astype(np.float64) + 0.0)
