"""What is not known of the Edge TPU compiler: each doubt is a function, its docstring the sentence that the user reads.

The compiler leaves some ops to the CPU beyond a size that nobody published. An op within sizes that are known to be
mapped raises no doubt, one beyond sizes that are known to be refused breaks a rule (`oprules`), and one between them
is here: it is expected on the Edge TPU, and said to be in doubt.
"""

from __future__ import annotations

from edgecompile.backends.edgetpu.oprules import elements, mean_area, moving, resize_factor
from edgecompile.backends.rules import tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.lifetimes import tensor_bytes
from edgecompile.units import show_bytes, show_shape

_RESHAPE_LEFT = 199_920
"""Elements: the smallest reshape and concatenation known to have stayed on the CPU (YOLOv5s at 224×224)."""

_TRANSPOSE_MAPPED = 49_980
"""Elements: the largest transpose known to be mapped (YOLOv5s at 224×224, 1×3×196×85)."""

_MEAN_AREA_MAPPED = 8_192
"""Elements averaged into one: 1×64×128×3 over height and width was mapped."""

_RESIZE_MAPPED = 524_288
"""Elements made: 1×128×128×32 was mapped."""

_RESIZE_FACTOR_MAPPED = 2
"""Factor of the resizes in EfficientDet and YOLO models, which were mapped."""

_TRANSPOSE_CONV_LEFT = 2_097_152
"""Elements made: 1×64×64×512 stayed on the CPU."""

_ACTIVATION_BYTES_COMPILED = 608 * 608 * (3 + 16)
"""What one op reads and writes: the first of YOLOv3-tiny at 608×608, which compiled; at 1024×1024, 20 MB, it did not
(#157). “Compilation failed due to large activation tensors in model” is compiler 16's message (#608)."""

DENSE_WEIGHTS_MAPPED = 8_192 * 8_192
"""Weights of the largest fully connected layer known to be mapped."""

_LSTM_INPUTS_MAPPED = 900
"""Inputs a step: about as many compiled, 1,000 did not."""


def edgetpu_large_layout(graph: Graph, op: Op) -> str:
    """The compiler leaves some large reshapes and concatenations to the CPU; its limit is not published."""
    size = elements(graph, op)
    return f"{op.name} of {size:,} elements" if size >= _RESHAPE_LEFT else ""


def edgetpu_large_transpose(graph: Graph, op: Op) -> str:
    """The compiler leaves some transposes to the CPU; between 50,000 and 150,000 elements its limit is not known."""
    size = elements(graph, op)
    return f"{show_shape(graph.tensors[op.inputs[0]].shape)}, {size:,} elements" if size > _TRANSPOSE_MAPPED else ""


def edgetpu_large_mean(graph: Graph, op: Op) -> str:
    """The compiler averages 8,192 elements into one and refuses 32,768; its limit between them is not known."""
    area = mean_area(graph, op)
    return f"{area:,} elements" if area > _MEAN_AREA_MAPPED else ""


def edgetpu_large_resize(graph: Graph, op: Op) -> str:
    """The compiler leaves some resizes to the CPU to keep precision; its limit is not published."""
    factor, size = resize_factor(graph, op), elements(graph, op)
    if factor > _RESIZE_FACTOR_MAPPED:
        return f"{factor:g}-fold"
    return f"{size:,} elements" if size > _RESIZE_MAPPED else ""


def edgetpu_large_activations(graph: Graph, op: Op) -> str:
    """The compiler fails on activations that are too large for the chip: an op with 7 MB compiled, with 20 MB not."""
    size = sum(tensor_bytes(t) for t in moving(graph, op))
    return f"{op.name} reads and writes {show_bytes(size)}" if size > _ACTIVATION_BYTES_COMPILED else ""


def edgetpu_large_transpose_conv(graph: Graph, op: Op) -> str:
    """The compiler leaves some large transposed convolutions to the CPU; its limit is not published."""
    size = elements(graph, op)
    return f"{size:,} elements" if size >= _TRANSPOSE_CONV_LEFT else ""


def edgetpu_large_dense(graph: Graph, op: Op) -> str:
    """The compiler leaves some large fully connected layers to the CPU; 67 million weights are known to be mapped."""
    weights = graph.tensors[op.inputs[1]].shape
    return f"{weights[0]:,}×{weights[-1]:,} weights" if weights[0] * weights[-1] > DENSE_WEIGHTS_MAPPED else ""


def edgetpu_softmax_rows(graph: Graph, op: Op) -> str:
    """The documents allow a softmax of one row only; compiler 16 mapped others."""
    shape = graph.tensors[op.inputs[0]].shape
    return show_shape(shape) if any(d > 1 for d in shape[:-1]) else ""


def edgetpu_slice_strides(graph: Graph, op: Op) -> str:
    """The documents allow strided slices of stride 1 only; compiler 16 mapped stride 2 in height and width."""
    strides = tensor(graph, op, 3)
    if strides is None or strides.data is None or bool((strides.data == 1).all()):
        return ""
    return f"strides {strides.data.tolist()}"


def edgetpu_tile_alone(graph: Graph, op: Op) -> str:
    """The documents do not list this op; the compiler is known to map it before a concatenation only."""
    readers = list(graph.consumers.get(op.outputs[0], ()))
    while readers and all(reader.name == "QUANTIZE" for reader in readers):
        readers = [then for reader in readers for then in graph.consumers.get(reader.outputs[0], ())]
    joined = bool(readers) and all(reader.name == "CONCATENATION" for reader in readers)
    return "" if joined else f"{op.name} to {show_shape(graph.tensors[op.outputs[0]].shape)}"


def edgetpu_wide_lstm(graph: Graph, op: Op) -> str:
    """The compiler fails on LSTMs of 1,000 inputs and more; up to about 900 are known to compile."""
    inputs = graph.tensors[op.inputs[0]].shape[-1]
    return f"{inputs:,} inputs" if inputs > _LSTM_INPUTS_MAPPED else ""
