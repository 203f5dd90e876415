"""Scores of both models, with intervals that fit the metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypedDict

import numpy as np

from edgecompile import compare
from edgecompile.compare import Bools, Floats, Indices
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.metrics import Metric, Scored
from edgecompile.recipe import GateSection
from edgecompile.report import Interval, Score
from edgecompile.verify.pairs import Pair

DOUBLE_DIGITS = 12
"""Significant digits of a mean in float64 that say something: 16, less what sums over many rows lose."""
SIGNIFICANT = 0.05
"""A p below this is called more than noise: the counterpart of a 95% interval."""
FEWEST_UNITS = 6
"""On fewer rows or groups nothing is beyond noise: even if all change in one direction, p is 2 / 2^5 = 0.06."""


@dataclass(frozen=True)
class Scores:
    """The scores of both models; fields as in `Accuracy`."""

    unit: Literal["fraction", "metric"]
    counted: Literal["rows", "groups"]
    independent: int
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


def score_shares(before: Bools, after: Bools, data: Dataset, *, seed: int) -> Scores:
    """Return scores that are shares of right rows, before and after [n].

    All values are counts divided by n: a drop of 10 rows in 1,000 is exactly the 0.01 that a limit of 0.01 allows.
    Intervals are Wilson's and McNemar says what is noise; rows in groups depend on each other, so that neither holds,
    and groups are resampled instead.
    """
    n, flips = len(before), compare.flips(before, after)
    drop, k_before, k_after = (flips.lost - flips.gained) / n, int(before.sum()), int(after.sum())
    clusters = clusters_of(data)
    if clusters is None:
        return Scores(
            unit="fraction",
            counted="rows",
            independent=n,
            float_score=Score(value=k_before / n, interval=compare.wilson(k_before, n), n=n),
            result_score=Score(value=k_after / n, interval=compare.wilson(k_after, n), n=n),
            drop=drop,
            drop_interval=compare.paired_interval(flips.lost, flips.gained, n),
            within_noise=flips.p >= SIGNIFICANT,
        )
    sampled = compare.bootstrap(
        lambda rows: (before[rows].mean(), after[rows].mean()),
        n,
        seed=seed,
        resamples=compare.resamples_for(n),
        clusters=clusters,
    )
    bound = _Bound(sampled, "groups", units=len(clusters))
    return Scores(
        unit="fraction",
        counted="rows",
        independent=len(clusters),
        float_score=Score(value=k_before / n, interval=bound.interval(0, k_before / n), n=n),
        result_score=Score(value=k_after / n, interval=bound.interval(1, k_after / n), n=n),
        **bound.of_drop(drop, sign=1.0),
    )


def score_values(
    pair: Pair, data: Dataset, metric: Metric, *, gate: GateSection, against: float | None, seed: int
) -> Scores:
    """Return scores of any other metric, with bootstrap intervals over rows, or over groups where the data has them.

    Rows on which the result gave no numbers are left out of both scores. A user's function, which may be slow, is
    resampled no more often than an interval needs.

    Args:
        pair: outputs of the float model and the result.
        data: the rows.
        metric: scores an output.
        gate: its limits are kept by the scores returned where the unrounded ones keep them, and only there.
        against: the score of the float model that `gate.max_drop` is held against, where pair is the result twice.
        seed: of the bootstrap.

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
    up = metric.higher_is_better
    value_f, value_r = (_finite(side.of(every), metric, data) for side in (f, r))
    if against is None:
        value_f, value_r = told(value_f, value_r, gate, higher_is_better=up)
    else:
        value_f = value_r = told(against, value_r, gate, higher_is_better=up)[1]
    counted: Literal["rows", "groups"] = "rows" if f.n == len(data) else "groups"
    clusters = clusters_of(data) if counted == "rows" else None
    sampled = compare.bootstrap(
        lambda units: (sampled_score(f, units), sampled_score(r, units)),
        f.n,
        seed=seed,
        resamples=compare.FEWEST if ":" in metric.name else compare.resamples_for(f.n),
        clusters=clusters,
    )
    bound = _Bound(sampled, "groups" if clusters else counted, units=len(clusters) if clusters else f.n)
    sign = 1.0 if up else -1.0
    return Scores(
        unit="metric",
        counted=counted,
        independent=bound.units,
        float_score=Score(value=value_f, interval=bound.interval(0, value_f), n=f.n),
        result_score=Score(value=value_r, interval=bound.interval(1, value_r), n=f.n),
        **bound.of_drop(sign * minus(value_f, value_r), sign=sign),
    )


class _Drop(TypedDict):
    drop: float
    drop_interval: Interval
    within_noise: bool


@dataclass(frozen=True)
class _Bound:
    """Resampled scores: [resamples, 2] of the float model and the result, what was drawn, and how many there are."""

    sampled: Floats
    drawn: str
    units: int

    def interval(self, column: int, value: float) -> Interval:
        return compare.percentile_interval(self.sampled[:, column], value, drawn=self.drawn)

    def of_drop(self, drop: float, *, sign: float) -> _Drop:
        differences = sign * (self.sampled[:, 0] - self.sampled[:, 1])
        interval = compare.percentile_interval(differences, drop, drawn=self.drawn)
        noise = self.units < FEWEST_UNITS or interval.low <= 0 <= interval.high
        return {"drop": drop, "drop_interval": interval, "within_noise": noise}


def clusters_of(data: Dataset) -> list[Indices] | None:
    """Return the rows of each group; None where rows are not grouped."""
    if data.groups is None:
        return None
    order = np.argsort(data.groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(data.groups[order])) + 1)


def sampled_score(scored: Scored, units: Indices) -> float:
    """Return the score of a resample, NaN where it has none: a user's function may refuse rows of one class."""
    try:
        return scored.of(units)
    except ConfigError:
        return math.nan


def _finite(value: float, metric: Metric, data: Dataset) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"the metric is {value} on these rows", where=metric.name, hint=f"look at {data.source}")
    return value


def told(before: float, after: float, gate: GateSection, *, higher_is_better: bool) -> tuple[float, float]:
    """Return both scores rounded to the digits that reports tell, so that they and their drop keep what gate decides.

    That is `compare.SCORE_DIGITS`, and as many more as it takes where rounding would carry a score or the drop over a
    limit: a drop of 0.01000004 is not told as the 0.01 that the gate allows.

    Args:
        before: score of the float model.
        after: score of the result.
        gate: its limits.
        higher_is_better: whether a smaller score is a loss.
    """

    def kept(before: float, after: float) -> tuple[bool, ...]:
        drop = minus(before, after) if higher_is_better else minus(after, before)
        least = (
            ()
            if gate.min is None
            else tuple(x == gate.min or (x > gate.min) is higher_is_better for x in (before, after))
        )
        return (drop <= gate.max_drop, *least)

    # Digits beyond these are noise of sums; without them 0.8 - 0.7 is the 0.1 that a limit of 0.1 allows.
    before, after = (compare.significant(x, DOUBLE_DIGITS) for x in (before, after))
    for digits in range(compare.SCORE_DIGITS, DOUBLE_DIGITS):
        f, r = compare.significant(before, digits), compare.significant(after, digits)
        # `verify` holds a score that it measures again against f.
        if kept(f, r) == kept(f, after) == kept(before, after):
            return f, r
    return before, after


def minus(a: float, b: float) -> float:
    """Return a - b of the shortest decimals that stand for them: 0.8 - 0.7 is 0.1, which a limit of 0.1 allows."""
    return float(Decimal(repr(a)) - Decimal(repr(b)))
