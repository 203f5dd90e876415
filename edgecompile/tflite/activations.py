"""Every float activation of a model over calibration rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.progress import Progress, Silent
from edgecompile.tflite.feeds import Feed, match
from edgecompile.tflite.graph import Graph, Tensor, read_graph
from edgecompile.tflite.session import Session
from edgecompile.units import MIB

Consume = Callable[[int, str, npt.NDArray[np.float32]], None]
"""Takes tensor index, tensor name and values, [rows, ...]."""

_BATCH = 50
"""Rows at one run; ResNet8 reads no faster with more (measured)."""

_KEPT_BYTES = 256 * MIB
"""Memory for all activations of one run: large models run fewer rows at once."""

_CLOSE = 1e-3
"""How far a batched run may be from a single one, as a share of the largest output. Float kernels add up in another
order (1e-6 measured); rows that influence each other are far outside."""


def activations(
    model: Path,
    rows: Dataset,
    *,
    consume: Consume,
    progress: Progress | None = None,
    step: str = "calibrate",
    batch: int = _BATCH,
) -> None:
    """Call consume with every float32 activation of the main subgraph, rows in order.

    Activations are the inputs and what ops write; constants are not. Built-in kernels, one thread. Several rows run at
    once where the model gives the same answers as for one row; otherwise they run one by one. Values of tensors without
    a batch axis come as they are.

    Args:
        model: a float `.tflite` file.
        rows: inputs by the names of `Graph.input_names`; `*` for the only one.
        consume: called for each tensor and run: index, name, float32 values [rows of the run, ...], which it may keep.
        progress: told of rows that are done.
        step: the step name for progress.
        batch: rows at one run, at most.

    Raises:
        ModelError: the interpreter refuses the model.
        ConfigError: rows do not fit the inputs.
    """
    graph = read_graph(model)
    rows = rows.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(model))
    wanted = _float_activations(graph)
    size = min(batch, len(rows), _affordable(wanted))
    session = _session(model, graph, feeds, rows, size)
    size = session.rows_per_run
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        left = part.stop - part.start
        if left < size and _resizable(graph, feeds):
            session = Session(model, "builtin", graph, feeds, batch=left, keep_all=True)
        session.once([feed.content(rows, part) for feed in feeds])
        for tensor in wanted:
            consume(tensor.index, tensor.name, session.interpreter.get_tensor(tensor.index))
        (progress or Silent()).update(step, done=part.stop, total=len(rows))


def _float_activations(graph: Graph) -> tuple[Tensor, ...]:
    written = dict.fromkeys((*graph.inputs, *(i for op in graph.ops for i in op.outputs)))
    tensors = [graph.tensors[i] for i in written]
    return tuple(t for t in tensors if t.dtype == "float32" and not t.constant)


def _affordable(tensors: Sequence[Tensor]) -> int:
    """Return how many rows fit the memory for activations; at least 1."""
    return max(1, _KEPT_BYTES // max(1, sum(4 * math.prod(t.shape) for t in tensors)))


def _resizable(graph: Graph, feeds: Sequence[Feed]) -> bool:
    """Whether it makes sense to try another batch: one row at a time so far, no state and no control flow."""
    single = all(feed.batched and feed.rows_per_run == 1 for feed in feeds)
    return single and not graph.bodies and not any(t.is_variable for t in graph.tensors)


def _session(model: Path, graph: Graph, feeds: Sequence[Feed], rows: Dataset, size: int) -> Session:
    """Return a session for size rows at once where that gives what single rows give, else for single rows."""
    single = Session(model, "builtin", graph, feeds, keep_all=True)
    if size == 1 or not _resizable(graph, feeds):
        return single
    try:
        many = Session(model, "builtin", graph, feeds, batch=size, keep_all=True)
        found = many.once([feed.content(rows, slice(0, size)) for feed in feeds])
    except ModelError:  # A constant inside the model fixes the batch.
        return single
    for i in (0, size - 1):
        for one, all_rows in zip(single.once([f.content(rows, slice(i, i + 1)) for f in feeds]), found, strict=True):
            if all_rows.shape != (size, *one.shape[1:]) or not _close(all_rows[i], one[0]):
                return single
    return many


def _close(found: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic]) -> bool:
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    return bool(np.abs(a - b).max(initial=0.0) <= _CLOSE * max(np.abs(b).max(initial=0.0), 1e-6))
