"""Columns of unlike ranges in one input or output: what `quantize` says of them, and leaves in float for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.data.dataset import Dataset
from edgecompile.report import Finding
from edgecompile.tflite import float_ends
from edgecompile.tflite.column_scales import scalable, scale_columns
from edgecompile.tflite.columns import Coarse, Columns
from edgecompile.tflite.edit import read_model, write_model
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
    addable: frozenset[str]
    """Names of ends whose columns the layer behind or before them can take scaled."""
    whole: Path | None
    """The whole float model, where these ops have been taken off; None: they are quantized like all others."""
    ranges: Mapping[str, Range]
    """Ranges of tensors that scaling has added."""

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
                found.append(_lossy(role, name, coarse, end, addable=name in self.addable))
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
    unlike = (*coarse_inputs, *coarse_outputs)
    inputs, outputs = float_ends.float_inputs(graph, unlike), float_ends.float_outputs(graph, unlike)
    known = {end.name for end in (*inputs, *outputs)}
    names = dict(zip((*graph.inputs, *graph.outputs), (*graph.input_names(), *graph.output_names()), strict=True))
    layers = {  # by layer: it takes one scaling
        op.index: c for c in reversed(unlike) if names[c.tensor] not in known and (op := scalable(graph, c))
    }
    more = list(layers.values())
    new: dict[str, Range] = {}
    if float_io and more:
        model = read_model(prepared)
        new = scale_columns(model, graph, more, columns)
        prepared.write_bytes(write_model(model))
        graph = read_graph(prepared)
        inputs, outputs = float_ends.float_inputs(graph, unlike), float_ends.float_outputs(graph, unlike)
    whole = None
    if float_io and (inputs or outputs):
        whole = prepared.with_name("whole.tflite")
        whole.write_bytes(prepared.read_bytes())
        prepared.write_bytes(float_ends.without_ends(whole, inputs, outputs))
    return Ends(graph, unlike, inputs, outputs, frozenset(names[c.tensor] for c in more), whole, new)


def _lossy(role: str, name: str, found: Coarse, end: FloatEnd | None, *, addable: bool) -> Finding:
    consequence, remedy = _ADVICE[role]
    if end is not None or addable:
        added = "SUB and MUL, added" if role == "input" else "MUL and ADD, added"
        ops = added if end is None else _ops(end)
        remedy = (
            f'Build with `--float-io` (quantize.io = "float32"): {_SIDE[role].format(ops)}. For targets that '
            f"compute in integers only: {remedy[0].lower()}{remedy[1:]}"
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
    return Finding(
        severity="info",
        rule=f"{role}-columns-float",
        what=f"columns of {role} `{end.name}` have unlike ranges: {_SIDE[role].format(_ops(end))}",
        where=end.name,
        consequence="The device computes these few operations in float32.",
    )


def _ops(end: FloatEnd) -> str:
    return " and ".join(dict.fromkeys(op.name for op in end.ops))


_SIDE = {
    "input": "the ops behind it ({}) compute in float32, before anything is quantized",
    "output": "the ops before it ({}) compute in float32, from tensors with scales of their own",
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
