"""Bias correction: take the mean error of rounded weights out again, before the model is quantized.

Rounding a kernel W to Wq adds (Wq - W) x to what an op gives. Its mean over the data, (Wq - W) E[x], is a constant for
each output channel, and the bias can take it back: b - (Wq - W) E[x].

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
4.2; here E[x] is the mean over calibration rows. Zeros that padding adds are not counted in it, which was measured to
make no difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.fixed.grid import exact_product, exact_sum
from edgecompile.tflite.graph import Graph, Op

_KERNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Op → the axis of its kernel that counts outputs, which each have a scale: TFLite 8-bit quantization spec."""

_STEPS = 127
"""Weights are symmetric: codes -127 to 127. Same source."""

_LEFT = 0.5
"""Share of the squared mean error that a correction may leave on other rows. Far from what rows agree on
(at most 0.15 in the layers of ResNet8, DS-CNN and the samples) and from what they do not (above 1)."""

Floats = npt.NDArray[np.float64]


def input_widths(graph: Graph) -> dict[str, int]:
    """Return tensor name → how many means `corrected_biases` needs of it: one a channel, or one a dense input."""
    return {graph.tensors[op.inputs[0]].name: _width(graph, op) for op in _correctable(graph)}


def _width(graph: Graph, op: Op) -> int:
    return (
        graph.tensors[op.inputs[1]].shape[1] if op.name == "FULLY_CONNECTED" else graph.tensors[op.inputs[0]].shape[-1]
    )


def corrected_biases(
    graph: Graph, means: Mapping[str, Floats], halves: Mapping[str, Floats], *, dense_per_channel: bool
) -> dict[int, npt.NDArray[np.float32]]:
    """Return tensor number → corrected values of the biases of convolutions and fully connected layers.

    A layer is corrected where the rows show that it helps: where the mean error on one half of them takes away most of
    that on the other half, see `_helps`.

    Args:
        graph: a float model.
        means: tensor name → mean over the rows, [width] as in `input_widths`; ops whose input is not there are left.
        halves: the same over each half of the rows, [2, width].
        dense_per_channel: whether each output of a fully connected layer has a scale of its own.
    """
    found = {}
    for op in _correctable(graph):
        source, kernel, bias = (graph.tensors[i] for i in op.inputs[:3])
        mean = means.get(source.name)
        if mean is None or len(mean) != _width(graph, op) or kernel.data is None or bias.data is None:
            continue
        weights = kernel.data.astype(np.float64)
        step = weight_steps(op.name, weights, dense_per_channel=dense_per_channel)
        rounding = np.round(weights / step) * step - weights
        if _helps([_mean_output(op.name, rounding, half) for half in halves.get(source.name, ())]):
            shift = _mean_output(op.name, rounding, mean)
            found[bias.index] = (bias.data - shift).astype(np.float32)
    return found


def _helps(shifts: Sequence[Floats]) -> bool:
    """Return whether the shift found on one half of the rows takes half of the squared mean error of the other away.

    What is left of the other's is the squared difference of the two. Rows that say too little (few of them, or errors
    that change sign from row to row) leave the bias as it is.

    Args:
        shifts: mean error of each output, [outputs], on either half; nothing where there is one half only.
    """
    if len(shifts) < 2:
        return False
    left = math.fsum((shifts[0] - shifts[1]) ** 2)
    return left < _LEFT * min(math.fsum(shift**2) for shift in shifts)


def _correctable(graph: Graph) -> list[Op]:
    """Return ops with constant float kernels and biases of their own, in layouts known here."""
    found = []
    for op in graph.ops:
        if not has_weights(op) or len(op.inputs) < 3 or min(op.inputs[:3]) < 0:
            continue
        kernel, bias = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[2]]
        floats = all(t.data is not None and t.dtype == "float32" for t in (kernel, bias))
        if floats and len(graph.consumers[bias.index]) == 1:
            found.append(op)
    return found


def has_weights(op: Op) -> bool:
    """Whether op is a convolution or a fully connected layer, whose second input is its kernel."""
    return op.name in _KERNEL_AXIS


def weight_steps(op: str, weights: Floats, *, dense_per_channel: bool) -> Floats:
    """Return the scales that int8 codes of a kernel get, > 0: one for each output, or one for all.

    Args:
        op: the op that reads the kernel, one with weights.
        weights: the kernel; the result has its rank, and size 1 where weights share a scale.
        dense_per_channel: whether each output of a fully connected layer has a scale of its own.
    """
    axis = _KERNEL_AXIS[op] if dense_per_channel or op != "FULLY_CONNECTED" else None
    others = None if axis is None else tuple(a for a in range(weights.ndim) if a != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    return np.asarray(np.where(largest > 0, largest, 1.0) / _STEPS)


def _mean_output(op: str, kernel: Floats, mean: Floats) -> Floats:
    """Return what kernel gives for an input that is mean everywhere, [outputs]; the same bits on every processor."""
    if op == "FULLY_CONNECTED":
        output = exact_product(kernel, mean[:, None])
    elif op == "DEPTHWISE_CONV_2D":
        output = exact_sum(kernel, (0, 1, 2)).reshape(-1) * np.repeat(mean, kernel.shape[3] // len(mean))
    else:
        groups = len(mean) // kernel.shape[3]
        summed = exact_sum(kernel, (1, 2)).reshape(groups, -1, kernel.shape[3])
        output = exact_product(summed, mean.reshape(groups, -1, 1))
    return np.asarray(output, np.float64).reshape(-1)
