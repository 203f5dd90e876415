"""The mapping that edgetpu_compiler would make: which ops go to the Edge TPU, and why the others do not.

How it is made. The compiler is a TFLite delegate. It marks the ops that it takes; the interpreter gathers these in
groups, in graph order, so that no group needs what a later one makes (`graph_partition` in TensorFlow Lite). By
default the compiler keeps the first group only: what could run on the Edge TPU behind an op that cannot stays on the
CPU (google-coral/edgetpu #30, #461). With `-a` it keeps all groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from edgecompile.backends.edgetpu import oprules, optable, status
from edgecompile.backends.edgetpu.optable import Doubt, Limit
from edgecompile.backends.edgetpu.versions import edgetpu_readable, first_unreadable
from edgecompile.backends.macs import macs
from edgecompile.backends.rules import Breach, Rule, unpacks_constant
from edgecompile.tflite.graph import Graph, Op


@dataclass(frozen=True)
class Placement:
    """Where one op runs.

    Attributes:
        op: the op.
        subgraph: number of the Edge TPU subgraph, from 0; None on the CPU.
        status: in the compiler's own words.
        breach: the rule that keeps the op off the Edge TPU; None where none does.
        behind: ops that break a rule and come before this one in the data's way, the nearest of each branch; set
            where the op would be on the Edge TPU but for them.
        doubts: what is not known about an op that is expected on the Edge TPU.
    """

    op: Op
    subgraph: int | None
    status: str
    breach: Breach | None = None
    behind: tuple[Op, ...] = ()
    doubts: tuple[Breach, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The expected mapping of a graph.

    Attributes:
        graph: what was mapped.
        placements: one for every op, in graph order.
        several: whether several subgraphs were allowed (`-a`).
        given: how many ops the compiler is given: those before the first that it cannot read.
    """

    graph: Graph
    placements: tuple[Placement, ...]
    several: bool
    given: int

    @property
    def cut(self) -> bool:
        """Whether ops are left that the compiler is not given, behind some that run on the Edge TPU."""
        return self.given < len(self.placements) and bool(self.on_tpu)

    def without_tail(self) -> Plan:
        """Return the same mapping where the compiler is given nothing behind the last op on the Edge TPU."""
        return replace(self, given=min(self.given, max(self.on_tpu, default=len(self.placements)) + 1))

    @cached_property
    def on_tpu(self) -> frozenset[int]:
        """Indices of the ops on the Edge TPU."""
        return frozenset(p.op.index for p in self.placements if p.subgraph is not None)

    @cached_property
    def subgraphs(self) -> int:
        """How many Edge TPU subgraphs there are."""
        return len({p.subgraph for p in self.placements} - {None})

    @cached_property
    def share_of_macs(self) -> float | None:
        """Share of the multiply-accumulate operations on the Edge TPU, in [0, 1]; None where the graph has none."""
        work = {p.op.index: macs(self.graph, p.op) for p in self.placements}
        total = sum(work.values())
        return sum(work[i] for i in self.on_tpu) / total if total else None

    def cuts(self) -> tuple[Placement, ...]:
        """Return the ops where an Edge TPU subgraph ends: they break a rule and read what it makes."""
        made = {i for p in self.placements if p.subgraph is not None for i in p.op.outputs}
        return tuple(p for p in self.placements if p.breach is not None and made & set(p.op.inputs))


def plan_mapping(graph: Graph, *, several: bool = False, runtime: int | None = None) -> Plan:
    """Return the mapping that the compiler would make of graph.

    Args:
        graph: a quantized model; constants that ops unpack count as constants.
        several: allow several Edge TPU subgraphs (`-a`).
        runtime: the oldest runtime that must run the result (`-m`); None: the compiler's own.
    """
    unreadable = first_unreadable(graph)
    given = len(graph.ops) if unreadable is None else unreadable
    verdicts = {op.index: _first_broken(graph, op, runtime) for op in graph.ops}
    taken = {op.index for op in graph.ops[:given] if verdicts[op.index] is None and not unpacks_constant(graph, op)}
    for op in graph.ops:
        producer = graph.producers.get(op.inputs[0]) if op.index in taken and _changes_sign(graph, op) else None
        if producer is not None and producer.index not in taken:
            taken.discard(op.index)
            verdicts[op.index] = optable.NOTHING_TO_FOLLOW, oprules.edgetpu_follows(graph, op)
    groups = [group for on_tpu, group in partition(graph, taken) if on_tpu]
    kept = {i: n for n, group in enumerate(groups if several else groups[:1]) for i in group}
    behind = _blockers(graph, {i for i, verdict in verdicts.items() if verdict is not None})
    placements = [
        _place(graph, op, verdicts[op.index], kept.get(op.index), behind[op.index], runtime=runtime) for op in graph.ops
    ]
    for op in graph.ops[given:]:
        if verdicts[op.index] is None:
            placements[op.index] = Placement(op, None, status.NOT_GIVEN, behind=(graph.ops[given],))
    return Plan(graph, tuple(placements), several, given)


