"""What LiteRT's Core ML delegate takes of a TFLite model; the other ops run on the CPU.

Source: tensorflow/lite/delegates/coreml/README.md at 323e5b4, "Supported ops"; float models only: LiteRT documentation,
Core ML delegate, "Supported models".
"""

from __future__ import annotations

import numpy as np

from edgecompile.backends.rules import Rule, Rules, is_constant, tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import show_shape

_REFLECT = 0  # MirrorPadMode in the TFLite schema


def coreml_op(graph: Graph, op: Op) -> str:
    """The Core ML delegate does not have this op."""
    return op.name


def coreml_float(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes float models only."""
    dtype = graph.tensors[op.outputs[0]].dtype
    return "" if dtype in {"float32", "float16"} else f"{op.name} gives {dtype}"


def coreml_broadcast(graph: Graph, op: Op) -> str:
    """The Core ML delegate broadcasts a tensor over height and width, over channels, or over all three."""
    a, b = (graph.tensors[i].shape for i in op.inputs[:2])
    small, large = sorted(((1,) * (4 - len(a)) + a, (1,) * (4 - len(b)) + b), key=lambda s: int(np.prod(s)))
    if len(large) > 4:
        return f"{show_shape(a)} with {show_shape(b)}"
    n, height, width, channels = large
    fits = small in {large, (n, 1, 1, channels), (n, height, width, 1), (n, 1, 1, 1), (1, 1, 1, 1)}
    return "" if fits else f"{show_shape(a)} with {show_shape(b)}"


def coreml_weights_constant(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes weights and biases only where the file holds them."""
    given = [t for t in (tensor(graph, op, 1), tensor(graph, op, 2)) if t is not None]
    return next((f"`{t.name}` is computed" for t in given if not is_constant(graph, t)), "")


def coreml_filter_constant(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes the filter of a transposed convolution only where the file holds it."""
    kernel = tensor(graph, op, 1)
    return "" if kernel is not None and is_constant(graph, kernel) else "the filter is computed"


def coreml_single_batch(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes fully connected ops only on one row: every dimension but the last is 1."""
    shape = graph.tensors[op.inputs[0]].shape
    return "" if all(d == 1 for d in shape[:-1]) else show_shape(shape)


def coreml_padding(graph: Graph, op: Op) -> str:
    """The Core ML delegate pads height and width of 4-D tensors, by amounts that the file holds."""
    shape = graph.tensors[op.inputs[0]].shape
    pads = tensor(graph, op, 1)
    if len(shape) != 4:
        return show_shape(shape)
    if pads is None or pads.data is None:
        return "the paddings are computed"
    return "" if not pads.data[[0, 3]].any() else f"paddings {pads.data.tolist()}"


def coreml_mirror_reflect(graph: Graph, op: Op) -> str:
    """The Core ML delegate mirrors in reflect mode only."""
    return "" if op.options.get("mode", _REFLECT) == _REFLECT else "symmetric mode"


def coreml_reshape(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes reshapes for Core ML 2 only; iOS 13 and later have Core ML 3."""
    shapes = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return f"{show_shape(shapes[0])} to {show_shape(shapes[1])}"


_PLAIN = (
    *("AVERAGE_POOL_2D", "CONCATENATION", "HARD_SWISH", "LOGISTIC", "MAX_POOL_2D", "RELU", "RELU6", "RELU_N1_TO_1"),
    *("RESIZE_BILINEAR", "SOFTMAX", "TANH"),
)

RULES: Rules = {
    **dict.fromkeys(_PLAIN, ()),
    "ADD": (coreml_broadcast,),
    "CONV_2D": (coreml_weights_constant,),
    "DEPTHWISE_CONV_2D": (coreml_weights_constant,),
    "FULLY_CONNECTED": (coreml_weights_constant, coreml_single_batch),
    "MIRROR_PAD": (coreml_mirror_reflect, coreml_padding),
    "MUL": (coreml_broadcast,),
    "PAD": (coreml_padding,),
    "PADV2": (coreml_padding,),
    "RESHAPE": (coreml_reshape,),
    "TRANSPOSE_CONV": (coreml_filter_constant,),
}
ALWAYS: tuple[Rule, ...] = (coreml_float,)
UNLISTED: Rule = coreml_op
