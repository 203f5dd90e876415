"""What LiteRT's Core ML delegate takes of a TFLite model; the other ops run on the CPU.

Source: tensorflow/lite/delegates/coreml/coreml_delegate.mm at 1b4a71e (`IsNodeSupportedByDelegate`) and the checks that
it calls, in builders/ beside it; README.md at 323e5b4, "Supported ops".
"""

from __future__ import annotations

import numpy as np

from edgecompile.backends.rules import Rule, Rules, is_constant, tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import show_shape

_REFLECT = 0  # MirrorPadMode in the TFLite schema

_HIGHEST_VERSION = {"DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 6}
"""Op → the highest version that is taken; of every other op it is 1. No later version is looked at, whatever it brings:
converters of today write version 3 of RESIZE_BILINEAR for half-pixel centres (Keras' UpSampling2D)."""


def coreml_op(graph: Graph, op: Op) -> str:
    """The Core ML delegate does not have this op."""
    return op.name


def coreml_float(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes float models only."""
    dtype = graph.tensors[op.outputs[0]].dtype
    return "" if dtype in {"float32", "float16"} else f"{op.name} gives {dtype}"


def coreml_version(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes version 1 of ops, DEPTHWISE_CONV_2D up to 2 and FULLY_CONNECTED up to 6."""
    return f"{op.name} version {op.version}" if op.version > _HIGHEST_VERSION.get(op.name, 1) else ""


def coreml_pool_activation(graph: Graph, op: Op) -> str:
    """The Core ML delegate pools without a fused activation function."""
    return _fused(op)


def _fused(op: Op) -> str:
    fused = op.options.get("fused_activation_function", 0)
    return f"{op.name} with {getattr(fused, 'name', fused)}" if fused else ""


def coreml_concatenation(graph: Graph, op: Op) -> str:
    """The Core ML delegate joins two or more tensors of 3 or 4 dimensions along channels, without an activation."""
    rank, axis = len(graph.tensors[op.inputs[0]].shape), op.options.get("axis", 0)
    if len(op.inputs) < 2:
        return "1 input"
    if rank not in (3, 4) or axis not in (-1, rank - 1):
        return f"axis {axis} of {rank}"
    return _fused(op)


def coreml_mean(graph: Graph, op: Op) -> str:
    """The Core ML delegate averages 4-D tensors over height and width, and keeps the dimensions."""
    shape, axes = graph.tensors[op.inputs[0]].shape, tensor(graph, op, 1)
    if len(shape) != 4:
        return show_shape(shape)
    if axes is None or axes.data is None:
        return "the axes are computed"
    found = sorted({int(a) % 4 for a in np.atleast_1d(axes.data)})
    kept = bool(op.options.get("keep_dims", False))
    return "" if kept and set(found) <= {1, 2} else f"axes {found}, {'kept' if kept else 'dropped'}"


def coreml_resize_size(graph: Graph, op: Op) -> str:
    """The Core ML delegate resizes to a size that the file holds."""
    size = tensor(graph, op, 1)
    return "" if size is not None and is_constant(graph, size) else "the size is computed"


def coreml_softmax_beta(graph: Graph, op: Op) -> str:
    """The Core ML delegate takes softmax only with beta 1."""
    beta = op.options.get("beta", 1.0)
    return "" if beta == 1.0 else f"beta {beta:g}"


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


_PLAIN = ("HARD_SWISH", "LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")

RULES: Rules = {
    **dict.fromkeys(_PLAIN, ()),
    "ADD": (coreml_broadcast,),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (coreml_pool_activation,)),
    "CONCATENATION": (coreml_concatenation,),
    "CONV_2D": (coreml_weights_constant,),
    "DEPTHWISE_CONV_2D": (coreml_weights_constant,),
    "FULLY_CONNECTED": (coreml_weights_constant, coreml_single_batch),
    "MEAN": (coreml_mean,),
    "MIRROR_PAD": (coreml_mirror_reflect, coreml_padding),
    "MUL": (coreml_broadcast,),
    "PAD": (coreml_padding,),
    "PADV2": (coreml_padding,),
    "RESHAPE": (coreml_reshape,),
    "RESIZE_BILINEAR": (coreml_resize_size,),
    "SOFTMAX": (coreml_softmax_beta,),
    "TRANSPOSE_CONV": (coreml_filter_constant,),
}
ALWAYS: tuple[Rule, ...] = (coreml_float, coreml_version)
UNLISTED: Rule = coreml_op
