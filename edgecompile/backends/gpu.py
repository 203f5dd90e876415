"""What LiteRT's GPU delegate takes of a TFLite model; the other ops run on the CPU.

Source: tensorflow/lite/tools/versioning/gpu_compatibility.cc at 03a5e4e, which the delegate itself asks, and before it
google-ai-edge/LiteRT, tflite/delegates/gpu/common/model_builder.cc at f674577: versions, dimensions. TensorFlow's own
offline check (`tf.lite.experimental.Analyzer` with `gpu_compatibility`) calls every model compatible in TF 2.21,
also one of unknown custom ops only.
"""

from __future__ import annotations

from itertools import zip_longest

from edgecompile.backends.rules import Rule, Rules, tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import show_shape

_SIGN_BIT = 5  # ActivationFunctionType in the TFLite schema
_REFLECT = 0  # MirrorPadMode in the TFLite schema
_FLOATS = {"float16", "float32"}
_MOST_DIMENSIONS = 4

_ELEMENTWISE = (
    *("ABS", "ADD", "COS", "DIV", "ELU", "EQUAL", "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU", "GREATER"),
    *("GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND", "LOGISTIC", "MAXIMUM", "MINIMUM", "NEG"),
    *("NOT_EQUAL", "POW", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH"),
)
_BY_VERSION = {
    1: ("DENSIFY", "GATHER", "PRELU", "RESHAPE"),
    2: (
        *_ELEMENTWISE,
        *("AVERAGE_POOL_2D", "CONCATENATION", "LEAKY_RELU", "MAX_POOL_2D", "MIRROR_PAD", "PAD", "PADV2", "QUANTIZE"),
        *("RELU", "RELU6", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH"),
    ),
    3: ("DEQUANTIZE", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE_CONV"),
    4: ("STRIDED_SLICE", "TRANSPOSE"),
    6: ("CONV_2D", "DEPTHWISE_CONV_2D"),
    9: ("FULLY_CONNECTED",),
}
_HIGHEST_VERSION = {name: version for version, names in _BY_VERSION.items() for name in names}
"""Op → the highest version that is taken; of ops that are not here any is. A TRANSPOSE_CONV with a fused activation is
version 4 (met in PINTO0309/onnx2tf #640)."""


def gpu_op(graph: Graph, op: Op) -> str:
    """The GPU delegate does not have this op."""
    return op.name


def gpu_version(graph: Graph, op: Op) -> str:
    """The GPU delegate does not take later versions of this op."""
    highest = _HIGHEST_VERSION.get(op.name, op.version)
    return f"{op.name} version {op.version}, up to {highest} taken" if op.version > highest else ""


def gpu_dimensions(graph: Graph, op: Op) -> str:
    """The GPU delegate takes tensors of four dimensions at most."""
    shapes = (graph.tensors[i].shape for i in (*op.inputs, *op.outputs) if i >= 0)
    return next((f"{op.name} with {show_shape(shape)}" for shape in shapes if len(shape) > _MOST_DIMENSIONS), "")


def gpu_sampling(graph: Graph, op: Op) -> str:
    """The GPU delegate resizes with aligned corners or half-pixel centres, not with both."""
    both = op.options.get("align_corners", False) and op.options.get("half_pixel_centers", False)
    return "aligned corners and half-pixel centres" if both else ""


def gpu_fused_activation(graph: Graph, op: Op) -> str:
    """The GPU delegate fuses ReLU, ReLU6, ReLU −1..1, tanh and sigmoid."""
    return f"{op.name} with sign bit" if op.options.get("fused_activation_function", 0) == _SIGN_BIT else ""


def gpu_broadcast(graph: Graph, op: Op) -> str:
    """The GPU delegate takes two inputs whose shapes fit each other, or that broadcast along ones."""
    if len(op.inputs) != 2:
        return f"{len(op.inputs)} inputs"
    a, b = (graph.tensors[i].shape for i in op.inputs)
    ranks_differ = len(a) > 1 and len(b) > 1 and len(a) != len(b)
    fits = all(x == y or 1 in (x, y) for x, y in zip_longest(reversed(a), reversed(b), fillvalue=1))
    return "" if fits or not ranks_differ else f"{show_shape(a)} with {show_shape(b)}"


def gpu_multiplies_outer(graph: Graph, op: Op) -> str:
    """The GPU delegate multiplies where one input is at least as large as the other in every dimension."""
    if len(op.inputs) != 2:
        return f"{len(op.inputs)} inputs"
    a, b = (graph.tensors[i].shape for i in op.inputs)
    if len(a) != len(b):
        return gpu_broadcast(graph, op)
    pairs = list(zip(a, b, strict=True))
    crossed = any(x < y for x, y in pairs) and any(x > y for x, y in pairs)
    return f"{show_shape(a)} with {show_shape(b)}" if crossed else ""


def gpu_depth_multiplier(graph: Graph, op: Op) -> str:
    """The GPU delegate takes a depth multiplier above 1 only on one input channel."""
    multiplier = op.options.get("depth_multiplier", 1)
    channels = graph.tensors[op.inputs[0]].shape[-1]
    return f"multiplier {multiplier} on {channels} channels" if multiplier != 1 and channels != 1 else ""


def gpu_weights_format(graph: Graph, op: Op) -> str:
    """The GPU delegate takes fully connected weights in the default layout."""
    return "" if op.options.get("weights_format", 0) == 0 else "shuffled weights"


def gpu_keeps_rank(graph: Graph, op: Op) -> str:
    """The GPU delegate keeps dimensions in a fully connected op only where input and output have as many."""
    given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    kept = bool(op.options.get("keep_num_dims", False))
    return f"{show_shape(given)} to {show_shape(made)}" if kept and len(given) != len(made) else ""


def gpu_axes(graph: Graph, op: Op) -> str:
    """The GPU delegate reduces along axes that the file holds."""
    axes = tensor(graph, op, 1)
    return "" if axes is not None and axes.constant else "the axes are computed"


def gpu_rank_3_or_4(graph: Graph, op: Op) -> str:
    """The GPU delegate slices 3-D and 4-D tensors."""
    shape = graph.tensors[op.inputs[0]].shape
    return "" if len(shape) in (3, 4) else show_shape(shape)


def gpu_slice_masks(graph: Graph, op: Op) -> str:
    """The GPU delegate takes strided slices without ellipsis, new-axis and shrink-axis mask."""
    masks = [name for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask") if op.options.get(name, 0)]
    return ", ".join(masks).replace("_", " ")


def gpu_softmax_beta(graph: Graph, op: Op) -> str:
    """The GPU delegate takes softmax only with beta 1."""
    beta = op.options.get("beta", 1.0)
    return "" if beta == 1.0 else f"beta {beta:g}"


def gpu_block_size(graph: Graph, op: Op) -> str:
    """The GPU delegate takes block sizes above 1."""
    return "" if op.options.get("block_size", 0) > 1 else f"block size {op.options.get('block_size')}"


def gpu_padding(graph: Graph, op: Op) -> str:
    """The GPU delegate pads 3-D and 4-D tensors."""
    pads = tensor(graph, op, 1)
    shape = () if pads is None else pads.shape
    return "" if shape in ((3, 2), (4, 2)) else f"paddings of shape {show_shape(shape)}"


def gpu_mirror_reflect(graph: Graph, op: Op) -> str:
    """The GPU delegate mirrors in reflect mode only."""
    return "" if op.options.get("mode", _REFLECT) == _REFLECT else "symmetric mode"


def gpu_gather(graph: Graph, op: Op) -> str:
    """The GPU delegate gathers along 1-D int32 indices from tensors that are not int32."""
    data, where = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    if data.dtype == "int32":
        return "int32 data"
    return (
        "" if where.dtype == "int32" and len(where.shape) == 1 else f"{where.dtype} indices {show_shape(where.shape)}"
    )


def gpu_cast(graph: Graph, op: Op) -> str:
    """The GPU delegate casts between float and bool, and between float32 and int32."""
    given, made = graph.tensors[op.inputs[0]].dtype, graph.tensors[op.outputs[0]].dtype
    with_bool = (given == "bool" and made in _FLOATS) or (given in _FLOATS and made == "bool")
    plain = {given, made} <= {"float32", "int32"}
    return "" if with_bool or plain else f"{given} to {made}"


_PLAIN = (
    *(
        "BATCH_MATMUL",
        "CONCATENATION",
        "DENSIFY",
        "DEQUANTIZE",
        "HARD_SWISH",
        "LEAKY_RELU",
        "PACK",
        "PRELU",
        "QUANTIZE",
    ),
    *("RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SPLIT", "SPLIT_V", "UNPACK"),
    *("TILE", "TRANSPOSE", "TRANSPOSE_CONV", "ABS", "COS", "ELU", "EXP", "FLOOR", "GELU", "LOG", "LOGISTIC"),
    *("NEG", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "TANH", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER"),
    *("GREATER_EQUAL", "LOGICAL_AND", "LESS", "LESS_EQUAL", "MAXIMUM", "MINIMUM", "NOT_EQUAL", "POW"),
    "SQUARED_DIFFERENCE",
)
_ACTIVATED = ("AVERAGE_POOL_2D", "CONV_2D", "MAX_POOL_2D", "DIV", "SUB")
_REDUCING = ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM")

RULES: Rules = {
    **dict.fromkeys(_PLAIN, ()),
    **dict.fromkeys(_ACTIVATED, (gpu_fused_activation,)),
    **dict.fromkeys(_REDUCING, (gpu_axes,)),
    "ADD": (gpu_broadcast,),
    "CAST": (gpu_cast,),
    "DEPTH_TO_SPACE": (gpu_block_size,),
    "DEPTHWISE_CONV_2D": (gpu_fused_activation, gpu_depth_multiplier),
    "FULLY_CONNECTED": (gpu_weights_format, gpu_keeps_rank),
    "GATHER": (gpu_gather,),
    "MIRROR_PAD": (gpu_mirror_reflect, gpu_padding),
    "MUL": (gpu_multiplies_outer, gpu_fused_activation),
    "PAD": (gpu_padding,),
    "PADV2": (gpu_padding,),
    "RESIZE_BILINEAR": (gpu_sampling,),
    "SLICE": (gpu_rank_3_or_4,),
    "SOFTMAX": (gpu_softmax_beta,),
    "SPACE_TO_DEPTH": (gpu_block_size,),
    "STRIDED_SLICE": (gpu_slice_masks, gpu_rank_3_or_4),
}
ALWAYS: tuple[Rule, ...] = (gpu_version, gpu_dimensions)
UNLISTED: Rule = gpu_op
