"""Worst: the rows on which the result lost most against the float model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile import compare
from edgecompile.compare import Bools, Floats
from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.report import Sample
from edgecompile.verify.pairs import Pair, Reals

LIMIT = 12
"""How many rows are kept: as many as a reader looks at."""
_DIGITS = 3
"""Significant digits of the largest loss, whose last is the last of all losses, and of lone outputs."""
_NOISE_DIGITS = 5
"""Significant digits of outputs that float kernels agree on; losses have none beyond these, being differences."""
Array = npt.NDArray[Any]


def worst_rows(
    pair: Pair,
    data: Dataset,
    *,
    right: tuple[Bools, Bools] | None,
    decisions: tuple[Array, Array] | None,
) -> tuple[tuple[Sample, ...], str]:
    """Return the rows that lost most, and what their loss is, in words. Rows without numbers are not among them.

    Args:
        pair: the output that the metric reads.
        data: the rows, with labels and class names where there are any.
        right: which rows each model decides right, [n] each.
        decisions: what each model decides, [n] each.
    """
    numbers = class_numbers(data.labels) if decisions is not None else None
    labels = data.labels if numbers is None else numbers
    loss, words = _loss(pair, labels, classes=numbers is not None)
    size = float(np.abs(pair.before[pair.both_finite]).max(initial=0.0))
    loss = _rounded(np.where(pair.both_finite, loss, 0.0), size)
    flipped = right[0] & ~right[1] & pair.both_finite if right else np.zeros(len(loss), bool)
    rows = compare.most_wrong(loss, flipped, limit=LIMIT)

    def says(model: int, output: Reals, row: int) -> str:
        if decisions is not None:
            return _label(decisions[model][row], data.class_names)
        return f"{float(output[row].item()):.{_DIGITS}g}" if output[row].size == 1 else ""

    samples = tuple(
        Sample(
            row=int(row),
            label="" if labels is None else _label(labels[row], data.class_names),
            float_says=says(0, pair.before, row),
            result_says=says(1, pair.after, row),
            loss=float(loss[row]),
        )
        for row in rows
    )
    return samples, words


def _rounded(loss: Floats, size: float) -> Floats:
    """Return losses, [n], with the decimals that float kernels agree on, so that the order is one on every machine.

    Args:
        loss: of each row.
        size: the largest output: the noise of a loss is a share of that, however small the loss.
    """
    largest = float(np.abs(loss).max(initial=0.0))
    if not largest:
        return loss
    last = max(_exponent(largest) - _DIGITS, _exponent(size) - _NOISE_DIGITS) + 1
    return np.array([round(x, -last) for x in loss.tolist()])


def _exponent(value: float) -> int:
    """Return the power of ten of a number's first digit: 2 of 236; one far below all floats of 0."""
    return int(f"{value:e}".partition("e")[2]) if value else -400


def _label(value: Any, names: tuple[str, ...]) -> str:
    """Return a class by its name, a number as it is, and nothing for whole arrays."""
    x = np.asarray(value)
    if x.size != 1:
        return ""
    return compare.class_name(int(x.item()), names) if x.dtype.kind in "biu" else f"{float(x.item()):.6g}"


def _loss(pair: Pair, labels: Array | None, *, classes: bool) -> tuple[Floats, str]:
    """Return the rise of the error on each row, [n], and its name; classes: labels are class numbers [n]."""
    n = len(pair.before)
    f, r = pair.before.reshape(n, -1), pair.after.reshape(n, -1)
    if labels is not None and classes:
        if f.shape[1] > 1:
            return _margin(f, labels) - _margin(r, labels), "lead of the right class over the others that was lost"
        toward = np.where(labels == 1, 1.0, -1.0)
        return toward * (f[:, 0].astype(np.float64) - r[:, 0]), "move of the output away from the right class"
    if labels is not None and labels.size == f.size:
        wanted = labels.reshape(n, -1).astype(np.float64)
        return np.abs(r - wanted).mean(axis=1) - np.abs(f - wanted).mean(axis=1), "rise of the mean absolute error"
    distance = np.sqrt(compare.row_sums(f, r).d2 / f.shape[1])
    return distance, "root mean square distance from the float model's output"


def _margin(output: Array, labels: Array) -> Floats:
    """Return by how much the labelled class leads the best of the others (negative: trails), [n]; output [n, 2+]."""
    rows = np.arange(len(output))
    others = output.astype(np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return np.asarray(own - others.max(axis=1))
