"""Layers in a form that the Edge TPU compiler of 2021 knows."""

from __future__ import annotations

import numpy as np

from edgecompile.backends.edgetpu.doubts import DENSE_WEIGHTS_MAPPED
from edgecompile.backends.edgetpu.fit.forms import eight_bit, reshape, scale_of, version
from edgecompile.backends.rules import tensor
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op, Tensor
from edgecompile.tflite.values import Array

_DENSE_OUTPUTS = 8_192
"""Outputs of the widest fully connected layer that is known to be mapped."""


def dense_as_convolution(draft: Draft, graph: Graph, op: Op) -> bool:
    """A FULLY_CONNECTED layer becomes a 1×1 convolution, which has several rows, and a scale for every output.

    The rows lie along the width: [rows, inputs] → 1×1×rows×inputs → 1×1×rows×outputs.
    """
    from ai_edge_litert import schema_py_generated as schema

    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    weights, bias = tensor(graph, op, 1), tensor(graph, op, 2)
    if not eight_bit(given, made) or weights is None or not _usable(given, weights, bias):
        return False
    assert weights.data is not None, "it is usable"
    outputs, inputs = weights.shape
    rows = int(np.prod(given.shape, dtype=np.int64)) // inputs
    spread = draft.activation(given.index, "rows", shape=(1, 1, rows, inputs))
    result = draft.activation(made.index, "rows", shape=(1, 1, rows, outputs))
    filters = _filters(draft, weights, weights.data.reshape(outputs, 1, 1, inputs))
    added = _bias(draft, given, weights, bias)
    convolution = schema.Conv2DOptionsT(
        padding=schema.Padding.VALID,
        strideH=1,
        strideW=1,
        fusedActivationFunction=int(op.options.get("fused_activation_function", 0)),
    )
    draft.replace(
        op.index,
        (
            reshape(draft, given.index, spread, (1, 1, rows, inputs), f"{made.name}/spread"),
            draft.op(
                "CONV_2D",
                [spread, filters, added],
                [result],
                version=version("CONV_2D", given),
                options=convolution,
            ),
            reshape(draft, result, made.index, made.shape, f"{made.name}/gather"),
        ),
    )
    return True


def grouped_convolution(draft: Draft, graph: Graph, op: Op) -> bool:
    """A CONV_2D of several groups becomes SPLIT, one CONV_2D a group, and CONCATENATION."""
    from ai_edge_litert import schema_py_generated as schema

    given, weights, made = graph.tensors[op.inputs[0]], tensor(graph, op, 1), graph.tensors[op.outputs[0]]
    bias = tensor(graph, op, 2)
    if not eight_bit(given, made) or weights is None or bias is None or not _usable(given, weights, bias):
        return False
    groups = given.shape[-1] // weights.shape[-1]
    if groups < 2 or weights.shape[0] % groups:
        return False
    own = weights.shape[0] // groups
    parts = [
        draft.activation(given.index, f"group_{n}", shape=(*given.shape[:3], weights.shape[-1])) for n in range(groups)
    ]
    results = [draft.activation(made.index, f"group_{n}", shape=(*made.shape[:3], own)) for n in range(groups)]
    axis = draft.constant(f"{made.name}/axis", np.array(3, np.int32))
    ops = [
        draft.op(
            "SPLIT",
            [axis, given.index],
            parts,
            version=version("SPLIT", given),
            options=schema.SplitOptionsT(numSplits=groups),
        )
    ]
    for n in range(groups):
        rows = slice(n * own, (n + 1) * own)
        filters, added = (_part(draft, item, rows, f"group_{n}") for item in (weights, bias))
        ops.append(
            draft.again(
                op.index, inputs=[parts[n], filters, added], outputs=[results[n]], version=version("CONV_2D", given)
            )
        )
    join = schema.ConcatenationOptionsT(axis=3)
    ops.append(draft.op("CONCATENATION", results, [made.index], version=version("CONCATENATION", given), options=join))
    draft.replace(op.index, ops)
    return True


def dense_in_parts(draft: Draft, graph: Graph, op: Op) -> bool:
    """A FULLY_CONNECTED layer becomes several with a part of the outputs each, and a CONCATENATION."""
    from ai_edge_litert import schema_py_generated as schema

    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    weights, bias = tensor(graph, op, 1), tensor(graph, op, 2)
    if not eight_bit(given, made) or weights is None or weights.data is None or weights.quantization is None:
        return False
    if bias is not None and (bias.data is None or bias.quantization is None):
        return False
    outputs, inputs = weights.shape
    most = max(1, min(_DENSE_OUTPUTS, DENSE_WEIGHTS_MAPPED // inputs))
    starts = range(0, outputs, most)
    if len(starts) < 2:
        return False
    ops, results = [], []
    for number, start in enumerate(starts):
        rows = slice(start, min(start + most, outputs))
        parts = [_part(draft, item, rows, f"part_{number}") for item in (weights, bias) if item is not None]
        shape = (*made.shape[:-1], rows.stop - rows.start)
        results.append(draft.activation(made.index, f"part_{number}", shape=shape))
        ops.append(draft.again(op.index, inputs=[given.index, *parts], outputs=[results[-1]], version=op.version))
    join = schema.ConcatenationOptionsT(axis=len(made.shape) - 1)
    ops.append(draft.op("CONCATENATION", results, [made.index], version=version("CONCATENATION", given), options=join))
    draft.replace(op.index, ops)
    return True


def _usable(given: Tensor, weights: Tensor, bias: Tensor | None) -> bool:
    """Return whether the file holds the bias, and weights of given's dtype with zero points that a convolution has."""
    how = weights.quantization
    if weights.data is None or weights.dtype != given.dtype or how is None:
        return False
    if bias is not None and (bias.data is None or bias.dtype != "int32"):
        return False
    return weights.dtype == "uint8" or not how.zero_point.any()


def _filters(draft: Draft, weights: Tensor, values: Array) -> int:
    """Add the filters of a convolution: values with the scales of weights, int8 with one for every output."""
    assert weights.quantization is not None, "asked before"
    scale, zero_point = weights.quantization.scale, weights.quantization.zero_point
    many = len(values) if weights.dtype == "int8" and len(scale) == 1 else 1
    return draft.constant(
        f"{weights.name}/filters", values, scale=np.repeat(scale, many), zero_point=np.repeat(zero_point, many)
    )


def _bias(draft: Draft, given: Tensor, weights: Tensor, bias: Tensor | None) -> int:
    """Add the bias of a convolution: that of a dense layer, or zeros."""
    assert weights.quantization is not None, "asked before"
    outputs = weights.shape[0]
    values = np.zeros(outputs, np.int32) if bias is None or bias.data is None else bias.data
    scale = scale_of(given) * weights.quantization.scale.astype(np.float64)
    many = outputs if weights.dtype == "int8" and len(scale) == 1 else 1
    return draft.constant(f"{weights.name}/bias", values, scale=np.repeat(scale, many))


def _part(draft: Draft, item: Tensor, rows: slice, name: str) -> int:
    """Add some rows of a constant as one of its own."""
    assert item.quantization is not None, "asked before"
    assert item.data is not None, "asked before"
    scale, zero_point = item.quantization.scale, item.quantization.zero_point
    if len(scale) > 1:
        scale, zero_point = scale[rows], zero_point[rows]
    return draft.constant(f"{item.name}/{name}", item.data[rows], scale=scale, zero_point=zero_point)
