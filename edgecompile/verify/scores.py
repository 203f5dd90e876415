"""Scores of both models, with intervals that fit the metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile import compare
from edgecompile.compare import Bools, Counts
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.report import Flips, Interval, Score
from edgecompile.verify.pairs import Pair, Reals

if TYPE_CHECKING:
    from edgecompile.metrics import Metric

SHARES = ("top1", "top5")
"""Metrics that are the share of rows decided right."""
SIGNIFICANT = 0.05
"""A p below this is called more than noise: the counterpart of a 95% interval."""


@dataclass(frozen=True)
class Scores:
    """The scores of both models; fields as in `Accuracy`."""

    unit: Literal["fraction", "metric"]
    counted: Literal["rows", "groups"]
    float_score: Score
    result_score: Score
    drop: float
    drop_interval: Interval
    within_noise: bool


def right_rows(pair: Pair, data: Dataset, metric: Metric) -> tuple[Bools, Bools] | None:
    """Return which rows the float model and the result decide right, [n] each; None where the metric has no decisions.

    A row without numbers is wrong, whatever its label.
    """
    before, after = metric.correct(pair.before, data), metric.correct(pair.after, data)
    if before is None or after is None:
        return None
    return before & pair.before_finite, after & pair.after_finite


def score_shares(before: Bools, after: Bools, flips: Flips) -> Scores:
    """Return scores that are shares of right rows, with Wilson intervals; before and after [n].

    All numbers are counts divided by n: a drop of 10 rows in 1,000 is exactly the 0.01 that a limit of 0.01 allows.
    """
    n = len(before)

    def share(right: Bools) -> Score:
        k = int(right.sum())
        return Score(value=k / n, interval=compare.wilson(k, n), n=n)

    return Scores(
        unit="fraction",
        counted="rows",
        float_score=share(before),
        result_score=share(after),
        drop=(flips.lost - flips.gained) / n,
        drop_interval=compare.paired_interval(flips.lost, flips.gained, n),
        within_noise=flips.p >= SIGNIFICANT,
    )


def score_values(pair: Pair, data: Dataset, metric: Metric, *, seed: int) -> Scores:
    """Return scores of any other metric, with bootstrap intervals over rows, or over groups where the data has them.

    Rows on which the result gave no numbers are left out of both scores.

    Raises:
        ModelError: the result gave no numbers on any row.
        ConfigError: the metric cannot score these rows.
    """
    if not pair.after_finite.any():
        raise ModelError("the result gives NaN or infinity on every row", hint="try another quantize.scheme")
    rows = np.flatnonzero(pair.after_finite)
    data, f, r = data.take(rows), pair.before[rows], pair.after[rows]
    before, after = _score(metric, f, data), _score(metric, r, data)
    units, counted = _units(data)
    sign = 1.0 if metric.higher_is_better else -1.0

    def resampled(drawn: Counts) -> tuple[float, float]:
        picked, sample = _draw(data, units, drawn)
        return metric.score(f[picked], sample), metric.score(r[picked], sample)

    values = compare.bootstrap(resampled, len(units), seed=seed)
    drop = sign * _minus(before, after)
    drop_interval = compare.percentile_interval(sign * (values[:, 0] - values[:, 1]), drop)
    return Scores(
        unit="metric",
        counted=counted,
        float_score=Score(value=before, interval=compare.percentile_interval(values[:, 0], before), n=len(units)),
        result_score=Score(value=after, interval=compare.percentile_interval(values[:, 1], after), n=len(units)),
        drop=drop,
        drop_interval=drop_interval,
        within_noise=drop_interval.low <= 0 <= drop_interval.high,
    )


def _score(metric: Metric, output: Reals, data: Dataset) -> float:
    value = float(metric.score(output, data))
    if not math.isfinite(value):
        raise ConfigError(
            f"`{metric.name}` gives {value} on these rows",
            where=f"data.validation = {data.source}",
            hint="the metric needs rows that it can tell apart: both classes for auc, finite labels for mae and mse",
        )
    return value


def _minus(a: float, b: float) -> float:
    """Return a - b of the shortest decimals that stand for them: 0.8 - 0.7 is 0.1, which a limit of 0.1 allows."""
    return float(Decimal(repr(a)) - Decimal(repr(b)))


def _units(data: Dataset) -> tuple[list[npt.NDArray[np.intp]], Literal["rows", "groups"]]:
    """Return what a bootstrap draws, as row numbers: every row, or every group, as its rows depend on each other."""
    if data.groups is None:
        return list(np.arange(len(data))[:, None]), "rows"
    order = np.argsort(data.groups, kind="stable")
    starts = np.flatnonzero(np.diff(data.groups[order], prepend=data.groups[order[0]] - 1))
    return np.split(order, starts[1:]), "groups"


def _draw(data: Dataset, units: list[npt.NDArray[np.intp]], drawn: Counts) -> tuple[npt.NDArray[np.intp], Dataset]:
    """Return the rows of a resample and the dataset of them; a group that was drawn twice is two groups."""
    which = np.repeat(np.arange(len(units)), drawn)
    if data.groups is None:
        rows, groups = which, None
    else:
        rows = np.concatenate([units[i] for i in which])
        groups = np.repeat(np.arange(len(which)), [len(units[i]) for i in which])
    inputs = _Rows(data.inputs, rows)
    labels = None if data.labels is None else data.labels[rows]
    return rows, replace(data, inputs=inputs, labels=labels, groups=groups)


class _Rows(Mapping[str, Any]):
    """Inputs of some rows, copied only when they are looked at: most metrics never do, and images are large."""

    def __init__(self, inputs: Mapping[str, Any], rows: npt.NDArray[np.intp]) -> None:
        self._inputs = inputs
        self._rows = rows

    def __getitem__(self, name: str) -> Any:
        return self._inputs[name][self._rows]

    def __iter__(self) -> Any:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)
