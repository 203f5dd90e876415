"""Kernel sets that compute an integer op differently beyond rounding, and which of them are wrong.

Each op of the model runs alone on the same codes on every kernel set, and what it computes is held against the same op
in float32. Outputs of a whole model say little: roundings grow from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.tflite import rewrite
from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.feeds import dequantize_rows, match, quantize_rows, stored_rows
from edgecompile.tflite.fidelity import real_outputs, sqnr_db
from edgecompile.tflite.graph import Graph, Op, read_graph
from edgecompile.tflite.interpreter import Kernels, allocated
from edgecompile.tflite.numerics import BORDERS, describe
from edgecompile.tflite.session import Session
from edgecompile.tflite.values import Array, Tensor

ROWS = 4
"""Rows that models are compared on: an op that is computed wrong is wrong on all of them."""

_SAME_DB = 25.0
"""Kernel sets whose outputs agree so well are not looked into. Roundings keep ResNet8's at 27 dB and DS-CNN's at 30."""

_CODES = 8
"""Codes that one op may differ by on the same input. Of all ops that the quantizers write, tried one by one on every
kernel set of LiteRT 2.3 in int8 and int16: at most 5 where kernels are right, 56 and more where they are not."""

_FAULTY = 4.0
"""How many times the error of the nearest kernel set one must have to be called wrong."""


@dataclass(frozen=True)
class Disagreement:
    """An op that not all kernel sets compute alike."""

    kernels: Kernels
    """Those that are wrong."""
    where: str
    """The op, as findings name it."""
    op: str
    """Its schema name."""


def disagreements(model: Path, rows: Dataset, kernels: Sequence[Kernels]) -> tuple[Disagreement, ...]:
    """Return the first op that each of kernels computes wrong; nothing for those that compute all ops right.

    Args:
        model: an integer model that all of kernels run.
        rows: a few rows for it; each is run once on every kernel set.
        kernels: two kernel sets at least, or nothing is compared.
    """
    if len(kernels) < 2:
        return ()
    outputs = {k: real_outputs(model, rows, k) for k in kernels}
    first, *others = kernels
    if all(sqnr_db(outputs[first], outputs[k]) >= _SAME_DB for k in others):
        return ()
    graph = read_graph(model)
    found: dict[Kernels, Disagreement] = {}
    for op, given in _each_op(model, graph, rows.take(np.arange(1)), kernels):
        for wrong in _wrong(model, graph, op, given, kernels):
            found.setdefault(wrong, Disagreement(wrong, describe(graph, op), op.name))
    return tuple(found.values())


def random_rows(graph: Graph) -> Dataset:
    """Return `ROWS` rows for a model without data: codes of the whole range, 0 and 1 for plain integers."""
    dice = np.random.default_rng(0)
    arrays: list[Array] = []
    for tensor in (graph.tensors[i] for i in graph.inputs):
        shape = (ROWS * tensor.shape[0], *tensor.shape[1:]) if tensor.shape else (ROWS,)
        if tensor.quantization is not None:
            bounds = np.iinfo(tensor.dtype)
            arrays.append(dice.integers(bounds.min, bounds.max, shape, tensor.dtype, endpoint=True))
        elif tensor.dtype.startswith("float"):
            arrays.append(dice.standard_normal(shape).astype(tensor.dtype))
        else:
            arrays.append(dice.integers(0, 2, shape).astype(tensor.dtype))
    return stored_rows(graph, arrays)


def _each_op(model: Path, graph: Graph, row: Dataset, kernels: Sequence[Kernels]) -> list[tuple[Op, list[Array]]]:
    """Return the ops that compute integers, each with what it reads on row."""
    rows = row.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(model))
    keeping: Kernels = "builtin" if "builtin" in kernels else "reference"
    session = Session(model, keeping, graph, feeds, keep_all=True)
    wanted = {op.index: _read(graph, op) for op in graph.ops if op.name not in BORDERS and _integer(graph, op)}
    indices = list(dict.fromkeys(i for read in wanted.values() for i in read))
    values = dict(zip(indices, session.once([f.content(rows, slice(None)) for f in feeds], indices), strict=True))
    return [(graph.ops[at], [values[i] for i in read]) for at, read in wanted.items()]


def _read(graph: Graph, op: Op) -> list[int]:
    """Return the tensors that an op reads and the file does not hold, in the order in which `cut_ops` asks for them."""
    unique = dict.fromkeys(i for i in op.inputs if i >= 0)
    return [i for i in unique if not graph.tensors[i].constant and not graph.tensors[i].is_variable]


def _integer(graph: Graph, op: Op) -> bool:
    return bool(op.outputs) and all(graph.tensors[i].quantization is not None for i in op.outputs)


def _wrong(model: Path, graph: Graph, op: Op, given: list[Array], kernels: Sequence[Kernels]) -> list[Kernels]:
    """Return those of kernels that compute op wrong."""
    alone = cut_ops(model, op.index, op.index)
    try:
        found = {k: _run(alone, given, k) for k in kernels}
    except (ValueError, RuntimeError):  # sizes that change while the model runs, loops: not to be had alone
        return []
    first, *others = found.values()
    if all(_apart(first, other) <= _CODES for other in others):
        return []
    tensors = [graph.tensors[i] for i in op.outputs]
    try:
        right = [_codes(t, x) for t, x in zip(tensors, _in_float(alone, graph, op, given), strict=True)]
    except (ValueError, RuntimeError, ModelError):  # no float form: nothing says which of them is right
        return []
    off = {k: _apart(right, codes) for k, codes in found.items()}
    limit = max(_CODES, _FAULTY * min(off.values()))
    return [k for k, codes in off.items() if codes > limit]


def _run(content: bytes, given: Sequence[Array], kernels: Kernels) -> list[Array]:
    interpreter = allocated(content, kernels)
    for detail, values in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _apart(some: Sequence[Array], others: Sequence[Array]) -> int:
    """Return the largest difference of codes."""
    pairs = zip(some, others, strict=True)
    return max(int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)) for a, b in pairs)


def _in_float(alone: bytes, graph: Graph, op: Op, given: Sequence[Array]) -> list[Array]:
    """Return what an op gives in float32, on built-in kernels."""
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(alone)
    rewrite.float_weights(model)
    for tensor in model.subgraphs[0].tensors:
        if _quantized(tensor):
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    reals = [_real(graph.tensors[i], x) for i, x in zip(_read(graph, op), given, strict=True)]
    return _run(write_model(model), reals, "builtin")


def _quantized(tensor: Any) -> bool:
    how = tensor.quantization
    return how is not None and how.scale is not None and len(how.scale) > 0


def _real(tensor: Tensor, codes: Array) -> Array:
    how = tensor.quantization
    if how is None:
        return codes
    return dequantize_rows(codes, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))


def _codes(tensor: Tensor, real: Array) -> Array:
    how = tensor.quantization
    assert how is not None, "only ops that give integers are looked at"
    scale, zero = float(how.scale[0]), int(how.zero_point[0])
    return quantize_rows(real.astype(np.float32), scale=scale, zero_point=zero, dtype=tensor.dtype)
