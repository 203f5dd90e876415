"""What the Edge TPU does with a model, as the page shows it: how much of it, where it is cut, what stays behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecompile.report import Finding, Report
from edgecompile.units import show_percent

SUMMARY, RUNS = "edgetpu", "edgetpu_graph"
"""Keys of the backend's sections in the report."""

_PREFIX, _REWRITES = "edgetpu-", "edgetpu-fit-"
_MOST_LINES = 3
_STAYS, _WITH_IT = "runs on the host's CPU", ", and so do"
"""How findings about ops that stay behind begin to say what follows."""


@dataclass(frozen=True)
class Run:
    """Ops that follow each other in one place: where on the strip, in percent, and what it says when pointed at."""

    left: str
    width: str
    title: str
    on_tpu: bool


@dataclass(frozen=True)
class EdgetpuView:
    """The section: a sentence, the strip, and a row for each of its parts."""

    sentence: str
    strip: tuple[Run, ...]
    rows: tuple[tuple[str, ...], ...]


def edgetpu_tile(report: Report) -> tuple[str, str, str] | None:
    """Return label, value and note of the figure at the top; None for other devices."""
    summary = report.backend.get(SUMMARY)
    if not summary:
        return None
    on, ops, share = summary["ops_on_edge_tpu"], summary["ops"], summary["share_of_macs_on_edge_tpu"]
    note = "" if share is None else f"{show_percent(share, digits=1)} of the multiply-accumulates; "
    left = f"{ops - on} on the host's CPU" if ops > on else "nothing on the host's CPU"
    return "On the Edge TPU", f"{on} of {ops} ops", note + left


def edgetpu_lines(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what keeps ops off the Edge TPU, and what to do about it; the rest in a last line."""
    if SUMMARY not in report.backend:
        return ()
    told = [f for f in report.findings if f.severity == "warning" and _about_ops(f)]
    lines = [(_line(finding), finding.remedy) for finding in told[:_MOST_LINES]]
    if len(told) > _MOST_LINES:
        lines.append((f"{len(told) - _MOST_LINES} more reasons are among the findings", ""))
    return tuple(lines)


def _line(finding: Finding) -> str:
    """Return where, what follows beyond that these ops are on the CPU, and why."""
    if not finding.consequence.startswith(_STAYS):
        return f"{finding.what} ({finding.where}): {finding.consequence}"
    rest = finding.consequence.removeprefix(_STAYS).removeprefix(_WITH_IT)
    more = f", and with it{rest}" if rest else ""
    return f"On the CPU: {finding.where}{more}. {finding.what}"


def _about_ops(finding: Finding) -> bool:
    return finding.rule.startswith(_PREFIX) and not finding.rule.startswith(_REWRITES)


def edgetpu_view(runs: Sequence[Mapping[str, Any]]) -> EdgetpuView:
    """Return the view of the backend's section of runs."""
    total = sum(run["ops"] for run in runs)
    done, strip = 0, []
    for run in runs:
        on_tpu = run["runs_on"] == "Edge TPU"
        title = f"{run['runs_on']}: {_counted(run['ops'])}, {_ends(run)}"
        strip.append(Run(_percent(done / total), _percent(run["ops"] / total), title, on_tpu))
        done += run["ops"]
    places = sum(not part.on_tpu for part in strip)
    sentence = (
        "All ops are expected on the Edge TPU."
        if not places
        else "The ops in the order in which they run; between both kinds the model changes places."
    )
    rows = tuple((run["runs_on"], f"{run['ops']:,}", _ends(run), run["why"]) for run in runs)
    return EdgetpuView(sentence, tuple(strip), rows)


def _ends(run: Mapping[str, Any]) -> str:
    first, last = _short(run["first"]), _short(run["last"])
    return first if run["ops"] == 1 else f"{first} to {last}"


def _short(name: str) -> str:
    """Return a name without those of the layers that were fused into it, which converters join with `;`."""
    first, fused, _ = name.partition(";")
    return f"{first};…" if fused else first


def _counted(ops: int) -> str:
    return "1 op" if ops == 1 else f"{ops} ops"


def _percent(share: float) -> str:
    return f"{round(100 * share, 3):g}%"
