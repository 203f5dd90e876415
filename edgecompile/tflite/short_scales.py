"""Scales that gzip can squeeze, for kernels of few values.

Clustered weights take three or four bits of a download each, and what is left of it is to a good part the scales of
channels: float32 numbers whose lower bits are noise. A scale of nine significant bits is at most 1/512 off, which
moves all weights of its channel alike by 0.2%, where rounding to few values has moved each by several percent.
On ResNet8 with half of its weights zero and 15 values the file is 1.5% smaller after gzip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.correct import has_weights, weight_steps
from edgecompile.tflite.graph import Graph

BITS = 9
"""Significant ones of a scale. Times 127 that is 16 bits, so float32 holds scale and largest weight exactly."""
FEW = 64
"""Most values of a kernel, in steps of its channels' scales; with more, or few weights to each, it is not clustered."""

Floats = npt.NDArray[np.float64]


def with_short_scales(graph: Graph, *, dense_per_channel: bool) -> dict[int, npt.NDArray[np.float32]]:
    """Return tensor number → weights of the kernels of few values, moved so that their int8 scales have BITS bits.

    Args:
        graph: a float model.
        dense_per_channel: whether each output of a fully connected layer has a scale of its own.
    """
    found = {}
    for op in graph.ops:
        if not has_weights(op) or op.inputs[1] < 0:
            continue
        kernel = graph.tensors[op.inputs[1]]
        if kernel.data is None or kernel.dtype != "float32":
            continue
        weights = kernel.data.astype(np.float64)
        step = weight_steps(op.name, weights, dense_per_channel=dense_per_channel)
        if len(np.unique(np.rint(weights / step))) <= min(FEW, weights.size // 8):
            found[kernel.index] = (weights * (short(step) / step)).astype(np.float32)
    return found


def short(values: Floats) -> Floats:
    """Return values > 0 rounded to BITS significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, BITS)), exponent - BITS))
