"""Scratch memory that ESP-NN's int8 kernels ask TFLite Micro for, in bytes.

Sources: espressif/esp-nn, the functions `esp_nn_get_…_scratch_size_…` of releases 1.1.1 to 1.2.3
(src/convolution/esp_nn_conv_esp32s3.c, esp_nn_depthwise_conv_s8_esp32s3.c, their `…_opt.c`, src/softmax);
esp-tflite-micro 1.4.0, kernels/esp_nn. Where releases differ, the larger size is taken.
"""

from __future__ import annotations

from typing import Literal

from edgecompile.tflite.graph import Graph, Op

Chip = Literal["generic", "s3"]
"""ESP32-S3 has vector instructions and kernels of its own; `generic` are the C kernels of ESP32, S2, C3 and C6."""

_STRIP_BYTES = 48 << 10
"""Above it the S3's depthwise kernel works in strips."""
_MARGIN = 64
"""What the S3's kernels align and read beyond."""


def scratch(graph: Graph, chip: Chip) -> dict[int, tuple[int, ...]]:
    """Return op index → bytes of the scratch buffers of its int8 ESP-NN kernel; ops without any are absent."""
    found = {op.index: _scratch(graph, op, chip) for op in graph.ops}
    return {index: (size,) for index, size in found.items() if size}


def _scratch(graph: Graph, op: Op, chip: Chip) -> int:
    if not op.inputs or graph.tensors[op.inputs[0]].dtype != "int8":
        return 0
    if op.name == "SOFTMAX":
        return 4 * graph.tensors[op.inputs[0]].shape[-1]
    if chip == "generic" or op.name not in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        return 0
    return _conv(graph, op) if op.name == "CONV_2D" else _depthwise(graph, op)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _window(graph: Graph, op: Op) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return for height and width: the size of the kernel, the padding before, and what the window reads beyond."""
    given, made = graph.tensors[op.inputs[0]].shape[1:3], graph.tensors[op.outputs[0]].shape[1:3]
    kernel = graph.tensors[op.inputs[1]].shape[1:3]
    strides = op.options.get("stride_h", 1), op.options.get("stride_w", 1)
    same = getattr(op.options.get("padding"), "name", "") == "SAME"
    pads = tuple(max(0, (made[i] - 1) * strides[i] + kernel[i] - given[i]) // 2 if same else 0 for i in range(2))
    beyond = tuple(max(0, made[i] * strides[i] + kernel[i] - 1 - given[i]) for i in range(2))
    return (kernel[0], kernel[1]), (pads[0], pads[1]), (beyond[0], beyond[1])


def _conv(graph: Graph, op: Op) -> int:
    _, height, width, channels = graph.tensors[op.inputs[0]].shape
    made = graph.tensors[op.outputs[0]].shape[-1]
    kernel, pads, beyond = _window(graph, op)
    strides = op.options.get("stride_h", 1), op.options.get("stride_w", 1)
    if kernel == (1, 1) and pads == (0, 0) and strides == (1, 1):
        wide = _up(channels, 8)
        values = height * width * wide if channels % 8 else 0
        return values + wide * made + (16 * wide if height * width >= 8 else 0) + _MARGIN
    padded = (height + 2 * pads[0]) * (width + 2 * pads[1]) * channels if any(pads) else 0
    bordered = (height + beyond[0]) * (width + beyond[1]) * channels if any(beyond) else 0
    weights = kernel[0] * kernel[1] * _up(channels, 16) * made + _up(kernel[1] * channels, 16) * kernel[0] * made
    columns = _up(kernel[0] * kernel[1] * channels, 16)
    return max(padded + bordered + weights, made * columns + columns + 32) + 4 * made + _MARGIN


def _depthwise(graph: Graph, op: Op) -> int:
    _, height, width, channels = graph.tensors[op.inputs[0]].shape
    _, made_height, made_width, made = graph.tensors[op.outputs[0]].shape
    kernel, pads, beyond = _window(graph, op)
    weights, values = kernel[0] * kernel[1] * made, height * width * channels
    words = 2 * (weights + values) + 32
    if made == channels and channels % 8 == 0:
        if kernel != (3, 3):
            strip = 2 * weights + 2 * width * kernel[0] * channels + 32
            return words if words - 32 <= _STRIP_BYTES else strip
        if channels % 16 == 0:
            more = (2 * pads[0], 2 * pads[1]) if any(pads) else beyond
            return weights + ((height + more[0]) * (width + more[1]) * channels if any(more) else 0) + 16
        wide = _up(channels, 16)
        total = (height + 2 * pads[0] + beyond[0]) * (width + 2 * pads[1] + beyond[1]) * wide
        return max(words, 9 * wide + total + made_height * made_width * wide + _MARGIN)
    if made == channels and channels > 3:
        wide = _up(channels, 8)
        parts = (2 * kernel[0] * kernel[1] * wide, 2 * height * width * wide, made_height * made_width * wide)
        return sum(_up(part, 16) for part in parts) + 12 * wide + 16
    return words if made // channels % 4 == 0 else 32