def partition(graph: Graph, taken: set[int]) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """Yield groups of op indices as the interpreter would cut them, each with whether it is of ops in taken.

    The first op that is ready says of which kind a group is; then every op of that kind joins, in graph order, that
    needs nothing from outside this group and those before it.
    """
    missing = {i for op in graph.ops for i in op.outputs}
    waiting = list(graph.ops)
    while waiting:
        kind: bool | None = None
        group: list[int] = []
        rest: list[Op] = []
        for op in waiting:
            if missing.isdisjoint(op.inputs) and kind in (None, op.index in taken):
                kind = op.index in taken
                group.append(op.index)
                missing.difference_update(op.outputs)
            else:
                rest.append(op)
        if kind is None:  # a damaged graph: ops that wait for each other
            return
        yield kind, tuple(group)
        waiting = rest


def _first_broken(graph: Graph, op: Op, runtime: int | None) -> tuple[Limit, str] | None:
    if unpacks_constant(graph, op):
        return None
    if case := edgetpu_readable(graph, op):
        return optable.UNREADABLE, case
    row = optable.ROWS.get(op.name)
    if op.name == "QUANTIZE" and (case := oprules.edgetpu_float_input(graph, op)):
        return optable.FLOAT_INPUT, case
    limits = (*optable.ALWAYS, *((optable.UNLISTED,) if row is None or op.custom else row.limits))
    if runtime is not None and row is not None and runtime < optable.SECOND_RUNTIME:
        limits += row.before_13
    for limit in limits:
        if case := limit.rule(graph, op):
            return limit, case
    if runtime is not None and row is not None and (row.runtime or 0) > runtime:
        return optable.RUNTIME, f"{op.name} needs runtime {row.runtime}, and {runtime} is asked for"
    return None


def _changes_sign(graph: Graph, op: Op) -> bool:
    return op.name == "QUANTIZE" and bool(oprules.edgetpu_follows(graph, op))


def _blockers(graph: Graph, broken: set[int]) -> Mapping[int, tuple[Op, ...]]:
    """Return for every op the nearest ones before it, in the data's way, that are in broken."""
    nearest: dict[int, dict[int, Op]] = {}
    for op in graph.ops:
        found: dict[int, Op] = {}
        for producer in (graph.producers.get(i) for i in op.inputs):
            if producer is None or producer.index >= op.index:
                continue
            found.update({producer.index: producer} if producer.index in broken else nearest[producer.index])
        nearest[op.index] = found
    return {i: tuple(ops[k] for k in sorted(ops)) for i, ops in nearest.items()}


def _place(
    graph: Graph,
    op: Op,
    verdict: tuple[Limit, str] | None,
    subgraph: int | None,
    behind: tuple[Op, ...],
    *,
    runtime: int | None,
) -> Placement:
    if verdict is not None:
        limit, case = verdict
        return Placement(op, None, limit.status, Breach(op, limit.rule, case))
    if subgraph is None and _changes_sign(graph, op) and op.inputs[0] in graph.producers:
        breach = Breach(op, oprules.edgetpu_follows, oprules.edgetpu_follows(graph, op))
        return Placement(op, None, optable.NOTHING_TO_FOLLOW.status, breach)
    if subgraph is None:
        said = status.DATA_TYPE if unpacks_constant(graph, op) else status.MORE_SUBGRAPHS
        return Placement(op, None, said, behind=behind)
    return Placement(op, subgraph, status.MAPPED, doubts=tuple(_doubts(graph, op, runtime)))


def _doubts(graph: Graph, op: Op, runtime: int | None) -> Iterator[Breach]:
    row = optable.ROWS[op.name]
    older = runtime is not None and runtime < optable.LAST_RUNTIME
    for doubt in (*row.doubts, *optable.ALWAYS_IN_DOUBT, *((optable.OLDER_RUNTIME_IN_DOUBT,) if older else ())):
        if case := doubt.rule(graph, op):
            yield Breach(op, doubt.rule, case)


def evidence_for(rule: Rule) -> tuple[str, ...]:
    """Return where a rule or a doubt of the op table comes from, in words."""
    entries: list[Limit | Doubt] = [*optable.ALWAYS, *optable.ALWAYS_IN_DOUBT, *optable.SPECIAL]
    entries.append(optable.OLDER_RUNTIME_IN_DOUBT)
    for row in optable.ROWS.values():
        entries += [*row.limits, *row.before_13, *row.doubts]
    return next((tuple(str(e) for e in entry.evidence) for entry in entries if entry.rule is rule), ())
