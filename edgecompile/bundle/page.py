"""What `report.html` shows, worked out from the report: words, places on axes, pictures. The template only sets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecompile.bundle.page_accuracy import AccuracyView, accuracy_view
from edgecompile.bundle.page_edgetpu import SECTIONS, EdgetpuView, edgetpu_lines, edgetpu_tile, edgetpu_view
from edgecompile.bundle.page_memory import SECTION, MemoryView, memory_view
from edgecompile.bundle.page_payoff import PayoffView, payoff_view
from edgecompile.bundle.plots import Axis
from edgecompile.config import canonical_json
from edgecompile.data.dataset import Dataset
from edgecompile.report import Check, Report, Step
from edgecompile.target import Memory
from edgecompile.units import show_apart, show_bytes, show_percent, show_shape, show_value
from edgecompile.verify.wording import show_change, show_score

HOW = {
    "measured": "run or counted in this build",
    "estimated": "computed from what was measured",
    "modelled": "from a model of the device; the device itself was not used",
}
"""What the three origins of a number mean."""
LONGEST_TABLE = 100
"""Rows of a backend's table that the page shows; the rest is in report.json."""


@dataclass(frozen=True)
class Line:
    """One line of the headline: `missed`, `warning` or `result`, its text, and what to do."""

    kind: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Tile:
    """One of the figures at the top."""

    label: str
    value: str
    note: str
    how: str


@dataclass(frozen=True)
class CheckRow:
    """One row of the table of checks."""

    check: Check
    found: str
    must: str


@dataclass(frozen=True)
class SizeRow:
    """One bar of the sizes."""

    what: str
    size: str
    share: str
    width: str
    result: bool


@dataclass(frozen=True)
class Sizes:
    """The bars, and the target's limit: a place on the axis, or words where it is far off."""

    rows: tuple[SizeRow, ...]
    limit: str
    limit_at: str


@dataclass(frozen=True)
class Table:
    """A table that a backend adds."""

    title: str
    columns: tuple[tuple[str, bool], ...]
    """Name, and whether the column holds numbers; empty: rows are pairs of key and value."""
    rows: tuple[tuple[str, ...], ...]
    left_out: int


@dataclass(frozen=True)
class Page:
    """The whole page."""

    report: Report
    title: str
    verdict: str
    lines: tuple[Line, ...]
    tiles: tuple[Tile, ...]
    built: tuple[tuple[str, str], ...]
    accuracy: AccuracyView | None
    sizes: Sizes
    checks: tuple[CheckRow, ...]
    how: tuple[tuple[str, str], ...]
    steps: tuple[tuple[Step, tuple[tuple[str, str], ...], str], ...]
    memory: MemoryView | None
    payoff: PayoffView | None
    edgetpu: EdgetpuView | None
    extra: tuple[Table, ...]
    provenance: tuple[tuple[str, str], ...]


def page(report: Report, data: Dataset | None) -> Page:
    """Return what the page of report shows; data gives the pictures of the most wrong rows."""
    kept = sum(check.ok for check in report.checks)
    every = len(report.checks)
    verdict = (
        f"All {every} checks are kept." if report.verdict == "pass" else f"{every - kept} of {every} checks missed."
    )
    used = {check.how for check in report.checks} | {"measured"}
    return Page(
        report=report,
        title=f"{report.model.name} for {report.target.title}",
        verdict=verdict if every else "Nothing was promised, so nothing was checked.",
        lines=_lines(report),
        tiles=_tiles(report, kept),
        built=_built(report),
        accuracy=accuracy_view(report, data) if report.accuracy is not None else None,
        sizes=_sizes(report),
        checks=tuple(_check_row(check) for check in report.checks),
        how=tuple((name, words) for name, words in HOW.items() if name in used),
        steps=tuple((step, _facts(step), show_bytes(step.bytes) if step.bytes else "") for step in report.steps),
        payoff=payoff_view(report.payoff) if report.payoff is not None else None,
        memory=memory_view(report.backend[SECTION]) if SECTION in report.backend else None,
        edgetpu=edgetpu_view(report.backend),
        extra=tuple(
            _table(title, value)
            for title, value in sorted(report.backend.items())
            if title != SECTION and title not in SECTIONS
        ),
        provenance=_provenance(report),
    )


