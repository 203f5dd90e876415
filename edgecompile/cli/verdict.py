"""What a report says, as lines for people: verdict first, then how each number was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.units import show_bytes, show_percent, show_points, show_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from edgecompile.cli.render import Screen
    from edgecompile.report import Accuracy, Check, Finding, Report, Score

Cell = str | tuple[str, str]
_SEVERITY = {"error": "bad", "warning": "warn", "info": "dim"}


def show_result(
    screen: Screen, report: Report, *, path: Path, seconds: float | None = None, cached: bool = False, verbose: bool = False
) -> None:
    """Write the block of one target: headline, numbers, checks, findings, where the bundle lies."""
    _headline(screen, report)
    screen.line()
    screen.table(("", "float", "result", ""), _numbers(report), indent=2)
    screen.line()
    screen.table(("", "check", "found", "limit", "how", ""), [_check(c) for c in report.checks], indent=2)
    _findings(screen, report.findings, verbose=verbose)
    if verbose:
        _steps(screen, report)
    screen.line()
    screen.line("bundle  ", (str(path), "key"), indent=2)
    if (path / "report.html").is_file():
        screen.line("report  ", (str(path / "report.html"), "key"), indent=2)
    if seconds is not None:
        screen.line("time    ", f"{show_seconds(seconds)}{' (from the cache)' if cached else ''}", indent=2)


def show_summary(screen: Screen, rows: Sequence[tuple[Report, Path]]) -> None:
    """Write one line for each target of a build with several."""
    screen.table(
        ("target", "verdict", "metric", "drop", "size", "bundle"),
        [
            (
                report.target.name,
                _verdict(report),
                "not measured" if (a := report.accuracy) is None else f"{a.metric} {_score(a, a.result_score.value)}",
                "" if a is None else _drop(a),
                show_bytes(report.sizes.result_bytes),
                str(path),
            )
            for report, path in rows
        ],
        right=(3, 4),
    )


def _headline(screen: Screen, report: Report) -> None:
    first, *rest = report.headline or (f"{report.model.name} on {report.target.name}",)
    screen.line(_verdict(report), f"  {first}")
    for line in rest:
        screen.line(line, indent=6)


def _verdict(report: Report) -> tuple[str, str]:
    return ("PASS", "good") if report.verdict == "pass" else ("FAIL", "bad")


def _numbers(report: Report) -> list[tuple[Cell, ...]]:
    """Return rows of what is compared before and after: title, float, result, what to know about it."""
    rows: list[tuple[Cell, ...]] = []
    if (accuracy := report.accuracy) is not None:
        rows.append(
            (
                accuracy.metric,
                _with_interval(accuracy, accuracy.float_score),
                _with_interval(accuracy, accuracy.result_score),
                f"drop {_drop(accuracy)} on {accuracy.result_score.n:,} rows",
            )
        )
        if (flips := accuracy.flips) is not None:
            rows.append(
                ("decisions", "", f"{flips.lost} lost, {flips.gained} gained", f"McNemar p = {flips.p:.2g}, exact")
            )
        if accuracy.agreement is not None:
            rows.append(("agreement", "", show_percent(accuracy.agreement), "same decision as float"))
    sizes = report.sizes
    rows.append(
        (
            "size",
            show_bytes(sizes.float_bytes),
            show_bytes(sizes.result_bytes),
            f"{sizes.float_bytes / sizes.result_bytes:.2g}× smaller" if sizes.result_bytes else "",
        )
    )
    rows.append(("download", "", show_bytes(sizes.result_gzip_bytes), "gzip"))
    return rows


def _with_interval(accuracy: Accuracy, score: Score) -> str:
    low, high = _score(accuracy, score.interval.low), _score(accuracy, score.interval.high)
    return f"{_score(accuracy, score.value)} [{low}, {high}]"


def _is_share(accuracy: Accuracy) -> bool:
    """Return whether the metric is a share of rows, which people read in percent."""
    return accuracy.result_score.interval.method == "Wilson score"


def _score(accuracy: Accuracy, value: float) -> str:
    return show_percent(value) if _is_share(accuracy) else f"{value:.4g}"


def _drop(accuracy: Accuracy) -> str:
    if _is_share(accuracy):
        return show_points(accuracy.drop).removeprefix("+")
    return f"{accuracy.drop:.3g}"


def _check(check: Check) -> tuple[Cell, ...]:
    mark: Cell = ("✓", "good") if check.ok else ("✗", "bad")
    sign = "≤" if check.relation == "at most" else "≥"
    return (
        mark,
        check.title,
        (amount(check.actual, check.unit), "" if check.ok else "bad"),
        f"{sign} {amount(check.limit, check.unit)}",
        (check.how, "dim"),
        (check.detail, "dim"),
    )


def amount(value: float, unit: str) -> str:
    """Return a value of a check with its unit: fractions as they are, bytes with KiB, whole numbers without a point."""
    if unit == "bytes":
        return show_bytes(int(value))
    if unit == "fraction":
        return f"{value:.4f}".rstrip("0").rstrip(".")
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
    return number if unit in ("count", "") else f"{number} {unit}"


def _findings(screen: Screen, findings: Sequence[Finding], *, verbose: bool) -> None:
    shown = [f for f in findings if verbose or f.severity != "info"]
    if shown:
        screen.line()
    for finding in shown:
        where = f" ({finding.where})" if finding.where else ""
        screen.line(
            (finding.severity, _SEVERITY[finding.severity]), f"  {finding.what}{where}  ", (f"[{finding.rule}]", "dim"), indent=2
        )
        for text in (finding.consequence, f"→ {finding.remedy}" if finding.remedy else ""):
            if text:
                screen.line(text, indent=6)
    if hidden := len(findings) - len(shown):
        screen.line((f"{hidden} more for information; -v shows them", "dim"), indent=2)


def _steps(screen: Screen, report: Report) -> None:
    screen.line()
    for step in report.steps:
        screen.line((step.name, "head"), f"  {show_bytes(step.bytes)}", indent=2)
        for title, values in (("fields", step.fields), ("facts", step.facts)):
            if values:
                screen.line(f"{title}: " + ", ".join(f"{k} {v}" for k, v in values.items()), indent=6)
