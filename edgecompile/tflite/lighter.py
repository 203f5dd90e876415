"""The same model with weights that some runtimes store in fewer bits: what cluster and prune would gain, tried.

The passes train; here the stored codes are moved to few values, or the smaller half of them to zero. What such a model
answers is of no interest, only how large it becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph

Codes = npt.NDArray[np.int8]

VALUES = 16
"""Values a kernel that the cluster pass leaves by default."""
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
"""Op → which input holds its weights."""


def few_values(codes: Codes) -> Codes:
    """Return codes, each moved to the nearest of VALUES quantiles and zero; int8, same shape."""
    levels = np.unique([0, *np.quantile(codes, np.linspace(0, 1, VALUES - 1)).round()]).astype(np.int16)
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(middles, codes)].astype(np.int8)


def half_zeros(codes: Codes) -> Codes:
    """Return codes with the half that is smaller in magnitude at zero; int8, same shape."""
    size = np.abs(codes.astype(np.int16))
    return np.where(size <= np.median(size), 0, codes).astype(np.int8)


LIGHTER: Mapping[str, Callable[[Codes], Codes]] = {"cluster": few_values, "prune": half_zeros}
"""Pass → what it does to the weights, roughly."""


def with_weights(model: Path, change: Callable[[Codes], Codes]) -> bytes:
    """Return the `.tflite` file at model with every int8 kernel changed."""
    graph, made = read_graph(model), read_model(model)
    for op in graph.ops:
        place = _WEIGHTS.get(op.name)
        tensor = graph.tensors[op.inputs[place]] if place is not None else None
        if tensor is not None and tensor.dtype == "int8" and tensor.raw is not None:
            buffer = made.buffers[tensor.buffer]
            buffer.data = change(tensor.raw.view(np.int8)).view(np.uint8)
    return write_model(made)
