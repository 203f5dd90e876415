"""Metrics: one number for how well outputs match labels, and the decisions behind it where there are decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.data.scores import (
    OWN_METRIC,
    auc_of,
    class_labels,
    class_scores,
    decided,
    detection_scores,
    in_top,
    is_flat,
    need_finite,
    no_labels,
    reconstruction_error,
    twin_of,
)
from edgecompile.data.usercode import is_function, keywords_taken, load_function, users_code
from edgecompile.errors import ConfigError, near_miss
from edgecompile.units import show_shape

Output = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Units = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Scored:
    """A metric bound to one set of outputs: what resampling needs.

    Attributes:
        n: how many units were scored: rows, or groups of rows where groups are scored together.
        of: the metric over the units with these indices, which may repeat; NaN where they do not allow one (an AUC of
            units that are all of one class).
    """

    n: int
    of: Callable[[Units], float]


@dataclass(frozen=True)
class Metric:
    """A metric. Outputs are float32 [n, ...], dequantized, one row per row of the dataset.

    Attributes:
        name: `top1` or `package.module:function`.
        bind: outputs and data → `Scored`; raises ConfigError where they do not fit each other.
        higher_is_better: whether a larger value is better.
        unit: `fraction`: the share of rows decided right. `metric`: a number in the metric's own units.
        right: outputs and data → whether each row [n] was decided right.
        choose: outputs → the class [n] that each row was decided for.
    """

    name: str
    bind: Callable[[Output, Dataset], Scored]
    higher_is_better: bool = True
    unit: Literal["fraction", "metric"] = "metric"
    right: Callable[[Output, Dataset], Bools] | None = None
    choose: Callable[[Output], Numbers] | None = None

    def score(self, output: Output, data: Dataset) -> float:
        """Return the metric over all rows.

        Raises:
            ConfigError: output, labels and metric do not fit each other, or a user's metric failed.
            ModelError: output holds NaN or Inf.
        """
        scored = self.bind(output, data)
        value = scored.of(np.arange(scored.n))
        if not np.isfinite(value):
            raise ConfigError(f"the metric is {value}", where=self.name, hint="it must be a finite number")
        return value

    def correct(self, output: Output, data: Dataset) -> Bools | None:
        """Return whether each row [n] was decided right; None where the metric decides nothing."""
        return None if self.right is None else self.right(output, data)

    def decide(self, output: Output) -> Numbers | None:
        """Return the class [n] that each row was decided for; None where the metric decides nothing."""
        return None if self.choose is None else self.choose(output)


def load_metric(name: str, *, base: Path) -> Metric:
    """Return the metric called name.

    A user's metric is `f(outputs, labels)` and may also take `inputs` (preprocessed float32 rows; a dict by name where
    the model has several inputs) and `groups` ([n] ids), by these names. Outputs are float32 [n, ...]; labels are those
    of the dataset, or None. It returns one number. `f.higher_is_better = False` says that less is better.

    Args:
        name: a built-in metric or `package.module:function`.
        base: folder of the recipe, first on Python's path for a user's metric.

    Raises:
        ConfigError: unknown name (offers the nearest), or a function that cannot be loaded or called this way.
    """
    check_name(name)
    return _users_metric(name, base) if is_function(name) else METRICS[name]


def check_name(name: str) -> None:
    """Raise ConfigError unless name is a built-in metric or has the form `package.module:function`."""
    if not is_function(name) and name not in METRICS:
        hint = f"{near_miss(name, METRICS)} Or a function of yours: package.module:function"
        raise ConfigError(f"unknown metric `{name}`", where="data.metric", hint=hint)


def default_metric(data: Dataset, output_shape: tuple[int, ...]) -> str:
    """Return the metric that fits labels and output when the user names none.

    Class numbers and one score per class: top1. An autoencoder (output like input) with labels 0 and 1: auc; without
    labels: mse. Targets of the output's size: mae.

    Args:
        data: validation rows.
        output_shape: of the model's output, with batch.

    Raises:
        ConfigError: no labels, or none of the built-in metrics fits.
    """
    row = tuple(output_shape[1:])
    size = int(np.prod(row))
    twin = twin_of(row, data)
    numbers = class_numbers(data.labels)
    if data.labels is None:
        if twin is None:
            raise no_labels("any metric", data)
        return "mse"
    if numbers is not None and numbers.max() <= 1 and twin is not None:
        return "auc"
    if numbers is not None and is_flat(row) and (size > 1 or numbers.max() <= 1):
        return "top1"
    if data.labels.size == len(data) * size:
        return "mae"
    raise ConfigError(
        f"no metric fits an output of {show_shape(row)} and labels of {show_shape(data.labels.shape[1:])} per row",
        where=data.source,
        hint=f"name the output that the labels belong to (data.output), or {OWN_METRIC}",
    )


def _bind_top(output: Output, data: Dataset, *, k: int) -> Scored:
    right = in_top(output, data, k=k)
    return Scored(len(right), lambda units: float(right[units].mean()))


def _bind_macro_f1(output: Output, data: Dataset) -> Scored:
    """Mean over classes of 2 TP / (2 TP + FP + FN); classes that are neither labelled nor decided do not count."""
    classes = max(2, class_scores(output, "macro_f1").shape[1])
    numbers = class_labels(data, classes, "macro_f1")
    # Only pairs of label and decision that occur are counted: there are few of them, however often this is asked.
    pairs, which = np.unique(numbers * classes + decided(output), return_inverse=True)
    y, d = pairs // classes, pairs % classes

    def of(units: Units) -> float:
        counts = np.bincount(which[units], minlength=len(pairs))
        hits = np.bincount(y, counts * (y == d), minlength=classes)
        either = np.bincount(y, counts, minlength=classes) + np.bincount(d, counts, minlength=classes)
        seen = either > 0
        return float((2 * hits[seen] / either[seen]).mean())

    return Scored(len(numbers), of)


def _bind_auc(output: Output, data: Dataset) -> Scored:
    """Area under the ROC curve of a score: reconstruction error, or the last of one or two columns.

    With groups the score of a group is the mean over its rows.
    """
    numbers = class_labels(data, 2, "auc")
    scores = detection_scores(output, data)
    if data.groups is not None:
        ids, which, counts = np.unique(data.groups, return_inverse=True, return_counts=True)
        positive = np.bincount(which, weights=numbers) / counts
        mixed = ids[(positive > 0) & (positive < 1)]
        if len(mixed):
            raise ConfigError(
                f"auc scores groups, and {len(mixed)} of {len(ids)} hold both labels (first: group {mixed[0]})",
                where=data.source,
                hint="every row of a group must have the label of the group, or leave out `groups`",
            )
        scores, numbers = np.bincount(which, weights=scores) / counts, positive.astype(np.int64)
    if numbers.min() == numbers.max():
        raise ConfigError(
            f"auc needs labels 0 and 1, and all are {numbers[0]}",
            where=data.source,
            hint="add rows of the other class: 1 is what the score should be high for",
        )
    return Scored(len(scores), auc_of(scores, numbers))


def _bind_error(output: Output, data: Dataset, *, power: int, name: str) -> Scored:
    """Mean of |output - label|^power; without labels, of an autoencoder against its own input."""
    need_finite(output)
    if data.labels is None:
        if twin_of(output.shape[1:], data) is None:
            raise no_labels(name, data)
        errors = reconstruction_error(output, data, power=power)
    elif output.size != data.labels.size:
        raise ConfigError(
            f"{name} compares value by value: the output is {show_shape(output.shape[1:])} per row, the labels are "
            f"{show_shape(data.labels.shape[1:])}",
            where=data.source,
            hint=f"name the output that the labels belong to (data.output), or {OWN_METRIC}",
        )
    else:
        difference = output.reshape(len(output), -1) - data.labels.reshape(len(output), -1).astype(np.float64)
        errors = (np.abs(difference) ** power).mean(axis=1)
    return Scored(len(errors), lambda units: float(errors[units].mean()))


def _users_metric(name: str, base: Path) -> Metric:
    function = load_function(name, base=base)
    takes = keywords_taken(function, name, first=("outputs", "labels"), known=("inputs", "groups"))
    higher = getattr(function, "higher_is_better", True)
    if not isinstance(higher, bool):
        raise ConfigError(f"`higher_is_better` is {higher!r}", where=name, hint="set it to True or False")

    def bind(output: Output, data: Dataset) -> Scored:
        given: dict[str, Any] = {}
        if "inputs" in takes:
            rows = {key: data.batch(key) for key in data.inputs}
            given["inputs"] = rows if len(rows) > 1 else next(iter(rows.values()))
        if "groups" in takes:
            given["groups"] = data.groups
        members = _members(len(output), data.groups if "groups" in takes else None)

        def of(units: Units) -> float:
            chosen = np.concatenate([members[u] for u in units])
            # A group that resampling drew twice must stay two groups.
            fresh = np.repeat(np.arange(len(units)), [len(members[u]) for u in units])
            keywords = {key: _picked(value, chosen) for key, value in given.items()}
            if given.get("groups") is not None:
                keywords["groups"] = fresh
            with users_code(name, base=base):
                value = function(output[chosen], _picked(data.labels, chosen), **keywords)
            return _number(value, name)

        return Scored(len(members), of)

    return Metric(name, bind, higher_is_better=higher)


def _members(n: int, groups: npt.NDArray[Any] | None) -> list[Units]:
    """Return the rows of each unit: one each, or those of a group, in the order of group ids."""
    if groups is None:
        return list(np.arange(n)[:, None])
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _picked(value: Any, rows: Units) -> Any:
    if isinstance(value, dict):
        return {key: array[rows] for key, array in value.items()}
    return None if value is None else value[rows]


def _number(value: Any, name: str) -> float:
    shown = type(value).__name__
    try:
        if not isinstance(value, str | bytes):  # Python would read a text as a number
            return float(value)
        shown = f"the text {value[:20]!r}"
    except (TypeError, ValueError):
        pass
    raise ConfigError(f"returned {shown}", where=name, hint="return one number")


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("top1", partial(_bind_top, k=1), unit="fraction", right=partial(in_top, k=1), choose=decided),
        Metric("top5", partial(_bind_top, k=5), unit="fraction", right=partial(in_top, k=5), choose=decided),
        Metric("auc", _bind_auc),
        Metric("macro_f1", _bind_macro_f1, right=partial(in_top, k=1), choose=decided),
        Metric("mae", partial(_bind_error, power=1, name="mae"), higher_is_better=False),
        Metric("mse", partial(_bind_error, power=2, name="mse"), higher_is_better=False),
    )
}

SHARES = frozenset(name for name, metric in METRICS.items() if metric.higher_is_better)
"""Built-in metrics that lie between 0 and 1."""
