"""Labels: from what people store (columns, one-hot rows, names) to class numbers or targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ConfigError, Problem, near_miss

Array = npt.NDArray[Any]

REGRESSION = ("mae", "mse")
"""Metrics whose labels are targets: nothing is read into them."""

_INT64 = np.iinfo(np.int64).max


def class_numbers(labels: Array | None) -> npt.NDArray[np.int64] | None:
    """Return labels as class numbers, int64 [n]; None where they are targets, not classes.

    Whole numbers stored as floats count as class numbers: many training scripts keep their labels that way.
    """
    if labels is None or labels.ndim != 1:
        return None
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    inside = np.isfinite(labels).all() and bool((labels >= 0).all()) and bool((labels < 2.0**63).all())
    return labels.astype(np.int64) if inside and bool((labels == np.round(labels)).all()) else None


def read_names(path: Path) -> tuple[str, ...]:
    """Return the class names of a text file, one a line; empty lines at the end do not count.

    Raises:
        ConfigError: missing, not UTF-8, empty, a name twice, or an empty line between names.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("no such file", where=f"data.labels = {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=f"data.labels = {path}") from None
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if not names:
        raise ConfigError("holds no class names", where=str(path), hint="one name a line, in label order")
    problems = [Problem("an empty line between names", f"{path}:{i}") for i, n in enumerate(names, 1) if not n]
    problems += [
        Problem(f"the name `{n}` is there twice", f"{path}:{i}")
        for i, n in enumerate(names, 1)
        if n and n in names[: i - 1]
    ]
    if problems:
        raise ConfigError.of(problems)
    return names


def name_problems(names: Sequence[str], where: str) -> list[Problem]:
    """Return what keeps names from being the lines of labels.txt: one line more would shift every name behind it."""
    odd = [repr(n) for n in dict.fromkeys(names) if n != n.strip() or not n.isprintable() or not n]
    twice = [f"`{n}`" for n in dict.fromkeys(names) if names.count(n) > 1]
    problems = []
    if odd:
        hint = "one printable name per class, without spaces around it"
        problems.append(Problem(f"class names cannot be lines of a text file: {', '.join(odd[:5])}", where, hint))
    if twice:
        problems.append(
            Problem(f"class names are there twice: {', '.join(twice[:5])}", where, "each class has its own")
        )
    return problems


def number_names(values: Sequence[str], *, names: tuple[str, ...], where: str) -> tuple[Array, tuple[str, ...]]:
    """Return (class numbers int64 [n], class names) for labels given as text.

    Without names the classes are the distinct values, sorted.

    Raises:
        ConfigError: values that are not in names; each offers its near miss.
    """
    found = sorted(set(values))
    unknown = [v for v in found if names and v not in names]
    if unknown:
        raise ConfigError.of(
            [Problem(f"the class `{v}` is not in the labels file", where, near_miss(v, names)) for v in unknown]
        )
    names = names or tuple(found)
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[v] for v in values], np.int64), names


def tidy(y: Array, *, metric: str | None, classes: int, where: str) -> tuple[Array, list[Problem]]:
    """Return labels in the form that `Dataset` holds, and what is wrong with them.

    A column [n, 1] becomes [n]. Unless metric is mae or mse, one-hot rows [n, C >= 2] become class numbers, and so
    do floats that are all 0 or 1.

    Args:
        y: numeric or boolean, [n, ...].
        metric: the recipe's metric, or None.
        classes: how many classes have names; 0 when unknown.
        where: what to name in problems.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = np.flatnonzero(~np.isfinite(y.reshape(len(y), -1)).all(axis=1))
        return y, [Problem(f"labels are NaN or Inf in {show_rows(bad)}", where, "leave these rows out")]
    high = np.flatnonzero((y.reshape(len(y), -1) > _INT64).any(axis=1)) if y.dtype.kind == "u" else ()
    if len(high):
        return y, [
            Problem(f"labels do not fit int64 in {show_rows(np.asarray(high))}", where, "was -1 stored unsigned?")
        ]
    if metric not in REGRESSION:
        y = _from_one_hot(y)
        if y.dtype.kind == "f" and y.ndim == 1 and np.isin(y, (0.0, 1.0)).all():
            y = y.astype(np.int64)
    if y.dtype.kind in "iu":
        y = y.astype(np.int64)
    return y, [] if metric in REGRESSION or (metric and ":" in metric) else _range_problems(y, classes, where)


def show_rows(rows: npt.NDArray[np.intp]) -> str:
    """Return row numbers as people read them: `row 3`, `rows 1, 2, 3`, `31 rows (0, 4, 9, …)`."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    first = ", ".join(str(r) for r in rows[:5])
    return f"rows {first}" if len(rows) <= 5 else f"{len(rows)} rows ({first}, …)"


def _from_one_hot(y: Array) -> Array:
    if y.ndim != 2 or not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
        return y
    numbers: npt.NDArray[np.int64] = y.argmax(axis=1).astype(np.int64)
    return numbers


def _range_problems(y: Array, classes: int, where: str) -> list[Problem]:
    if y.dtype.kind != "i":
        return []
    problems = []
    rows = y.reshape(len(y), -1)
    low, high = np.flatnonzero((rows < 0).any(axis=1)), np.flatnonzero((rows >= classes).any(axis=1))
    if len(low):
        problems.append(
            Problem(
                f"labels are negative in {show_rows(low)} (smallest {y.min()})",
                where,
                "class numbers count from 0; for a regression set the metric to mae or mse",
            )
        )
    if classes and len(high):
        problems.append(
            Problem(
                f"labels go up to {y.max()} in {show_rows(high)}, and there are {classes} class names",
                where,
                f"class numbers must be 0 to {classes - 1}",
            )
        )
    return problems
