"""Op versions that say no more than the op needs."""

from __future__ import annotations

from edgecompile.backends.edgetpu.fit.forms import scale_of, version
from edgecompile.backends.edgetpu.oprules import EIGHT_BIT
from edgecompile.backends.edgetpu.optable import ROWS
from edgecompile.backends.rules import tensor
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op

_PLAIN_RANK = 4
"""Ops of more dimensions have versions of their own."""


def older_version(draft: Draft, graph: Graph, op: Op) -> bool:
    """An op gets the version that it needs, and not the one that a newer converter wrote."""
    needed = needed_version(graph, op)
    if needed is None or needed >= op.version:
        return False
    draft.replace(op.index, (draft.again(op.index, inputs=op.inputs, outputs=op.outputs, version=needed),))
    return True


def needed_version(graph: Graph, op: Op) -> int | None:
    """Return the lowest version that has what op asks for; None where that is not known.

    Known for ops that the Edge TPU has, on int8 and uint8. Source: TensorFlow, `op_version.cc`.
    """
    moving = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0 and not graph.tensors[i].constant]
    first = next((t for t in moving if t.dtype in EIGHT_BIT), None)
    if op.custom or first is None or op.name not in ROWS or any(len(t.shape) > _PLAIN_RANK for t in moving):
        return None
    plain = version(op.name, first)
    if op.name in _BY_OPTIONS:
        return _BY_OPTIONS[op.name](graph, op, plain)
    return plain


def _convolution(graph: Graph, op: Op, plain: int) -> int | None:
    weights = tensor(graph, op, 1)
    grouped = weights is not None and graph.tensors[op.inputs[0]].shape[-1] != weights.shape[-1]
    return None if grouped or op.options.get("quantized_bias_type", "float32") != "float32" else plain


def _dense(graph: Graph, op: Op, plain: int) -> int | None:
    weights = tensor(graph, op, 1)
    one_scale = weights is not None and weights.quantization is not None and not weights.quantization.per_channel
    if not one_scale or weights is None or weights.sparse or op.options.get("weights_format", 0):
        return None
    if tensor(graph, op, 2) is None:
        return 6
    return 5 if op.options.get("keep_num_dims") else plain


def _transposed(graph: Graph, op: Op, plain: int) -> int | None:
    if op.options.get("fused_activation_function", 0):
        return None
    return 3 if tensor(graph, op, 3) is not None else plain


def _resize(graph: Graph, op: Op, plain: int) -> int | None:
    newer = ("half_pixel_centers", "align_corners") if op.name == "RESIZE_NEAREST_NEIGHBOR" else ("half_pixel_centers",)
    return 3 if any(op.options.get(field) for field in newer) else plain


def _slice(graph: Graph, op: Op, plain: int) -> int | None:
    return None if any(op.options.get(f) for f in ("offset", "ellipsis_mask", "new_axis_mask")) else plain


def _product(graph: Graph, op: Op, plain: int) -> int | None:
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs)]
    if any(t.quantization is None for t in tensors):
        return None
    first, second, made = map(scale_of, tensors)
    return 3 if first * second >= made else plain


def _quantize(graph: Graph, op: Op, plain: int) -> int | None:
    made = graph.tensors[op.outputs[0]]
    return plain if made.dtype in EIGHT_BIT and made.quantization and not made.quantization.per_channel else None


_BY_OPTIONS = {
    "CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense,
    "MUL": _product,
    "QUANTIZE": _quantize,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "STRIDED_SLICE": _slice,
    "TRANSPOSE_CONV": _transposed,
}
"""Op → the version its options ask for."""
