"""How much an op computes."""

from __future__ import annotations

import math

from edgecompile.backends.rules import tensor
from edgecompile.tflite.graph import Graph, Op

_MATRICES_OF_AN_LSTM = 4
"""Gates: input, forget, cell, output. Each multiplies the input and the state before."""


def macs(graph: Graph, op: Op) -> int:
    """Return how many multiply-accumulate operations op makes on one inference; 0 for ops that multiply no weights."""
    if op.name in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}:
        return _convolution(graph, op)
    if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
        return _MATRICES_OF_AN_LSTM * math.prod(made) * (given[-1] + made[-1])
    return 0


def _convolution(graph: Graph, op: Op) -> int:
    weights = tensor(graph, op, 1)
    if weights is None or not weights.shape:
        return 0
    made = math.prod(graph.tensors[op.outputs[0]].shape)
    filters = weights.shape[-1] if op.name == "DEPTHWISE_CONV_2D" else weights.shape[0]
    taps = math.prod(weights.shape) // max(filters, 1)
    if op.name != "TRANSPOSE_CONV":
        return made * taps
    # Every element of the input meets the whole filter.
    given = tensor(graph, op, 2)
    return 0 if given is None else math.prod(given.shape) * math.prod(weights.shape) // max(weights.shape[-1], 1)
