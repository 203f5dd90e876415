"""Extremes of single columns of a model's inputs and outputs, and the columns that their one scale cannot tell apart.

A column is what stands at one place of the last axis: a feature of a table, a channel of an image or of a sequence, a
value of a prediction. All columns of an integer tensor have one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.activations import Consume
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.numerics import FIXED_OUTPUTS
from edgecompile.tflite.ranges import Range

FEWEST_STEPS = 2.0
"""A column that spans less is stored as one value, or as two: what it says is lost. Two, so that a column of zeros and
ones is still told apart."""

Floats = npt.NDArray[np.float64]


class Coarse(NamedTuple):
    """An end of a model with columns that span next to nothing of its scale."""

    tensor: int
    """Number of the tensor in the float graph."""
    step: float
    """Real units per step of the integer form."""
    spans: Mapping[int, tuple[float, float]]
    """Lost column → its smallest and largest value; columns that never change are left out."""
    widest: int
    """The column that spans most."""
    widest_span: tuple[float, float]
    columns: int
    """How many columns there are."""


@dataclass
class Columns:
    """Takes what `runner.activations` shows, and keeps the extremes of each column.

    Attributes:
        widths: tensor name → size of its last axis, of the tensors to keep.
        low: tensor name → smallest values, [width].
        high: tensor name → largest values, [width].
    """

    widths: Mapping[str, int]
    low: dict[str, Floats] = field(default_factory=dict)
    high: dict[str, Floats] = field(default_factory=dict)

    def __call__(self, index: int, name: str, values: npt.NDArray[np.float32]) -> None:
        """Take the values of tensor name, [..., width]."""
        if not (width := self.widths.get(name)) or not values.size or values.size % width:
            return
        rows = values.reshape(-1, width)
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        self.low[name] = np.minimum(self.low.get(name, low), low)
        self.high[name] = np.maximum(self.high.get(name, high), high)

    def coarse(self, graph: Graph, ends: tuple[int, ...], ranges: Mapping[str, Range], *, bits: int) -> list[Coarse]:
        """Return those of ends (tensor numbers) that have columns of less than `FEWEST_STEPS` steps.

        Args:
            graph: the float model.
            ends: inputs or outputs of graph.
            ranges: tensor name → range that its integers stand for.
            bits: of the integer type; 8 bits count from low to high, 16 bits alike on both sides of 0.
        """
        found = []
        for end in dict.fromkeys(ends):
            name = graph.tensors[end].name
            if name not in self.low or name not in ranges:
                continue
            step = _step(ranges[name], bits)
            low, high = self.low[name], self.high[name]
            span = high - low
            lost = np.flatnonzero((span > 0) & (span < FEWEST_STEPS * step))
            if len(lost):
                most = int(span.argmax())
                spans = {int(c): (float(low[c]), float(high[c])) for c in lost}
                found.append(Coarse(end, step, spans, most, (float(low[most]), float(high[most])), len(span)))
        return found


def both(*consumers: Consume) -> Consume:
    """Return a consumer that hands what it takes to each of consumers."""

    def consume(index: int, name: str, values: npt.NDArray[np.float32]) -> None:
        for one in consumers:
            one(index, name, values)

    return consume


def end_widths(graph: Graph) -> dict[str, int]:
    """Return tensor name → columns, of the float inputs and outputs of graph that have several.

    Left out: outputs whose scale the kernels fix (`FIXED_OUTPUTS`). Scores of a class that no row belongs to are small
    there, and that is what they say.
    """
    fixed = {i for op in graph.ops if op.name in FIXED_OUTPUTS for i in op.outputs}
    tensors = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs) if i not in fixed]
    return {t.name: t.shape[-1] for t in tensors if t.dtype == "float32" and len(t.shape) > 1 and t.shape[-1] > 1}


def _step(found: Range, bits: int) -> float:
    if bits == 16:
        return max(-found.low, found.high) / (2**15 - 1)
    return (found.high - found.low) / ((1 << bits) - 1)
