"""Cross-layer equalization: let the outputs of a dense layer share the range of its kernel evenly with the next layer.

With one scale for a whole kernel, an output whose weights are small is left with few codes. A dense layer can be
divided by any s > 0 output by output, and the next one multiplied by it input by input: through ReLU, LeakyReLU and
reshapes the two compute the same. With s = sqrt(r1 / r2), where r1 and r2 are the largest weights of an output and of
the input that reads it, both come to sqrt(r1 r2).

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.graph import Graph, Op

_MOST = 256.0
"""Largest s, and 1 over the smallest: an output that is next to 0 is not blown up to what rounding made of it."""

_DISTINCT = 0.25
"""Kernels with a smaller share of distinct values are clustered: scaled, they would lose what clustering won."""

_HOMOGENEOUS = (0, 1)
"""Fused activations that s passes through, by the schema's numbers: NONE and RELU."""

Doubles = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """Two dense layers of which the second alone reads the first."""

    first: Op
    second: Op


def pairs(graph: Graph) -> tuple[Pair, ...]:
    """Return the pairs of dense layers in graph, a float model, that can be equalized, in its order."""
    found = []
    for op in graph.ops:
        linear = _fits(graph, op) and op.options.get("fused_activation_function", 0) in _HOMOGENEOUS
        behind = _reader(graph, op) if linear else None
        if behind is not None and _fits(graph, behind) and _shape(graph, behind)[1] == _shape(graph, op)[0]:
            found.append(Pair(op, behind))
    return tuple(found)


def _shape(graph: Graph, op: Op) -> tuple[int, ...]:
    return graph.tensors[op.inputs[1]].shape


def _fits(graph: Graph, op: Op) -> bool:
    """Return whether op is a dense layer with float constants that it alone reads."""
    if op.name != "FULLY_CONNECTED" or min(op.inputs[:2]) < 0:
        return False
    held = [graph.tensors[i] for i in op.inputs[1:3] if i >= 0]
    own = all(t.data is not None and t.dtype == "float32" and len(graph.consumers[t.index]) == 1 for t in held)
    kernel = held[0].data
    if not own or kernel is None:
        return False
    return len(np.unique(kernel[kernel != 0])) >= _DISTINCT * int(np.count_nonzero(kernel))


def _reader(graph: Graph, op: Op) -> Op | None:
    """Return the only op that reads what op gives, beyond activations and reshapes that s passes through."""
    while True:
        (output,) = op.outputs[:1]
        readers = graph.consumers.get(output, ())
        if len(readers) != 1 or output in graph.outputs or readers[0].inputs[0] != output:
            return None
        op = readers[0]
        flat = op.name == "RESHAPE" and graph.tensors[output].shape[-1] == graph.tensors[op.outputs[0]].shape[-1]
        if op.name not in ("RELU", "LEAKY_RELU") and not flat:
            return op


def equalized(graph: Graph, chosen: Sequence[Pair], *, power: float) -> Mapping[int, npt.NDArray[np.float32]]:
    """Return tensor number → new values of the kernels and biases of chosen, from the first pair to the last.

    Args:
        graph: a float model.
        chosen: some of its `pairs`, in their order.
        power: what s is raised to. 1 is best for the kernels; less spares what is between them, whose values s spreads
            and which has one scale too.
    """
    values: dict[int, Doubles] = {}
    for pair in chosen:
        for op in pair:
            for tensor in (graph.tensors[i] for i in op.inputs[1:3] if i >= 0):
                assert tensor.data is not None, "`pairs` takes constants only"
                values[tensor.index] = tensor.data.astype(np.float64)
    for first, second in chosen:
        scales = _scales(values[first.inputs[1]], values[second.inputs[1]], power)
        values[first.inputs[1]] /= scales[:, None]
        if len(first.inputs) > 2 and first.inputs[2] >= 0:
            values[first.inputs[2]] /= scales
        values[second.inputs[1]] *= scales
    return {index: x.astype(np.float32) for index, x in values.items()}


def _scales(first: Doubles, second: Doubles, power: float) -> Doubles:
    """Return s to that power for each output of first, [outputs]; 1 where either side is 0."""
    out, into = np.abs(first).max(axis=1), np.abs(second).max(axis=0)
    alive = (out > 0) & (into > 0)
    ratio = np.divide(out, into, out=np.ones_like(out), where=alive)
    return np.asarray(np.clip(ratio ** (power / 2), 1 / _MOST, _MOST), np.float64)
