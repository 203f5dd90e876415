"""Rules about one dataset. Each is a function whose docstring is the rule and which gives findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers, show_rows
from edgecompile.report import Finding

Array = npt.NDArray[Any]
Severity = Literal["info", "warning", "error"]

FEW_CALIBRATION = 100
"""Rows below which ranges are guesses. TensorFlow's post-training quantization guide asks for 100 to 500 samples."""

FEW_TRAINING = 100
"""Rows of which a tenth, held out, is too little to compare epochs on."""

FEW_VALIDATION = 100
"""Rows below which accuracy is a guess: a share near 90% is known to ±5.9 points on 100 rows, 1.96 √(0.9 · 0.1 / n)."""

_ROWS = 256
_VALUES = 100_000
"""Rows, and values of these rows, that ranges are looked at on: a thousand values lie beyond each 1% quantile."""

MANY = 0.01
"""Share of repeated rows above which they matter."""


def place(role: str, data: Dataset) -> str:
    """Return how findings name a dataset: `validation data val.npz`.

    Of a path only the name: findings are part of the bundle, and the machine's folders are no input of a build.
    """
    return f"{role} data {PurePath(data.source).name}".rstrip()


def class_name(data: Dataset, number: int) -> str:
    """Return a class as messages name it."""
    return f"`{data.class_names[number]}`" if number < len(data.class_names) else f"class {number}"


def few(names: Sequence[str]) -> str:
    """Return at most five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def some_rows(data: Dataset) -> npt.NDArray[np.intp]:
    """Return evenly spaced row indices, at most `_ROWS`."""
    return np.unique(np.linspace(0, len(data) - 1, min(len(data), _ROWS)).astype(np.intp))


def span(x: Array) -> tuple[float, float] | None:
    """Return the smallest and largest value of x, 1% at both ends left out; None where x is not finite."""
    # Evenly spaced by a fraction: a whole stride could meet one channel of an image only.
    some = np.linspace(0, x.size - 1, min(x.size, _VALUES)).astype(np.intp)
    values = x.reshape(-1)[some].astype(np.float64)
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, (0.01, 0.99))
    return float(low), float(high)


def _blocks(x: Array) -> Iterator[Array]:
    """Yield x in blocks of `_ROWS`: what is computed on all rows of an image set at once does not fit in memory."""
    return (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))


def _rows_of(data: Dataset) -> str:
    return f"{len(data):,} row{'' if len(data) == 1 else 's'}"


def in_input(name: str) -> str:
    """Return the start of a sentence about an input: nothing for a model's only one."""
    return "" if name == "*" else f"`{name}`: "


def not_finite(data: Dataset, where: str) -> Iterator[Finding]:
    """Values must be finite numbers that fit float32."""
    for name, x in data.inputs.items():
        if x.dtype.kind != "f":
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            good = [np.isfinite(b.reshape(len(b), -1).astype(np.float32)).all(axis=1) for b in _blocks(x)]
        bad = np.flatnonzero(~np.concatenate(good))
        if len(bad):
            yield Finding(
                severity="error",
                rule="data-nan",
                what=f"{in_input(name)}values are NaN or Inf (as float32) in {show_rows(bad)} of {len(x):,}",
                where=where,
                consequence="ranges and accuracy would mean nothing",
                remedy="mend or leave out these rows",
            )


def constant_input(data: Dataset, where: str) -> Iterator[Finding]:
    """An input must vary from row to row."""
    constant = [n for n, x in data.inputs.items() if len(x) > 1 and all((b == x[:1]).all() for b in _blocks(x))]
    severity: Severity = "error" if len(constant) == len(data.inputs) else "warning"
    for name in constant:
        yield Finding(
            severity=severity,
            rule="data-constant",
            what=f"{in_input(name)}all {len(data):,} rows are equal",
            where=where,
            consequence="nothing can be calibrated or measured on it",
            remedy="look at how the data was stored",
        )


def scaling(data: Dataset, where: str) -> Iterator[Finding]:
    """Preprocessing must not shrink values that are small already, nor use mean and std of 0..1 on values of 0..255."""
    for name, x in data.inputs.items():
        rows, std = some_rows(data), data.how(name).std
        before, after = span(x[rows]), span(data.batch(name, rows))
        if before is None or after is None:
            continue
        if x.dtype.kind == "f" and 0.5 <= before[1] - before[0] <= 4 and after[1] - after[0] < 0.05:
            what = f"stored values of {before[0]:.3g} to {before[1]:.3g} become {after[0]:.3g} to {after[1]:.3g}"
            cure = "leave `scale` out: the values were scaled when they were stored"
        elif before[1] > 100 and min(std) < 1 and after[1] - after[0] > before[1] - before[0]:
            what = f"`std` stretches {before[0]:.3g} to {before[1]:.3g} to {after[0]:.3g} to {after[1]:.3g}"
            cure = "if mean and std are for values of 0..1, set `scale = 0.00392157` as well"
        else:
            continue
        yield Finding(
            severity="warning",
            rule="data-scaled-twice",
            what=f"{in_input(name)}{what}",
            where=where,
            consequence="the model sees other values than in training",
            remedy=cure,
        )


