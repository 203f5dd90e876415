"""From a model's outputs to decisions and errors, one per row of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers, show_rows
from edgecompile.errors import ConfigError, ModelError
from edgecompile.units import show_shape

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Output = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OWN_METRIC = "score it by a function of yours: metric = package.module:function"

_BLOCK = 1024
"""Rows that are preprocessed at a time: whole image sets as float32 would not fit in memory."""

_PROBABILITY_SLACK = 0.05
"""How far outside [0, 1] a single column may lie and still hold probabilities: int8 outputs can overshoot by some
steps of 1/256, logits that all stay so close to [0, 1] do not occur."""


def in_top(output: Output, data: Dataset, *, k: int) -> Bools:
    """Return whether the label is among the k largest scores of its row; of equal scores the first counts as larger."""
    scores = class_scores(output, f"top{k}")
    if k > 1 and scores.shape[1] <= k:
        raise ConfigError(f"top{k} of {scores.shape[1]} classes is always 1", where="data.metric", hint="use top1")
    numbers = class_labels(data, scores.shape[1], f"top{k}")
    if k == 1:
        return np.asarray(decided(output) == numbers, np.bool_)
    own = np.take_along_axis(scores, numbers[:, None], 1)
    earlier = np.arange(scores.shape[1]) < numbers[:, None]
    rank = (scores > own).sum(1) + ((scores == own) & earlier).sum(1)
    return np.asarray(rank < k, np.bool_)


def decided(output: Output) -> Numbers:
    """Return the class of each row: the first largest score; of a single column, whether it says yes.

    A single column within [0, 1] holds probabilities and says yes from 0.5 on; any other holds logits and says yes
    above 0.
    """
    scores = class_scores(output, "a decision")
    if scores.shape[1] > 1:
        return np.asarray(scores.argmax(axis=1), np.int64)
    column = scores[:, 0]
    probabilities = column.min() >= -_PROBABILITY_SLACK and column.max() <= 1 + _PROBABILITY_SLACK
    return (column >= 0.5 if probabilities else column > 0).astype(np.int64)


def class_scores(output: Output, name: str) -> Output:
    """Return output as [n, classes]; axes of size 1 do not count."""
    need_finite(output)
    if not is_flat(output.shape[1:]):
        raise ConfigError(
            f"{name} needs one score per class, and the output is {show_shape(output.shape[1:])} per row",
            where="data.metric",
            hint=f"name another output (data.output), or {OWN_METRIC}",
        )
    return output.reshape(len(output), -1)


def class_labels(data: Dataset, classes: int, name: str) -> Numbers:
    """Return labels as class numbers below max(classes, 2), or raise."""
    if data.labels is None:
        raise no_labels(name, data)
    numbers = class_numbers(data.labels)
    if numbers is None:
        raise ConfigError(
            f"{name} needs one class number per row, and the labels are {data.labels.dtype} "
            f"{show_shape(data.labels.shape[1:])}",
            where=data.source,
            hint="for a regression use mae or mse",
        )
    limit = max(classes, 2)
    bad = np.flatnonzero((numbers >= limit) | (numbers < 0))
    if len(bad):
        one_based = numbers.min() == 1 and numbers.max() == limit
        other = 'name the output that they belong to: `[data] output = "NAME"`'
        hint = "the labels seem to count from 1: subtract 1" if one_based else other
        raise ConfigError(
            f"{name} takes labels 0 to {limit - 1}, and there are labels up to {numbers.max()} ({show_rows(bad)})",
            where=data.source,
            hint=hint,
        )
    return numbers


def auc(scores: Floats, labels: Numbers) -> float:
    """Return the exact area under the ROC curve: P(score of a 1 > score of a 0) + P(equal) / 2; NaN for one class only.

    Args:
        scores: [n], higher means 1.
        labels: [n], 0 or 1.

    Source: J. A. Hanley, B. J. McNeil, Radiology 143 (1982).
    """
    return auc_of(scores, labels)(np.arange(len(scores)))


def auc_of(scores: Floats, labels: Numbers) -> Callable[[npt.NDArray[np.intp]], float]:
    """Return `auc` as a function of rows, which may repeat. It sorts once: a bootstrap asks a thousand times."""
    distinct, rank = np.unique(scores, return_inverse=True)
    cell = rank + labels * len(distinct)

    def of(rows: npt.NDArray[np.intp]) -> float:
        zeros, ones = np.bincount(cell[rows], minlength=2 * len(distinct)).reshape(2, -1)
        positives, negatives = int(ones.sum()), int(zeros.sum())
        if not positives or not negatives:
            return float("nan")
        below = np.cumsum(zeros) - zeros / 2
        return float(ones @ below / (positives * negatives))

    return of


def detection_scores(output: Output, data: Dataset) -> Floats:
    """Return how strongly each row [n] says 1: its reconstruction error, or the last of one or two columns."""
    if twin_of(output.shape[1:], data) is not None:
        need_finite(output)
        return reconstruction_error(output, data, power=2)
    scores = class_scores(output, "auc")
    if scores.shape[1] > 2:
        raise ConfigError(
            f"auc reads one score per row, and the output has {scores.shape[1]}",
            where="data.metric",
            hint=f"use top1 or macro_f1, or {OWN_METRIC}",
        )
    return scores[:, -1].astype(np.float64)


def reconstruction_error(output: Output, data: Dataset, *, power: int) -> Floats:
    """Return mean |output - input|^power of each row, float64 [n]."""
    name = twin_of(output.shape[1:], data)
    assert name is not None
    errors = []
    for start in range(0, len(output), _BLOCK):
        block = slice(start, start + _BLOCK)
        wanted = data.batch(name, block).reshape(len(output[block]), -1)
        errors.append((np.abs(output[block].reshape(wanted.shape).astype(np.float64) - wanted) ** power).mean(axis=1))
    return np.concatenate(errors)


def twin_of(row: tuple[int, ...], data: Dataset) -> str | None:
    """Return the input that an output of this row shape reconstructs: the first of the same shape, axes of 1 aside.

    Rows of one or two values are no reconstruction: they are scores that happen to have the input's shape.
    """
    wanted = [d for d in row if d != 1]
    if int(np.prod(wanted)) <= 2:
        return None
    for name in data.inputs:
        if [d for d in data.batch(name, slice(0, 1)).shape[1:] if d != 1] == wanted:
            return name
    return None


def is_flat(row: tuple[int, ...]) -> bool:
    """Return whether at most one axis of a row is longer than 1."""
    return sum(d != 1 for d in row) <= 1


def need_finite(output: Output) -> None:
    """Raise ModelError naming the rows that hold NaN or Inf."""
    bad = np.flatnonzero(~np.isfinite(output.reshape(len(output), -1)).all(axis=1))
    if len(bad):
        raise ModelError(
            f"the model's output is NaN or Inf in {show_rows(bad)}",
            hint="look at these rows and at the preprocessing; a float16 model can overflow",
        )


def no_labels(name: str, data: Dataset) -> ConfigError:
    """Return the error for a metric that needs labels where there are none."""
    return ConfigError(
        f"{name} needs labels, and the data has none",
        where=data.source,
        hint="add `y` to the .npz, or put images into one folder per class; rows without labels can "
        "set ranges: give them as --calibration instead of --data",
    )
