"""Wording: results as sentences, the same in the terminal, in `report.html` and in the bundle's README."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.backends.base import Compiled
from edgecompile.report import Accuracy, Check, Finding, Interval, Sizes
from edgecompile.units import show_apart, show_bytes, show_value

NO_DATA = "accuracy was not measured: no validation data was given (--data)"


def show_check(check: Check) -> str:
    """Return found and limit of a check: `2.40 points, at most 1.00 points`; digits enough to see which is larger."""
    actual, limit = show_apart(check.actual, check.limit, check.unit)
    return f"{actual}, {check.relation} {limit}"


def show_score(accuracy: Accuracy, value: float) -> str:
    """Return a value of the metric: a share of rows in percent, anything else as a number."""
    return show_value(value, accuracy.unit)


def show_drop(accuracy: Accuracy) -> str:
    """Return the drop in words: `drop 0.03 points`, `gain 0.0021`, `no change`."""
    if accuracy.drop == 0:
        return "no change"
    word = "drop" if accuracy.drop > 0 else "gain"
    return f"{word} {show_value(abs(accuracy.drop), drop_unit(accuracy))}"


def drop_unit(accuracy: Accuracy) -> str:
    """Return the unit of differences of the metric: `points` for shares of rows, else the metric's own."""
    return "points" if accuracy.unit == "fraction" else "metric"


def show_interval(interval: Interval, unit: str) -> str:
    """Return an interval in a unit: `-0.42 to 0.48 points`, `85.61% to 88.04%`."""
    low, high = show_value(interval.low, unit), show_value(interval.high, unit)
    return f"{low.removesuffix(' points')} to {high}"


def show_noise(accuracy: Accuracy) -> str:
    """Return what chance has to do with the drop, in words; empty where nothing changed at all."""
    flips = accuracy.flips if accuracy.unit == "fraction" else None
    if flips is not None:
        if flips.lost == flips.gained == 0:
            return ""
        ground = f"McNemar p {flips.p:.2g}"
    elif accuracy.drop == accuracy.drop_interval.low == accuracy.drop_interval.high == 0:
        return ""
    else:
        ground = f"95% of it {show_interval(accuracy.drop_interval, drop_unit(accuracy))}"
    return f"{'no more than chance' if accuracy.within_noise else 'more than chance'}: {ground}"


def show_accuracy(accuracy: Accuracy) -> str:
    """Return both scores, their difference and what it is worth, in a phrase."""
    before, after = show_apart(accuracy.float_score.value, accuracy.result_score.value, accuracy.unit)
    worth = ", ".join(part for part in (show_drop(accuracy), show_noise(accuracy)) if part)
    interval = show_interval(accuracy.result_score.interval, accuracy.unit)
    return f"{accuracy.metric} {before} → {after} ({worth}; result 95% {interval}) {show_rows(accuracy)}"


def show_rows(accuracy: Accuracy) -> str:
    """Return on what the scores were measured: `on 3,000 rows`."""
    n = accuracy.result_score.n
    return f"on {n:,} {accuracy.counted if n != 1 else accuracy.counted.removesuffix('s')}"


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
    compiler was not run; suspicious scores; the result in a sentence that begins with the verdict.

    Args:
        checks: all checks.
        accuracy: None where no validation data was given.
        sizes: bytes before and after.
        compiled: what the backend made; None where nothing was to be made.
        findings: those about scores (rule `score-…`) and those of severity error are told.
    """
    lines = [NO_DATA] if accuracy is None else []
    lines += [_missed(check) for check in checks if not check.ok]
    if compiled is not None and not compiled.complete:
        lines.append(compiled.status)
    lines += [_told(f) for f in findings if f.severity == "error" or f.rule.startswith("score-")]
    lines.append(_result(checks, accuracy, sizes))
    return tuple(lines)


def _missed(check: Check) -> str:
    remedy = f"; {check.remedy}" if check.remedy else ""
    return f"missed {check.name}: {check.title} {show_check(check)}{remedy}"


def _told(finding: Finding) -> str:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.severity}: {finding.what}{remedy}"


def _result(checks: Sequence[Check], accuracy: Accuracy | None, sizes: Sizes) -> str:
    missed = sum(not check.ok for check in checks)
    word = f"fail, {missed} of {len(checks)} checks missed" if missed else "pass"
    measured = "accuracy not measured" if accuracy is None else show_accuracy(accuracy)
    size = show_bytes(sizes.result_bytes)
    if sizes.float_bytes and sizes.float_bytes != sizes.result_bytes:
        size += f", {100 * sizes.result_bytes / sizes.float_bytes:.0f}% of float"
    return f"{word}: {measured}; {size}"
