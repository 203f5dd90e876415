"""Transcendental functions of float64 arrays out of +, -, *, / alone: the same bits wherever these round as IEEE 754.

Errors are a few units in the last place of float64; results become float32, where they do not show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts, the first of 32 bits: its multiples are exact. Source: FreeBSD msun, e_exp.c."""
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_HALF_PI = tuple(float.fromhex(x) for x in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69"))
"""Pi / 2 in three parts, the first two of 33 bits. Source: FreeBSD msun, e_rem_pio2.c."""
_EXP_TERMS, _LOG_TERMS, _SIN_TERMS, _ERF_TERMS = 14, 12, 12, 60


def exp(x: Array) -> Doubles:
    """Return e^x: 2^k times the Taylor series of what is left, at most ln 2 / 2."""
    x = np.clip(np.asarray(x, np.float64), -745.0, 709.0)
    k = np.rint(x * _LOG2_E)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    sum_ = np.full_like(r, 1 / math.factorial(_EXP_TERMS))
    for n in range(_EXP_TERMS - 1, -1, -1):
        sum_ = sum_ * r + 1 / math.factorial(n)
    return np.asarray(np.ldexp(sum_, k.astype(np.int32)))


def log(x: Array) -> Doubles:
    """Return ln x: of m * 2^k with m next to 1, 2 artanh((m - 1) / (m + 1)) + k ln 2. As in libm at 0 and below."""
    x = np.asarray(x, np.float64)
    m, k = np.frexp(np.where(x > 0, x, 1.0))
    low = m < math.sqrt(0.5)
    m, k = np.where(low, 2 * m, m), np.where(low, k - 1, k).astype(np.float64)
    s = (m - 1) / (m + 1)
    sum_ = np.full_like(s, 1 / (2 * _LOG_TERMS + 1))
    for n in range(_LOG_TERMS - 1, -1, -1):
        sum_ = sum_ * (s * s) + 1 / (2 * n + 1)
    found = (2 * s * sum_ + k * _LN2_LOW) + k * _LN2_HIGH
    return np.asarray(np.where(x > 0, np.where(np.isinf(x), np.inf, found), np.where(x == 0, -np.inf, np.nan)))


def logistic(x: Array) -> Doubles:
    """Return 1 / (1 + e^-x), through the exponential that does not overflow."""
    e = exp(-np.abs(x))
    return np.asarray(np.where(np.asarray(x) >= 0, 1 / (1 + e), e / (1 + e)))


def tanh(x: Array) -> Doubles:
    """Return (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x."""
    e = exp(-2 * np.abs(np.asarray(x, np.float64)))
    return np.asarray(np.copysign((1 - e) / (1 + e), x))


def erf(x: Array) -> Doubles:
    """Return the error function: 2 / sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, which has positive terms alone.

    Source: M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions" (1964), 7.1.6.
    """
    a = np.minimum(np.abs(np.asarray(x, np.float64)), 4.5)  # beyond it, 1 to within float32
    term = sum_ = a
    for n in range(1, _ERF_TERMS + 1):
        term = term * (2 * a * a / (2 * n + 1))
        sum_ = sum_ + term
    return np.asarray(np.copysign(np.minimum(1.0, 2 / math.sqrt(math.pi) * exp(-a * a) * sum_), x))


def sin(x: Array) -> Doubles:
    """Return sin x; for magnitudes up to 1e6 to within float32."""
    return _circular(x, 0)


def cos(x: Array) -> Doubles:
    """Return cos x; as for `sin`."""
    return _circular(x, 1)


def _circular(x: Array, quarter: int) -> Doubles:
    """Return sin(x + quarter * pi / 2) from the Taylor series of what is left after whole quarters."""
    x = np.asarray(x, np.float64)
    k = np.rint(x * (2 / math.pi))
    r = ((x - k * _HALF_PI[0]) - k * _HALF_PI[1]) - k * _HALF_PI[2]
    series = []
    for odd in (1, 0):
        sum_ = np.zeros_like(r)
        for n in range(_SIN_TERMS, -1, -1):
            sum_ = sum_ * (-r * r) + 1 / math.factorial(2 * n + odd)
        series.append(sum_ * r if odd else sum_)
    turn = np.mod(k + quarter, 4)
    return np.asarray(np.where(turn % 2 == 0, series[0], series[1]) * np.where(turn >= 2, -1.0, 1.0))


def power(x: Array, y: Array) -> Doubles:
    """Return x^y; a negative x has a power for whole y alone."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    whole = np.rint(y) == y
    found = np.where(y == 0, 1.0, np.where(x == 0, np.where(y > 0, 0.0, np.inf), exp(y * log(np.abs(x)))))
    odd = whole & (np.mod(y, 2) == 1)
    return np.asarray(np.where(x >= 0, found, np.where(whole, np.where(odd, -found, found), np.nan)))


def activated(values: Array, options: Mapping[str, Any]) -> Array:
    """Return values behind the activation that is fused into an op, in place where it can be."""
    name = getattr(options.get("fused_activation_function"), "name", "NONE")
    if name == "NONE":
        return values
    if name == "TANH":
        return tanh(values)
    low, high = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[name]
    return np.clip(values, low, high, out=values)
