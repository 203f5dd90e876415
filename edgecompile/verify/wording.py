"""Wording: results as sentences, the same in the terminal, in `report.html` and in the bundle's README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgecompile import compare
from edgecompile.backends.base import Compiled
from edgecompile.report import Accuracy, Check, Finding, Interval, Sizes
from edgecompile.units import show_apart, show_bytes, show_value
from edgecompile.verify.scores import FEWEST_UNITS

NO_DATA = "accuracy was not measured: no validation data was given (--data)"


def show_check(check: Check) -> str:
    """Return found and limit of a check, told apart by enough digits: `2.40 points, must be at most 1.00 points`."""
    actual, limit = show_apart(check.actual, check.limit, check.unit)
    relation = "" if check.unit == "count" and check.limit == 0 else f"{check.relation} "
    return f"{actual}, must be {relation}{limit}"


def show_score(accuracy: Accuracy, value: float) -> str:
    """Return a value of the metric: a share of rows in percent, anything else as a number."""
    return show_value(value, accuracy.unit)


def show_drop(accuracy: Accuracy) -> str:
    """Return the drop in words: `drop 0.03 points`, `gain 0.0021`, `no change`."""
    if accuracy.drop == 0:
        return "no change"
    word = "drop" if accuracy.drop > 0 else "gain"
    return f"{word} {show_apart(abs(accuracy.drop), 0.0, drop_unit(accuracy))[0]}"


def drop_unit(accuracy: Accuracy) -> str:
    """Return the unit of differences of the metric: `points` for shares of rows, else the metric's own."""
    return "points" if accuracy.unit == "fraction" else "metric"


def show_interval(interval: Interval, unit: str) -> str:
    """Return an interval in a unit: `-0.42 to 0.48 points`, `85.61% to 88.04%`."""
    low, high = interval.low, interval.high
    if unit in ("points", "fraction") or low == high:
        return f"{show_value(low, unit).removesuffix(' points')} to {show_value(high, unit)}"
    # As many decimals as tell half the width to two figures; where these are many, the exponent reads better.
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 2)))
    form = f".{decimals}f" if decimals <= 6 else ".3g"
    return f"{low:{form}} to {high:{form}}"


def show_change(accuracy: Accuracy) -> str:
    """Return the drop and whether it is more than noise: `drop 0.03 points, within noise: McNemar p 0.86`."""
    flips = accuracy.flips if accuracy.drop_interval.method == compare.PAIRED else None
    if accuracy.drop == 0:
        moved = flips is not None and flips.lost > 0
        return f"no change: {flips.lost:,} rows lost, {flips.gained:,} gained" if moved and flips else "no change"
    noise = "within noise" if accuracy.within_noise else "beyond noise"
    if flips is not None:
        return f"{show_drop(accuracy)}, {noise}: McNemar p {flips.p:.2g}"
    low, high = accuracy.drop_interval.low, accuracy.drop_interval.high
    interval = accuracy.drop_interval if accuracy.drop > 0 else Interval(low=-high, high=-low, method="")
    return f"{show_drop(accuracy)}, {noise}: 95% interval {show_interval(interval, drop_unit(accuracy))}"


def show_accuracy(accuracy: Accuracy) -> str:
    """Return both scores, their difference and what it is worth, in a phrase."""
    before, after = show_apart(accuracy.float_score.value, accuracy.result_score.value, accuracy.unit)
    interval = show_interval(accuracy.result_score.interval, accuracy.unit)
    return (
        f"{accuracy.metric} {before} → {after} ({show_change(accuracy)}; result 95% interval {interval}) "
        f"on {show_rows(accuracy)}"
    )


def show_rows(accuracy: Accuracy) -> str:
    """Return on what the scores were measured: `3,000 rows`."""
    n = accuracy.result_score.n
    return f"{n:,} {accuracy.counted if n != 1 else accuracy.counted.removesuffix('s')}"


def headline(
    *,
    checks: Sequence[Check],
    accuracy: Accuracy | None,
    sizes: Sizes,
    compiled: Compiled | None = None,
    findings: Sequence[Finding] = (),
) -> tuple[str, ...]:
    """Return the first lines of a report, each complete in itself.

    In this order: accuracy was not measured; every missed check with number, limit and what to do next; the target's
    compiler was not run (where nothing was measured, in that line); suspicious scores; a gate that is kept on too few
    rows to be sure; the result in a sentence that begins with the verdict.

    Args:
        checks: all checks.
        accuracy: None where no validation data was given.
        sizes: bytes before and after.
        compiled: what the backend made; None where nothing was to be made.
        findings: those about scores (rule `score-…`) are told; broken rules of the target are checks already.
    """
    not_compiled = compiled.status if compiled is not None and not compiled.complete else ""
    lines = [f"{NO_DATA}; {not_compiled}" if not_compiled else NO_DATA] if accuracy is None else []
    lines += [_missed(check) for check in checks if not check.ok]
    if not_compiled and accuracy is not None:
        lines.append(not_compiled)
    lines += [_told(f) for f in findings if f.rule.startswith("score-")]
    drop = next((check for check in checks if check.name == "accuracy-drop"), None)
    if drop is not None and accuracy is not None and drop.ok and not settled(accuracy, drop.limit):
        lines.append(f"{accuracy.metric} is kept, but not beyond doubt: {_unsettled(accuracy)}")
    lines.append(_result(checks, accuracy, sizes))
    return tuple(lines)


def settled(accuracy: Accuracy, limit: float) -> bool:
    """Return whether the drop's whole interval lies on one side of limit; never on fewer than FEWEST_UNITS units."""
    interval = accuracy.drop_interval
    return (
        accuracy.independent or accuracy.result_score.n
    ) >= FEWEST_UNITS and not interval.low <= limit < interval.high


def _unsettled(accuracy: Accuracy) -> str:
    interval = show_interval(accuracy.drop_interval, drop_unit(accuracy))
    return f"95% interval of the drop {interval} on {show_rows(accuracy)}; more rows would settle it"


def _missed(check: Check) -> str:
    which = f" ({check.detail})" if check.unit == "count" and check.detail else ""
    remedy = f" → {check.remedy}" if check.remedy else ""
    return f"missed {check.name}: {check.title}, {show_check(check)}{which}{remedy}"


def _told(finding: Finding) -> str:
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    return f"{finding.severity}: {finding.what}{remedy}"


def _result(checks: Sequence[Check], accuracy: Accuracy | None, sizes: Sizes) -> str:
    missed = sum(not check.ok for check in checks)
    word = f"fail ({missed} of {len(checks)} checks missed)" if missed else "pass"
    measured = "accuracy not measured" if accuracy is None else show_accuracy(accuracy)
    size = show_bytes(sizes.result_bytes)
    if sizes.float_bytes and sizes.float_bytes != sizes.result_bytes:
        size += f", {100 * sizes.result_bytes / sizes.float_bytes:.0f}% of float"
    return f"{word}: {measured}; {size}"
