"""`edgecompile verify`: is a bundle what its manifest says, and does it still do what it did?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.options import AllowChance, FailOn, Json, Verbose
from edgecompile.cli.request import Values
from edgecompile.cli.streams import Job, Streams
from edgecompile.errors import ConfigError, Problem

if TYPE_CHECKING:
    from edgecompile.bundle.check import CheckedBundle
    from edgecompile.cli.render import Screen
    from edgecompile.remeasure import Again

EXAMPLES = """
edgecompile verify out/model-coral
edgecompile verify out/model-coral --data test.npz
edgecompile verify out/model-coral --data test.npz --min 0.85 --fail-on warning
edgecompile verify out/model-coral --json
"""

_REPLAY = "files and golden vectors"


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder that a build wrote.")],
    *,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Measure accuracy again on these samples.", show_default=False)
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            help="Largest loss against the float score in the report, on whatever rows; default as built.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    minimum: Annotated[
        str | None,
        typer.Option(
            "--min",
            help="Smallest value of the metric; largest for mae and mse; default as built.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    allow_chance: AllowChance = False,
    fail_on: FailOn = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> Job:
    """Check the hash of every file of BUNDLE, replay its golden vectors, and measure it again on --data.

    Exit code 0 when every check holds and the build passed, else 1.
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    values = Values()
    gate = {
        "max_drop": values.number("--max-drop", max_drop),
        "min": values.number("--min", minimum),
        "allow_chance": allow_chance or None,
        "fail_on": fail_on or None,
    }
    given = {key: value for key, value in gate.items() if value is not None}

    def job(streams: Streams) -> int:
        if given and data is None:
            flags = ", ".join(f"--{key.replace('_', '-')}" for key in given)
            values.problems.append(Problem("judge rows, and none are given", flags, "give rows: --data"))
        if values.problems:
            raise ConfigError.of(values.problems)
        return _verify(streams, Path(bundle), data, given, verbose=verbose)

    return job


def _verify(streams: Streams, path: Path, data: str | None, gate: Mapping[str, Any], *, verbose: bool) -> int:
    from edgecompile.bundle.check import check_bundle
    from edgecompile.cli.render import Screen
    from edgecompile.cli.steps import show_steps
    from edgecompile.logs import new_log
    from edgecompile.tools import quiet

    again = None
    with quiet(new_log("verify")), show_steps(Screen(streams.err)) as progress:
        progress.start(_REPLAY)
        checked = check_bundle(path)
        progress.finish(_REPLAY)
        if data is not None and _measurable(checked):
            from edgecompile.remeasure import remeasure

            again = remeasure(checked, data, base=Path(), progress=progress, gate=gate)
    code = 0 if checked.ok and (again is None or again.ok) else 1
    if streams.json:
        streams.write_json({**_as_json(path, checked, again), "exit_code": code})
    else:
        _show(Screen(streams.out), path, checked, again, asked=data is not None, verbose=verbose)
    return code


def _measurable(checked: CheckedBundle) -> bool:
    """Return whether model and report are as they were built."""
    return checked.host_model is not None and checked.report is not None


def _as_json(path: Path, checked: CheckedBundle, again: Again | None) -> dict[str, Any]:
    measured = None
    if again is not None:
        score = again.accuracy.result_score.model_dump(mode="json")
        measured = {"metric": again.accuracy.metric, "same_rows": again.same_rows, "score": score}
    checks = (*checked.checks, *(again.checks if again is not None else ()))
    return {
        "bundle": str(path),
        "name": checked.manifest.name,
        "target": checked.manifest.target,
        "build_verdict": checked.manifest.verdict,
        "checks": [{**check.model_dump(mode="json"), "ok": check.ok} for check in checks],
        "findings": [f.model_dump(mode="json") for f in (again.findings if again is not None else ())],
        "measured": measured,
    }


def _show(
    screen: Screen, path: Path, checked: CheckedBundle, again: Again | None, *, asked: bool, verbose: bool
) -> None:
    from edgecompile.cli.verdict import show_checks, show_findings
    from edgecompile.verify.wording import show_missed

    checks = (*checked.checks, *(again.checks if again is not None else ()))
    # What leaves the others without proof comes first, the build's own verdict before it.
    missed = sorted((c for c in checks if not c.ok), key=lambda c: (c.name != "build", c.missed == "fail"))
    lines = [f"the build did not pass: {c.detail}" if c.name == "build" else show_missed(c) for c in missed]
    for line in lines:
        screen.line((line, "bad"))
    if not missed:
        screen.line((f"sound: {path}", "good"), f" ({checked.manifest.name} for {checked.manifest.target})")
    screen.line()
    show_checks(screen, checks, verbose=verbose, said="\n".join(lines))
    if again is not None:
        show_findings(screen, again.findings, verbose=verbose, said="\n".join(lines))
    if again is not None:
        _show_score(screen, checked, again)
    elif asked:
        screen.line(
            ("•", "warn"), "  accuracy was not measured again: model or report is not as it was built", indent=2
        )


def _show_score(screen: Screen, checked: CheckedBundle, again: Again) -> None:
    from edgecompile.verify import show_score

    now = again.accuracy
    interval = now.result_score.interval
    low, high = show_score(now, interval.low), show_score(now, interval.high)
    screen.line()
    screen.line(
        f"{now.metric} {show_score(now, now.result_score.value)} [{low}, {high}]"
        f" on {now.result_score.n:,} {now.counted}",
        indent=2,
    )
    built = checked.report.accuracy if checked.report is not None else None
    if built is None:
        screen.line("the build measured no accuracy", indent=2)
        return
    rows = "the same rows" if again.same_rows else f"other rows ({built.result_score.n:,} {built.counted})"
    screen.line(f"the build measured {show_score(built, built.result_score.value)} on {rows}", indent=2)
    if not again.same_rows:
        screen.line("other rows: nothing to measure a drop against, as the bundle holds no float model", indent=2)
