"""Plots of the report as places on an axis, in percent of its width: the template draws them at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A linear axis from low to high with ticks at round values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """Return where value lies, as a percentage of the width: `42.5%`."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{round(100 * share, 2):g}%"


def axis(values: Sequence[float], *, floor: float = -math.inf, ceiling: float = math.inf, ticks: int = 4) -> Axis:
    """Return an axis with round ends around values; about so many ticks.

    Args:
        values: what must lie on the axis; not empty.
        floor: values cannot be lower: the axis does not begin below it.
        ceiling: likewise.
        ticks: how many intervals there should be, about.
    """
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    step = _round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [k * step for k in range(first, last + 1) if floor - 1e-9 <= k * step <= ceiling + 1e-9]
    low, high = max(first * step, floor), min(last * step, ceiling)
    return Axis(low, high, tuple(marks))


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(s * power for s in _STEPS if s * power >= step * 0.999)
