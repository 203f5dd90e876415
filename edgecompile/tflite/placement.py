"""Where buffers go so that the arena is as small as can be: dynamic storage allocation with known lifetimes.

No plan needs less than the most that is in use at one time (`lifetimes.peak`). First fit in a few orders mostly gets
there; otherwise a search with that bound as its ceiling puts buffers against the floor, the ceiling or each other. A
chain of layers, whose bound is its largest neighbouring pair, is always solved. The search is bounded by steps, not by
time, so that equal models give equal plans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgecompile.tflite.greedy import height
from edgecompile.tflite.lifetimes import ALIGNMENT, Buffer, peak

_WORK = 3_000_000
"""Comparisons of two buffers that a search may take: about a second."""
_CEILINGS = 6
"""Ceilings between the bound and the best first fit that are tried, halving the distance."""


def place(buffers: Sequence[Buffer]) -> list[int]:
    """Return an offset in bytes for each buffer, so that buffers in use at the same time do not overlap."""
    low = peak(buffers)
    best = min((_first_fit(buffers, order) for order in _orders(buffers)), key=lambda found: height(buffers, found))
    low_tried = low - ALIGNMENT
    for _ in range(_CEILINGS):
        top = height(buffers, best)
        ceiling = low if low_tried < low else (low_tried + top) // 2 // ALIGNMENT * ALIGNMENT
        if not low_tried < ceiling < top:
            break
        found = _within(buffers, ceiling)
        if found is None:
            low_tried = ceiling
        else:
            best = found
    return best


def _orders(buffers: Sequence[Buffer]) -> list[list[int]]:
    """Return the orders that first fit is tried in."""
    keys: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.size, b.first),
        lambda b: (-b.size * (b.last - b.first + 1), b.first),
        lambda b: (-(b.last - b.first), -b.size),
        lambda b: (b.first, -b.size),
        lambda b: (-b.last, -b.size),
    )
    found = []
    for key in keys:
        ranks = [key(b) for b in buffers]
        found.append(sorted(range(len(buffers)), key=ranks.__getitem__))
    return found


def _first_fit(buffers: Sequence[Buffer], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for i in order:
        offset = 0
        for other in placed:
            if buffers[other].meets(buffers[i]) and offsets[other] < offset + buffers[i].size:
                offset = max(offset, offsets[other] + buffers[other].size)
        offsets[i] = offset
        placed.append(i)
        placed.sort(key=lambda j: offsets[j])
    return offsets


def _within(buffers: Sequence[Buffer], ceiling: int) -> list[int] | None:
    """Return offsets that keep below ceiling; None where the search finds none within its steps."""
    count = len(buffers)
    neighbours = [[j for j in range(count) if j != i and buffers[i].meets(buffers[j])] for i in range(count)]
    offsets: list[int | None] = [None] * count
    left = [_WORK]

    def options(i: int) -> list[int]:
        """Return offsets against the floor, the ceiling or a placed buffer at which i fits."""
        size = buffers[i].size
        taken = [(o, o + buffers[j].size) for j in neighbours[i] if (o := offsets[j]) is not None]
        left[0] -= len(neighbours[i]) + len(taken) ** 2
        ends = {0, ceiling - size, *(high for _, high in taken), *(low - size for low, _ in taken)}
        return sorted(o for o in ends if 0 <= o <= ceiling - size and all(o + size <= a or b <= o for a, b in taken))

    def search(remaining: frozenset[int]) -> bool:
        if not remaining:
            return True
        if left[0] < 0:
            return False
        choices = {i: options(i) for i in remaining}
        i = min(remaining, key=lambda j: (min(2, len(choices[j])), -buffers[j].size, j))
        for offset in choices[i]:
            offsets[i] = offset
            if search(remaining - {i}):
                return True
        offsets[i] = None
        return False

    if not search(frozenset(range(count))):
        return None
    return [o if o is not None else 0 for o in offsets]