def _lines(report: Report) -> tuple[Line, ...]:
    *first, result = (_line(text, last=text is report.headline[-1]) for text in report.headline)
    return (*first, *(Line("warning", text, remedy) for text, remedy in edgetpu_lines(report)), result)


def _line(text: str, *, last: bool) -> Line:
    if last:  # `pass: …` or `fail (…): …`: the stamp above it says that already
        return Line("result", text.partition(": ")[2] or text, "")
    what, _, remedy = text.partition(" → ")
    kind = "missed" if what.startswith(("missed ", "error: ", "not proven: ")) else "warning"
    return Line(kind, what[:1].upper() + what[1:], remedy)


def _check_row(check: Check) -> CheckRow:
    found, limit = show_apart(check.actual, check.limit, check.unit)
    none_allowed = check.unit == "count" and check.limit == 0
    return CheckRow(check, found, limit if none_allowed else f"{check.relation} {limit}")


def _tiles(report: Report, kept: int) -> tuple[Tile, ...]:
    sizes, accuracy = report.sizes, report.accuracy
    tiles = [Tile("Accuracy", "not measured", "no validation data was given", "")]
    if accuracy is not None:
        before = show_score(accuracy, accuracy.float_score.value)
        note = f"{accuracy.reference} {before}; {show_change(accuracy).partition(':')[0]}"
        tiles = [Tile(accuracy.metric, show_score(accuracy, accuracy.result_score.value), note, "measured")]
        if accuracy.agreement is not None:
            note = f"of rows are decided as the {accuracy.reference} decides them"
            tiles.append(Tile("Agreement", show_percent(accuracy.agreement, digits=1), note, "measured"))
    if (edgetpu := edgetpu_tile(report)) is not None:
        tiles.append(Tile(*edgetpu, "modelled"))
    size = show_bytes(sizes.result_bytes).partition("(")
    tiles.append(Tile("Model file", size[2].rstrip(")") or size[0], _of_float(report), "measured"))
    missed = [check.title for check in report.checks if not check.ok]
    note = f"missed: {'; '.join(missed)}" if missed else "every promise is kept"
    tiles.append(
        Tile("Checks", f"{kept} of {len(report.checks)}", note if report.checks else "nothing was promised", "")
    )
    return tuple(tiles)


def _of_float(report: Report) -> str:
    sizes = report.sizes
    if not sizes.float_bytes or sizes.float_bytes == sizes.result_bytes:
        return f"{sizes.result_bytes:,} bytes"
    return f"{100 * sizes.result_bytes / sizes.float_bytes:.0f}% of the float model's {show_bytes(sizes.float_bytes)}"


