"""The channels pass at work: choose channels, build the smaller model, fine-tune it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from edgecompile.errors import PassError
from edgecompile.report import Finding
from edgecompile.training.channel_choice import Chooser, limit, spread_by_damage, spread_evenly, worth
from edgecompile.training.channel_cut import without
from edgecompile.training.channel_groups import Cost, CostModel, Group, all_kept, find_groups
from edgecompile.training.channel_rules import find_channels
from edgecompile.training.channel_scores import SHARES, Floats, Importance, damages, score
from edgecompile.training.channels import Channels
from edgecompile.training.held import hold
from edgecompile.training.kernels import ensure_named
from edgecompile.training.orders import Done, Orders
from edgecompile.training.stored import Notes
from edgecompile.training.workshop import SAMPLE_ROWS, Workshop

MOST_WORK = 400e9
"""Multiply-accumulates that measuring may take: about a minute on two cores."""
FEWEST_ROWS = 16
SCORED_ROWS = 64
"""Rows that `taylor` looks at, 16 at a time."""
_BATCH = 16

Spread = Literal["sensitivity", "even"]


@dataclass(frozen=True)
class Removal:
    """What is removed.

    Attributes:
        macs: share of the multiply-accumulates to keep, or None.
        parameters: share of the parameters to keep, or None.
        model_bytes: bytes that the int8 model may take, or None. Exactly one of the three is set.
        importance: how channels of a group are ranked.
        spread: how much of each group goes.
        multiple: channels that stay are a multiple of it.
        skip: layers to leave alone, names with `*`.
    """

    macs: float | None
    parameters: float | None
    model_bytes: int | None
    importance: Importance
    spread: Spread
    multiple: int
    skip: tuple[str, ...]


def train_channels(shop: Workshop, orders: Orders, removal: Removal) -> Done:
    """Return the model of shop with fewer channels, fine-tuned.

    Raises:
        PassError: no channel can go, the budget cannot be met or is met already, or the smaller model does not meet it.
        ConfigError: teacher, loss, labels and model do not fit each other, or `skip` names nothing.
    """
    ensure_named(removal.skip, [name for name, _ in shop.network.layers()], where="channels")
    channels = find_channels(shop.network)
    groups, kept = find_groups(channels)
    groups, kept = _without_skipped(channels, groups, kept, removal.skip)
    if not groups:
        raise PassError("found no channel that can go", where="channels", hint="; ".join(_reasons(kept)))
    chooser, before, budget = choose_channels(shop, channels, groups, removal)
    smaller = shop.replaced(without(shop.tf, shop.keras, channels, chooser.removed), notes=Notes())
    after = cost_of(smaller)
    if (found := worth(after, chooser.measure)) > budget:
        raise PassError(f"the model takes {found:,} {chooser.unit}, and the budget is {budget:,}", where="channels")
    held = hold(smaller.tf, smaller.kernels(), Notes())
    _, facts = smaller.tune(smaller.student(held, kept_from=1e-9), orders)
    held.forms.finish()
    facts |= {
        "macs_before": before.macs,
        "macs_after": after.macs,
        "parameters_before": before.parameters,
        "parameters_after": after.parameters,
        "channels": _told(groups, chooser.counts),
    }
    return Done(smaller.model, Notes(), facts, tuple(_finding(name, why) for name, why in kept.items()))


def choose_channels(
    shop: Workshop, channels: Channels, groups: Sequence[Group], removal: Removal
) -> tuple[Chooser, Cost, int]:
    """Return what goes, the cost before, and the budget in the chooser's measure."""
    model = CostModel(channels, shop.shapes())
    before = model(np.zeros(channels.slots, bool))
    measure, budget = limit(before, macs=removal.macs, parameters=removal.parameters, model_bytes=removal.model_bytes)
    scores = _scores(shop, channels, removal.importance)
    chooser = Chooser(groups, scores, model, slots=channels.slots, multiple=removal.multiple, measure=measure)
    if removal.spread == "even":
        spread_evenly(chooser, groups, budget)
    else:
        curves = _damages(shop, channels, groups, scores, before)
        spread_by_damage(chooser, curves, groups, budget)
    return chooser, before, budget


def cost_of(shop: Workshop) -> Cost:
    """Return what the model of shop costs as it is."""
    channels = find_channels(shop.network)
    return CostModel(channels, shop.shapes())(np.zeros(channels.slots, bool))


def _scores(shop: Workshop, channels: Channels, importance: Importance) -> Floats:
    batches = shop.batches(shop.sample(SCORED_ROWS), _BATCH)
    return score(shop.tf, channels, shop.run, batches, how=importance, seed=shop.place.seed)


def _damages(shop: Workshop, channels: Channels, groups: Sequence[Group], scores: Floats, cost: Cost) -> list[Floats]:
    """Measure how far the outputs move from what they are as channels of each group are silenced."""
    tf = shop.tf
    rows = int(np.clip(MOST_WORK / (max(cost.macs, 1) * len(groups) * len(SHARES)), FEWEST_ROWS, SAMPLE_ROWS))
    batches = shop.batches(shop.sample(rows), rows)
    wanted = [[tf.constant(y.numpy()) for y in shop.run(inputs)] for inputs in batches]
    distance = shop.distance()
    apart = tf.function(lambda inputs, outputs: distance(shop.run(inputs), outputs), autograph=False)

    def measure() -> float:
        return float(np.mean([float(apart(*pair)) for pair in zip(batches, wanted, strict=True)]))

    def told(done: int, total: int) -> None:
        shop.place.progress.update(shop.place.where, done=done, total=total, note="measuring what each layer can lose")

    return damages(channels, groups, scores, measure, told)


def _without_skipped(
    channels: Channels, groups: list[Group], kept: dict[str, str], skip: tuple[str, ...]
) -> tuple[list[Group], dict[str, str]]:
    """Return the groups of which no named layer gives a channel, and maker → why for the rest."""
    named = {
        int(slot)
        for call in channels.network.calls
        if any(fnmatchcase(call.name, pattern) for pattern in skip)
        for tensor in call.outputs
        for slot in channels.roots(channels.tensors[tensor])
    }
    left = [g for g in groups if named.isdisjoint(g.slots)]
    gone = {m: "`skip` names it, or a layer that is tied to it" for g in groups if g not in left for m in g.makers}
    return left, all_kept(kept | gone, left)


def _reasons(kept: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in kept.items()]


def _told(groups: Sequence[Group], counts: Sequence[int]) -> str:
    """Return how many channels each group had and has: `stem + conv2 16 → 12, conv1 16 → 8`."""
    pairs = zip(groups, counts, strict=True)
    return ", ".join(f"{g.name} {g.size} → {g.size - count}" for g, count in pairs if count)


def _finding(name: str, why: str) -> Finding:
    return Finding(
        severity="info", rule="channels-kept", what=f"no channel of the layer can go: {why}", where=f"layer {name}"
    )
