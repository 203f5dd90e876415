"""Session: one interpreter of a model, and how rows go through it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.feeds import Feed, one_run
from edgecompile.tflite.fixed import Executor
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.interpreter import Kernels, prepare, refusal, takers
from edgecompile.tflite.state import state_of
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape


class _Runs:
    """What goes through a model run by run."""

    def __init__(self, model: Path, graph: Graph, feeds: Sequence[Feed]) -> None:
        self._model, self._graph, self._feeds = model, graph, feeds
        self.rows_per_run = feeds[0].rows_per_run

    def once(self, contents: Sequence[Array], read: Sequence[int]) -> list[Array]:
        """Return tensors of one run; a part of a batch is filled with its last row."""
        raise NotImplementedError

    def run(self, contents: Sequence[Array], *, read: Sequence[int]) -> list[Array]:
        """Return the tensors with the numbers in read for all rows, [rows, ...].

        A tensor whose first axis counts rows keeps its other axes; one without such an axis keeps its shape.

        Args:
            contents: for each feed its rows, [rows, ...] in the input's dtype.
            read: outputs of the model, or any tensors where the session keeps all.

        Raises:
            ModelError: a run fails, or a tensor does not belong to rows.
        """
        count, size = len(contents[0]), self.rows_per_run
        runs = [self.once([x[start : start + size] for x in contents], read) for start in range(0, count, size)]
        return [self._joined(i, [run[at] for run in runs])[:count] for at, i in enumerate(read)]

    def _joined(self, index: int, values: Sequence[Array]) -> Array:
        """Return what several runs gave for one tensor as [rows, ...]."""
        shapes = {value.shape for value in values}
        if len(shapes) > 1:
            shown = ", ".join(map(show_shape, sorted(shapes)))
            what = f"{self._called(index)} changes its shape from row to row: {shown}"
            raise ModelError(what, where=str(self._model))
        (shape,) = shapes
        if shape[:1] == (self.rows_per_run,):
            return np.concatenate(values)
        if self.rows_per_run == 1:
            return np.stack(values)
        called = f"{self._called(index)} of {show_shape(shape)}"
        what = f"takes {self.rows_per_run} rows at once, and {called} is not one per row"
        raise ModelError(what, where=str(self._model), hint="export the model with a batch of 1")

    def _called(self, index: int) -> str:
        names = dict(zip(self._graph.outputs, self._graph.output_names(), strict=True))
        return f"output `{names[index]}`" if index in names else f"tensor `{self._graph.tensors[index].name}`"


class ExactSession(_Runs):
    """A model op by op, sums of layers exact. Serves one thread."""

    def __init__(self, model: Path, graph: Graph, feeds: Sequence[Feed]) -> None:
        """Load model, one that `fixed.runs`, for rows as feeds have them; see `fixed.Executor`."""
        super().__init__(model, graph, feeds)
        self._executor = Executor(model, graph, others="reference")

    def once(self, contents: Sequence[Array], read: Sequence[int]) -> list[Array]:
        """Return tensors of one run; a part of a batch is filled with its last row."""
        found = self._executor.run(one_run(self._feeds, contents))
        return [found[i] for i in read]


class Session(_Runs):
    """One interpreter of a model. Serves one thread; several sessions run side by side."""

    def __init__(
        self, model: Path, kernels: Kernels, graph: Graph, feeds: Sequence[Feed], *, keep_all: bool = False
    ) -> None:
        """Load model for rows as feeds have them.

        Args:
            model: the file that graph was read from.
            kernels: which implementations of the ops run.
            graph: what the file holds.
            feeds: one for each input, in graph order.
            keep_all: keep every tensor readable after a run; needs `builtin` or `reference`.

        Raises:
            ModelError: the interpreter refuses the model, or an input of this size.
        """
        super().__init__(model, graph, feeds)
        self._kernels: Kernels = kernels
        self._stateful = state_of(graph).reset_each_row
        changed = {f.tensor.index: f.shape for f in feeds if f.shape != f.tensor.shape}
        self._interpreter = prepare(model, kernels, shapes=changed, keep_all=keep_all)

    def once(self, contents: Sequence[Array], read: Sequence[int]) -> list[Array]:
        """Return tensors of one run as the interpreter gives them; a part of a batch is filled with its last row."""
        if self._stateful:
            self._interpreter.reset_all_variables()
        for feed, x in zip(self._feeds, one_run(self._feeds, contents), strict=True):
            self._interpreter.set_tensor(feed.tensor.index, x)
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            others = takers(self._model, self._kernels)
            raise refusal(self._model, self._kernels, str(error), others=others) from None
        return [self._interpreter.get_tensor(i) for i in read]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