def few_calibration(data: Dataset) -> Iterator[Finding]:
    """At least 100 rows should calibrate."""
    if len(data) < FEW_CALIBRATION:
        yield Finding(
            severity="warning",
            rule="data-calibration-few",
            what=f"only {_rows_of(data)} to calibrate on; {FEW_CALIBRATION} to 500 are usual",
            where=place("calibration", data),
            consequence="ranges may be too narrow, and values that they miss are clipped",
            remedy="give more rows (--calibration)",
        )


def few_training(data: Dataset) -> Iterator[Finding]:
    """At least 100 rows should train."""
    if len(data) < FEW_TRAINING:
        yield Finding(
            severity="warning",
            rule="data-training-few",
            what=f"only {_rows_of(data)} to train on",
            where=place("training", data),
            consequence="weights are fitted to these few, and epochs are compared on next to none",
            remedy="give more rows (--train); they need no labels",
        )


def unused_training(data: Dataset) -> Iterator[Finding]:
    """Training rows are for passes that train; without one they have no part in the result."""
    yield Finding(
        severity="warning",
        rule="data-train-unused",
        what="no pass trains, so these rows have no part in the result",
        where=place("training", data),
        remedy="choose a recipe that trains (qat, prune-qat, cluster-qat, small, slim), or leave the rows out",
    )


def few_validation(data: Dataset) -> Iterator[Finding]:
    """At least 100 rows should measure accuracy."""
    if len(data) < FEW_VALIDATION:
        known = 1.96 * (0.9 * 0.1 / len(data)) ** 0.5
        share = f": a share near 90% is known to ±{100 * known:.0f} points"
        yield Finding(
            severity="warning",
            rule="data-validation-few",
            what=f"only {_rows_of(data)} to measure accuracy on"
            + ("" if class_numbers(data.labels) is None else share),
            where=place("validation", data),
            consequence="a real loss can go unseen",
            remedy="give more rows (--data)",
        )


def classes_without_rows(data: Dataset) -> Iterator[Finding]:
    """Every named class should have validation rows."""
    numbers = class_numbers(data.labels)
    if numbers is None or not data.class_names:
        return
    there = set(numbers.tolist())
    absent = [name for i, name in enumerate(data.class_names) if i not in there]
    if absent:
        yield Finding(
            severity="warning",
            rule="data-class-unmeasured",
            what=f"no rows of {few(absent)}",
            where=place("validation", data),
            consequence="accuracy says nothing about these classes",
            remedy="add rows of them",
        )


def imbalance(data: Dataset) -> Iterator[Finding]:
    """No class should have more than five times the rows of another when accuracy is a share of rows."""
    numbers = class_numbers(data.labels)
    if numbers is None:
        return
    classes, counts = np.unique(numbers, return_counts=True)  # a label of 10**12 costs nothing here
    if len(classes) > 1 and counts.max() > 5 * counts.min():
        most = int(counts.argmax())
        yield Finding(
            severity="warning",
            rule="data-imbalance",
            what=f"classes have {counts.min():,} to {counts.max():,} rows: always answering "
            f"{class_name(data, int(classes[most]))} "
            f"is right on {counts[most] / len(numbers):.0%}",
            where=place("validation", data),
            consequence="the share of right rows hides what happens to rare classes",
            remedy="score by macro_f1 (--metric), and read the table of classes in the report",
        )


def duplicates(data: Dataset, marks: Sequence[bytes]) -> Iterator[Finding]:
    """Validation rows should be distinct, and equal rows must not have different labels."""
    first: dict[bytes, int] = {}
    repeats = [i for i, mark in enumerate(marks) if first.setdefault(mark, i) != i]
    where = place("validation", data)
    if repeats:
        yield Finding(
            severity="warning" if len(repeats) > MANY * len(data) else "info",
            rule="data-duplicates",
            what=f"{len(repeats)} of {len(data):,} rows repeat an earlier one ({show_rows(np.array(repeats))})",
            where=where,
            consequence="the interval of the accuracy is narrower than it should be",
            remedy="store each row once",
        )
    if data.labels is not None and data.labels.ndim == 1:
        torn = [i for i in repeats if data.labels[i] != data.labels[first[marks[i]]]]
        if torn:
            yield Finding(
                severity="warning",
                rule="data-contradiction",
                what=f"{show_rows(np.array(torn))} of {len(data):,}: equal to an earlier row, with another label",
                where=where,
                consequence="no model can be right on both",
                remedy="look at these labels",
            )
