"""Whether a dataset fits a model's inputs: names, shapes, channels; what is unambiguous is adapted and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgecompile.data.arrays import preprocess_problems
from edgecompile.data.dataset import Array, Dataset
from edgecompile.data.rules import place
from edgecompile.errors import ConfigError, Problem, near_miss
from edgecompile.report import Finding
from edgecompile.units import show_shape

Shape = tuple[int, ...]


def fits(dataset: Dataset, inputs: Mapping[str, Shape], *, role: str) -> tuple[Dataset, tuple[Finding, ...]]:
    """Return dataset with the model's input names and shapes, and a finding for everything that was adapted.

    Adapted is only what leaves no choice: a single array under another name than the model's single input; a last axis
    of 1 that is missing or too many; grey uint8 images for a model that takes three channels. Rows of an input's full
    shape fit too: it has no batch axis, and takes one of them at a time.

    Args:
        dataset: rows as loaded.
        inputs: input name → full shape, of every input of the model; -1 where a size is open.
        role: `validation`, `calibration` or `train`, for messages.

    Raises:
        ConfigError: names, shapes or preprocessing that do not fit, all at once, with what was expected and given.
    """
    where = place(role, dataset)
    dataset, findings = _with_model_names(dataset, inputs, where)
    problems = [
        Problem(f"`data.inputs` has `{name}`, which is no input of the model", where, near_miss(name, inputs))
        for name in dataset.preprocess
        if name != "*" and name not in inputs
    ]
    changed: dict[str, Array] = {}
    for name, shape in inputs.items():
        found = preprocess_problems(dataset.how(name), dataset.inputs[name], name, where)
        if not found:
            given = dataset.batch(name, slice(0, 1)).shape[1:]
            adapted, note = _adapted(dataset.inputs[name], given, _wanted(given, shape))
            if adapted is None:
                found = [_shape_problem(name, given, _wanted(given, shape), where)]
            elif note:
                changed[name] = adapted
                findings.append(_finding(f"`{name}`: {note}", where))
        problems += found
    if problems:
        raise ConfigError.of(problems)
    if changed:
        dataset = replace(dataset, inputs={**dataset.inputs, **changed})
    return dataset, tuple(findings)


def _with_model_names(dataset: Dataset, inputs: Mapping[str, Shape], where: str) -> tuple[Dataset, list[Finding]]:
    have, want = list(dataset.inputs), list(inputs)
    if len(have) == len(want) == 1 and have != want:
        old, new = have[0], want[0]
        findings = []
        how = {new if name == old != "*" else name: p for name, p in dataset.preprocess.items()}
        if old != "*":
            findings.append(_finding(f"`{old}` is taken for the model's only input, `{new}`", where))
        return replace(dataset, inputs={new: dataset.inputs[old]}, preprocess=how), findings
    if have == ["*"]:
        told = ", ".join(f"`{name}`" for name in want)
        raise ConfigError(
            f"the rows have no name, and the model has {len(want)} inputs: {told}",
            where=where,
            hint="store one array per input under these names",
        )
    unknown = [n for n in have if n not in inputs]
    missing = [n for n in want if n not in dataset.inputs]
    problems = [Problem(f"`{n}` is no input of the model", where, near_miss(n, want)) for n in unknown]
    problems += [Problem(f"input `{n}` of the model is missing", where, f"store its rows as `{n}`") for n in missing]
    if problems:
        raise ConfigError.of(problems)
    return dataset, []


def _wanted(given: Shape, shape: Shape) -> Shape:
    """Return the shape of one row: the input's without its batch axis, or all of it where it has none."""
    if shape[:1] != (-1,) and _same(given, shape):
        return shape
    alone = len(shape) == 1 and shape[0] > 1 and given != ()  # a waveform: numbers one by one make no rows of it
    return shape if alone else tuple(shape[1:])


def _same(given: Shape, wanted: Shape) -> bool:
    return len(given) == len(wanted) and all(w in (g, -1) for g, w in zip(given, wanted, strict=True))


def _adapted(rows: Array, given: Shape, wanted: Shape) -> tuple[Array | None, str]:
    """Return rows as the model takes them and what was done; None where they cannot be made to fit."""
    if _same(given, wanted):
        return rows, ""
    if _same((*given, 1), wanted):
        return rows[..., np.newaxis], f"rows {show_shape(given)} got a last axis of 1"
    if given[-1:] == (1,) and _same(given[:-1], wanted):
        return rows[..., 0], f"rows {show_shape(given)} lost their last axis of 1"
    if rows.dtype == np.uint8 and len(given) == 3 and given[-1] == 1 and _same((*given[:-1], 3), wanted):
        return np.broadcast_to(rows, (*rows.shape[:-1], 3)), "grey images were repeated to three channels"
    return None, ""


def _shape_problem(name: str, given: Shape, wanted: Shape, where: str) -> Problem:
    what = f"`{name}` takes rows of {show_shape(wanted)}, and the data has rows of {show_shape(given)}"
    return Problem(what, where, _shape_hint(given, wanted))


def _shape_hint(given: Shape, wanted: Shape) -> str:
    if len(given) == len(wanted) == 3:
        if _same((*given[1:], given[0]), wanted):
            return "channels come first here: np.transpose(x, (0, 2, 3, 1))"
        if given[2] == wanted[2]:
            return f"set `resize = [{wanted[0]}, {wanted[1]}]` below [data.preprocess]"
        if given[2] == 3 and wanted[2] == 1:
            return "the model takes grey images: convert them before"
    if -1 not in wanted and int(np.prod(given)) == int(np.prod(wanted)):
        return (
            f"as many values in another shape: x.reshape({', '.join(map(str, (-1, *wanted)))}), if the order is right"
        )
    return "is this the data that the model was trained on?"


def _finding(what: str, where: str) -> Finding:
    return Finding(severity="info", rule="data-adapted", what=what, where=where)
