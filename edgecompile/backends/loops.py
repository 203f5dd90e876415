"""Control flow on TFLite Micro: what it computes compared with LiteRT, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, Problem
from edgecompile.tflite.feeds import dequantize_rows
from edgecompile.tflite.fidelity import sqnr_db
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.runner import AnyKernels, predict
from edgecompile.tflite.values import Array

LEAST_DB = 20.0
"""Signal-to-noise ratio, dB, that TFLite Micro's outputs keep to LiteRT's. Rounding of int8 kernels gives more than 30;
a loop whose buffers overlap gives less than 10."""

_SIZED_BY: dict[str, tuple[int, ...]] = {
    "BROADCAST_TO": (1,),
    "FILL": (0,),
    "RANGE": (0, 1, 2),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "TILE": (1,),
    "PAD": (1,),
}
"""Op → the inputs that say how large its output is."""

_CONTROL_FLOW = ("WHILE", "IF", "CALL_ONCE")
_HINT = (
    "build from the .keras or .h5 file, whose recurrent layers are written out step by step, or convert it again with "
    "`unroll=True` in its recurrent layers; an LSTM becomes one op"
)


def ensure_control_flow(model: Path, graph: Graph, rows: Dataset) -> None:
    """Raise ModelError where TFLite Micro answers otherwise than LiteRT on a model with loops, branches or open sizes.

    Models that LiteRT does not run have nothing to be compared with.

    Args:
        model: a file that both runtimes take.
        graph: what it holds.
        rows: inputs to compare on.
    """
    sized = [(part, op) for part in (graph, *graph.bodies) for op in part.ops if _open(part, op)]
    if not graph.bodies and not sized:
        return
    try:
        wanted = _real(model, graph, rows, "builtin")
    except ModelError:
        return
    found = _real(model, graph, rows, "tflm")
    wrong = [
        f"`{name}` ({max(sqnr_db([a], [b]), 0):.0f} dB)"
        for name, a, b in zip(graph.output_names(), wanted, found, strict=True)
        if not np.array_equal(a, b, equal_nan=True) and sqnr_db([a], [b]) < LEAST_DB
    ]
    if not wrong:
        return
    what = f"TFLite Micro computes another output than LiteRT: {', '.join(wrong)}"
    if sized:
        ops = ", ".join(dict.fromkeys(op.name for _, op in sized))
        what += (
            f". The size of what {ops} gives is known only as the model runs, and TFLite Micro takes every size from "
            "the file"
        )
    raise ModelError.of([Problem(what, _places(model, graph), _HINT)])


def _real(model: Path, graph: Graph, rows: Dataset, kernels: AnyKernels) -> list[Array]:
    """Return the real values of each output."""
    answers = []
    for stored, index in zip(predict(model, rows, kernels=kernels).values(), graph.outputs, strict=True):
        how = graph.tensors[index].quantization
        real = stored if how is None else dequantize_rows(stored, scale=how.scale[0], zero_point=int(how.zero_point[0]))
        answers.append(real.astype(np.float64))
    return answers


def _places(model: Path, graph: Graph) -> str:
    ops = [op for op in graph.ops if op.name in _CONTROL_FLOW]
    named = [f"{op.name} → {graph.tensors[op.outputs[0]].name}" for op in ops if op.outputs]
    return f"{model.name}, op {', '.join(named[:3])}" if named else model.name


def _open(graph: Graph, op: Op) -> bool:
    """Whether the size of what op gives depends on values that are no constants."""
    if op.name == "SLICE":
        begin, size = (graph.tensors[i].data for i in op.inputs[1:3])
        return size is None or (begin is None and bool((size == -1).any()))
    return any(graph.tensors[i].data is None for i in _sizes(op))


def _sizes(op: Op) -> Iterator[int]:
    for at in _SIZED_BY.get(op.name, ()):
        if at < len(op.inputs) and op.inputs[at] >= 0:
            yield op.inputs[at]
