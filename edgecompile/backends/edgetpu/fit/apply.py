"""Fit a model to the Edge TPU: make the rewrites that bring ops onto it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.backends.edgetpu.fit.forms import Rewrite
from edgecompile.backends.edgetpu.fit.proof import difference
from edgecompile.backends.edgetpu.fit.table import rewrites_for
from edgecompile.backends.edgetpu.planner import Plan, plan_mapping
from edgecompile.backends.edgetpu.versions import edgetpu_readable
from edgecompile.backends.rules import identifier
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, read_graph

_MOST_ROUNDS = 8
"""A rewrite may bring forth an op that another one helps; no chain of them is known to be longer than two."""


@dataclass(frozen=True)
class Made:
    """One rewrite that fits an op.

    Attributes:
        rewrite: which.
        op: name of the op.
        layer: name of what it makes.
        codes: the largest difference of an output code that was found; None where it could not be run.
    """

    rewrite: Rewrite
    op: str
    layer: str
    codes: int | None

    @property
    def allowed(self) -> bool:
        """Whether the difference is one that the rewrite may make."""
        return self.codes is not None and self.codes <= self.rewrite.codes


@dataclass(frozen=True)
class Fitted:
    """A model before and after.

    Attributes:
        content: the file; the one that was given where no rewrite helps.
        before: what is expected of the compiler for the model that was given.
        after: the same for content.
        made: the rewrites, in graph order within each round.
        refused: rewrites that would help, and differ by more codes than is allowed, or cannot be run to see.
    """

    content: bytes
    before: Plan
    after: Plan
    made: tuple[Made, ...]
    refused: tuple[Made, ...] = ()


def fit(content: bytes, *, several: bool = False, runtime: int | None = None, seed: int = 0) -> Fitted:
    """Return a model with every rewrite that brings ops onto the Edge TPU, or makes sure of them.

    A rewrite is kept where its ops are expected on the Edge TPU and were not, where the compiler can read the model
    only with it, or where it is exact and takes away a doubt. Each is run beside what it replaces before it is made.

    Args:
        content: a quantized model.
        several: whether the compiler may make several subgraphs (`-a`).
        runtime: the oldest runtime that must run the result (`-m`); None: the compiler's own.
        seed: of the codes that rewrites are tried on.

    Raises:
        ModelError: content cannot be read.
    """
    how = _Planner(several, runtime)
    before = after = how.plan(content)
    made: list[Made] = []
    refused: dict[tuple[str, str], Made] = {}
    for _ in range(_MOST_ROUNDS):
        chances = _chances(content, after, seed=seed)
        refused |= {(one.layer, identifier(one.rewrite.apply)): one for one in chances.values() if not one.allowed}
        found = _round(content, after, {i: one for i, one in chances.items() if one.allowed}, how)
        if found is None:
            break
        content, after, new = found
        made += new
    return Fitted(content, before, after, tuple(made), tuple(refused.values()))


@dataclass(frozen=True)
class _Planner:
    """How the compiler will be called."""

    several: bool
    runtime: int | None

    def plan(self, content: bytes) -> Plan:
        """Return the mapping that the compiler would make of a `.tflite` file."""
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
            file = Path(folder) / "model.tflite"
            file.write_bytes(content)
            return plan_mapping(read_graph(file), several=self.several, runtime=self.runtime)


def _chances(content: bytes, plan: Plan, *, seed: int) -> dict[int, Made]:
    """Return for every op that a rewrite fits the first one that is allowed; where none is, the last that was tried."""
    found: dict[int, Made] = {}
    for placement in plan.placements:
        op = placement.op
        for rewrite in rewrites_for(plan.graph, placement):
            last = _reach(content, plan.graph, rewrite, op.index)
            if last is None:
                continue
            codes = difference(content, rewrite, op.index, last, seed=seed)
            found[op.index] = Made(rewrite, op.name, plan.graph.tensors[op.outputs[0]].name, codes)
            if found[op.index].allowed:
                break
    return found


def _reach(content: bytes, graph: Graph, rewrite: Rewrite, index: int) -> int | None:
    """Return the last op that a rewrite of op number index touches; None where it does not fit that op."""
    trial = Draft(content)
    return max(trial.replaced) if rewrite.apply(trial, graph, graph.ops[index]) else None


def _round(
    content: bytes, plan: Plan, chances: Mapping[int, Made], how: _Planner
) -> tuple[bytes, Plan, list[Made]] | None:
    """Return content with all those of chances made that help; None where none does."""
    chances = dict(chances)
    while chances:
        draft, made = Draft(content), dict(chances)
        for index in chances:
            if index in draft.replaced:  # by the rewrite of an op before it: its turn may come in the next round
                del made[index]
            else:
                chances[index].rewrite.apply(draft, plan.graph, plan.graph.ops[index])
        new, place = draft.finish()
        after = how.plan(new)
        idle = [i for i, one in made.items() if not _helps(plan, after, i, place[i], moves=one.rewrite.moves)]
        if not idle:
            return new, after, list(made.values())
        for index in idle:
            del chances[index]
    return None


def _helps(before: Plan, after: Plan, index: int, place: range, *, moves: bool) -> bool:
    """Return whether the ops in place, which replace op number index, are better off than it was."""
    if moves:
        return len(after.on_tpu) > len(before.on_tpu)
    if edgetpu_readable(before.graph, before.graph.ops[index]):
        return not any(edgetpu_readable(after.graph, after.graph.ops[i]) for i in place)
    if not all(i in after.on_tpu for i in place):
        return False
    doubts = sum(len(after.placements[i].doubts) for i in place)
    return index not in before.on_tpu or doubts < len(before.placements[index].doubts)
