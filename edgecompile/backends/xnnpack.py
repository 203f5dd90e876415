"""What XNNPACK takes of a TFLite model; the other ops run on the runtime's built-in CPU kernels.

Source: google-ai-edge/LiteRT, tflite/delegates/xnnpack/README.md at 3a653aa, "Limitations and supported operators".
In one point the runtime is ahead of it: LiteRT 2.3 also takes convolutions and fully connected ops with float
activations and int8 weights (dynamic range). The tests compare these rules with what the installed runtime takes.
"""

from __future__ import annotations

import numpy as np

from edgecompile.backends.rules import Rule, Rules, is_constant, tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import show_shape

_EIGHT_BIT = {"int8", "uint8"}
_TANH, _SIGN_BIT = 4, 5  # ActivationFunctionType in the TFLite schema

_FLOAT_ONLY = (
    *("ABS", "AVERAGE_POOL_2D", "CEIL", "DIV", "FLOOR", "HARD_SWISH", "MAXIMUM", "MINIMUM", "NEG", "PRELU", "RELU"),
    *("RELU6", "RELU_N1_TO_1", "ROUND", "SOFTMAX", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE"),
)


def xnnpack_op(graph: Graph, op: Op) -> str:
    """XNNPACK's documented list of ops does not have it."""
    return op.name


def xnnpack_dtype(graph: Graph, op: Op) -> str:
    """XNNPACK computes in 32-bit float and on 8-bit integers."""
    dtype = graph.tensors[op.outputs[0]].dtype
    return "" if dtype == "float32" or dtype in _EIGHT_BIT else f"{op.name} gives {dtype}"


def xnnpack_float_only(graph: Graph, op: Op) -> str:
    """XNNPACK has this op for float only."""
    dtype = graph.tensors[op.outputs[0]].dtype
    return f"{op.name} on {dtype}" if dtype in _EIGHT_BIT else ""


def xnnpack_fused_activation(graph: Graph, op: Op) -> str:
    """XNNPACK fuses ReLU, ReLU6 and ReLU −1..1, and no other activation."""
    fused = op.options.get("fused_activation_function", 0)
    return {_TANH: f"{op.name} with tanh", _SIGN_BIT: f"{op.name} with sign bit"}.get(fused, "")


def xnnpack_two_inputs(graph: Graph, op: Op) -> str:
    """XNNPACK adds two tensors at a time."""
    return "" if len(op.inputs) == 2 else f"{len(op.inputs)} inputs"


def xnnpack_concatenation_inputs(graph: Graph, op: Op) -> str:
    """XNNPACK joins two, three or four tensors."""
    return "" if 2 <= len(op.inputs) <= 4 else f"{len(op.inputs)} inputs"


def xnnpack_split_outputs(graph: Graph, op: Op) -> str:
    """XNNPACK splits a tensor in two, three or four."""
    return "" if 2 <= len(op.outputs) <= 4 else f"{len(op.outputs)} outputs"


def xnnpack_weights_constant(graph: Graph, op: Op) -> str:
    """XNNPACK takes filters and biases only where the file holds them."""
    given = [t for t in (tensor(graph, op, 1), tensor(graph, op, 2)) if t is not None]
    return next((f"`{t.name}` is computed" for t in given if not is_constant(graph, t)), "")


def xnnpack_bias(graph: Graph, op: Op) -> str:
    """XNNPACK takes convolutions only with a bias."""
    return f"{op.name} without bias" if tensor(graph, op, 2) is None else ""


def xnnpack_pool_1x1_stride(graph: Graph, op: Op) -> str:
    """XNNPACK takes a 1×1 pooling only with stride 1."""
    window = op.options.get("filter_height"), op.options.get("filter_width")
    stride = op.options.get("stride_h"), op.options.get("stride_w")
    return f"stride {stride[0]}×{stride[1]}" if window == (1, 1) and stride != (1, 1) else ""


def xnnpack_parameter_constant(graph: Graph, op: Op) -> str:
    """XNNPACK takes axes, paddings, sizes and permutations only where the file holds them."""
    given = [t for t in (tensor(graph, op, n) for n in range(1, len(op.inputs))) if t is not None]
    return next((f"`{t.name}` is computed" for t in given if not is_constant(graph, t)), "")


def xnnpack_mean_axes(graph: Graph, op: Op) -> str:
    """XNNPACK averages a 4-D tensor over height and width, or over width."""
    rank = len(graph.tensors[op.inputs[0]].shape)
    axes = tensor(graph, op, 1)
    if axes is None or axes.data is None:
        return "the axes are computed"
    over = sorted(int(a) % rank for a in np.atleast_1d(axes.data))
    keeps = len(graph.tensors[op.outputs[0]].shape) == 4
    return (
        ""
        if rank == 4 and keeps and over in ([1, 2], [2])
        else f"axes {over} of {rank}, {'kept' if keeps else 'dropped'}"
    )


def xnnpack_rank_4(graph: Graph, op: Op) -> str:
    """XNNPACK resizes 4-D tensors."""
    shape = graph.tensors[op.inputs[0]].shape
    return "" if len(shape) == 4 else show_shape(shape)


def xnnpack_block_size(graph: Graph, op: Op) -> str:
    """XNNPACK takes block sizes above 1."""
    return "" if op.options.get("block_size", 0) > 1 else f"block size {op.options.get('block_size')}"


def xnnpack_softmax_beta(graph: Graph, op: Op) -> str:
    """XNNPACK takes softmax only with beta 1."""
    beta = op.options.get("beta", 1.0)
    return "" if beta == 1.0 else f"beta {beta:g}"


def xnnpack_strided_slice(graph: Graph, op: Op) -> str:
    """XNNPACK takes strided slices only with strides of 1 and no ellipsis, new-axis or shrink-axis mask."""
    masks = [name for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask") if op.options.get(name, 0)]
    strides = tensor(graph, op, 3)
    if masks:
        return masks[0].replace("_", " ")
    data = None if strides is None else strides.data
    return "" if data is None or bool((data == 1).all()) else f"strides {data.tolist()}"


def xnnpack_per_tensor(graph: Graph, op: Op) -> str:
    """XNNPACK quantizes and dequantizes with one scale for the whole tensor."""
    given = graph.tensors[op.inputs[0]].quantization
    return "one scale a channel" if given is not None and given.scale.size > 1 else ""


def xnnpack_requantize(graph: Graph, op: Op) -> str:
    """XNNPACK requantizes between types of one signedness, by a ratio of scales from 1/256 to 128."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if given.dtype == "float32" or given.quantization is None or made.quantization is None:
        return ""
    if given.dtype != made.dtype:
        return f"{given.dtype} to {made.dtype}"
    ratio = float(given.quantization.scale[0] / made.quantization.scale[0])
    return "" if 2**-8 <= ratio <= 2**7 else f"ratio {ratio:.3g}"


_CONVOLUTION: tuple[Rule, ...] = (xnnpack_bias, xnnpack_weights_constant, xnnpack_fused_activation)

_SPECIAL: Rules = {
    "ADD": (xnnpack_two_inputs, xnnpack_fused_activation),
    "AVERAGE_POOL_2D": (xnnpack_float_only, xnnpack_pool_1x1_stride, xnnpack_fused_activation),
    "CONCATENATION": (xnnpack_concatenation_inputs,),
    "CONV_2D": _CONVOLUTION,
    "DEPTH_TO_SPACE": (xnnpack_block_size,),
    "DEPTHWISE_CONV_2D": _CONVOLUTION,
    "DEQUANTIZE": (xnnpack_per_tensor,),
    "DIV": (xnnpack_float_only, xnnpack_fused_activation),
    "ELU": (),
    "FULLY_CONNECTED": (xnnpack_weights_constant, xnnpack_fused_activation),
    "LEAKY_RELU": (),
    "LOGISTIC": (),
    "MAX_POOL_2D": (xnnpack_pool_1x1_stride, xnnpack_fused_activation),
    "MEAN": (xnnpack_mean_axes,),
    "MUL": (xnnpack_fused_activation,),
    "PAD": (xnnpack_parameter_constant,),
    "QUANTIZE": (xnnpack_requantize,),
    "RESHAPE": (xnnpack_parameter_constant,),
    "RESIZE_BILINEAR": (xnnpack_rank_4, xnnpack_parameter_constant),
    "SLICE": (xnnpack_parameter_constant,),
    "SOFTMAX": (xnnpack_float_only, xnnpack_softmax_beta),
    "SPACE_TO_DEPTH": (xnnpack_block_size,),
    "SPLIT": (xnnpack_split_outputs,),
    "STRIDED_SLICE": (xnnpack_float_only, xnnpack_parameter_constant, xnnpack_strided_slice),
    "SUB": (xnnpack_fused_activation,),
    "TANH": (),
    "TRANSPOSE": (xnnpack_parameter_constant,),
    "TRANSPOSE_CONV": (),
}

RULES: Rules = {**dict.fromkeys(_FLOAT_ONLY, (xnnpack_float_only,)), **_SPECIAL}
ALWAYS: tuple[Rule, ...] = (xnnpack_dtype,)
UNLISTED: Rule = xnnpack_op
