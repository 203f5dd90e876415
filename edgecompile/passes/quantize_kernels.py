"""Which kernel sets of LiteRT run the file that `quantize` wrote, and which of them compute an op of it wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.passes.base import Context, Fact
from edgecompile.report import Finding
from edgecompile.tflite.agreement import ROWS, Disagreement, disagreements, random_rows
from edgecompile.tflite.fidelity import some_rows
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.probe import ensure_runs


@dataclass(frozen=True)
class Tried:
    """What came of it."""

    facts: Mapping[str, Fact]
    """`kernels`: those that run the file; `wrong_kernels`: those of them that compute an op wrong, if any."""
    findings: tuple[Finding, ...]


def try_kernels(written: Path, ctx: Context, *, integer: bool) -> Tried:
    """Return what the kernel sets of LiteRT make of the file.

    Args:
        written: a `.tflite`.
        ctx: whose calibration rows it is run on, or random codes where there are none.
        integer: whether the file computes in integers. In float, kernels differ by nothing but the order of sums.

    Raises:
        ModelError: none of them runs it.
    """
    # In a process of its own: some kernels end the process over numbers that they do not take.
    kernels = ensure_runs(written, log=ctx.log)
    facts: dict[str, Fact] = {"kernels": ", ".join(kernels)}
    if not integer:
        return Tried(facts, ())
    rows = random_rows(read_graph(written)) if ctx.calibration is None else some_rows(ctx.calibration, ROWS)
    wrong = disagreements(written, rows, kernels)
    if wrong:
        facts["wrong_kernels"] = ", ".join(one.kernels for one in wrong)
    return Tried(facts, tuple(map(_finding, wrong)))


def _finding(one: Disagreement) -> Finding:
    return Finding(
        severity="warning",
        rule="kernels-differ",
        what=f"LiteRT's {one.kernels} kernels compute {one.op} wrong: not as its float form, nor as other kernels do",
        where=one.where,
        consequence="Outputs are wrong on a runtime that uses them; golden vectors come from kernels that are right.",
        remedy="Use other kernels on the device, those that `run.py --check` passes on, or replace the layer.",
    )