def _built(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what was built, from what, for what: (term, words)."""
    model, data = report.model, report.data
    rows = [
        ("From", f"{model.name}, {model.format}, {show_bytes(model.bytes)}"),
        ("For", report.target.title),
        (
            "Recipe",
            f"{report.recipe}: {', then '.join(s.name for s in report.steps)}" if report.steps else report.recipe,
        ),
        ("Takes", "; ".join(f"`{t.name}`, {t.dtype} {show_shape(t.shape)}" for t in report.inputs)),
        ("Gives", "; ".join(f"`{t.name}`, {t.dtype} {show_shape(t.shape)}" for t in report.outputs)),
        ("Budgets", _budgets(report.target.memory)),
    ]
    if data.validation_rows:
        rows.append(
            ("Measured on", f"{data.validation_rows:,} rows of {data.validation_source or 'the validation data'}")
        )
    if data.calibration_rows:
        split = f" ({data.split})" if data.split else ""
        rows.append(("Calibrated on", f"{data.calibration_rows:,} rows of {data.calibration_source}{split}"))
    if data.train_rows:
        rows.append(("Trained on", f"{data.train_rows:,} rows of {data.train_source}"))
    if report.compiled and not any(report.compiled in line for line in report.headline):
        rows.append(("Compiler", report.compiled))
    return tuple(rows)


def _budgets(memory: Memory) -> str:
    named = {
        "flash": memory.flash_bytes,
        "working memory": memory.sram_bytes,
        "model file": memory.model_bytes_max,
        "accelerator's parameter memory": memory.cache_bytes,
    }
    return "; ".join(f"{name} {show_bytes(n)}" for name, n in named.items() if n) or "none: the target sets no limit"


def _sizes(report: Report) -> Sizes:
    sizes = report.sizes
    check = next((c for c in report.checks if c.name == "model-size"), None)
    stored = round(check.actual) if check else sizes.result_bytes
    named = [
        ("Source file", sizes.source_bytes),
        ("Float .tflite", sizes.float_bytes),
        ("Result", sizes.result_bytes),
        ("Result, gzipped", sizes.result_gzip_bytes),
        ("On the device", 0 if stored == sizes.result_bytes else stored),
    ]
    most = max(n for _, n in named)
    limit = check.limit if check else 0.0
    # A limit that dwarfs the bars says more in words than as a line at the far end of them.
    drawn = 0 < limit <= 3 * most
    scale = Axis(0.0, max(float(most), limit if drawn else 0.0), ())
    rows = tuple(
        SizeRow(
            what,
            show_bytes(n),
            show_percent(n / sizes.float_bytes, digits=0) if sizes.float_bytes else "",
            scale.at(n),
            result=what == "Result",
        )
        for what, n in named
        if n
    )
    words = f"The target's limit is {show_bytes(round(limit))}: {check.detail}." if check else ""
    if check:
        whose = "The result" if stored == sizes.result_bytes else "What the device loads"
        words += f" {whose} takes {show_percent(stored / limit, digits=1)} of it."
    return Sizes(rows, words, scale.at(limit) if drawn else "")


def _facts(step: Step) -> tuple[tuple[str, str], ...]:
    fields = [(name, _plain(value)) for name, value in sorted(step.fields.items()) if value is not None]
    return (*fields, *((name.replace("_", " "), _plain(value)) for name, value in sorted(step.facts.items())))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return show_value(value, "")
    return value if isinstance(value, str) else canonical_json(value)


def _table(title: str, value: Any) -> Table:
    """Return a backend's section as a table: a list of mappings by column, a mapping by key, anything else as text."""
    name = title.replace("_", " ")
    if isinstance(value, list | tuple) and value and all(isinstance(row, Mapping) for row in value):
        keys = tuple(dict.fromkeys(key for row in value for key in row))
        numbers = [all(isinstance(row.get(key, 0), int | float) for row in value) for key in keys]
        columns = tuple((key.replace("_", " "), number) for key, number in zip(keys, numbers, strict=True))
        rows = tuple(tuple(_plain(row.get(key, "")) for key in keys) for row in value[:LONGEST_TABLE])
        return Table(name, columns, rows, max(0, len(value) - LONGEST_TABLE))
    pairs = value.items() if isinstance(value, Mapping) else [("", value)]
    return Table(name, (), tuple((str(key).replace("_", " "), _plain(v)) for key, v in pairs), 0)


def _provenance(report: Report) -> tuple[tuple[str, str], ...]:
    rows = [("edgecompile", report.edgecompile), ("Source model, sha256", report.model.sha256)]
    if report.data.validation_sha256:
        rows.append(("Validation rows, sha256", report.data.validation_sha256))
    if report.data.preprocessing:
        rows.append(("Preprocessing", _plain(report.data.preprocessing)))
    return (*rows, *sorted(report.libraries.items()))
