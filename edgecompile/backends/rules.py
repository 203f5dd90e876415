"""Rules: what a runtime or an accelerator takes, one small function each.

A rule's docstring is the sentence the user reads, its name the finding's identifier and the name of its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from edgecompile.report import Finding
from edgecompile.tflite.graph import Graph, Op, Tensor
from edgecompile.units import show_shape

Rule = Callable[[Graph, Op], str]
"""Returns how this op breaks the rule, in a few words; empty when the op keeps it."""

Rules = Mapping[str, tuple[Rule, ...]]
"""Op name → what is asked of it beyond being listed."""

_SHOWN = 3


@dataclass(frozen=True)
class Breach:
    """An op that breaks a rule."""

    op: Op
    rule: Rule
    case: str
    """What the op has instead."""


@dataclass(frozen=True)
class ModelRule:
    """A rule about the tensors of a model, and what follows where some break it.

    Attributes:
        broken_by: returns the tensors that break the rule; its docstring is the rule.
        severity: of the finding.
        consequence: what follows when nothing is done.
        remedy: what to do.
    """

    broken_by: Callable[[Graph], tuple[Tensor, ...]]
    severity: Literal["info", "warning", "error"]
    consequence: str
    remedy: str

    def finding(self, graph: Graph) -> Finding | None:
        """Return what to tell the user about graph; None where it keeps the rule."""
        tensors = self.broken_by(graph)
        if not tensors:
            return None
        first = f"{tensors[0].dtype} {show_shape(tensors[0].shape_signature)}"
        names = ", ".join(t.name for t in tensors[:_SHOWN])
        return Finding(
            severity=self.severity,
            rule=identifier(self.broken_by),
            what=f"{sentence(self.broken_by)}: {len(tensors)} of this model's do not keep to it, first {first}",
            where=names + (f" and {len(tensors) - _SHOWN} more" if len(tensors) > _SHOWN else ""),
            consequence=self.consequence,
            remedy=self.remedy,
        )


def sentence(rule: Callable[..., object]) -> str:
    """Return what the user reads: the first paragraph of the rule's docstring, on one line, without a full stop."""
    first = (rule.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split()).removesuffix(".")


def identifier(rule: Callable[..., object]) -> str:
    """Return the stable name of the rule: `pool-1x1-stride`."""
    return rule.__name__.replace("_", "-")


def breaches(graph: Graph, rules: Rules, *, unlisted: Rule, always: tuple[Rule, ...] = ()) -> tuple[Breach, ...]:
    """Return the ops that break a rule, in graph order, each with the first rule that it breaks.

    Ops that only unpack a constant are their reader's business and are not asked.

    Args:
        graph: the model.
        rules: the ops that are taken, and on what conditions.
        unlisted: the rule that an op breaks by not being in rules.
        always: rules for every op, asked first.
    """
    found: list[Breach] = []
    for op in graph.ops:
        if unpacks_constant(graph, op):
            continue
        for rule in (*always, *rules.get(op.name, (unlisted,))):
            if case := rule(graph, op):
                found.append(Breach(op, rule, case))
                break
    return tuple(found)


def findings(
    graph: Graph,
    broken: Iterable[Breach],
    *,
    severity: Literal["info", "warning", "error"],
    consequence: str,
    remedy: str = "",
) -> tuple[Finding, ...]:
    """Return one finding for every rule that is broken; its `where` names the ops, its `what` their cases."""
    by_rule: dict[Rule, list[Breach]] = {}
    for breach in broken:
        by_rule.setdefault(breach.rule, []).append(breach)
    return tuple(
        Finding(
            severity=severity,
            rule=identifier(rule),
            what=f"{sentence(rule)}: {'; '.join(dict.fromkeys(b.case for b in those))}",
            where=_name_ops(graph, [b.op for b in those]),
            consequence=consequence,
            remedy=remedy,
        )
        for rule, those in by_rule.items()
    )


def _name_ops(graph: Graph, ops: list[Op]) -> str:
    shown = [f"{op.name} → {graph.tensors[op.outputs[0]].name}" if op.outputs else op.name for op in ops[:_SHOWN]]
    more = f" and {len(ops) - _SHOWN} more" if len(ops) > _SHOWN else ""
    return ", ".join(shown) + more


def count_partitions(graph: Graph, left_out: frozenset[int]) -> int:
    """Return in how many pieces a delegate gets the graph when it takes every op but those of index left_out.

    Like the interpreter, ops are gathered in graph order into groups that need nothing from a later group; ops
    that only unpack a constant (float16 weights) belong to their reader and make no group.
    """
    computed = {i for op in graph.ops if not unpacks_constant(graph, op) for i in op.outputs}
    waiting = [op for op in graph.ops if not unpacks_constant(graph, op)]
    taken_groups = 0
    while waiting:
        kind = None
        rest: list[Op] = []
        for op in waiting:
            ready = not any(i in computed for i in op.inputs)
            if ready and kind in (None, op.index in left_out):
                kind = op.index in left_out
                computed.difference_update(op.outputs)
            else:
                rest.append(op)
        if kind is None:
            break
        taken_groups += not kind
        waiting = rest
    return taken_groups


def unpacks_constant(graph: Graph, op: Op) -> bool:
    """Return whether op turns a stored constant into another dtype: how float16 weights are kept in a file."""
    return op.name in {"DEQUANTIZE", "DENSIFY"} and graph.tensors[op.inputs[0]].constant


def tensor(graph: Graph, op: Op, number: int) -> Tensor | None:
    """Return input number of op, or None where the op has none there."""
    if number >= len(op.inputs) or op.inputs[number] < 0:
        return None
    return graph.tensors[op.inputs[number]]


def is_constant(graph: Graph, item: Tensor) -> bool:
    """Return whether the content of item is known before the model runs: stored, or unpacked from what is stored."""
    producer = graph.producers.get(item.index)
    return item.constant or (producer is not None and unpacks_constant(graph, producer))


def activations(graph: Graph) -> tuple[Tensor, ...]:
    """Return the tensors that the model computes or is given, in order of index; no constants, no unused ones."""
    used = {i for op in graph.ops for i in (*op.inputs, *op.outputs) if i >= 0} | {*graph.inputs, *graph.outputs}
    return tuple(graph.tensors[i] for i in sorted(used) if not is_constant(graph, graph.tensors[i]))
