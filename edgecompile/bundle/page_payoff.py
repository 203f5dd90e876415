"""What training made of the model, as the page shows it: a row for every stage, one for every kernel of the result."""

from __future__ import annotations

from dataclasses import dataclass

from edgecompile.payoff import KernelInfo, Payoff
from edgecompile.units import show_bytes, show_percent

LONGEST = 100
"""Kernels that the page shows; the rest is in report.json."""


@dataclass(frozen=True)
class PayoffView:
    """The section.

    Attributes:
        runtime: what the target can use, in one sentence.
        stages: step, parameters, MACs, zeros, largest number of distinct values of a kernel, bytes, gzip bytes.
        kernels: layer, op, then weights, MACs, zeros and distinct values, each as `source → result` where it changed.
        left_out: kernels that are not shown.
    """

    runtime: str
    stages: tuple[tuple[str, ...], ...]
    kernels: tuple[tuple[str, ...], ...]
    left_out: int


def payoff_view(payoff: Payoff) -> PayoffView:
    """Return what the page shows of payoff."""
    stages = tuple(
        (
            stage.name,
            f"{stage.parameters:,}",
            f"{stage.macs:,}",
            show_percent(stage.zeros, digits=1),
            f"{max((k.distinct for k in stage.kernels), default=0):,}",
            show_bytes(stage.bytes),
            show_bytes(stage.gzip_bytes),
        )
        for stage in payoff.stages
    )
    before, after = payoff.stages[0].kernels, payoff.stages[-1].kernels
    # Kernels are told apart by their place: names differ where a layer was split or a name dropped.
    same = [k.op for k in before] == [k.op for k in after]
    pairs = zip(before if same else [None] * len(after), after, strict=True)
    rows = tuple(_kernel(old, new) for old, new in pairs)
    return PayoffView(payoff.runtime, stages, rows[:LONGEST], max(0, len(rows) - LONGEST))


def _kernel(old: KernelInfo | None, new: KernelInfo) -> tuple[str, ...]:
    return (
        new.layer.split(";")[0],
        new.op,
        *(
            show(new) if old is None or show(old) == show(new) else f"{show(old)} → {show(new)}"
            for show in (_weights, _macs, _zeros, _distinct)
        ),
    )


def _weights(kernel: KernelInfo) -> str:
    return f"{kernel.weights:,}"


def _macs(kernel: KernelInfo) -> str:
    return f"{kernel.macs:,}"


def _zeros(kernel: KernelInfo) -> str:
    return show_percent(kernel.zeros, digits=1)


def _distinct(kernel: KernelInfo) -> str:
    return f"{kernel.distinct:,}"
