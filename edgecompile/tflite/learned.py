"""Ranges that a float `.tflite` brings with it: what training learned that the codes of an activation stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import read_model, text
from edgecompile.tflite.graph import Graph, read_graph


def learned_ranges(path: Path) -> dict[str, tuple[float, float]]:
    """Return tensor name → (low, high) for float activations of the main graph that have a minimum and a maximum.

    Raises:
        ModelError: damaged, or a range that is none.
    """
    graph = read_graph(path)
    tensors = read_model(path).subgraphs[0].tensors
    found = {}
    for tensor, known in zip(tensors, graph.tensors, strict=True):
        how = tensor.quantization
        if known.constant or known.dtype != "float32" or how is None or how.min is None or how.max is None:
            continue
        if len(how.min) != 1 or len(how.max) != 1:
            continue
        low, high = float(how.min[0]), float(how.max[0])
        if not (np.isfinite([low, high]).all() and low <= 0 <= high and low < high):
            raise ModelError(f"its range is [{low:g}, {high:g}]", where=f"tensor {text(tensor.name)}")
        found[text(tensor.name)] = (low, high)
    _spread(graph, found)
    return found


_MOVES = frozenset(
    {
        "AVERAGE_POOL_2D",
        "BATCH_TO_SPACE_ND",
        "DEPTH_TO_SPACE",
        "EXPAND_DIMS",
        "GATHER",
        "MAX_POOL_2D",
        "PAD",
        "RESHAPE",
        "SLICE",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TRANSPOSE",
    }
)
"""Ops that give values of what they read, or values between: their kernels have one scale for both."""


def _spread(graph: Graph, found: dict[str, tuple[float, float]]) -> None:
    """Give what shares the scale of another tensor the range of that: a Conv1D of Keras is three ops of one range."""
    ties = [
        (given.name, graph.tensors[i].name)
        for op in graph.ops
        if op.name in _MOVES
        for given in [graph.tensors[op.inputs[1 if op.name == "SPLIT" else 0]]]
        if given.dtype == "float32" and not given.constant
        for i in op.outputs
    ]
    for a, b in (*reversed(ties), *ties):  # against the flow of values, then along it: ops are in an order of execution
        known = found.get(a) or found.get(b)
        if known is not None:
            found.setdefault(a, known)
            found.setdefault(b, known)
