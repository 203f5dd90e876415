"""Activation functions that the Edge TPU lacks, built of ops that it has."""

from __future__ import annotations

import numpy as np

from edgecompile.backends.edgetpu.fit.forms import (
    codes_of,
    eight_bit,
    scalar,
    scale_of,
    version,
    zero_point_of,
)
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op

_CLAMPS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
"""Activations that cut off values → what they leave."""


def hard_swish(draft: Draft, graph: Graph, op: Op) -> bool:
    """HARD_SWISH x becomes x · h with h = x/6 + 1/2 between 0 and 1, of MUL, ADD and MUL.

    x/6 has the codes of x under a sixth of its scale, so it is exact. h has the codes of [0, 1], where they end it is
    cut off without an op of its own.
    """
    from ai_edge_litert import schema_py_generated as schema

    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if not eight_bit(given, made):
        return False
    low, high = codes_of(given)
    sixth = draft.activation(given.index, "sixth", scale=scale_of(given) / 6, zero_point=zero_point_of(given))
    gate = draft.activation(given.index, "gate", scale=1 / (high - low), zero_point=low)
    name = made.name
    two = version("MUL", given)
    draft.replace(
        op.index,
        (
            draft.op(
                "MUL",
                [given.index, scalar(draft, f"{name}/one_sixth", 1 / 6, given)],
                [sixth],
                version=two,
                options=schema.MulOptionsT(),
            ),
            draft.op(
                "ADD",
                [sixth, scalar(draft, f"{name}/one_half", 1 / 2, given)],
                [gate],
                version=two,
                options=schema.AddOptionsT(),
            ),
            draft.op("MUL", [given.index, gate], [made.index], version=two, options=schema.MulOptionsT()),
        ),
    )
    return True


def leaky_relu(draft: Draft, graph: Graph, op: Op) -> bool:
    """LEAKY_RELU becomes PRELU with the same slope in every channel."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    slope = float(op.options.get("alpha", 0.0))
    if not eight_bit(given, made) or not given.shape or slope <= 0:
        return False
    low, high = codes_of(given)
    zero_point = max(low, 0)
    shape = (*[1] * (len(given.shape) - 2), given.shape[-1])
    slopes = draft.constant(
        f"{made.name}/slopes",
        np.full(shape, high, given.dtype),
        scale=[slope / (high - zero_point)],
        zero_point=[zero_point],
    )
    draft.replace(op.index, (draft.op("PRELU", [given.index, slopes], [made.index], version=version("PRELU", given)),))
    return True


def unfused_activation(draft: Draft, graph: Graph, op: Op) -> bool:
    """A fused activation becomes an op behind a pooling or transposed convolution; where it changes nothing it goes."""
    fused = op.options.get("fused_activation_function", 0)
    name = getattr(fused, "name", "NONE")
    made = graph.tensors[op.outputs[0]]
    if name not in _CLAMPS or not eight_bit(made):
        return False
    draft.options(op.index).fusedActivationFunction = 0
    plain = 3 if op.name == "TRANSPOSE_CONV" and len(op.inputs) > 3 else version(op.name, made)  # 3 brought the bias
    if _keeps_all(made.index, graph, name):
        draft.replace(op.index, (draft.again(op.index, inputs=op.inputs, outputs=op.outputs, version=plain),))
        return True
    pooled = draft.activation(made.index, "pooled")
    draft.replace(
        op.index,
        (
            draft.again(op.index, inputs=op.inputs, outputs=[pooled], version=plain),
            draft.op(name, [pooled], [made.index], version=version(name, made)),
        ),
    )
    return True


def _keeps_all(index: int, graph: Graph, name: str) -> bool:
    """Return whether no code of a tensor stands for a value that the activation cuts off."""
    item = graph.tensors[index]
    low, high = ((code - zero_point_of(item)) * scale_of(item) for code in codes_of(item))
    return _CLAMPS[name][0] <= low and high <= _CLAMPS[name][1]
