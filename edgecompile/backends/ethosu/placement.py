"""Where each op of the model as written runs, and in Vela's words why not on the NPU.

Vela reports the ops that it made of the model, not the model's: a softmax alone becomes thirty. The compiled file says
it in the model's own: what stayed outside the custom op is on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from edgecompile.backends.ethosu.said import Refusal
from edgecompile.backends.macs import macs
from edgecompile.backends.recovery import recover
from edgecompile.tflite.graph import Graph, Op

CUSTOM_OP = "ethos-u"
"""The op that holds what the NPU runs, in a compiled model."""


@dataclass(frozen=True)
class Left:
    """An op that stays on the CPU.

    Attributes:
        op: the op, of the source.
        refusals: what Vela says of it, no two alike; empty where it gives no reason.
    """

    op: Op
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class Placement:
    """Where the ops of a model run.

    Attributes:
        graph: the model as written.
        on_npu: indices of its ops on the NPU.
        left: its ops on the CPU, in graph order.
        removed: indices of the ops that Vela did away with.
        inserted: ops of the compiled model, on the CPU, that the source does not have.
        parts: how many times the NPU is called in one inference.
    """

    graph: Graph
    on_npu: frozenset[int]
    left: tuple[Left, ...]
    removed: frozenset[int]
    inserted: tuple[Op, ...]
    parts: int

    @cached_property
    def share_of_macs(self) -> float | None:
        """The share of multiply-accumulate operations that the NPU does, in [0, 1]; None where there are none."""
        work = {op.index: macs(self.graph, op) for op in self.graph.ops}
        total = sum(work.values())
        return sum(n for i, n in work.items() if i in self.on_npu) / total if total else None


def place(source: Graph, compiled: Graph, refusals: Iterable[Refusal]) -> Placement:
    """Return where the ops of source run in compiled."""
    found = recover(source, compiled, custom_op=CUSTOM_OP)
    said = tuple(refusals)
    return Placement(
        graph=source,
        on_npu=found.inside,
        left=tuple(Left(source.ops[i], _about(source, source.ops[i], said)) for i in sorted(found.outside)),
        removed=found.removed,
        inserted=tuple(compiled.ops[i] for i in found.inserted),
        parts=sum(op.name == CUSTOM_OP for op in compiled.ops),
    )


def _about(graph: Graph, op: Op, said: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Return what is said of op: by the name of what it makes, or where that has none, by its kind."""
    names = [graph.tensors[i].name for i in op.outputs]
    if any(names):
        found = [r for r in said if any(r.is_about(name) for name in names)]
    else:
        found = [r for r in said if not r.made and r.op in {op.name, "CUSTOM" if op.custom else op.name}]
    # Vela looks at an op several times, and at its activation apart: the first reason for each rule is enough.
    first: dict[str, Refusal] = {}
    for refusal in found:
        first.setdefault(refusal.rule or refusal.reason, refusal)
    return tuple(first.values())


def name_of(graph: Graph, op: Op) -> str:
    """Return op with what it makes, which is how its layer is known: `SOFTMAX → probabilities`."""
    return f"{op.name} → {graph.tensors[op.outputs[0]].name}" if op.outputs else op.name
