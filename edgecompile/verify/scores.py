"""Scores of both models, with intervals that fit the metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from edgecompile import compare
from edgecompile.compare import Bools, Indices
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.metrics import Metric, Scored
from edgecompile.report import Flips, Interval, Score
from edgecompile.verify.pairs import Pair

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
    """Return scores of any other metric, with bootstrap intervals over rows, or groups where the metric scores groups.

    Rows on which the result gave no numbers are left out of both scores. A user's function, which may be slow, is
    resampled no more often than an interval needs.

    Raises:
        ModelError: the result gave no numbers on any row.
        ConfigError: the metric cannot score these rows.
    """
    before, after = pair.before, pair.after
    if not pair.after_finite.all():
        rows = np.flatnonzero(pair.after_finite)
        if not len(rows):
            raise ModelError("the result gives NaN or infinity on every row", hint="try another quantize.scheme")
        data, before, after = data.take(rows), before[rows], after[rows]
    f, r = metric.bind(before, data), metric.bind(after, data)
    every = np.arange(f.n)
    value_f, value_r = _finite(f.of(every), metric, data), _finite(r.of(every), metric, data)
    resamples = compare.FEWEST if ":" in metric.name else compare.resamples_for(f.n)
    sampled = compare.bootstrap(
        lambda units: (_sampled(f, units), _sampled(r, units)), f.n, seed=seed, resamples=resamples
    )
    sign = 1.0 if metric.higher_is_better else -1.0
    drop = sign * _minus(value_f, value_r)
    drop_interval = compare.percentile_interval(sign * (sampled[:, 0] - sampled[:, 1]), drop)
    return Scores(
        unit="metric",
        counted="rows" if f.n == len(data) else "groups",
        float_score=Score(value=value_f, interval=compare.percentile_interval(sampled[:, 0], value_f), n=f.n),
        result_score=Score(value=value_r, interval=compare.percentile_interval(sampled[:, 1], value_r), n=f.n),
        drop=drop,
        drop_interval=drop_interval,
        within_noise=drop_interval.low <= 0 <= drop_interval.high,
    )


def _sampled(scored: Scored, units: Indices) -> float:
    """Return the score of a resample, NaN where it has none: a user's function may refuse rows of one class."""
    try:
        return scored.of(units)
    except ConfigError:
        return math.nan


def _finite(value: float, metric: Metric, data: Dataset) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"the metric is {value} on these rows", where=metric.name, hint=f"look at {data.source}")
    return value


def _minus(a: float, b: float) -> float:
    """Return a - b of the shortest decimals that stand for them: 0.8 - 0.7 is 0.1, which a limit of 0.1 allows."""
    return float(Decimal(repr(a)) - Decimal(repr(b)))
