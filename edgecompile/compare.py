"""Statistics on paired results: the float model and what was made of it, on the same rows.

Plain numpy on arrays. Each function names where its formula comes from. Intervals are 95%.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.report import Flips, Interval, OutputError, PerClass

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

Z95 = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution."""
FEWEST = 200
"""Resamples that an interval takes at least; 5 of them lie beyond each end."""
PAIRED = "adjusted Wald for pairs"
"""Method of `paired_interval`."""
SCORE_DIGITS = 6
"""Significant digits of scores that are not counts, of their intervals and of p: means over rows of float32 outputs."""
BLOCK_ELEMENTS = 1 << 20
"""Elements turned into float64 at a time (8 MB): outputs may be whole images."""


def wilson(right: int, n: int) -> Interval:
    """Return the Wilson score interval of the proportion right / n; of n = 0, which says nothing, [0, 1].

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if n == 0:
        return Interval(low=0.0, high=1.0, method="Wilson score")
    p = right / n
    spread = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    low = (p + Z95**2 / (2 * n) - spread) / (1 + Z95**2 / n)
    high = (p + Z95**2 / (2 * n) + spread) / (1 + Z95**2 / n)
    # In real numbers 0 <= low <= p <= high <= 1, with equality at p = 0 and p = 1; rounding must not break that.
    return Interval(low=max(0.0, min(low, p)), high=min(1.0, max(high, p)), method="Wilson score")


def paired_interval(lost: int, gained: int, n: int) -> Interval:
    """Return the interval of the drop (lost - gained) / n between two proportions on the same n rows, n > 0.

    Source: D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data", J. Educ. Behav. Stat. 37 (2012): one pseudo-row is added to each kind of flip.
    """
    down, up = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    spread = Z95 * math.sqrt((down + up - (down - up) ** 2) / (n + 2))
    return Interval(low=max(-1.0, down - up - spread), high=min(1.0, down - up + spread), method=PAIRED)


def units_to_settle(estimate: float, interval: Interval, limit: float, n: int) -> int | None:
    """Return about how many units would put interval on one side of limit, if the estimate stayed; None: no number.

    Widths of intervals shrink with the square root of the number of units: n (d / g)² units bring the distance d
    between the estimate and the end that lies beyond limit down to g, the estimate's distance from limit.

    Args:
        estimate: what was found on n units.
        interval: of estimate; it holds limit.
        limit: what the estimate is held against.
        n: units that interval stands on, more than 0.
    """
    gap = abs(estimate - limit)
    reach = estimate - interval.low if estimate > limit else interval.high - estimate
    return math.ceil(n * (reach / gap) ** 2) if gap and reach < 1e6 * gap else None


def mcnemar_exact(lost: int, gained: int) -> float:
    """Return the two-sided p of lost against gained flips when both are equally likely: binomial(lost + gained, 1/2).

    Summed from the largest term down by the ratio of neighbouring terms, in floating point with the first term in
    logarithms, so that large counts neither overflow nor take long. No flips: 1.

    Source: Q. McNemar, Psychometrika 12 (1947); the exact binomial form.
    """
    n, k = lost + gained, min(lost, gained)
    if lost == gained:
        return 1.0
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    tail = 0.0
    while term > tail * 1e-17:
        tail += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2 * tail)


def flips(float_right: Bools, result_right: Bools) -> Flips:
    """Return the paired decisions on the same rows; both [n] bool."""
    lost = int((float_right & ~result_right).sum())
    gained = int((~float_right & result_right).sum())
    both_right = int((float_right & result_right).sum())
    return Flips(
        both_right=both_right,
        both_wrong=len(float_right) - both_right - lost - gained,
        lost=lost,
        gained=gained,
        p=significant(mcnemar_exact(lost, gained), SCORE_DIGITS),
    )


def agreement(float_decisions: Array, result_decisions: Array, *, finite: Bools) -> float:
    """Return the share of rows with the same decision, in [0, 1], n > 0.

    Args:
        float_decisions: [n, ...] what the float model decides; all of a row must agree.
        result_decisions: likewise the result.
        finite: [n] rows on which the result gave numbers; the others agree with nothing.
    """
    same = (float_decisions == result_decisions).reshape(len(finite), -1).all(axis=1)
    return float((same & finite).mean())


def ties(output: Array) -> int:
    """Return on how many rows several classes share the largest score; output [n, ...], one score per class."""
    if not output.size:
        return 0
    scores = output.reshape(len(output), -1)
    return int(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def per_class(float_right: Bools, result_right: Bools, labels: Array, names: Sequence[str]) -> tuple[PerClass, ...]:
    """Return recall of each class that has rows, in label order.

    Args:
        float_right: [n] whether the float model decided the row right.
        result_right: [n] whether the result did.
        labels: [n] class numbers >= 0.
        names: names of classes in label order; a class without one is named by its number.
    """
    classes, which = np.unique(labels, return_inverse=True)
    n = np.bincount(which, minlength=len(classes))
    before = np.bincount(which, weights=float_right, minlength=len(classes))
    after = np.bincount(which, weights=result_right, minlength=len(classes))
    return tuple(
        PerClass(
            label=class_name(int(c), names),
            n=int(n[i]),
            float_recall=float(before[i] / n[i]),
            result_recall=float(after[i] / n[i]),
        )
        for i, c in enumerate(classes)
    )


def class_name(label: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number where it has none."""
    return names[label] if 0 <= label < len(names) else str(label)


@dataclass(frozen=True)
class RowSums:
    """Sums over each row of two arrays f and r, float64 [n] each.

    Attributes:
        dot, f2, r2, d2: sums of f * r, f^2, r^2 and (f - r)^2.
        max_abs: largest |f - r|.
    """

    dot: Floats
    f2: Floats
    r2: Floats
    d2: Floats
    max_abs: Floats


