"""From named arrays to a Dataset: the rules that every source shares, all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import name_problems, number_names, tidy
from edgecompile.errors import ConfigError, Problem, TextRowsError
from edgecompile.recipe import DataSection, Preprocess

Array = npt.NDArray[Any]

RESERVED = ("y", "labels", "groups", "class_names")
"""Array names that are never inputs."""

_SHAPE_HELP = "call the rows `x` (or by the model's input names), the labels `y`"


def dataset_from_arrays(
    arrays: Mapping[str, Array], section: DataSection, *, names: tuple[str, ...], source: str
) -> Dataset:
    """Return the dataset of arrays: `x` (or inputs by name), `y` or `labels`, `groups`, `class_names`.

    Text arrays under other names are notes of the user's (file names) and are left alone.

    Args:
        arrays: as stored; none is changed.
        section: preprocessing and metric.
        names: class names of the labels file; empty without one.
        source: where the arrays came from, as the user wrote it.

    Raises:
        ConfigError: every problem of names, shapes, dtypes, row counts, labels and preprocessing.
    """
    inputs = {k: a for k, a in arrays.items() if k not in RESERVED and a.dtype.kind not in "USO"}
    if not inputs and (texts := [k for k, a in arrays.items() if k not in RESERVED and a.dtype.kind in "US"]):
        raise TextRowsError(
            f"rows hold text ({', '.join(f'`{k}`' for k in texts)}), and a device is given numbers",
            where=source,
            hint="leave text processing and look-up of text out of the model, and store what they produce",
        )
    problems = _name_problems(arrays, inputs, source)
    problems += [p for name, x in inputs.items() for p in _input_problems(name, x, source)]
    rows = len(next(iter(inputs.values()))) if inputs and not problems else None
    labels, groups = arrays.get("y", arrays.get("labels")), arrays.get("groups")
    names, found = _class_names(arrays.get("class_names"), names, source)
    problems += found
    if rows is not None:
        sizes = {**inputs, "labels": labels, "groups": groups}
        counts = {k: len(a) if a.ndim else 0 for k, a in sizes.items() if a is not None}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{k} {n}" for k, n in counts.items())
            problems.append(Problem(f"the arrays disagree in their number of rows: {told}", source))
        elif rows == 0:
            problems.append(Problem("there are no rows", source))
        else:
            labels, names, more = _labels(labels, names, section, source)
            groups, also = _groups(groups, source)
            problems += [*more, *also]
    problems += name_problems(names, source)
    problems += [p for name, x in inputs.items() for p in preprocess_problems(how_of(section, name), x, name, source)]
    if problems:
        raise ConfigError.of(problems)
    only = {"*": inputs["x"]} if tuple(inputs) == ("x",) else inputs
    return Dataset(only, labels, groups, names, {"*": section.preprocess, **section.inputs}, source)


def preprocess_problems(how: Preprocess, x: Array, name: str, source: str) -> list[Problem]:
    """Return where how cannot be applied to stored rows x [n, ...] of input name."""
    problems = []
    last = x.shape[-1] if x.ndim > 1 else 1
    for key in ("scale", "offset", "mean", "std"):
        given = len(getattr(how, key))
        if given not in (1, last):
            problems.append(
                Problem(
                    f"`{key}` has {given} numbers, and the last axis of `{name}` has {last}", source, "one, or one each"
                )
            )
    if how.quantized is not None and x.dtype.kind not in "iu":
        problems.append(
            Problem(f"`quantized` is set, and `{name}` holds {x.dtype}, not integers", source, "leave out `quantized`")
        )
    if how.resize is not None and x.ndim not in (3, 4):
        shape = "×".join(map(str, x.shape[1:])) or "single numbers"
        problems.append(
            Problem(f"`resize` is set, and rows of `{name}` are {shape}, not images", source, "leave out `resize`")
        )
    return problems


def how_of(section: DataSection, name: str) -> Preprocess:
    """Return the preprocessing of array name; of `x`, which has no input's name, as `Dataset.how` does for `*`."""
    if name == "x" and len(section.inputs) == 1:
        return next(iter(section.inputs.values()))
    return section.inputs.get(name, section.preprocess)


def _name_problems(arrays: Mapping[str, Array], inputs: Mapping[str, Array], source: str) -> list[Problem]:
    problems = []
    has = ", ".join(f"`{k}`" for k in arrays) or "none"
    if not inputs:
        problems.append(Problem(f"there is no numeric array of rows; arrays: {has}", source, _SHAPE_HELP))
    if "y" in arrays and "labels" in arrays:
        problems.append(Problem("there are both `y` and `labels`", source, "keep one of them"))
    return problems


def _input_problems(name: str, x: Array, source: str) -> list[Problem]:
    if x.dtype.kind not in "biuf":
        hint = "store numbers"
        return [Problem(f"`{name}` holds {x.dtype}, which is not numeric", source, hint)]
    if x.ndim == 0:
        return [Problem(f"`{name}` is a single number, not rows", source, "the first axis must count the rows")]
    if x.ndim > 1 and 0 in x.shape[1:]:
        return [Problem(f"rows of `{name}` are empty: shape {x.shape}", source)]
    return []


def _class_names(given: Array | None, names: tuple[str, ...], source: str) -> tuple[tuple[str, ...], list[Problem]]:
    if given is None:
        return names, []
    if given.dtype.kind != "U" or given.ndim != 1 or not len(given):
        return names, [Problem("`class_names` must be a list of texts", source)]
    own = tuple(str(name) for name in given)
    if names and names != own:
        return names, [
            Problem("`class_names` and the labels file disagree", source, "keep one of them, or make them equal")
        ]
    return own, []


def _labels(
    y: Array | None, names: tuple[str, ...], section: DataSection, source: str
) -> tuple[Array | None, tuple[str, ...], list[Problem]]:
    if y is None:
        return None, names, []
    if y.dtype.kind == "U" and y.ndim == 1:
        try:
            numbers, names = number_names([str(v) for v in y], names=names, where=source)
        except ConfigError as error:
            return None, names, list(error.problems)
        return numbers, names, []
    if y.dtype.kind not in "biuf":
        what = "bytes" if y.dtype.kind == "S" else str(y.dtype)
        hint = "save names as text: y.astype(str)" if y.dtype.kind == "S" else "save class numbers, names or targets"
        return None, names, [Problem(f"labels hold {what}, which is neither numeric nor text", source, hint)]
    labels, problems = tidy(y, metric=section.metric, classes=len(names), where=source)
    return labels, names, problems


def _groups(groups: Array | None, source: str) -> tuple[Array | None, list[Problem]]:
    """Return group ids int64 [n]; text ids are numbered in sorted order."""
    if groups is None:
        return None, []
    if groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups[:, 0]
    if groups.ndim != 1 or groups.dtype.kind not in "biuU":
        what = f"`groups` must be one whole number or text per row; it is {groups.dtype} {list(groups.shape)}"
        return None, [Problem(what, source)]
    if groups.dtype.kind == "U":
        return np.unique(groups, return_inverse=True)[1].astype(np.int64), []
    return groups.astype(np.int64), []
