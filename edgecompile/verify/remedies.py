"""Remedies: what to try next, made of what was not tried yet and exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edgecompile.report import Finding
from edgecompile.target import Target

RANGES = ("minmax", "percentile", "mse")
"""Ways of the quantize pass to set ranges."""
SHRINKS = ("channels", "prune", "cluster")
"""Passes that take something away from the model, which asking for less gives back."""
FEW_ROWS = 500
"""Calibration rows beyond which more of them rarely move a range: "around 100-500 samples" is what
TensorFlow's guide to post-training quantization asks for."""


CAUSES = ("data-scales-differ", "data-feature-uncalibrated", "data-class-missing", "data-scaled-twice")
"""Rules of findings that explain a loss against the float model, the likeliest first."""


def accuracy_remedy(
    quantize: Mapping[str, Any] | None,
    target: Target,
    *,
    rows: int,
    passes: Collection[str],
    ran: Collection[str],
    findings: Sequence[Finding] = (),
) -> str:
    """Return what may win accuracy back, likely causes before what helps in general; empty where nothing was done.

    Args:
        quantize: fields of the quantize pass with what it read back over them; None when it did not run.
        target: schemes that can be tried.
        rows: calibration rows that were used.
        passes: training-time passes that can be suggested.
        ran: passes that ran.
        findings: about the data; those in CAUSES lead.
    """
    if quantize is None:
        return ""
    causes = sorted((f for f in findings if f.rule in CAUSES), key=lambda f: CAUSES.index(f.rule))
    told = [f"likely cause: {f.what}; {f.remedy}" for f in causes[:1]]
    general = _general(quantize, target, rows=rows, passes=passes, ran=ran)
    if told and general:
        general = f"if that is not it, {general}"
    return "; ".join(filter(None, (*told, general)))


def _general(
    quantize: Mapping[str, Any], target: Target, *, rows: int, passes: Collection[str], ran: Collection[str]
) -> str:
    """Return what helps in general and was not tried yet."""
    scheme = str(quantize["scheme"])
    ideas = []
    if shrunk := [name for name in SHRINKS if name in ran]:
        ideas.append(f"asking less of {' and '.join(shrunk)}")
    if "qat" in ran or shrunk:
        ideas.append("more training rows")
    if scheme in ("int8", "int16x8") and not quantize.get("learned_ranges"):  # others come after what `qat` learned
        others = [r for r in RANGES if r != quantize.get("ranges")]
        ideas.append("quantize.ranges = " + " or ".join(f'"{r}"' for r in others))
        if rows < FEW_ROWS:
            ideas.append(f"more calibration rows (have {rows})")
    wider = {"int8": "int16x8", "dynamic": "float16", "float16": "float32", "int16x8": "float16"}.get(scheme)
    if wider in target.schemes:
        ideas.append(f'quantize.scheme = "{wider}"')
    if "qat" in passes and "qat" not in ran and scheme == "int8":
        ideas.append("the qat pass")
    return _any_of(ideas)


def size_remedy(quantize: Mapping[str, Any] | None, target: Target) -> str:
    """Return what makes the file smaller."""
    narrow = [s for s in ("int8", "dynamic", "float16") if s in target.schemes]
    scheme = None if quantize is None else str(quantize["scheme"])
    if scheme in ("int8", "int16x8", "dynamic") or not narrow:
        return "weights are 8 bits already: take fewer or narrower layers"
    return f'try quantize.scheme = "{narrow[0]}"'


def _any_of(ideas: list[str]) -> str:
    if not ideas:
        return ""
    *most, last = ideas
    return f"try {', '.join(most)} or {last}" if most else f"try {last}"
