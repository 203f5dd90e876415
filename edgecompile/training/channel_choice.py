"""Which channels go: how many of each group, so that the budget is met and the model suffers least."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgecompile.errors import PassError
from edgecompile.training.channel_groups import Cost, CostModel, Group
from edgecompile.training.channel_scores import SHARES
from edgecompile.units import show_bytes

Floats = npt.NDArray[np.float64]
Removed = npt.NDArray[np.bool_]
Measure = Literal["macs", "parameters", "bytes"]

MOST = 0.875
"""Largest share of a group that may go: a group must not vanish."""
MOST_TRIES = 3000
"""Exchanges that are weighed: about 10 ms each for the 40 groups of EfficientNetB0, which needs 300."""
_TINY = 1e-12


def worth(cost: Cost, measure: Measure) -> int:
    """Return the part of a cost that a budget speaks of."""
    return {"macs": cost.macs, "parameters": cost.parameters, "bytes": cost.model_bytes}[measure]


class Chooser:
    """Takes channels away group by group, a step at a time."""

    def __init__(
        self, groups: Sequence[Group], scores: Floats, cost: CostModel, *, slots: int, multiple: int, measure: Measure
    ) -> None:
        self.measure, self._groups, self._cost, self.multiple = measure, groups, cost, multiple
        self._orders = [sorted(g.slots, key=lambda slot: (scores[slot], slot)) for g in groups]
        self.removed: Removed = np.zeros(slots, bool)
        self.counts = [0] * len(groups)

    @property
    def unit(self) -> str:
        """What the cost is counted in."""
        return {"macs": "multiply-accumulates"}.get(self.measure, self.measure)

    def now(self) -> int:
        """Return the cost as it is."""
        return worth(self._cost(self.removed), self.measure)

    def room(self, number: int) -> int:
        """Return how many channels of a group may go at most: whole steps, so that what stays is a multiple."""
        group = self._groups[number]
        floor = max(self.multiple, int(np.ceil(group.size * (1 - MOST))), group.size - len(group.slots))
        most = group.size - floor
        # A size that is no multiple loses its remainder first.
        rest = group.size % self.multiple
        return 0 if most < (rest or self.multiple) else rest + (most - rest) // self.multiple * self.multiple

    def step(self, number: int) -> int:
        """Return how many channels of a group would go next; 0 where no more may."""
        size = self._groups[number].size - self.counts[number]
        wanted = size % self.multiple or self.multiple
        return wanted if self.counts[number] + wanted <= self.room(number) else 0

    def last(self, number: int) -> int:
        """Return how many channels of a group went in its last step; 0 where none went."""
        return min(self.counts[number], self.multiple)

    def take(self, number: int, count: int) -> None:
        """Take so many more channels of a group away; where count is negative, give so many back."""
        start, end = sorted((self.counts[number], self.counts[number] + count))
        self.removed[self._orders[number][start:end]] = count > 0
        self.counts[number] += count

    def exchange(self, back: int, instead: int | None, *, budget: int) -> bool:
        """Give the last step of a group back and take one of another group instead; undo it where it breaks budget."""
        given, taken = self.last(back), 0 if instead is None else self.step(instead)
        self.take(back, -given)
        self.take(instead or 0, taken)
        fits = self.now() <= budget
        if not fits:
            self.take(instead or 0, -taken)
            self.take(back, given)
        return fits

    def saved(self, number: int, count: int) -> int:
        """Return what taking so many more away would save."""
        before = self.now()
        self.take(number, count)
        after = self.now()
        self.take(number, -count)
        return before - after


def spread_by_damage(chooser: Chooser, curves: Sequence[Floats], groups: Sequence[Group], budget: int) -> None:
    """Take channels away until the budget is met, each time those that cost the least loss for what they save.

    Then mend what that could not see coming: see `_exchange`.

    Raises:
        PassError: all that may go is not enough.
    """

    def harm(number: int, count: int) -> float:
        """Return what the loss rises by when so many more of a group go."""
        size, curve = groups[number].size, curves[number]
        now, then = (damage_at(curve, c / size) for c in (chooser.counts[number], chooser.counts[number] + count))
        return then - now

    def price(number: int) -> float:
        count = chooser.step(number)
        return harm(number, count) / max(chooser.saved(number, count), 1) if count else float("inf")

    heap = [(price(number), number) for number in range(len(groups))]
    heapq.heapify(heap)
    while chooser.now() > budget:
        _, number = heapq.heappop(heap) if heap else (0.0, -1)
        if number < 0:
            raise _too_little(chooser, budget)
        # What a step saves falls as others go, so an old price is too low: look again before it is paid.
        fresh = price(number)
        if fresh == float("inf"):
            continue
        if heap and fresh > heap[0][0]:
            heapq.heappush(heap, (fresh, number))
            continue
        chooser.take(number, chooser.step(number))
        heapq.heappush(heap, (price(number), number))
    _exchange(chooser, harm, len(groups), budget)


def _exchange(chooser: Chooser, harm: Callable[[int, int], float], groups: int, budget: int) -> None:
    """Give steps back, or exchange a group's step for another's, while the budget holds and the loss gets smaller.

    A step of a large group may save more than was missing, and one that looked dear may lead to cheap ones. ResNet8
    asked for 0.75 of its multiply-accumulates: steps alone end at 0.69; exchanges keep 0.745 at two thirds of the
    loss, which no other of the 230,400 choices betters.
    """

    def better() -> list[tuple[int, int | None]]:
        """Return (group that gets a step back, group that loses one instead), what gains most first."""
        eased = {i: -harm(i, -given) for i in range(groups) if (given := chooser.last(i))}
        rise = {i: harm(i, step) for i in range(groups) if (step := chooser.step(i))}
        moves: list[tuple[float, int, int | None]] = [(gain, back, None) for back, gain in eased.items()]
        moves += [(eased[back] - rise[i], back, i) for back in eased for i in rise if i != back]
        return [(back, i) for gain, back, i in sorted(moves, key=lambda move: -move[0]) if gain > _TINY]

    tries = iter(range(MOST_TRIES))
    while any(chooser.exchange(*move, budget=budget) for move, _ in zip(better(), tries, strict=False)):
        pass


def spread_evenly(chooser: Chooser, groups: Sequence[Group], budget: int) -> None:
    """Take the same share of every group away, the smallest that meets the budget.

    Raises:
        PassError: all that may go is not enough.
    """
    for share in np.linspace(0, MOST, 8 * 64 + 1):
        for number, group in enumerate(groups):
            while (count := chooser.step(number)) and chooser.counts[number] + count <= share * group.size:
                chooser.take(number, count)
        if chooser.now() <= budget:
            return
    raise _too_little(chooser, budget)


def damage_at(curve: Floats, share: float) -> float:
    """Return the loss at a share of a group, from the measured ones; beyond the last one it rises as before it.

    A little is added for every channel, so that those that seem to cost nothing go evenly.
    """
    points = np.array([0.0, *SHARES])
    values = np.array([0.0, *curve])
    if share > points[-1]:
        slope = (values[-1] - values[-2]) / (points[-1] - points[-2])
        return float(values[-1] + slope * (share - points[-1])) + _LITTLE * share**2
    return float(np.interp(share, points, values)) + _LITTLE * share**2


_LITTLE = 1e-4


def _too_little(chooser: Chooser, budget: int) -> PassError:
    return PassError(
        f"the smallest that the model can become is {chooser.now():,} {chooser.unit}, and the budget is {budget:,}",
        where="channels",
        hint="raise the budget, or lower `multiple`" if chooser.multiple > 1 else "raise the budget",
    )


def limit(cost: Cost, *, macs: float | None, parameters: float | None, model_bytes: int | None) -> tuple[Measure, int]:
    """Return what a budget measures, and the most that it allows; exactly one of the three is given.

    Raises:
        PassError: the budget is larger than what the model takes now.
    """
    if model_bytes is not None:
        if cost.model_bytes <= model_bytes:
            raise PassError(
                f"the int8 model takes about {show_bytes(cost.model_bytes)}, which {show_bytes(model_bytes)} hold",
                where="channels",
                hint="leave `channels` out",
            )
        return "bytes", model_bytes
    if parameters is not None:
        return "parameters", int(cost.parameters * parameters)
    assert macs is not None, "one budget is given"
    return "macs", int(cost.macs * macs)
