"""From activations over calibration rows to the range of each tensor that integers will stand for.

One pass over the rows: each tensor keeps its exact extremes and a histogram. Bins are a power of two wide and start at
multiples of their width, so that a larger value doubles the width by adding neighbours, and the counts depend on the
values alone, never on their order or on how many rows came at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edgecompile.errors import PassError
from edgecompile.tflite.fixed.grid import column_sums

Method = Literal["minmax", "percentile", "mse"]

HALF = 4096
"""Bins on each side of 0. The larger side fills half of them at least, so that a bin is at most 1/8 of an int8 step."""

_BLOCK = 1 << 16
"""Values counted at a time: what is computed of them stays in a processor's cache, which halves the time."""

_SMALLEST_WIDTH = 2.0**-100
"""Finer bins would need numbers that float32 has no normal form for."""

SMALLEST_STEP = 2.0**-25
"""The finest step that kernels take for sure, 3.0e-8. SOFTMAX's kernels end the process where step * 2**26 is not
above 1 (LiteRT quantization_util.cc, PreprocessSoftmaxScaling), and RELU6 counts 6 / step in an int32."""

_CANDIDATES = np.linspace(0.02, 1.0, 99)
"""Shares of the extreme that `mse` tries as a bound on each side: steps of 1% of the range."""


class Range(NamedTuple):
    """The real values that integers stand for; holds 0, which padding and ReLU need exactly."""

    low: float
    high: float


