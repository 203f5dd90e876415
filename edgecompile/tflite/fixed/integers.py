"""Convolutions and fully connected layers of integers: exact sums, rounded to the nearest code once.

XNNPACK rounds so; LiteRT's reference kernels and TFLite Micro's round twice, by gemmlowp's arithmetic.

Source: TFLite 8-bit quantization spec: codes and zero points, biases of scale input * weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecompile.tflite.fixed import layers
from edgecompile.tflite.fixed.conv import Kernel
from edgecompile.tflite.fixed.grid import Array, Doubles
from edgecompile.tflite.values import Op, Tensor

_CODES = frozenset({"int8", "uint8"})


def known(op: Op, tensors: Sequence[Tensor]) -> bool:
    """Return whether op is a layer that reads and writes codes of 8 bits."""
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return False
    ends = [tensors[i] for i in (*op.inputs[:2], *op.outputs)]
    return all(t.dtype in _CODES and t.quantization is not None for t in ends)


def centred(codes: Array, tensor: Tensor) -> Array:
    """Return codes of tensor without their zero point, as float32, which holds them exactly."""
    how = tensor.quantization
    assert how is not None, "`known` says so"
    shape = [1] * codes.ndim
    if how.per_channel:
        shape[how.axis] = -1
    return np.asarray(codes - how.zero_point.reshape(shape), np.float32)


def run_layer(op: Op, tensors: Sequence[Tensor], inputs: Sequence[Array | None], kernel: Kernel) -> Array:
    """Return the codes of the output of op; inputs are those of the op, kernel is `centred`."""
    source, weights, output = (tensors[i] for i in (*op.inputs[:2], op.outputs[0]))
    assert inputs[0] is not None, "the schema demands it"
    read = [centred(inputs[0], source), None, *inputs[2:]]
    plain = {key: value for key, value in op.options.items() if key != "fused_activation_function"}
    sums = layers.run_layer(op.name, plain, read, kernel, dtype=np.float64)
    scale = _scale(source) * _scale(weights) / _scale(output)
    return _codes(sums * scale, op, output)


def _scale(tensor: Tensor) -> Doubles:
    assert tensor.quantization is not None, "`known` says so"
    return tensor.quantization.scale.astype(np.float64)


def _codes(steps: Doubles, op: Op, output: Tensor) -> Array:
    """Return the codes of what lies steps above the zero point, half away from it, within the fused activation."""
    scale, dtype = float(_scale(output)[0]), np.iinfo(output.dtype)
    zero = 0 if output.quantization is None else int(output.quantization.zero_point[0])
    bounds = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
    low, high = bounds.get(getattr(op.options.get("fused_activation_function"), "name", ""), (-np.inf, np.inf))
    whole = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    inside = np.clip(whole, np.rint(low / scale), np.rint(high / scale)) + zero
    return np.asarray(np.clip(inside, dtype.min, dtype.max), output.dtype)
