"""The accuracy section of `report.html`: scores with their intervals, decisions in pairs, classes, most wrong rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecompile import compare
from edgecompile.bundle.pictures import is_picture, pictures
from edgecompile.bundle.plots import Axis, axis
from edgecompile.data.dataset import Dataset
from edgecompile.report import Accuracy, Flips, PerClass, Report, Sample, Score
from edgecompile.units import show_percent, show_points, show_value
from edgecompile.verify.wording import drop_unit, show_drop, show_interval, show_rows, show_score

METRICS = {
    "top1": "the share of rows whose class is decided right",
    "top5": "the share of rows whose class is among the five with the highest scores",
    "macro_f1": "the mean over classes of F1, which weighs misses and false alarms alike; 1 is perfect",
    "auc": "the area under the ROC curve: 0.5 is guessing, 1 is perfect",
    "mae": "the mean absolute error; 0 is perfect",
    "mse": "the mean squared error; 0 is perfect",
}
MOST_CLASSES = 40
"""Classes that the plot shows; of more, those that changed most."""


@dataclass(frozen=True)
class ScoreRow:
    """A score with its interval, and where they lie on the axis."""

    who: str
    value: str
    interval: str
    at: str
    low: str
    high: str


@dataclass(frozen=True)
class ClassRow:
    """One class before and after."""

    label: str
    n: str
    before: str
    after: str
    change: str
    direction: str
    """`worse`, `better` or `same`."""
    at_before: str
    at_after: str
    left: str
    """The left end of the line between the two."""
    width: str


@dataclass(frozen=True)
class WorstRow:
    """A row on which the result lost most."""

    sample: Sample
    loss: str
    picture: str
    """Data URI; empty where the row is no picture."""


@dataclass(frozen=True)
class Ticks:
    """An axis as the template draws it: (place, words)."""

    marks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AccuracyView:
    """The section."""

    accuracy: Accuracy
    meaning: str
    sentences: tuple[str, ...]
    scores: tuple[ScoreRow, ...]
    score_ticks: Ticks
    gate: str
    gate_at: str
    flips: Flips | None
    classes: tuple[ClassRow, ...]
    class_ticks: Ticks
    classes_left_out: int
    outputs: tuple[tuple[str, str, str, str], ...]
    worst: tuple[WorstRow, ...]


def accuracy_view(report: Report, data: Dataset | None) -> AccuracyView:
    """Return the section; report.accuracy must be there."""
    accuracy = report.accuracy
    assert accuracy is not None
    gate = next((c.limit for c in report.checks if c.name == "accuracy-drop"), None)
    sign = -1 if accuracy.higher_is_better else 1
    worst_allowed = None if gate is None else accuracy.float_score.value + sign * gate
    scale = _score_axis(accuracy, worst_allowed)
    classes = _shown_classes(accuracy.per_class)
    recalls = [v for c in classes for v in (c.float_recall, c.result_recall)]
    class_axis = axis(recalls or [0.0, 1.0], floor=0.0, ceiling=1.0)
    return AccuracyView(
        accuracy=accuracy,
        meaning=METRICS.get(accuracy.metric, "the user's own metric"),
        sentences=_sentences(accuracy),
        scores=(
            _score_row(accuracy.reference, accuracy.float_score, accuracy, scale),
            _score_row("result", accuracy.result_score, accuracy, scale),
        ),
        score_ticks=_ticks(scale, accuracy.unit),
        gate="" if worst_allowed is None else show_score(accuracy, worst_allowed),
        gate_at="" if worst_allowed is None else scale.at(worst_allowed),
        flips=accuracy.flips,
        classes=tuple(_class_row(c, class_axis) for c in classes),
        class_ticks=_ticks(class_axis, "fraction"),
        classes_left_out=len(accuracy.per_class) - len(classes),
        outputs=tuple(
            (o.output, f"{o.cosine:.5f}", "–" if o.sqnr_db is None else f"{o.sqnr_db:.1f} dB", f"{o.max_abs:.4g}")
            for o in accuracy.outputs
        ),
        worst=_worst(accuracy, data),
    )


def _score_axis(accuracy: Accuracy, worst_allowed: float | None) -> Axis:
    ends = [
        v for s in (accuracy.float_score, accuracy.result_score) for v in (s.interval.low, s.interval.high, s.value)
    ]
    ends += [] if worst_allowed is None else [worst_allowed]
    if accuracy.unit == "fraction":
        return axis(ends, floor=0.0, ceiling=1.0)
    return axis(ends)


def _ticks(scale: Axis, unit: str) -> Ticks:
    digits = 0 if unit == "fraction" and all(abs(100 * t - round(100 * t)) < 1e-9 for t in scale.ticks) else 1
    return Ticks(tuple((scale.at(t), show_value(t, unit, digits=digits)) for t in scale.ticks))


def _score_row(who: str, score: Score, accuracy: Accuracy, scale: Axis) -> ScoreRow:
    return ScoreRow(
        who,
        show_score(accuracy, score.value),
        show_interval(score.interval, accuracy.unit),
        scale.at(score.value),
        scale.at(score.interval.low),
        scale.at(score.interval.high),
    )


def _sentences(accuracy: Accuracy) -> tuple[str, ...]:
    """Return what the numbers say, for somebody who does not work with statistics."""
    flips, n = accuracy.flips, show_rows(accuracy)
    if flips is None or accuracy.unit != "fraction":
        better = "more is better" if accuracy.higher_is_better else "less is better"
        found = f"{accuracy.metric} ({better}) on the same {n}: {show_drop(accuracy)} against the {accuracy.reference}."
    else:
        found = (
            f"On the same {n}, the {accuracy.reference} is right on {flips.both_right + flips.lost:,} and the result "
            f"on {flips.both_right + flips.gained:,}. {flips.lost:,} that were right became wrong, {flips.gained:,} "
            "that were wrong became right."
        )
    paired = flips is not None and accuracy.drop_interval.method == compare.PAIRED
    more = []
    if accuracy.tied_rows:
        more.append(f"On {accuracy.tied_rows:,} of them several classes share the largest score; the first counts.")
    return (found, _chance(flips) if flips is not None and paired else _noise(accuracy), *more)


def _noise(accuracy: Accuracy) -> str:
    """Return what the drop's interval says about chance."""
    interval = accuracy.drop_interval
    shown = f"95% interval of the drop: {show_interval(interval, drop_unit(accuracy))} ({interval.method})."
    if not accuracy.within_noise:
        return f"{shown} It does not hold 0, so this is hardly chance."
    if interval.low <= 0 <= interval.high:
        return f"{shown} It holds 0, so chance alone may explain the difference."
    return f"{shown} On so few {accuracy.counted}, chance cannot be ruled out."


