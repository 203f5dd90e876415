"""Columns of unlike ranges in one input or output: the findings of `quantize`."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.report import Finding
from edgecompile.tflite.columns import Coarse
from edgecompile.tflite.graph import Graph

_SHOWN = 5


def findings_of_columns(graph: Graph, inputs: Sequence[Coarse], outputs: Sequence[Coarse]) -> tuple[Finding, ...]:
    """Return a finding for each input and each output of graph some of whose columns its scale cannot tell apart."""
    names = dict(zip((*graph.inputs, *graph.outputs), (*graph.input_names(), *graph.output_names()), strict=True))
    return tuple(
        Finding(
            severity="warning",
            rule=f"{role}-columns-unlike",
            what=f"columns of {role} `{names[found.tensor]}` have unlike ranges and one scale, whose step is "
            f"{found.step:.3g}: {_lost(found)}; column {found.widest} is the widest, {_range(found.widest_span)}",
            where=names[found.tensor],
            consequence=f"{consequence} Another method of setting ranges does not help.",
            remedy=remedy,
        )
        for role, ends, consequence, remedy in (
            ("input", inputs, "What these columns say does not reach the model.", _INPUT_REMEDY),
            ("output", outputs, "These columns come out as one or two values.", _OUTPUT_REMEDY),
        )
        for found in ends
    )


_INPUT_REMEDY = (
    "Train on columns of like ranges and scale them in the application ([data.preprocess] mean and std take one number "
    "per column), or give them to the model as several inputs."
)
_OUTPUT_REMEDY = "Make each kind of column an output of its own, or train on targets of like ranges."


def _lost(found: Coarse) -> str:
    """Return the columns that are lost, with their ranges."""
    shown = [f"column {c} ({_range(span)})" for c, span in list(found.spans.items())[:_SHOWN]]
    more = len(found.spans) - len(shown)
    joined = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"{joined} of {found.columns} span less than two steps"


def _range(span: tuple[float, float]) -> str:
    return f"{span[0]:.4g} to {span[1]:.4g}"