@dataclass
class Histogram:
    """What one tensor held: exact extremes, and counts by bin.

    Bin k of `counts`, [2 * HALF], holds values in [(k - HALF) * width, (k - HALF + 1) * width).
    """

    low: float = math.inf
    """The smallest value."""
    high: float = -math.inf
    """The largest value."""
    count: int = 0
    """How many values there were."""
    zeros: int = 0
    """How many of them were 0 exactly, which every range represents without error."""
    width: float = 0.0
    """Of a bin, in real units, a power of two; 0 while all values were 0."""
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * HALF, np.int64))

    def add(self, values: npt.NDArray[np.float32]) -> bool:
        """Count values, any shape; return False, and count nothing, where one is not finite."""
        if not values.size:
            return True
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # min and max hand NaN on
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += values.size
        self.zeros += int(np.count_nonzero(values == 0))  # four times quicker than counting what is not
        largest = max(abs(low), abs(high))
        if largest > 0:
            self._widen(_width(largest))
        if self.width > 0:
            flat, scale = values.reshape(-1), np.float32(1 / self.width)
            for start in range(0, flat.size, _BLOCK):
                # Multiplying by a power of two is exact, and floor of it is the bin, whatever the width was before (but
                # for negative values below 1e-37, whose product underflows to 0 and counts one bin higher).
                bins = flat[start : start + _BLOCK] * scale
                np.floor(bins, out=bins)
                bins += HALF
                self.counts += np.bincount(bins.astype(np.int32), minlength=2 * HALF)
        else:
            self.counts[HALF] += values.size
        return True

    def _widen(self, width: float) -> None:
        """Make bins at least width wide."""
        if self.width == 0:
            self.width = width
        while self.width < width:
            self.width *= 2
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[HALF // 2 : HALF // 2 + HALF] = merged


def _width(largest: float) -> float:
    """Return the smallest width of a bin with which HALF bins reach beyond largest."""
    return max(math.ldexp(1.0, math.frexp(largest)[1]) / HALF, _SMALLEST_WIDTH)


def minmax(seen: Histogram) -> Range:
    """Return the extremes, and 0."""
    return Range(min(seen.low, 0.0), max(seen.high, 0.0))


def percentile(seen: Histogram, *, percent: float) -> Range:
    """Return the range that keeps percent of the values that are not 0; the rest is clipped to it.

    0 is left out of the count since every range holds it: a tensor that is 0 nearly everywhere would lose all that it
    has to say. A tensor with values on both sides of 0 loses half of the rest on each side; one with values on one side
    only (after a ReLU) loses all of it there. The number that may be lost is rounded down, and bounds lie on edges of
    bins: at least percent of the values lie inside, and a tensor of few values loses none.

    Args:
        seen: a tensor with at least one value.
        percent: in (0, 100]; 100 gives the extremes.
    """
    low, high = minmax(seen)
    sides = (seen.low < 0) + (seen.high > 0)
    if not sides:
        return Range(0.0, 0.0)
    telling = seen.count - seen.zeros
    losable = math.floor((1 - percent / 100) * telling / sides + 1e-9)  # 1 - 0.9999 is a little less than 0.0001
    if seen.high > 0:
        above = np.cumsum(seen.counts[:HALF:-1])  # in the outermost bin, in the two outermost …
        high = min(high, (HALF - int(np.searchsorted(above, losable, side="right"))) * seen.width)
    if seen.low < 0:
        below = np.cumsum(seen.counts[:HALF])
        low = max(low, (int(np.searchsorted(below, losable, side="right")) - HALF) * seen.width)
    return Range(low, high)


def mse(seen: Histogram, *, steps: int) -> Range:
    """Return the range with the least expected squared error, of all pairs of 99 bounds on each side.

    With a step s = (high - low) / steps, values inside are rounded to the nearest step, which costs s² / 12 each (error
    uniform over a step); 0 costs nothing; values outside are clipped to the bound, which costs their squared distance
    from it: ``E = s² / 12 · (inside - zeros) + Σ (value - bound)²``.

    Args:
        seen: a tensor with at least one value.
        steps: steps of the integer type: 255 for int8.

    Source: the split into rounding and clipping error: R. Banner et al., "Post training 4-bit quantization of
        convolutional networks for rapid-deployment", NeurIPS 2019, section 3.
    """
    low, high = minmax(seen)
    if low == high:
        return Range(low, high)
    lows, highs = (bound * (_CANDIDATES if bound else np.ones(1)) for bound in (low, high))
    clipped_low, lost_low = _clipping(seen, lows, side=-1)
    clipped_high, lost_high = _clipping(seen, highs, side=1)
    step = (highs[None, :] - lows[:, None]) / steps
    inside = seen.count - seen.zeros - lost_low[:, None] - lost_high[None, :]
    error = step**2 / 12 * inside + clipped_low[:, None] + clipped_high[None, :]
    at_low, at_high = np.unravel_index(int(np.argmin(error)), error.shape)
    return Range(float(lows[at_low]), float(highs[at_high]))


def _clipping(
    seen: Histogram, bounds: npt.NDArray[np.float64], *, side: Literal[-1, 1]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return for each bound, [n], the summed squared distance of values beyond it, and their number.

    Values count as the centres c of their bins: Σ (c - b)² = Σ c² - 2 b Σ c + b² n, over the bins beyond b.
    """
    outermost_first = slice(None, None, -side)
    centres = ((np.arange(2 * HALF) - HALF + 0.5) * seen.width)[outermost_first]
    counts = seen.counts[outermost_first].astype(np.float64)
    moments = np.cumsum([counts, counts * centres, counts * centres**2], axis=1)
    number, total, squares = np.concatenate([np.zeros((3, 1)), moments], axis=1)
    beyond = np.searchsorted(-side * centres, -side * bounds)
    distance = squares[beyond] - 2 * bounds * total[beyond] + bounds**2 * number[beyond]
    return np.maximum(distance, 0.0), number[beyond]


@dataclass
class Recorder:
    """Takes what `runner.activations` shows, and gives the ranges.

    Attributes:
        where: the step that errors name.
        widths: tensor name → size of the last axis that sums are kept along.
        seen: tensor name → what it held.
        sums: tensor name → sums of its values along that axis, [2, width]: of its even rows, and of the odd ones.
        counts: tensor name → how many values each number of sums is the sum of, [2].
    """

    where: str
    widths: Mapping[str, int] = field(default_factory=dict)
    seen: dict[str, Histogram] = field(default_factory=dict)
    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def __call__(self, index: int, name: str, values: npt.NDArray[np.float32]) -> None:
        """Count the values of tensor name.

        Raises:
            PassError: a value is not finite.
        """
        if not self.seen.setdefault(name, Histogram()).add(values):
            raise PassError(
                f"tensor `{name}` is NaN or infinite on a calibration row, and no integer stands for that",
                where=self.where,
                hint="run the float model on these rows: its weights are damaged, or the rows are far from what it was "
                "trained on (preprocessing?)",
            )
        if (width := self.widths.get(name)) and values.size % width == 0:
            self._sum(name, values.reshape(-1, width), len(values))

    def _sum(self, name: str, values: npt.NDArray[np.float32], rows: int) -> None:
        """Add values, [positions, width], of so many rows to the sums of even and of odd rows."""
        first = self._rows.get(name, 0)
        self._rows[name] = first + rows
        halves = np.zeros((2, values.shape[1])), np.zeros(2, np.int64)
        sums, counts = self.sums.get(name, halves[0]), self.counts.get(name, halves[1])
        row = first + np.arange(len(values)) * rows // len(values)
        for half in (0, 1):
            chosen = values[row % 2 == half]
            if len(chosen):
                sums[half] += column_sums(chosen)
                counts[half] += len(chosen)
        self.sums[name], self.counts[name] = sums, counts

    def means(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return tensor name → mean along its last axis, [width], for the tensors of `widths`."""
        return {name: summed.sum(axis=0) / self.counts[name].sum() for name, summed in self.sums.items()}

    def half_means(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the same of even and of odd rows, [2, width], for tensors that have both."""
        return {n: summed / self.counts[n][:, None] for n, summed in self.sums.items() if self.counts[n].all()}

    def unused(self) -> tuple[str, ...]:
        """Return the names of tensors that were 0 on all rows, in the order of the graph."""
        return tuple(name for name, seen in self.seen.items() if seen.low == seen.high == 0)

    def faint(self, *, steps: int) -> tuple[str, ...]:
        """Return the names of tensors whose values are too small for the finest step, though not 0."""
        least = SMALLEST_STEP * steps
        return tuple(n for n, s in self.seen.items() if 0 < max(s.high, 0.0) - min(s.low, 0.0) < least)

    def ranges(self, method: Method, *, percent: float, steps: int, exact: Collection[str] = ()) -> dict[str, Range]:
        """Return tensor name → range, none of them empty.

        A tensor that was 0 on all rows gets [0, 1]: nothing tells its range, and a step near 0 would make the integer
        biases behind it overflow. A range whose step would be finer than `SMALLEST_STEP` is widened to it.

        Args:
            method: see the functions of these names.
            percent: for `percentile`.
            steps: steps of the integer type.
            exact: names of tensors that keep their extremes under every method.
        """
        made = {}
        for name, seen in self.seen.items():
            if method == "minmax" or name in exact:
                found = minmax(seen)
            elif method == "percentile":
                found = percentile(seen, percent=percent)
            else:
                found = mse(seen, steps=steps)
            made[name] = _wide_enough(found, steps) if found.low < found.high else Range(0.0, 1.0)
        return made


def _wide_enough(found: Range, steps: int) -> Range:
    """Return found, stretched away from 0 where its step is finer than kernels take."""
    factor = SMALLEST_STEP * steps / (found.high - found.low)
    return found if factor <= 1 else Range(found.low * factor, found.high * factor)
