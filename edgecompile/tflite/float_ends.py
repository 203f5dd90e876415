"""Leave the ends of a model in float where columns have unlike ranges: taken off before, put back after quantizing.

Behind an input that is scaled column by column (SUB and MUL of one constant per column, as Keras' Normalization
becomes) the columns are alike, and before the last CONCATENATION of an output each part has a range of its own. A
quantizer that sees only what lies between gives each of these tensors the scale that it needs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.tflite.columns import Coarse
from edgecompile.tflite.edit import Model, read_model, text, write_model
from edgecompile.tflite.graph import Graph, Op, unique_names
from edgecompile.tflite.unused import drop_unused

_BY_COLUMN = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide}
"""Ops that scale or shift columns, and what they compute."""


@dataclass(frozen=True)
class FloatEnd:
    """Ops at one end of a model that stay float."""

    at: int
    """Place of the input or output among those of the model."""
    name: str
    """Name of that input or output."""
    ops: tuple[Op, ...]
    """In order: what scales the columns of an input, or the CONCATENATION that an output comes from."""
    inward: tuple[int, ...]
    """Tensors of the float graph that take the place of the end while the model is quantized."""


def float_inputs(graph: Graph, coarse: Sequence[Coarse]) -> tuple[FloatEnd, ...]:
    """Return those of the inputs coarse that ops make alike, column by column."""
    found = []
    for at, (name, tensor) in enumerate(zip(graph.input_names(), graph.inputs, strict=True)):
        known = next((c for c in coarse if c.tensor == tensor), None)
        if known is None:
            continue
        ops = _scaling(graph, tensor)
        if ops:
            found.append(FloatEnd(at, name, tuple(ops), ops[-1].outputs))
    return tuple(found)


def _scaling(graph: Graph, tensor: int) -> list[Op]:
    """Return the ops that shift and scale columns behind an input, each reading nothing but the one before it."""
    ops: list[Op] = []
    while tensor not in graph.outputs and len(readers := graph.consumers.get(tensor, ())) == 1:
        op = readers[0]
        if not _by_columns(graph, op, tensor):
            break
        ops.append(op)
        tensor = op.outputs[0]
    return ops


def _by_columns(graph: Graph, op: Op, tensor: int) -> bool:
    """Return whether op applies constants to the columns of tensor, and nothing else."""
    turned = op.name in ("SUB", "DIV") and op.inputs[0] != tensor
    plain = op.name in _BY_COLUMN and not op.options.get("fused_activation_function")
    return plain and not turned and graph.tensors[tensor].data is None and _factor(graph, op) is not None


def _factor(graph: Graph, op: Op) -> npt.NDArray[Any] | None:
    """Return the constant that op applies to its other input."""
    return next((graph.tensors[i].data for i in op.inputs if graph.tensors[i].data is not None), None)


def float_outputs(graph: Graph, coarse: Sequence[Coarse]) -> tuple[FloatEnd, ...]:
    """Return those of the outputs coarse that a CONCATENATION of computed columns gives, or ops by column."""
    found = []
    for at, (name, tensor) in enumerate(zip(graph.output_names(), graph.outputs, strict=True)):
        op = graph.producers.get(tensor)
        if op is None or graph.consumers.get(tensor) or all(c.tensor != tensor for c in coarse):
            continue
        if _joins(graph, op):
            found.append(FloatEnd(at, name, (op,), op.inputs))
        elif ops := _scaled(graph, tensor):
            found.append(FloatEnd(at, name, tuple(ops), (ops[0].inputs[0],)))
    return tuple(found)


def _joins(graph: Graph, op: Op) -> bool:
    """Return whether op puts computed columns side by side."""
    if op.name != "CONCATENATION" or op.options["fused_activation_function"]:
        return False
    rank = len(graph.tensors[op.outputs[0]].shape)
    mine = all(i in graph.producers and i not in graph.outputs for i in op.inputs)
    return op.options["axis"] % rank == rank - 1 and mine and len(set(op.inputs)) == len(op.inputs)


def _scaled(graph: Graph, tensor: int) -> list[Op]:
    """Return the ops that scale and shift columns before an output, each alone in reading the one before it."""
    ops: list[Op] = []
    while (op := graph.producers.get(tensor)) is not None and _by_columns(graph, op, op.inputs[0]):
        source = op.inputs[0]
        if source not in graph.producers or source in graph.outputs or len(graph.consumers[source]) > 1:
            break
        ops.insert(0, op)
        tensor = source
    return ops


def scaled_rows(rows: Dataset, graph: Graph, ends: Sequence[FloatEnd]) -> Dataset:
    """Return rows as what lies behind the float ops of inputs takes them."""
    if not ends:
        return rows
    rows = rows.renamed(graph.input_names())
    scaled: dict[str, npt.NDArray[np.float32]] = {}
    for end in ends:
        x = rows.batch(end.name)
        for op in end.ops:
            factor = _factor(graph, op)
            assert factor is not None, "`_by_columns` let the op pass"
            x = _BY_COLUMN[op.name](x, factor).astype(np.float32)
        scaled[end.name] = x
    kept = {name: rows.how(name) for name in rows.inputs if name not in scaled}
    return replace(rows, inputs={**rows.inputs, **scaled}, preprocess=kept)


def without_ends(file: Path, inputs: Sequence[FloatEnd], outputs: Sequence[FloatEnd]) -> bytes:
    """Return the float model of file between ends; inputs keep their names, parts of outputs get those of tensors."""
    model = read_model(file)
    main, signature = model.subgraphs[0], model.signatureDefs[0]
    gone = {op.index for end in (*inputs, *outputs) for op in end.ops}
    main.operators = [op for n, op in enumerate(main.operators) if n not in gone]
    swaps = {int(main.inputs[end.at]): end.inward[0] for end in inputs}
    main.inputs = [swaps.get(int(i), int(i)) for i in main.inputs]
    for entry in signature.inputs:
        entry.tensorIndex = swaps.get(entry.tensorIndex, entry.tensorIndex)
    parts = {end.at: end.inward for end in outputs}
    kept = [(i, at) for at, i in enumerate(map(int, main.outputs)) if at not in parts]
    main.outputs = [*(i for i, _ in kept), *(i for inward in parts.values() for i in inward)]
    names = {e.tensorIndex: text(e.name) for e in signature.outputs}
    told = unique_names([names.get(i, text(main.tensors[i].name)) for i in main.outputs])
    signature.outputs = [_entry(name, i) for name, i in zip(told, main.outputs, strict=True)]
    drop_unused(model)
    return write_model(model)


def with_ends(content: bytes, file: Path, inputs: Sequence[FloatEnd], outputs: Sequence[FloatEnd]) -> bytes:
    """Return content, which a quantizer made of what `without_ends` gave for file, with the float ops at its ends.

    Args:
        content: a model with float inputs and outputs.
        file: the whole float model.
        inputs: as for `without_ends`.
        outputs: likewise.
    """
    model, source = read_model(content), read_model(file)
    main, before, signature = model.subgraphs[0], source.subgraphs[0], source.signatureDefs[0]
    known: dict[int, int] = {}
    ends = [int(i) for i in main.inputs]
    for end in inputs:
        known[end.inward[0]] = ends[end.at]
    added = [_moved(model, source, op.index, known) for end in inputs for op in end.ops]
    for end in inputs:
        ends[end.at] = known[int(before.inputs[end.at])]
    main.inputs = ends
    main.operators = [*added, *main.operators]
    made = [int(i) for i in main.outputs]
    whole = {end.at for end in outputs}
    plain = [at for at in range(len(before.outputs)) if at not in whole]
    results = dict(zip(plain, made, strict=False))
    rest = iter(made[len(plain) :])
    for end in outputs:
        known.update((i, next(rest)) for i in end.inward)
        main.operators += [_moved(model, source, op.index, known) for op in end.ops]
        results[end.at] = known[int(before.outputs[end.at])]
    main.outputs = [results[at] for at in range(len(before.outputs))]
    signature = copy.copy(signature)
    for role, now, then in (("inputs", main.inputs, before.inputs), ("outputs", main.outputs, before.outputs)):
        places = {int(i): n for i, n in zip(then, now, strict=True)}
        entries = [_entry(text(e.name), places[e.tensorIndex]) for e in getattr(signature, role)]
        setattr(signature, role, entries)
    model.signatureDefs = [signature]
    return write_model(model)


def _moved(model: Model, source: Model, index: int, known: dict[int, int]) -> Any:
    """Return op index of source for model; known gains the tensors that come with it."""
    before, main = source.subgraphs[0], model.subgraphs[0]
    op = copy.copy(before.operators[index])
    model.operatorCodes.append(copy.copy(source.operatorCodes[op.opcodeIndex]))
    op.opcodeIndex = len(model.operatorCodes) - 1
    for i in map(int, (*op.inputs, *op.outputs)):
        if i not in known:
            tensor = copy.copy(before.tensors[i])
            model.buffers.append(copy.copy(source.buffers[tensor.buffer]))
            tensor.buffer = len(model.buffers) - 1
            main.tensors.append(tensor)
            known[i] = len(main.tensors) - 1
    op.inputs, op.outputs = ([known[int(i)] for i in side] for side in (op.inputs, op.outputs))
    return op


def _entry(name: str, tensor: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.TensorMapT(name=name.encode(), tensorIndex=int(tensor))
