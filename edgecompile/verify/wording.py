"""Wording: results as sentences, the same in the terminal, in `report.html` and in the bundle's README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgecompile import compare
from edgecompile.backends.base import Compiled
from edgecompile.report import Accuracy, Check, Finding, Interval, Sizes, Verdict
from edgecompile.units import show_apart, show_bytes, show_value
from edgecompile.verify.scores import FEWEST_UNITS

_MOST_ROWS = 1_000_000
"""Rows that nobody collects to settle a gate."""
NO_DATA = "accuracy was not measured: no validation data was given (--data)"


VERDICTS: Mapping[Verdict, str] = {"pass": "Pass", "fail": "Fail", "not-proven": "Not proven"}
"""Verdict → how people read it."""


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return `pass` when every promise is kept, `not-proven` when only those are missed that the others stand on."""
    missed = {check.missed for check in checks if not check.ok}
    return "fail" if "fail" in missed else "not-proven" if missed else "pass"


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
        return f"{show_drop(accuracy)}, {noise}: McNemar {show_p(flips.p)}"
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


def show_p(p: float) -> str:
    """Return a p value as far as it says anything: `p 0.27`, `p < 0.001`."""
    return "p < 0.001" if p < 0.0005 else f"p {p:.2g}"


def show_ties(rows: int) -> str:
    """Return on how many rows the result's classes tie: `1 row is a tie, …`."""
    return f"{rows:,} {'row is a tie' if rows == 1 else 'rows are ties'}, where the first class counts"


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

    In this order: what leaves the result without proof; accuracy was not measured; every missed check with number,
    limit and what to do next; the target's compiler was not run (where nothing was measured, in that line); suspicious
    scores; a gate that is kept on too few rows to be sure; the result in a sentence that begins with the verdict.

    Args:
        checks: all checks.
        accuracy: None where no validation data was given.
        sizes: bytes before and after.
        compiled: what the backend made; None where nothing was to be made.
        findings: those about scores (rule `score-…`) are told; broken rules of the target are checks already.
    """
    not_compiled = compiled.status if compiled is not None and not compiled.complete else ""
    missed = [check for check in checks if not check.ok]
    lines = [show_missed(check) for check in missed if check.missed == "not-proven"]
    if accuracy is None:
        lines.append(f"{NO_DATA}; {not_compiled}" if not_compiled else NO_DATA)
    lines += [show_missed(check) for check in missed if check.missed == "fail"]
    if not_compiled and accuracy is not None:
        lines.append(not_compiled)
    if all(check.missed == "fail" for check in missed):  # else the first line says it
        lines += [_told(f) for f in findings if f.rule.startswith("score-")]
    drop = next((check for check in checks if check.name == "accuracy-drop"), None)
    if drop is not None and accuracy is not None and drop.ok and not settled(accuracy, drop.limit):
        lines.append(f"{accuracy.metric} is kept, but not beyond doubt: {_unsettled(accuracy, drop.limit)}")
    lines.append(_result(checks, accuracy, sizes))
    return tuple(lines)


def settled(accuracy: Accuracy, limit: float) -> bool:
    """Return whether the drop's whole interval lies on one side of limit; never on fewer than FEWEST_UNITS units."""
    interval = accuracy.drop_interval
    return (
        accuracy.independent or accuracy.result_score.n
    ) >= FEWEST_UNITS and not interval.low <= limit < interval.high


def _unsettled(accuracy: Accuracy, limit: float) -> str:
    interval = show_interval(accuracy.drop_interval, drop_unit(accuracy))
    return f"95% interval of the drop {interval} on {show_rows(accuracy)}; {show_needed(accuracy, limit)}"


def needed_rows(accuracy: Accuracy, limit: float) -> int | None:
    """Return about how many rows would tell on which side of limit the drop lies, in two digits; None: no number."""
    n = accuracy.result_score.n
    needed = compare.units_to_settle(accuracy.drop, accuracy.drop_interval, limit, n)
    if needed is None or needed > _MOST_ROWS or (accuracy.independent or n) < FEWEST_UNITS:
        return None
    step: int = 10 ** max(0, len(str(needed)) - 2)
    return -(-needed // step) * step


def show_needed(accuracy: Accuracy, limit: float) -> str:
    """Return what would tell on which side of limit the drop lies: `about 1,900 rows (estimated) would settle it`."""
    needed = needed_rows(accuracy, limit)
    if needed is None:
        return "more rows would settle it"
    return f"about {needed:,} {accuracy.counted} (estimated) would settle it"


def show_missed(check: Check) -> str:
    """Return a missed check as a line of a headline, with what to do."""
    if check.missed == "not-proven":
        return f"not proven: {check.detail}{_arrow(check.remedy)}"
    which = f" ({check.detail})" if check.unit == "count" and check.detail else ""
    return f"missed {check.name}: {check.title}, {show_check(check)}{which}{_arrow(check.remedy)}"


def _told(finding: Finding) -> str:
    return f"{finding.severity}: {finding.what}{_arrow(finding.remedy)}"


def _arrow(remedy: str) -> str:
    return f" → {remedy}" if remedy else ""


def _result(checks: Sequence[Check], accuracy: Accuracy | None, sizes: Sizes) -> str:
    missed = sum(not check.ok for check in checks)
    word = VERDICTS[verdict(checks)].lower()
    if missed:
        word += f" ({missed} of {len(checks)} checks missed)"
    measured = "accuracy not measured" if accuracy is None else show_accuracy(accuracy)
    size = show_bytes(sizes.result_bytes)
    if sizes.float_bytes and sizes.float_bytes != sizes.result_bytes:
        size += f", {100 * sizes.result_bytes / sizes.float_bytes:.0f}% of float"
    return f"{word}: {measured}; {size}"
