"""Scratch memory that CMSIS-NN's int8 kernels ask TFLite Micro for, in bytes.

Sources: ARM-software/CMSIS-NN, Source/ConvolutionFunctions/arm_convolve_get_buffer_sizes_s8.c and
arm_depthwise_conv_get_buffer_sizes_s8.c, Source/PoolingFunctions/arm_avgpool_get_buffer_sizes_s8.c, the predicates
`arm_nn_is_convolve_1x1` and `arm_nn_is_convolve_1_x_n`; tflite-micro, kernels/cmsis_nn. Where releases differ, the
larger size is taken.
"""

from __future__ import annotations

from typing import Literal

from edgecompile.tflite.graph import Graph, Op

Instructions = Literal["dsp", "mve"]
"""What the core adds to plain Thumb-2: DSP (Cortex-M4, M7, M33), or MVE, also known as Helium (M55, M85)."""

_MVE_CHANNELS = 124
"""`CH_IN_BLOCK_MVE`, arm_nnsupportfunctions.h."""


def scratch(graph: Graph, instructions: Instructions) -> dict[int, tuple[int, ...]]:
    """Return op index → bytes of the scratch buffers of its int8 CMSIS-NN kernel; ops without any are absent."""
    found = {op.index: _scratch(graph, op, instructions) for op in graph.ops}
    return {index: (size,) for index, size in found.items() if size}


def _scratch(graph: Graph, op: Op, instructions: Instructions) -> int:
    if not op.inputs or graph.tensors[op.inputs[0]].dtype != "int8":
        return 0
    if op.name == "CONV_2D":
        return _conv(graph, op, instructions)
    if op.name == "DEPTHWISE_CONV_2D":
        return _depthwise(graph, op, instructions)
    if op.name == "AVERAGE_POOL_2D" and instructions == "dsp":
        return 4 * graph.tensors[op.inputs[0]].shape[-1]
    return 0


def _conv(graph: Graph, op: Op, instructions: Instructions) -> int:
    _, height, width, channels = graph.tensors[op.inputs[1]].shape
    columns = height * width * channels
    # A 1×1 kernel needs no im2col buffer. A 1×n kernel on MVE may need less than this: its size differs by release.
    if (height, width) == (1, 1) and not _dilated(op):
        return 0
    if instructions == "mve":
        return 4 * -(-columns // 16) * 16
    return 2 * -(-columns // 4) * 4 * 2


def _depthwise(graph: Graph, op: Op, instructions: Instructions) -> int:
    given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    _, height, width, _ = graph.tensors[op.inputs[1]].shape
    if given[-1] != made[-1] or given[0] != 1 or _dilated(op):
        return 0
    if instructions == "mve":
        return 4 * _MVE_CHANNELS * height * width
    if (height, width) == (3, 3) and _padding(op, given, made, kernel=(height, width)) <= 1:
        return 0
    return 2 * given[-1] * height * width


def _padding(op: Op, given: tuple[int, ...], made: tuple[int, ...], *, kernel: tuple[int, int]) -> int:
    """Return the larger of the paddings above and to the left."""
    strides = op.options.get("stride_h", 1), op.options.get("stride_w", 1)
    return max(
        max(0, (made[1 + i] - 1) * strides[i] + kernel[i] - given[1 + i]) // 2 if _same(op) else 0 for i in range(2)
    )


def _same(op: Op) -> bool:
    padding = op.options.get("padding")
    return padding is not None and getattr(padding, "name", "") == "SAME"


def _dilated(op: Op) -> bool:
    return (op.options.get("dilation_h_factor", 1), op.options.get("dilation_w_factor", 1)) != (1, 1)
