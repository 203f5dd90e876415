"""How near an integer model comes to the float model on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.tflite.feeds import dequantize_rows
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.interpreter import Kernels
from edgecompile.tflite.runner import predict

Floats = npt.NDArray[np.float64]

NOISE_DB = -300.0
"""Of an output that is not finite where it should be."""


def some_rows(rows: Dataset, most: int) -> Dataset:
    """Return most of rows at even distances, or all of them where they are fewer."""
    return rows.take(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp))


def real_outputs(model: Path, rows: Dataset, kernels: Kernels) -> list[Floats]:
    """Return the real values of each output, [n, ...] in graph order.

    Raises:
        ModelError: kernels do not run the model.
    """
    graph = read_graph(model)
    found = []
    for stored, index in zip(predict(model, rows, kernels=kernels).values(), graph.outputs, strict=True):
        how = graph.tensors[index].quantization
        real = stored if how is None else dequantize_rows(stored, scale=how.scale[0], zero_point=int(how.zero_point[0]))
        found.append(real.astype(np.float64))
    return found


def sqnr_db(wanted: Sequence[Floats], found: Sequence[Floats]) -> float:
    """Return the signal-to-noise ratio of the output that comes out worst, in dB: power of wanted over power of error.

    Outputs that are 0, or not finite where they should be, count for nothing. Sums are exact but for the rounding of
    their terms to float64: decide by margins far wider than that.

    Args:
        wanted: what each output should be, [n, ...].
        found: what it is.
    """
    ratios = []
    for a, b in zip(wanted, found, strict=True):
        signal = math.fsum((a**2).flat) if np.isfinite(a).all() else 0.0
        if signal > 0:
            noise = math.fsum(((a - b) ** 2).flat) if np.isfinite(b).all() else math.inf
            ratios.append(10 * math.log10(signal / max(noise, signal * 1e-30)) if noise < math.inf else NOISE_DB)
    return min(ratios, default=0.0)