def _chance(flips: Flips) -> str:
    """Return what the paired decisions say about chance."""
    if flips.lost == flips.gained:
        return "As many were lost as were gained, so accuracy is the same."
    often = f"{100 * flips.p:.0f} of 100" if flips.p >= 0.0095 else f"{max(1, round(1000 * flips.p))} of 1,000"
    often = f"fewer than {often}" if flips.p < 0.0005 else f"about {often}"
    p = "< 0.001" if flips.p < 0.0005 else f"= {flips.p:.2g}"
    means = "that is noise" if flips.p >= 0.05 else "that is hardly chance"
    return (
        "Were losing and gaining equally likely, a difference at least this large would show in "
        f"{often} comparisons: {means} (exact McNemar p {p})."
    )


def _shown_classes(classes: tuple[PerClass, ...]) -> tuple[PerClass, ...]:
    """Return classes from most lost to most gained; of too many, the two ends."""
    ordered = sorted(classes, key=lambda c: c.result_recall - c.float_recall)
    if len(ordered) <= MOST_CLASSES:
        return tuple(ordered)
    return (*ordered[: MOST_CLASSES // 2], *ordered[-MOST_CLASSES // 2 :])


def _class_row(row: PerClass, scale: Axis) -> ClassRow:
    change = row.result_recall - row.float_recall
    low, high = sorted((row.float_recall, row.result_recall))
    width = float(scale.at(high).rstrip("%")) - float(scale.at(low).rstrip("%"))
    return ClassRow(
        label=row.label,
        n=f"{row.n:,}",
        before=show_percent(row.float_recall, digits=1),
        after=show_percent(row.result_recall, digits=1),
        change=show_points(change, digits=1).removesuffix(" points") if change else "0",
        direction="worse" if change < 0 else "better" if change > 0 else "same",
        at_before=scale.at(row.float_recall),
        at_after=scale.at(row.result_recall),
        left=scale.at(low),
        width=f"{round(width, 2):g}%",
    )


def _worst(accuracy: Accuracy, data: Dataset | None) -> tuple[WorstRow, ...]:
    samples = accuracy.worst
    shown = [""] * len(samples)
    if data is not None and samples:
        for rows in data.inputs.values():
            if is_picture(rows):
                shown = list(pictures(rows[np.array([s.row for s in samples], np.intp)]))
                break
    return tuple(
        WorstRow(s, f"{s.loss:.2f}" if s.loss >= 0.1 else f"{s.loss:.2g}", uri)
        for s, uri in zip(samples, shown, strict=True)
    )
