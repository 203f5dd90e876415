"""Every float activation of a model over calibration rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.progress import Progress, Silent
from edgecompile.tflite import fixed
from edgecompile.tflite.feeds import Feed, match, one_run
from edgecompile.tflite.graph import Graph, Tensor, read_graph
from edgecompile.tflite.session import Session, cores
from edgecompile.tflite.values import Array
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

    Activations are the inputs and what ops write; constants are not. Rows run one by one, on all cores, in arithmetic
    that gives the same bits on every processor (`fixed`): what consume makes of them may go into files. A model that
    refers to variables of the interpreter runs on built-in kernels instead, whose last bits may differ.

    Args:
        model: a float `.tflite` file.
        rows: inputs by the names of `Graph.input_names`; `*` for the only one.
        consume: called with index, name and float32 values [rows, ...] of each tensor, which it may keep; for several
            tensors at once, from threads. A tensor whose first axis does not count rows has its own shape behind the
            runs, and one whose shape changes from run to run is handed over run by run.
        progress: told of rows that are done.
        step: the step name for progress.
        batch: rows handed over at once, at most; fewer where they would take too much memory.

    Raises:
        ModelError: the interpreter refuses the model.
        ConfigError: rows do not fit the inputs.
    """
    from threadpoolctl import threadpool_limits

    graph = read_graph(model)
    rows = rows.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(model))
    wanted = _float_activations(graph)
    step_rows = feeds[0].rows_per_run
    size = step_rows * max(1, min(batch, _affordable([graph.tensors[i] for i in wanted])) // step_rows)
    # A row for each core: BLAS would rather have all of them wait for one another at every small product.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores()) as pool:
        once = _runner(model, graph, feeds, wanted, pool)
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            contents = [feed.content(rows, part) for feed in feeds]
            count = part.stop - start
            runs = once([[x[at : at + step_rows] for x in contents] for at in range(0, count, step_rows)])

            def show(at: int, runs: Sequence[Sequence[Floats]] = runs, count: int = count) -> None:
                for values in _together([run[at] for run in runs], step_rows, count):
                    consume(wanted[at], graph.tensors[wanted[at]].name, values)

            list(pool.map(show, range(len(wanted))))
            (progress or Silent()).update(step, done=part.stop, total=len(rows))


def _runner(
    model: Path, graph: Graph, feeds: Sequence[Feed], wanted: Sequence[int], pool: ThreadPoolExecutor
) -> Callable[[Sequence[Sequence[Array]]], list[list[Floats]]]:
    """Return a function from what several runs take to the tensors wanted of each, in order."""
    if not fixed.runs(graph):
        session = Session(model, "builtin", graph, feeds, keep_all=True)
        return lambda runs: [session.once(contents, wanted) for contents in runs]
    first = fixed.Executor(model, graph)
    idle = [first, *(first.twin() for _ in range(cores() - 1))]

    def one(contents: Sequence[Array]) -> list[Floats]:
        executor = idle.pop()
        try:
            values = executor.run(one_run(feeds, contents))
        finally:
            idle.append(executor)
        return [values[i] for i in wanted]

    return lambda runs: list(pool.map(one, runs))


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
