"""Columns of unlike ranges in one input or output: what `quantize` says of them, and leaves in float for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.data.dataset import Dataset
from edgecompile.report import Finding
from edgecompile.tflite import float_ends
from edgecompile.tflite.columns import Coarse, Columns
from edgecompile.tflite.float_ends import FloatEnd
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.ranges import Range

_SHOWN = 5


@dataclass(frozen=True)
class Ends:
    """The ends of a model whose columns one scale cannot tell apart."""

    graph: Graph
    """The whole float model."""
    unlike: tuple[Coarse, ...]
    """Inputs and outputs, in this order."""
    inputs: tuple[FloatEnd, ...]
    """What can stay float at inputs, so that the tensor behind it has columns alike."""
    outputs: tuple[FloatEnd, ...]
    """Likewise at outputs."""
    whole: Path | None
    """The whole float model, where these ops have been taken off; None: they are quantized like all others."""

    def rows(self, rows: Dataset) -> Dataset:
        """Return rows as the model that is quantized takes them."""
        return rows if self.whole is None else float_ends.scaled_rows(rows, self.graph, self.inputs)

    def restored(self, content: bytes) -> bytes:
        """Return an integer model with the float ops at its ends that were taken off."""
        return content if self.whole is None else float_ends.with_ends(content, self.whole, self.inputs, self.outputs)

    @property
    def in_float(self) -> frozenset[str]:
        """Names of what the ops write that stay float, each the name of an op's first output."""
        kept = () if self.whole is None else (*self.inputs, *self.outputs)
        return frozenset(self.graph.tensors[op.outputs[0]].name for end in kept for op in end.ops)

    def findings(self) -> tuple[Finding, ...]:
        """Return a finding for each end: what is lost there, or what stays float."""
        graph = self.graph
        names = [*graph.input_names(), *graph.output_names()]
        place = dict(zip((*graph.inputs, *graph.outputs), names, strict=True))
        able = {end.name: end for end in (*self.inputs, *self.outputs)}
        found = []
        for coarse in self.unlike:
            name, role = place[coarse.tensor], "input" if coarse.tensor in graph.inputs else "output"
            end = able.get(name)
            if end is not None and self.whole is not None:
                found.append(_kept_float(role, end))
            else:
                found.append(_lossy(role, name, coarse, end))
        return tuple(found)


def take_off_ends(prepared: Path, columns: Columns, ranges: Mapping[str, Range], *, bits: int, float_io: bool) -> Ends:
    """Return the ends of unlike columns; with float_io, take what can stay float there off the model prepared.

    Args:
        prepared: a float model with a signature, changed in place.
        columns: the extremes of columns over the calibration rows.
        ranges: tensor name → range.
        bits: of the integer type.
        float_io: whether inputs and outputs stay float32.
    """
    graph = read_graph(prepared)
    coarse_inputs, coarse_outputs = (
        columns.coarse(graph, ends, ranges, bits=bits) for ends in (graph.inputs, graph.outputs)
    )
    inputs = float_ends.float_inputs(graph, coarse_inputs)
    outputs = float_ends.float_outputs(graph, coarse_outputs)
    whole = None
    if float_io and (inputs or outputs):
        whole = prepared.with_name("whole.tflite")
        whole.write_bytes(prepared.read_bytes())
        prepared.write_bytes(float_ends.without_ends(whole, inputs, outputs))
    return Ends(graph, (*coarse_inputs, *coarse_outputs), inputs, outputs, whole)


def _lossy(role: str, name: str, found: Coarse, end: FloatEnd | None) -> Finding:
    consequence, remedy = _ADVICE[role]
    if end is not None:
        ops = " and ".join(dict.fromkeys(op.name for op in end.ops))
        remedy = (
            f'Build with `--float-io` (quantize.io = "float32"): `{name}` is float32 then, and {ops} {_SIDE[role]}.'
        )
    return Finding(
        severity="warning",
        rule=f"{role}-columns-unlike",
        what=f"columns of {role} `{name}` have unlike ranges and one scale, whose step is {found.step:.3g}: "
        f"{_lost(found)}; column {found.widest} is the widest, {_range(found.widest_span)}",
        where=name,
        consequence=f"{consequence} Another method of setting ranges does not help.",
        remedy=remedy,
    )


def _kept_float(role: str, end: FloatEnd) -> Finding:
    ops = " and ".join(dict.fromkeys(op.name for op in end.ops))
    return Finding(
        severity="info",
        rule=f"{role}-columns-float",
        what=f"columns of {role} `{end.name}` have unlike ranges: {ops} {_SIDE[role]}",
        where=end.name,
        consequence="The device computes these few operations in float32.",
    )


_SIDE = {
    "input": "behind it compute in float32, before anything is quantized",
    "output": "joins its parts in float32, after each has been computed with a scale of its own",
}
_ADVICE = {
    "input": (
        "What these columns say does not reach the model.",
        "Train on columns of like ranges and scale them in the application ([data.preprocess] mean and std take one "
        "number per column).",
    ),
    "output": (
        "These columns come out as one or two values.",
        "Make each kind of column an output of its own, or train on targets of like ranges.",
    ),
}


def _lost(found: Coarse) -> str:
    """Return the columns that are lost, with their ranges."""
    shown = [f"column {c} ({_range(span)})" for c, span in list(found.spans.items())[:_SHOWN]]
    more = len(found.spans) - len(shown)
    joined = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"{joined} of {found.columns} span less than two steps"


def _range(span: tuple[float, float]) -> str:
    return f"{span[0]:.4g} to {span[1]:.4g}"
