"""Every float activation of a model over calibration rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.progress import Progress, Silent
from edgecompile.tflite.feeds import match
from edgecompile.tflite.graph import Graph, Tensor, read_graph
from edgecompile.tflite.session import Session
from edgecompile.units import MIB

Floats = npt.NDArray[np.float32]
Consume = Callable[[int, str, Floats], None]
"""Takes tensor index, tensor name and values, [rows, ...]."""

_BATCH = 8
"""Rows handed over at once, so that a consumer's own cost per call does not count."""

_KEPT_BYTES = 256 * MIB
"""Memory for the activations of the rows handed over at once."""


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

    Activations are the inputs and what ops write; constants are not. Rows run one by one on built-in kernels, as in
    `predict`: a resized batch is no quicker (ResNet8, 200 rows: 0.32 s of one core against 0.53 s with 50 at once), and
    many models do not take one.

    Args:
        model: a float `.tflite` file.
        rows: inputs by the names of `Graph.input_names`; `*` for the only one.
        consume: called with index, name and float32 values [rows, ...] of each tensor, which it may keep. A tensor
            whose first axis does not count rows has its own shape behind the runs, and one whose shape changes from run
            to run is handed over run by run.
        progress: told of rows that are done.
        step: the step name for progress.
        batch: rows handed over at once, at most; fewer where they would take too much memory.

    Raises:
        ModelError: the interpreter refuses the model.
        ConfigError: rows do not fit the inputs.
    """
    graph = read_graph(model)
    rows = rows.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(model))
    wanted = _float_activations(graph)
    session = Session(model, "builtin", graph, feeds, keep_all=True)
    step_rows = session.rows_per_run
    size = step_rows * max(1, min(batch, _affordable([graph.tensors[i] for i in wanted])) // step_rows)
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        contents = [feed.content(rows, part) for feed in feeds]
        count = part.stop - start
        runs = [session.once([x[at : at + step_rows] for x in contents], wanted) for at in range(0, count, step_rows)]
        for at, index in enumerate(wanted):
            for values in _together([run[at] for run in runs], step_rows, count):
                consume(index, graph.tensors[index].name, values)
        (progress or Silent()).update(step, done=part.stop, total=len(rows))


def _together(runs: Sequence[Floats], rows_per_run: int, count: int) -> list[Floats]:
    """Return what several runs gave for one tensor in as few arrays as their shapes allow."""
    shapes = {values.shape for values in runs}
    if len(shapes) > 1:
        return list(runs)
    if shapes.pop()[:1] == (rows_per_run,):
        return [np.concatenate(runs)[:count]]
    return [np.stack(runs)]


def _float_activations(graph: Graph) -> tuple[int, ...]:
    read = {*graph.outputs, *(i for op in graph.ops for i in op.inputs)}
    # The interpreter does not write what nothing reads of a loop: such a tensor holds what was in its memory before.
    kept = (i for op in graph.ops for i in op.outputs if op.name != "WHILE" or i in read)
    written = dict.fromkeys((*graph.inputs, *kept))
    return tuple(i for i in written if graph.tensors[i].dtype == "float32")


def _affordable(tensors: Sequence[Tensor]) -> int:
    """Return how many rows fit the memory for activations; at least 1."""
    return max(1, _KEPT_BYTES // max(1, sum(4 * math.prod(t.shape) for t in tensors)))
