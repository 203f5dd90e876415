"""edgetpu-fit: rewrite an int8 `.tflite` so that more of it runs on the Edge TPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.edgetpu.fit.apply import Fitted, Made, fit
from edgecompile.backends.edgetpu.planner import Plan
from edgecompile.backends.rules import identifier, sentence
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Context, Fact, Outcome, Pass
from edgecompile.report import Finding
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.numerics import form
from edgecompile.tflite.runner import predict

_INTEGERS = ("int8", "uint8")

_ROWS = 8
"""Calibration rows that the whole model is compared on; the reference kernels take up to a second for one."""

_SHOWN = 3

_REPLACED = "the ops in their place are expected on the Edge TPU"
_MOVED = "it stays on the CPU, and the ops that were behind it are expected on the Edge TPU"


class EdgetpuFit(Pass):
    """Rewrite ops that the Edge TPU does not take as ops that it does take, and keep the outputs.

    Each rewrite is run beside the ops it replaces, on random codes, before it is made: what is exact must give equal
    codes, the others may differ by 1 or 2. Where none helps the file stays as it is.
    """

    name: ClassVar[str] = "edgetpu-fit"
    summary: ClassVar[str] = (
        "Rewrites ops of an int8 model that the Edge TPU does not take, where that brings them onto it."
    )
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE
    after: ClassVar[tuple[str, ...]] = ("quantize",)
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset({"calibration"})

    several_subgraphs: bool = False
    """Rewrite also behind ops that stay on the CPU. Not for recipes: the target's option of the same name sets it."""
    min_runtime_version: PositiveInt | None = None
    """Leave alone what this runtime of the Edge TPU lacks anyway. Not for recipes: set by the target's option."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.tflite`.

        Raises:
            PassError: the model is not quantized.
            ModelError: the model cannot be read.
        """
        found = form(read_graph(model.path))
        if found not in _INTEGERS:
            raise PassError(
                f"the model computes in {found}, and the Edge TPU in int8",
                where=self.name,
                hint="put `quantize` before it",
            )
        fitted = fit(
            model.path.read_bytes(), several=self.several_subgraphs, runtime=self.min_runtime_version, seed=ctx.seed
        )
        written = ctx.out / "model.tflite"
        written.write_bytes(fitted.content)
        facts = {"rewrites": len(fitted.made), **_mapped(fitted.before, "before"), **_mapped(fitted.after, "after")}
        if fitted.made:
            facts |= _compared(model.path, written, ctx)
        return Outcome(
            artifact=Artifact.of(written, Kind.TFLITE), facts=facts, findings=(*_made(fitted), *_refused(fitted))
        )


def _mapped(plan: Plan, when: str) -> dict[str, Fact]:
    facts: dict[str, Fact] = {f"ops_{when}": len(plan.placements), f"ops_on_edge_tpu_{when}": len(plan.on_tpu)}
    share = plan.share_of_macs
    return facts if share is None else {**facts, f"share_of_macs_on_edge_tpu_{when}": round(share, 4)}


def _compared(before: Path, after: Path, ctx: Context) -> dict[str, Fact]:
    """Return how far the outputs of the whole model differ on calibration rows, in codes."""
    if ctx.calibration is None:
        return {}
    rows = ctx.calibration.take(np.arange(min(_ROWS, len(ctx.calibration))))
    try:
        was, now = (predict(path, rows, kernels="reference") for path in (before, after))
    except ModelError:  # an op that only the built-in kernels have
        was, now = (predict(path, rows, kernels="builtin") for path in (before, after))
    largest = max(float(np.abs(was[name].astype(np.float64) - now[name]).max(initial=0)) for name in was)
    return {"rows_compared": len(rows), "largest_output_difference_codes": largest}


def _made(fitted: Fitted) -> tuple[Finding, ...]:
    """Return one finding for every kind of rewrite that was made."""
    return tuple(
        Finding(
            severity="info",
            rule=f"edgetpu-fit-{identifier(rule)}",
            what=f"{sentence(rule)}: {_ops(those)}, largest difference {_difference(those)}",
            where=_layers(those),
            consequence=_MOVED if those[0].rewrite.moves else _REPLACED,
        )
        for rule, those in _by_rewrite(fitted.made).items()
    )


def _refused(fitted: Fitted) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            severity="warning",
            rule=f"edgetpu-fit-{identifier(rule)}",
            what=f"{sentence(rule)}: not done for {_ops(those)}, largest difference {_difference(those)}",
            where=_layers(those),
            consequence="they stay as they are",
            remedy="look at the ranges of these layers, which are unusual",
        )
        for rule, those in _by_rewrite(fitted.refused).items()
    )


def _by_rewrite(made: Sequence[Made]) -> dict[Callable[..., object], list[Made]]:
    found: dict[Callable[..., object], list[Made]] = {}
    for one in made:
        found.setdefault(one.rewrite.apply, []).append(one)
    return found


def _difference(those: Sequence[Made]) -> str:
    codes = [one.codes for one in those if one.codes is not None]
    if not codes:
        return "not known: the interpreter does not run them"
    return "none" if max(codes) == 0 else "1 code" if max(codes) == 1 else f"{max(codes)} codes"


def _ops(those: Sequence[Made]) -> str:
    return "1 op" if len(those) == 1 else f"{len(those)} ops"


def _layers(those: Sequence[Made]) -> str:
    more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
    return ", ".join(f"{one.op} → {one.layer}" for one in those[:_SHOWN]) + more
