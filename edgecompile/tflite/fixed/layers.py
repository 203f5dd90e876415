"""Ops with weights: how TFLite lays their kernels out, and what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgecompile.tflite.fixed.conv import (
    Kernel,
    Options,
    Windows,
    convolution,
    dense,
    depthwise,
    on_own_grid,
    transposed,
)
from edgecompile.tflite.fixed.functions import activated
from edgecompile.tflite.fixed.grid import Array, Doubles

DType = type[np.float32] | type[np.float64]

KERNEL: Mapping[str, int] = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
}
"""Op → which of its inputs is the kernel."""


def kernel_of(op: str, weights: Array) -> Kernel:
    """Return the weights of an op on their grids, output channels first but for a depthwise convolution's."""
    if op == "DEPTHWISE_CONV_2D":  # [1, kh, kw, channels * multiplier]
        return on_own_grid(weights[0], terms=int(np.prod(weights.shape[1:3])), outputs=-1)
    if op == "CONV_3D":  # [depth, kh, kw, channels, outputs]
        weights = np.moveaxis(weights, -1, 0)
    return on_own_grid(weights, terms=int(np.prod(weights.shape[1:])), outputs=0)


def run_layer(
    op: str, options: Options, inputs: Sequence[Array | None], kernel: Kernel, *, dtype: DType = np.float32
) -> Array:
    """Return the output, of dtype, of an op with a kernel; inputs are those of the op."""
    return _RUN[op](options, inputs, kernel, dtype)


def _bias(inputs: Sequence[Array | None], at: int, outputs: int) -> Doubles:
    bias = inputs[at] if len(inputs) > at else None
    # Adding 0 makes a 0 of -0, whose sign would reach sums that are 0.
    return np.zeros(outputs) if bias is None else bias.astype(np.float64).reshape(-1) + 0.0


def _given(inputs: Sequence[Array | None], at: int) -> Array:
    found = inputs[at]
    assert found is not None, "the schema demands it"
    return found


def _convolution(options: Options, inputs: Sequence[Array | None], kernel: Kernel, dtype: DType) -> Array:
    windows = Windows.of(options, kernel.values.shape[1:-1])
    return convolution(
        _given(inputs, 0), kernel, _bias(inputs, 2, len(kernel.values)), windows, options=options, dtype=dtype
    )


def _depthwise(options: Options, inputs: Sequence[Array | None], kernel: Kernel, dtype: DType) -> Array:
    x = _given(inputs, 0)
    height, width, outputs = kernel.values.shape
    shaped = Kernel(kernel.values.reshape(height, width, x.shape[-1], -1), kernel.bits)
    return depthwise(
        x, shaped, _bias(inputs, 2, outputs), Windows.of(options, (height, width)), options=options, dtype=dtype
    )


def _dense(options: Options, inputs: Sequence[Array | None], kernel: Kernel, dtype: DType) -> Array:
    x = _given(inputs, 0)
    outputs, terms = kernel.values.shape
    found = activated(dense(x.reshape(-1, terms), kernel, _bias(inputs, 2, outputs)), options)
    found = found.astype(dtype)
    return found.reshape(*x.shape[:-1], outputs) if options.get("keep_num_dims") else found


def _transposed(options: Options, inputs: Sequence[Array | None], kernel: Kernel, dtype: DType) -> Array:
    windows = Windows.of(options, kernel.values.shape[1:-1])
    bias = _bias(inputs, 3, len(kernel.values))
    shape = [int(size) for size in _given(inputs, 0)]
    return activated(transposed(_given(inputs, 2), kernel, bias, windows, shape), options).astype(dtype)


_RUN: Mapping[str, Callable[[Options, Sequence[Array | None], Kernel, DType], Array]] = {
    "CONV_2D": _convolution,
    "CONV_3D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
}