def row_sums(f: Array, r: Array) -> RowSums:
    """Return the sums of two arrays of the same shape [n, ...], finite, any numeric dtype."""
    n = len(f)
    width = f.size // n if n else 0
    step = max(1, BLOCK_ELEMENTS // max(1, width))
    sums = np.zeros((5, n))
    for start in range(0, n if width else 0, step):
        rows = slice(start, start + step)
        a = f[rows].reshape(-1, width).astype(np.float64)
        b = r[rows].reshape(-1, width).astype(np.float64)
        d = a - b
        sums[0, rows] = np.einsum("ij,ij->i", a, b)
        sums[1, rows] = np.einsum("ij,ij->i", a, a)
        sums[2, rows] = np.einsum("ij,ij->i", b, b)
        sums[3, rows] = np.einsum("ij,ij->i", d, d)
        sums[4, rows] = np.abs(d).max(axis=1)
    return RowSums(*sums)


def cosine(sums: RowSums) -> float:
    """Return the mean of cos(f, r) over rows, in [-1, 1]; two rows of zeros count as 1, one alone as 0; no rows: 1."""
    norm = np.sqrt(sums.f2) * np.sqrt(sums.r2)
    both_zero = (sums.f2 == 0) & (sums.r2 == 0)
    each = np.divide(sums.dot, norm, out=both_zero.astype(np.float64), where=norm > 0)
    return float(np.clip(each, -1.0, 1.0).mean()) if len(each) else 1.0


def sqnr_db(sums: RowSums) -> float | None:
    """Return signal to quantization noise in dB, 10 log10(sum f^2 / sum (f - r)^2); None where either sum is 0."""
    signal, noise = float(sums.f2.sum()), float(sums.d2.sum())
    return 10 * (math.log10(signal) - math.log10(noise)) if signal > 0 and noise > 0 else None


def output_error(output: str, f: Array, r: Array) -> OutputError:
    """Return how far output r of the result is from output f of the float model; both [n, ...], finite.

    Rounded to what reports show: cosine to 5 decimals, SQNR to 0.1 dB, the largest difference to 3 digits.
    """
    sums = row_sums(f, r)
    noise = sqnr_db(sums)
    return OutputError(
        output=output,
        cosine=round(cosine(sums), 5),
        sqnr_db=None if noise is None else round(noise, 1),
        max_abs=significant(float(sums.max_abs.max(initial=0.0)), 3),
    )


def significant(value: float, digits: int) -> float:
    """Return value rounded to so many significant decimal digits.

    Last bits of float kernels differ from processor to processor; digits that they reach say nothing.
    """
    return float(f"{value:.{digits - 1}e}")


def most_wrong(loss: Floats, first: Bools, *, limit: int) -> Indices:
    """Return at most limit row numbers with loss > 0: rows marked `first` before all others, then by falling loss.

    Args:
        loss: [n] rise of the error.
        first: [n] rows that matter more than any loss: decided right before and wrong after.
        limit: how many rows.
    """
    order = np.lexsort((np.arange(len(loss)), -loss, ~first))
    return order[(loss[order] > 0) | first[order]][:limit].astype(np.intp)


def resamples_for(n: int) -> int:
    """Return how many resamples of n units to draw: 1,000, fewer where that exceeds 5 million draws, at least FEWEST.

    A thousand leave 25 values beyond each end of a 95% interval, which the percentile method wants (Efron and
    Tibshirani, chapter 13); 5 million draws take about 0.1 s.
    """
    return int(np.clip(5_000_000 // max(n, 1), FEWEST, 1000))


def bootstrap(
    score: Callable[[Indices], Sequence[float]],
    n: int,
    *,
    seed: int,
    resamples: int,
    clusters: Sequence[Indices] | None = None,
) -> Floats:
    """Return scores of resamples of n units, drawn with replacement: [resamples, scores].

    Args:
        score: takes the units that were drawn, repeats among them; returns one or several numbers, NaN where the
            resample cannot be scored.
        n: how many units there are; n > 0.
        seed: equal seeds give equal resamples, so that two models are compared on the same ones.
        resamples: how many, as `resamples_for` says.
        clusters: units that depend on each other and are drawn together; None: every unit for itself.

    Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13; for clusters:
    A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
    """
    rng = np.random.default_rng(seed)
    if clusters is None:
        draws = (rng.integers(0, n, size=n) for _ in range(resamples))
    else:
        m = len(clusters)
        draws = (np.concatenate([clusters[i] for i in rng.integers(0, m, size=m)]) for _ in range(resamples))
    return np.array([score(units) for units in draws], np.float64)


def percentile_interval(values: Floats, estimate: float, *, drawn: str = "rows") -> Interval:
    """Return the interval between the 2.5% and 97.5% quantiles of resampled values, widened to hold the estimate.

    Units that are all alike (a single row; every score perfect) give an interval without width: resampling sees no
    spread that is not in the units.

    Args:
        values: [resamples]; what is not finite (a resample of one class only has no AUC) does not count.
        estimate: the value on the rows themselves. On few rows a biased metric can lie outside its resamples.
        drawn: what was drawn, for the method's name.
    """
    method = f"bootstrap percentile, {len(values)} resamples of {drawn}"
    scored = values[np.isfinite(values)]
    if not len(scored):
        return Interval(low=estimate, high=estimate, method=method)
    low, high = (significant(float(end), SCORE_DIGITS) for end in np.quantile(scored, [0.025, 0.975]))
    return Interval(low=min(low, estimate), high=max(high, estimate), method=method)
