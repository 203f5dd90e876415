"""Session: one interpreter of a model, and how a few rows go through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.feeds import Feed
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.interpreter import Kernels, prepare, refusal, takers
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape


class Session:
    """One interpreter of a model. Serves one thread; several sessions run side by side."""

    def __init__(
        self,
        model: Path,
        kernels: Kernels,
        graph: Graph,
        feeds: Sequence[Feed],
        *,
        batch: int | None = None,
        keep_all: bool = False,
    ) -> None:
        """Load model for rows as feeds have them.

        Args:
            model: the file that graph was read from.
            kernels: which implementations of the ops run.
            graph: what the file holds.
            feeds: one for each input, in graph order.
            batch: rows at one run; the model's own number when None.
            keep_all: keep every tensor readable after a run; needs `builtin` or `reference`.

        Raises:
            ModelError: the interpreter refuses the model, or an input of this size.
        """
        self._model, self._kernels = model, kernels
        self._feeds = feeds
        self._outputs = graph.outputs
        self._names = graph.output_names()
        self._stateful = any(tensor.is_variable for tensor in graph.tensors)
        self.rows_per_run = feeds[0].rows_per_run if batch is None else batch
        shapes = {f.tensor.index: f.shape if batch is None else (batch, *f.shape[1:]) for f in feeds}
        changed = {f.tensor.index: shapes[f.tensor.index] for f in feeds if shapes[f.tensor.index] != f.tensor.shape}
        self.interpreter = prepare(model, kernels, shapes=changed, keep_all=keep_all)

    def run(self, contents: Sequence[Array]) -> list[Array]:
        """Return each output for all rows, [rows, ...].

        Args:
            contents: for each feed its rows, [rows, ...] in the input's dtype.

        Raises:
            ModelError: a run fails, or outputs do not belong to rows.
        """
        count, size = len(contents[0]), self.rows_per_run
        runs = [self.once([x[start : start + size] for x in contents]) for start in range(0, count, size)]
        return [self._joined(name, [run[i] for run in runs])[:count] for i, name in enumerate(self._names)]

    def once(self, contents: Sequence[Array]) -> list[Array]:
        """Return the outputs of one run as the interpreter gives them; a part of a batch is filled with its last row.

        Args:
            contents: for each feed 1 to `rows_per_run` rows, [rows, ...] in the input's dtype.

        Raises:
            ModelError: the run fails.
        """
        if self._stateful:
            self.interpreter.reset_all_variables()
        for feed, x in zip(self._feeds, contents, strict=True):
            missing = self.rows_per_run - len(x)
            whole = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
            self.interpreter.set_tensor(feed.tensor.index, whole if feed.batched else whole[0])
        try:
            self.interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            others = takers(self._model, self._kernels)
            raise refusal(self._model, self._kernels, str(error), others=others) from None
        return [self.interpreter.get_tensor(i) for i in self._outputs]

    def _joined(self, name: str, values: Sequence[Array]) -> Array:
        """Return the results of several runs as [rows, ...]."""
        shapes = {value.shape for value in values}
        if len(shapes) > 1:
            raise ModelError(
                f"output `{name}` changes its shape from row to row: {', '.join(map(show_shape, sorted(shapes)))}",
                where=str(self._model),
            )
        (shape,) = shapes
        if shape[:1] == (self.rows_per_run,):
            return np.concatenate(values)
        if self.rows_per_run == 1:
            return np.stack(values)
        raise ModelError(
            f"takes {self.rows_per_run} rows at once, and output `{name}` of {show_shape(shape)} is not one per row",
            where=str(self._model),
            hint="export the model with a batch of 1",
        )
