"""Fix what a `.tflite` leaves open: an open batch, other open dimensions, and the arithmetic that works them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgecompile.errors import ConfigError, ModelError, Problem, near_miss
from edgecompile.tflite.edit import Model, read_model, write_model
from edgecompile.tflite.feeds import ensure_usable
from edgecompile.tflite.graph import Graph, Tensor, read_graph
from edgecompile.tflite.interpreter import allocated, prepare
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape

_SHAPE_SOURCES = frozenset({"SHAPE", "RANK"})
"""Ops whose answer is known once shapes are."""

_SHAPE_ARITHMETIC = _SHAPE_SOURCES | {
    *("ADD", "SUB", "MUL", "DIV", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "NEG", "CAST", "REDUCE_PROD", "SUM"),
    *("GATHER", "SLICE", "STRIDED_SLICE", "SPLIT", "PACK", "UNPACK", "CONCATENATION", "RESHAPE", "SQUEEZE"),
    *("EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LESS", "GREATER", "SELECT", "SELECT_V2", "RANGE", "FILL"),
    *("BROADCAST_ARGS", "ZEROS_LIKE"),
}
"""Ops that converters work out new shapes, and initial states of recurrent layers, with."""

_SEED = 0
"""For the inputs that the file is run on before and after."""


def fix_shapes(
    path: Path, shapes: Mapping[str, tuple[int, ...]], *, kernels: Literal["builtin", "reference"] = "builtin"
) -> bytes:
    """Return the file at path with every dimension of every tensor fixed, as bytes of a `.tflite`.

    Shapes come from LiteRT's own propagation, on a run. Ops that only work out shapes become the
    constants they gave, since devices with fixed memory have no such ops. The new file is run once and must give the
    answers of the old one, bit for bit.

    Args:
        path: a file that `probe.ensure_runs` let pass.
        shapes: input name → full shape with batch. An input that is not named keeps its sizes; an open batch becomes
            the size the file gives beside it (1 from every converter).
        kernels: what runs it; XNNPACK cannot show the tensors between its ops.

    Returns:
        The file's own bytes where nothing is open and nothing changes.

    Raises:
        ConfigError: unknown inputs, shapes that contradict the model, open dimensions that nobody gave; all at once.
        ModelError: an input holds texts, LiteRT refuses the model at these shapes, or the new file gives other answers.
    """
    graph = read_graph(path)
    for name, index in zip(graph.input_names(), graph.inputs, strict=True):
        ensure_usable(name, graph.tensors[index], where=str(path))
    wanted = _input_shapes(graph, shapes)
    everywhere = [tensor for one in (graph, *graph.bodies) for tensor in one.tensors]
    if not any(t.open for t in everywhere) and all(graph.tensors[i].shape == shape for i, shape in wanted.items()):
        return path.read_bytes()
    before = prepare(path, kernels, shapes=wanted, keep_all=True)
    contents = {i: _sample(graph.tensors[i], shape) for i, shape in wanted.items()}
    answers = _run(before, contents, graph, path)
    model = read_model(path)
    for number, subgraph in enumerate(model.subgraphs):
        found = {d["index"]: d["shape"] for d in before.get_tensor_details(number)}
        for i, tensor in enumerate(subgraph.tensors):
            tensor.shape, tensor.shapeSignature = found.get(i, tensor.shape), None
    _fold_shape_arithmetic(model, graph, before)
    made = write_model(model)
    if _run(allocated(made, kernels), contents, graph, path) != answers:
        raise ModelError(
            "the model gives other answers once its shapes are fixed",
            where=str(path),
            hint="export it again with a batch of 1 and every size fixed",
        )
    return made


def _input_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Return input tensor index → the shape it gets."""
    names = graph.input_names()
    problems = [
        Problem(f"the model has no input `{name}`", "--shape", near_miss(name, names))
        for name in shapes
        if name not in names
    ]
    found = {}
    for name, index in zip(names, graph.inputs, strict=True):
        tensor = graph.tensors[index]
        found[index] = shapes.get(name, tensor.shape)
        shown = show_shape(tensor.shape_signature).replace("-1", "?")
        if name not in shapes and -1 in tensor.shape_signature[1:]:
            what = f"takes {shown}, and an edge device needs every size fixed"
            problems.append(Problem(what, f"input `{name}`", f"--shape {name}=…  (every dimension, with the batch)"))
        elif not _agree(tensor, found[index]):
            what = f"cannot take the shape {show_shape(found[index])}: the model has {shown}"
            problems.append(Problem(what, f"input `{name}`", "only dimensions shown as ? may be chosen"))
    if problems:
        raise ConfigError.of(problems)
    return found


def _agree(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    own = tensor.shape_signature
    return len(own) == len(shape) and all(o in (-1, s) for o, s in zip(own, shape, strict=True))


def _sample(tensor: Tensor, shape: tuple[int, ...]) -> Array:
    """Return arbitrary content: random numbers or codes; zeros where an integer may be a position in a table."""
    random = np.random.default_rng(_SEED)
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return random.uniform(-1, 1, shape).astype(dtype)
    if tensor.quantization is not None:
        return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return np.zeros(shape, dtype)


def _run(interpreter: Any, contents: Mapping[int, Array], graph: Graph, path: Path) -> list[bytes]:
    for index, content in contents.items():
        interpreter.set_tensor(index, content)
    try:
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot run the model with its shapes fixed: {error}", where=str(path)) from None
    return [interpreter.get_tensor(i).tobytes() for i in graph.outputs]


def _fold_shape_arithmetic(model: Model, graph: Graph, run: Any) -> None:
    """Turn what ops of the main subgraph work out from shapes alone into constants, and drop those ops."""
    from ai_edge_litert import schema_py_generated as schema

    main = model.subgraphs[0]
    known: set[int] = set()
    dropped = set()
    for op in graph.ops:
        from_shapes = op.name in _SHAPE_SOURCES or any(i in known for i in op.inputs)
        constant = op.name in _SHAPE_SOURCES or all(i < 0 or i in known or graph.tensors[i].constant for i in op.inputs)
        if op.name in _SHAPE_ARITHMETIC and from_shapes and constant and not set(op.outputs) & set(graph.outputs):
            known.update(op.outputs)
            dropped.add(op.index)
    for i in sorted(known):
        value = run.get_tensor(i)
        main.tensors[i].buffer = len(model.buffers)
        main.tensors[i].shape = np.array(value.shape, np.int32)
        model.buffers.append(schema.BufferT(data=np.frombuffer(value.tobytes(), np.uint8)))
    main.operators = [op for index, op in enumerate(main.operators) if index not in dropped]
