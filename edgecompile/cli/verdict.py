"""What a report says, as lines for people: what was missed first, then how each number was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.cli.render import Cell, Screen
from edgecompile.payoff import Payoff
from edgecompile.report import Accuracy, Check, Finding, Report, Score
from edgecompile.units import show_apart, show_bytes, show_percent, show_seconds
from edgecompile.verify import VERDICTS, show_drop, show_score
from edgecompile.verify.wording import show_p

if TYPE_CHECKING:
    from edgecompile.pipeline import BuildResult

_SEVERITY = {"error": "bad", "warning": "warn", "info": "dim"}
_STARTS = {"missed ": "bad", "fail": "bad", "error: ": "bad", "not proven": "bad", "pass": "good"}
"""How a line of the headline begins → how it looks; any other line is a caution."""
_SIGNS = {"at most": "≤", "at least": "≥", "above": ">"}


def show_results(screen: Screen, results: Sequence[BuildResult], *, log: Path, verbose: bool) -> None:
    """Write what a build gave, target by target."""
    for result in results:
        show_report(screen, result.report, verbose=verbose)
        cached = ", all steps from the cache" if result.cached else ""
        screen.line()
        screen.line("bundle  ", (str(result.path), "key"), indent=2)
        screen.line("report  ", (str(result.path / "report.html"), "key"), indent=2)
        screen.line(f"time    {show_seconds(result.seconds)}{cached}", indent=2)
        if verbose:
            screen.line("log     ", (str(log), "key"), indent=2)
        screen.line()
    if len(results) > 1:
        show_summary(screen, [r.report for r in results])


def result_json(result: BuildResult) -> dict[str, Any]:
    """Return what a build gave for one target, for `--json`."""
    return {
        "target": result.target,
        "path": str(result.path),
        "verdict": result.report.verdict,
        "seconds": round(result.seconds, 3),
        "cached": result.cached,
        "report": result.report.model_dump(mode="json"),
    }


def show_report(screen: Screen, report: Report, *, verbose: bool) -> None:
    """Write the block of one target: headline, numbers, checks, findings."""
    _headline(screen, report)
    screen.line()
    before = "float" if report.accuracy is None else report.accuracy.reference.removesuffix(" model")
    screen.table(("", before, "result", ("[95% interval]", "dim")), _numbers(report), indent=2)
    screen.line()
    said = "\n".join(report.headline)
    show_checks(screen, report.checks, verbose=verbose, said=said)
    if report.payoff is not None:
        _payoff(screen, report.payoff)
    for sentence in report.unchecked:
        screen.line(("•", "warn"), f"  {sentence}", indent=2)
    show_findings(screen, report.findings, verbose=verbose, said=said)
    if verbose:
        _steps(screen, report)


def show_summary(screen: Screen, reports: Sequence[Report]) -> None:
    """Write one row for each target of a build with several."""
    screen.table(
        ("target", "verdict", "metric", "drop", "size"),
        [
            (
                (report.target.name, "head"),
                (VERDICTS[report.verdict].lower(), "good" if report.verdict == "pass" else "bad"),
                "not measured"
                if (a := report.accuracy) is None
                else f"{a.metric} {show_score(a, a.result_score.value)}",
                "" if a is None else show_drop(a),
                show_bytes(report.sizes.result_bytes),
            )
            for report in reports
        ],
        right=(4,),
    )


def _headline(screen: Screen, report: Report) -> None:
    for number, line in enumerate(report.headline):
        style = next((style for begin, style in _STARTS.items() if line.startswith(begin)), "warn")
        start = f"{report.target.name}: " if number == 0 else " " * (len(report.target.name) + 2)
        screen.hanging((start, "head"), (line, style))


def _numbers(report: Report) -> list[tuple[Cell, ...]]:
    """Return rows of what is compared before and after: title, float, result, what to know about it."""
    rows: list[tuple[Cell, ...]] = []
    if (accuracy := report.accuracy) is not None:
        rows.append(_scores(accuracy))
        if (flips := accuracy.flips) is not None:
            rows.append(
                ("decisions", "", f"{flips.lost} lost, {flips.gained} gained", f"exact McNemar {show_p(flips.p)}")
            )
        if accuracy.agreement is not None:
            rows.append(("agreement", "", show_percent(accuracy.agreement), "same decision"))
    sizes = report.sizes
    smaller = f"{100 * sizes.result_bytes / sizes.float_bytes:.0f}% of float" if sizes.float_bytes else ""
    rows.append(("size", show_bytes(sizes.float_bytes), show_bytes(sizes.result_bytes), smaller))
    rows.append(("download", "", show_bytes(sizes.result_gzip_bytes), "gzip"))
    return rows


def _scores(accuracy: Accuracy) -> tuple[Cell, ...]:
    n = accuracy.result_score.n
    return (
        accuracy.metric,
        _with_interval(accuracy, accuracy.float_score),
        _with_interval(accuracy, accuracy.result_score),
        f"{show_drop(accuracy)} on {n:,} {accuracy.counted}",
    )


def _with_interval(accuracy: Accuracy, score: Score) -> str:
    low, high = show_score(accuracy, score.interval.low), show_score(accuracy, score.interval.high)
    return f"{show_score(accuracy, score.value)} [{low}, {high}]"


def show_checks(screen: Screen, checks: Sequence[Check], *, verbose: bool, said: str = "") -> None:
    """Write every check; on what it was measured where somebody wants to know, what to do where it is missed.

    What said holds, the lines above, is not said again.
    """
    screen.table(("", "check", "found", "limit", "how"), [_check(c) for c in checks], indent=2)
    for check in checks:
        texts = (check.detail if verbose or not check.ok else "", f"→ {check.remedy}" if check.remedy else "")
        for text in (t for t in texts if t and t.removeprefix("→ ") not in said):
            screen.line((f"{check.name}: ", "dim"), text, indent=2)


def _check(check: Check) -> tuple[Cell, ...]:
    actual, limit = show_apart(check.actual, check.limit, check.unit)
    return (
        ("✓", "good") if check.ok else ("✗", "bad"),
        check.title,
        (actual, "" if check.ok else "bad"),
        f"{_SIGNS[check.relation]} {limit}",
        (check.how, "dim"),
    )


def _payoff(screen: Screen, payoff: Payoff) -> None:
    """Write what passes that train made of the model, and what the target can use of it."""
    rows = [
        (
            stage.name,
            f"{stage.parameters:,}",
            f"{stage.macs:,}",
            show_percent(stage.zeros, digits=1),
            f"{max((kernel.distinct for kernel in stage.kernels), default=0):,}",
            f"{stage.bytes:,} B",
            f"{stage.gzip_bytes:,} B",
        )
        for stage in payoff.stages
    ]
    screen.line()
    names = ("after", "parameters", "MACs", "zeros", "distinct", "file", "gzip")
    screen.table(names, rows, indent=2, right=(1, 2, 3, 4, 5, 6))
    screen.line(payoff.runtime, indent=2)
    screen.line()


def show_findings(screen: Screen, findings: Sequence[Finding], *, verbose: bool, said: str = "") -> None:
    """Write findings, notes only where somebody wants to know; of one that said holds already, only where it is."""
    shown = [f for f in findings if verbose or f.severity != "info"]
    if findings:
        screen.line()
    for finding in shown:
        where = f" ({finding.where})" if finding.where else ""
        what = "as said above" if finding.what in said else finding.what
        screen.line(
            (finding.severity, _SEVERITY[finding.severity]),
            f"  {what}{where}  ",
            (f"[{finding.rule}]", "dim"),
            indent=2,
        )
        for text in (finding.consequence, f"→ {finding.remedy}" if finding.remedy else ""):
            if text and text.removeprefix("→ ") not in said:
                screen.line(text, indent=6)
    if hidden := len(findings) - len(shown):
        screen.line((f"{hidden} more for information: -v shows them, report.html has all", "dim"), indent=2)


def _steps(screen: Screen, report: Report) -> None:
    screen.line()
    for step in report.steps:
        screen.line((step.name, "head"), f"  {show_bytes(step.bytes)}", indent=2)
        for title, values in (("fields", step.fields), ("facts", step.facts)):
            if values:
                screen.line(f"{title}: " + ", ".join(f"{k} {v}" for k, v in values.items()), indent=6)
