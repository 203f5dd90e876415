"""What the Edge TPU does with a model, as the page shows it: how much of it, where it is cut, what stays behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecompile.report import Finding, Report
from edgecompile.units import show_bytes, show_percent

SUMMARY, RUNS, LEFT, OPERATORS = "edgetpu", "edgetpu_graph", "edgetpu_on_cpu", "edgetpu_operators"
SECTIONS = frozenset({SUMMARY, RUNS, LEFT, OPERATORS})
"""Keys of the backend's sections in the report that this view shows."""

_PREFIX, _REWRITES = "edgetpu-", "edgetpu-fit-"
_MOST_LINES = 3
_MOST_ROWS = 100
"""Ops on the CPU that the page lists; report.json has all."""
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
    """The section.

    Attributes:
        sentence: what the strip shows.
        strip: the ops in order, by place.
        rows: the same as place, ops, which, why.
        memory: sentences about the parameters.
        left: op, layer, the compiler's words and the reason, of ops on the CPU.
        left_out: how many more there are.
        operators: op, count and status in the compiler's layout.
    """

    sentence: str
    strip: tuple[Run, ...]
    rows: tuple[tuple[str, ...], ...]
    memory: tuple[str, ...]
    left: tuple[tuple[str, ...], ...]
    left_out: int
    operators: tuple[tuple[str, ...], ...]


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


def edgetpu_view(backend: Mapping[str, Any]) -> EdgetpuView | None:
    """Return the view of the backend's sections; None for other devices."""
    if SUMMARY not in backend:
        return None
    strip, rows = _strip(backend[RUNS])
    places = sum(not part.on_tpu for part in strip)
    sentence = (
        "The ops in the order in which they run; between both kinds the model changes places."
        if places
        else "All ops are expected on the Edge TPU."
    )
    return EdgetpuView(
        sentence=sentence,
        strip=strip,
        rows=rows,
        memory=_memory(backend[SUMMARY]),
        left=tuple((row["op"], _short(row["layer"]), row["status"], row["why"]) for row in backend[LEFT][:_MOST_ROWS]),
        left_out=max(0, len(backend[LEFT]) - _MOST_ROWS),
        operators=tuple((row["operator"], f"{row['count']:,}", row["status"]) for row in backend[OPERATORS]),
    )


def _memory(summary: Mapping[str, Any]) -> tuple[str, ...]:
    on_chip, cached, streamed = (
        f"{show_bytes(summary[f'parameter_bytes_{name}_low'])} to {show_bytes(summary[f'parameter_bytes_{name}_high'])}"
        for name in ("on_chip", "cached", "streamed")
    )
    sent = (
        f"and {streamed} are sent at every inference" if summary["parameter_bytes_streamed_high"] else "none are sent"
    )
    return (
        f"Parameters, modelled: {show_bytes(summary['parameter_bytes_in_file'])} in the file take {on_chip} on the "
        f"chip; {cached} of them stay there, {sent}.",
        f"Room for them: {summary['room_for_parameters']}.",
    )


def _strip(runs: Sequence[Mapping[str, Any]]) -> tuple[tuple[Run, ...], tuple[tuple[str, ...], ...]]:
    """Return the parts of the strip, and a row for each."""
    total = sum(run["ops"] for run in runs)
    done, strip = 0, []
    for run in runs:
        on_tpu = run["runs_on"] == "Edge TPU"
        title = f"{run['runs_on']}: {_counted(run['ops'])}, {_ends(run)}"
        strip.append(Run(_percent(done / total), _percent(run["ops"] / total), title, on_tpu))
        done += run["ops"]
    return tuple(strip), tuple((run["runs_on"], f"{run['ops']:,}", _ends(run), run["why"]) for run in runs)


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
