"""Remedies: what to try next, made of what was not tried yet and exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgecompile.target import Target

RANGES = ("minmax", "percentile", "mse")
"""Ways of the quantize pass to set ranges."""
FEW_ROWS = 500
"""Calibration rows beyond which more of them rarely move a range: "around 100-500 samples" is what
TensorFlow's guide to post-training quantization asks for."""


def accuracy_remedy(quantize: Mapping[str, Any] | None, target: Target, *, rows: int, passes: Collection[str]) -> str:
    """Return what may win accuracy back; empty where nothing was done to the model.

    Args:
        quantize: fields of the quantize pass; None when it did not run.
        target: schemes that can be tried.
        rows: calibration rows that were used.
        passes: passes that can be suggested: not those that ran.
    """
    if quantize is None:
        return ""
    scheme = str(quantize["scheme"])
    ideas = []
    if scheme in ("int8", "int16x8"):
        others = [r for r in RANGES if r != quantize.get("ranges")]
        ideas.append("quantize.ranges = " + " or ".join(f'"{r}"' for r in others))
        if rows < FEW_ROWS:
            ideas.append(f"more calibration rows (have {rows})")
    wider = {"int8": "int16x8", "dynamic": "float16", "float16": "float32", "int16x8": "float16"}.get(scheme)
    if wider in target.schemes:
        ideas.append(f'quantize.scheme = "{wider}"')
    if "qat" in passes and scheme == "int8":
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
