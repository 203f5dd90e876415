"""Ranges that a float `.tflite` brings with it: what training learned that the codes of an activation stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import read_model, text
from edgecompile.tflite.graph import read_graph


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
    return found
