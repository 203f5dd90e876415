"""Run a `.tflite` over many rows, on all cores, with named kernels."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.progress import Progress, Silent
from edgecompile.tflite import fixed
from edgecompile.tflite.activations import activations
from edgecompile.tflite.feeds import Feed, dequantize_rows, match, quantize_rows
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.interpreter import KERNELS, Kernels, ensure_safe
from edgecompile.tflite.session import ExactSession, Session, cores
from edgecompile.tflite.state import state_of
from edgecompile.tflite.tflm import predict_rows
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape

__all__ = ["KERNELS", "AnyKernels", "Kernels", "activations", "dequantize_rows", "predict", "quantize_rows"]

AnyKernels = Literal[Kernels, "tflm", "exact"]
"""LiteRT's kernel sets; TFLite Micro's interpreter; reference kernels with exact sums of layers, rounded once
(`fixed`)."""

_ROWS_PER_PART = 16
"""Rows a worker takes at once: few, to share the work evenly and to show progress; enough to preprocess in one go."""


def predict(
    model: Path, rows: Dataset, *, kernels: AnyKernels, progress: Progress | None = None, step: str = "run"
) -> Mapping[str, Array]:
    """Return output name → [n, ...] in the output's stored dtype (int8 outputs stay int8).

    Rows run one by one, each as it would on the device, on one interpreter per core: an answer never depends on its
    neighbours or on the number of cores. Variable tensors are reset before each run. Where rows are a stream (see
    `state`), they run in order on one fresh interpreter, and each continues where the row before it ended.

    Float32 rows (`rows.batch`) are quantized with the model's own input scale where the input is an integer; integer
    inputs without a scale (token ids) take the rows as they are.

    Args:
        model: a `.tflite` file.
        rows: inputs by the names of `Graph.input_names`; `*` for the only one. Open dimensions take the rows' sizes.
        kernels: which implementations of the ops run.
        progress: told of rows that are done.
        step: the step name for progress.

    Raises:
        ModelError: the interpreter refuses the model, names the op and what else to try.
        ToolError: kernels is `tflm`, and TFLite Micro is not installed.
        ConfigError: rows do not fit the inputs: which input, what shape it has, what was given.
    """
    from threadpoolctl import threadpool_limits

    graph = read_graph(model)
    rows = rows.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(model))
    ordered = state_of(graph).stream
    if kernels == "tflm":
        found = predict_rows(
            model, graph, rows, feeds, progress=progress or Silent(), step=step, workers=1 if ordered else cores()
        )
        return dict(zip(graph.output_names(), found, strict=True))
    ensure_safe(graph, where=str(model))
    if kernels == "exact" and not fixed.runs(graph):
        raise ModelError("variables and texts need an interpreter of their own", where=str(model))

    def session() -> Session | ExactSession:
        if kernels == "exact":
            return ExactSession(model, graph, feeds)
        return Session(model, kernels, graph, feeds)

    first = session()
    work = _Work(graph, rows, feeds, progress or Silent(), step)
    workers = 1 if ordered else min(cores(), work.parts)
    # Exact sums go through numpy's BLAS, whose threads would wait for one another beside ours.
    limits = threadpool_limits(1 if kernels == "exact" else None, user_api="blas")
    with limits, ThreadPoolExecutor(workers) as pool:
        try:
            others = [pool.submit(lambda: work.share(session())) for _ in range(workers - 1)]
            work.share(first)
        finally:
            work.stop()
        for other in others:
            other.result()
    return dict(zip(graph.output_names(), work.outputs, strict=True))


class _Work:
    """Rows still to run, shared by the workers, and the outputs of those that were."""

    def __init__(self, graph: Graph, rows: Dataset, feeds: Sequence[Feed], progress: Progress, step: str) -> None:
        self.outputs: list[Array] = []
        self._graph = graph
        self._rows, self._feeds = rows, feeds
        self._progress, self._step = progress, step
        self._began, self._done = time.monotonic(), 0
        batch = feeds[0].rows_per_run
        size = batch * max(1, min(_ROWS_PER_PART, len(rows) // cores()) // batch)
        self._todo = [slice(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
        self._todo.reverse()
        self.parts = len(self._todo)
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Let every worker end after the part it is at."""
        with self._lock:
            self._todo.clear()

    def share(self, session: Session | ExactSession) -> None:
        """Run parts until none is left; stop the others when this fails."""
        try:
            while (part := self._next()) is not None:
                contents = [feed.content(self._rows, part) for feed in self._feeds]
                self._keep(part, session.run(contents, read=self._graph.outputs))
        except BaseException:
            self.stop()
            raise

    def _next(self) -> slice | None:
        with self._lock:
            return self._todo.pop() if self._todo else None

    def _keep(self, part: slice, found: Sequence[Array]) -> None:
        with self._lock:
            if not self.outputs:
                self.outputs = [np.empty((len(self._rows), *x.shape[1:]), x.dtype) for x in found]
            for name, output, x in zip(self._graph.output_names(), self.outputs, found, strict=True):
                if output.shape[1:] != x.shape[1:]:
                    raise ModelError(
                        f"output `{name}` changes its shape from row to row: "
                        f"{show_shape(output.shape[1:])}, then {show_shape(x.shape[1:])}"
                    )
                output[part] = x
            self._done += part.stop - part.start
            rate = self._done / max(time.monotonic() - self._began, 1e-9)
            self._progress.update(self._step, done=self._done, total=len(self._rows), note=f"{rate:,.0f} rows/s")
