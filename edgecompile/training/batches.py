"""Models that were saved with a fixed batch: most run any number of rows all the same, and train on many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.training.faults import run_faults
from edgecompile.training.source import Call

_SAME = 1e-3
"""Relative difference of outputs between one batch and another: sums in another order make far less of it."""


def runs_any_batch(tf: Any, run: Call, rows: Sequence[npt.NDArray[Any]], *, size: int) -> bool:
    """Whether run gives for several batches at once what it gives for each of them.

    Args:
        tf: TensorFlow.
        run: a model whose inputs have a fixed batch.
        rows: [n × size, ...] per input, n two or more.
        size: the fixed batch.
    """
    try:
        with run_faults():
            whole = [np.asarray(y) for y in run([tf.constant(x) for x in rows])]
    except ModelError:
        return False
    starts = range(0, len(rows[0]), size)
    parts = zip(*(run([tf.constant(x[i : i + size]) for x in rows]) for i in starts), strict=True)
    return all(_same(np.concatenate([np.asarray(y) for y in part]), y) for part, y in zip(parts, whole, strict=True))


def _same(wanted: npt.NDArray[Any], given: npt.NDArray[Any]) -> bool:
    if wanted.shape != given.shape:
        return False
    largest = float(np.abs(wanted.astype(np.float64)).max(initial=0.0))
    return np.allclose(given, wanted, rtol=_SAME, atol=_SAME * largest)


def in_slices(tf: Any, run: Call, *, size: int) -> Call:
    """Return a function of any whole number of batches that runs a model of a fixed batch on one after the other."""

    def sliced(inputs: Sequence[Any]) -> Sequence[Any]:
        def one(rows: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(run(list(rows)))

        stacked = tuple(tf.reshape(x, (-1, size, *x.shape[1:])) for x in inputs)
        dtypes = tuple(y.dtype for y in one([x[0] for x in stacked]))
        given = tf.map_fn(one, stacked, fn_output_signature=dtypes)
        return [tf.reshape(y, (-1, *y.shape[2:])) for y in given]

    return sliced
