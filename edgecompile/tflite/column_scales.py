"""Write a model so that columns of unlike ranges are scaled by ops of their own at its ends.

A layer with weights can take columns that were shifted and divided, x' = (x - c) / s, and give such: with

    W x + b = (W s) x' + (b + W c)    behind an input,    W x + b = s ((W / s) x + (b - c) / s) + c    before an output,

and the shift and the factor stand beside it as SUB and MUL, or MUL and ADD. Weights then have like ranges as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.columns import Coarse, Columns
from edgecompile.tflite.edit import Model
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.ranges import Range
from edgecompile.tflite.rewrite import store

_LAYERS = frozenset({"FULLY_CONNECTED", "CONV_2D"})
"""Layers whose weights are scaled: outputs are their first axis, inputs the last."""

Floats = npt.NDArray[np.float64]


class _Scaling(NamedTuple):
    """x' = (x - centre) / half, column by column: float32, [columns]."""

    centre: npt.NDArray[np.float32]
    half: npt.NDArray[np.float32]


def scalable(graph: Graph, end: Coarse) -> Op | None:
    """Return the layer that alone reads the input, or makes the output, end, and that can take its columns scaled."""
    if end.tensor in graph.inputs:
        ops = graph.consumers.get(end.tensor, ())
    else:
        ops = (graph.producers[end.tensor],) if end.tensor in graph.producers else ()
        if graph.consumers.get(end.tensor):
            return None
    if len(ops) != 1 or ops[0].name not in _LAYERS or len(ops[0].inputs) < 3 or ops[0].inputs[2] < 0:
        return None
    op = ops[0]
    weights, bias = (graph.tensors[i] for i in op.inputs[1:3])
    own = weights.data is not None and bias.data is not None
    alone = all(len(graph.consumers[i]) == 1 for i in op.inputs[1:3])
    if end.tensor in graph.inputs:
        fits = end.tensor == op.inputs[0] and end.tensor not in graph.outputs and weights.shape[-1] == end.columns
        return op if own and alone and fits else None
    plain = not op.options.get("fused_activation_function")
    return op if own and alone and plain and weights.shape[0] == end.columns else None


def scale_columns(model: Model, graph: Graph, ends: Sequence[Coarse], columns: Columns) -> dict[str, Range]:
    """Rewrite model in place so that the columns of ends are scaled; return the ranges of its new tensors by name.

    Args:
        model: the float model that graph was read from.
        graph: its graph.
        ends: those that `scalable` gives a layer for.
        columns: the extremes of the columns.
    """
    ranges: dict[str, Range] = {}
    for end in ends:
        op = scalable(graph, end)
        assert op is not None, "checked by the caller"
        name = graph.tensors[end.tensor].name
        low, high = columns.low[name], columns.high[name]
        # Zeros that a convolution pads with must stay zeros.
        centre = (high + low) / 2 if op.name == "FULLY_CONNECTED" or end.tensor not in graph.inputs else 0 * low
        half = np.maximum(high - centre, centre - low)
        half = np.where(half > 0, half, 1.0)
        made = _behind if end.tensor in graph.inputs else _before
        inner = made(model, graph, op, end.tensor, _Scaling(centre.astype(np.float32), half.astype(np.float32)))
        ranges[inner] = Range(-1.0, 1.0)
    return ranges


def _behind(model: Model, graph: Graph, op: Op, end: int, by: _Scaling) -> str:
    """Scale the columns of an input before op reads them."""
    main = model.subgraphs[0]
    place = next(n for n, o in enumerate(main.operators) if o is _found(model, op))
    shifted, scaled = (_like(model, end, suffix) for suffix in ("shifted", "scaled"))
    new = [
        _by_column(model, "SUB", end, by.centre, shifted),
        _by_column(model, "MUL", shifted, 1 / by.half, scaled),
    ]
    weights, bias = (np.asarray(graph.tensors[i].data, np.float64) for i in op.inputs[1:3])
    if op.name == "FULLY_CONNECTED":  # of a convolution the centre is 0
        bias = bias + weights @ by.centre.astype(np.float64)
    _store(model, op, weights * by.half.astype(np.float64), bias)
    reader = _found(model, op)
    reader.inputs = [scaled, *map(int, reader.inputs[1:])]
    main.operators[place:place] = new
    return _name(model, scaled)


def _before(model: Model, graph: Graph, op: Op, end: int, by: _Scaling) -> str:
    """Scale the columns of an output after op has made them."""
    main = model.subgraphs[0]
    maker = _found(model, op)
    place = next(n for n, o in enumerate(main.operators) if o is maker)
    small, scaled = (_like(model, end, suffix) for suffix in ("small", "scaled"))
    new = [_by_column(model, "MUL", small, by.half, scaled), _by_column(model, "ADD", scaled, by.centre, end)]
    weights, bias = (np.asarray(graph.tensors[i].data, np.float64) for i in op.inputs[1:3])
    factor = by.half.astype(np.float64)
    _store(model, op, weights / factor.reshape(-1, *[1] * (weights.ndim - 1)), (bias - by.centre) / factor)
    maker.outputs = [small]
    main.operators[place + 1 : place + 1] = new
    return _name(model, small)


def _found(model: Model, op: Op) -> Any:
    """Return the operator of model that writes what op writes; ops added before it have moved its number."""
    outputs = set(op.outputs)
    for operator in model.subgraphs[0].operators:
        if outputs == {int(i) for i in operator.outputs}:
            return operator
    raise LookupError(f"op {op.index} {op.name} is not in the model")


def _store(model: Model, op: Op, weights: Floats, bias: Floats) -> None:
    for index, values in zip(op.inputs[1:3], (weights, bias), strict=True):
        store(model, model.subgraphs[0].tensors[index], values.astype(np.float32))


def _name(model: Model, tensor: int) -> str:
    name: bytes = model.subgraphs[0].tensors[tensor].name
    return name.decode()


def _like(model: Model, tensor: int, suffix: str) -> int:
    """Return the number of a new float tensor of the shape of tensor."""
    from ai_edge_litert import schema_py_generated as schema

    tensors = model.subgraphs[0].tensors
    name = f"columns_{suffix}_{len(tensors)}".encode()
    shape, signature = list(tensors[tensor].shape), tensors[tensor].shapeSignature
    tensors.append(
        schema.TensorT(name=name, shape=shape, shapeSignature=signature, type=schema.TensorType.FLOAT32, hasRank=True)
    )
    return len(tensors) - 1


def _by_column(model: Model, name: str, source: int, values: Any, result: int) -> Any:
    """Return an op that applies one of values to each column of source."""
    from ai_edge_litert import schema_py_generated as schema

    constant = _like(model, source, "constant")
    tensor = model.subgraphs[0].tensors[constant]
    tensor.shape, tensor.shapeSignature = [len(values)], None
    store(model, tensor, np.asarray(values, np.float32))
    number = getattr(schema.BuiltinOperator, name)
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=number, version=1))
    kind = f"{name.capitalize()}Options"
    return schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=[source, constant],
        outputs=[result],
        builtinOptions=getattr(schema, f"{kind}T")(),
        builtinOptionsType=getattr(schema.BuiltinOptions, kind),
    )
