"""Whether the float model's score is no better than guessing, and which preprocessing to try then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.data.rules import class_name, place, some_rows, span
from edgecompile.data.scores import twin_of
from edgecompile.recipe import Preprocess
from edgecompile.report import Chance, Finding

Floats = npt.NDArray[np.float64]

_GAIN = 0.1
"""A score within this share of the way from guessing to perfect counts as guessing."""

_POOR = 0.5
"""A score within this share of the way is far from what models are deployed with: usual preprocessings are tried."""

_MAJORITY = 0.8
"""Share of one class from which `top1` says little about a model: a fifth of the rows is left to be better on."""

_BLOCK = 256
"""Rows of an input that are looked at together."""

_ERRORS = ("mae", "mse")
"""Metrics of which less is better."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, as torchvision's models take them."""


@dataclass(frozen=True)
class Guess:
    """What answers without looking at the input score.

    Attributes:
        score: the metric.
        answer: how they answer, in words: ``always answering `cat` ``.
        rows: [n] float64: 1 for each row that they have right, or their error on it; None where the metric is no mean
            over rows.
    """

    score: float
    answer: str
    rows: Floats | None = None


def lint_score(
    metric: str,
    score: float,
    data: Dataset,
    *,
    chance: Chance | None = None,
    tried: Mapping[str, float] | None = None,
    whose: str = "float model",
) -> tuple[Finding, ...]:
    """Return a finding when a model scores no better than guessing or than under other preprocessing, or is inverted.

    Args:
        metric: name of the metric; nothing is known about users' metrics.
        score: of the model.
        data: the validation rows.
        chance: how the score stands to guessing on these rows, where the caller knows it.
        tried: score of the model under other preprocessing (`candidates`), where the caller measured it.
        whose: the model, in words.
    """
    if metric == "auc" and score < 0.5 - _GAIN:
        what = f"the {whose}'s auc is {score:.3f}: below 0.5 it tells the two classes apart the wrong way round"
        remedy = "label 1 must be what the score is high for: swap the labels, or score by a function of yours"
        return (_finding("score-inverted", what, remedy, data),)
    found = guess(metric, data) if chance is None else Guess(chance.guess, chance.answer)
    if found is None:
        return ()
    what = f"the {whose} scores {score:.4g} ({metric}), and {found.answer} gives {found.score:.4g}"
    if near_guess(metric, score, found.score):
        better = {text: s for text, s in (tried or {}).items() if not near_guess(metric, s, found.score)}
        remedy = _one_sided(metric, found) or _remedy(metric, data, better, asked=tried is None)
        return (_finding("score-near-chance", f"{what}: is the preprocessing right?", remedy, data),)
    if chance is not None and not chance.proven:
        what = f"{what}: {chance.units:,} {'row is' if chance.units == 1 else 'rows are'} too few to tell the two apart"
        return (_finding("score-near-chance", what, "give more rows (--data)", data),)
    if better := far_better(metric, tried or {}, score):
        what = f"the {whose} scores {score:.4g} ({metric}) on rows as they are given: is the preprocessing right?"
        return (_finding("score-preprocessing", what, _remedy(metric, data, better, asked=False), data),)
    return ()


def near_guess(metric: str, score: float, guess: float) -> bool:
    """Return whether score is hardly better than guess."""
    return score >= guess * (1 - _GAIN) if metric in _ERRORS else score <= guess + _GAIN * (1 - guess)


def is_poor(metric: str, score: float, guess: float) -> bool:
    """Return whether score is less than halfway from guess to perfect."""
    return score > guess * (1 - _POOR) if metric in _ERRORS else score < guess + _POOR * (1 - guess)


def far_better(metric: str, tried: Mapping[str, float], score: float) -> dict[str, float]:
    """Return what of tried, preprocessing → score under it, is far better than score."""
    return {text: value for text, value in tried.items() if not near_guess(metric, value, score)}


def candidates(data: Dataset) -> tuple[tuple[str, Dataset], ...]:
    """Return (what to set, the dataset under it) for the usual preprocessing that the data does not have.

    Where stored values look neither like 0..255, 0..1 nor -1..1, that is none at all. A float model is quick enough on
    a hundred rows to try each; see `lint_score`.
    """
    if len(data.inputs) != 1:
        return ()
    name, x = next(iter(data.inputs.items()))
    found = span(x[some_rows(data)])
    if found is None:
        return ()
    now = data.batch(name, slice(0, 8))
    given = []
    for text, how in _usual(*found, channels=x.shape[-1] if x.ndim == 4 else 0):
        there = replace(data, preprocess={"*": how.model_copy(update={"resize": data.how(name).resize})})
        if not np.allclose(there.batch(name, slice(0, 8)), now):
            given.append((text, there))
    return tuple(given)


def _usual(low: float, high: float, *, channels: int) -> list[tuple[str, Preprocess]]:
    """Return what models are usually trained on, for stored values of low to high."""
    if low >= 0 and 30 < high <= 255:
        found = [
            ("no scale (0..255)", Preprocess()),
            ("scale = 0.00392157 (0..1)", Preprocess(scale=(1 / 255,))),
            ("scale = 0.00784314, offset = -1 (-1..1)", Preprocess(scale=(1 / 127.5,), offset=(-1.0,))),
        ]
        if channels == 3:
            how = Preprocess(scale=(1 / 255,), mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
            found.append((f"scale = 0.00392157, mean = {list(_IMAGENET_MEAN)}, std = {list(_IMAGENET_STD)}", how))
        return found
    if low >= 0 and 0.3 < high <= 1:
        return [
            ("no scale (0..1)", Preprocess()),
            ("scale = 255 (0..255)", Preprocess(scale=(255.0,))),
            ("scale = 2, offset = -1 (-1..1)", Preprocess(scale=(2.0,), offset=(-1.0,))),
        ]
    if -1 <= low < -0.3 and 0.3 < high <= 1:
        return [
            ("no scale (-1..1)", Preprocess()),
            ("scale = 0.5, offset = 0.5 (0..1)", Preprocess(scale=(0.5,), offset=(0.5,))),
            ("scale = 127.5, offset = 127.5 (0..255)", Preprocess(scale=(127.5,), offset=(127.5,))),
        ]
    return [("no scale", Preprocess())]


def guess(metric: str, data: Dataset, *, row: tuple[int, ...] = ()) -> Guess | None:
    """Return what answers without looking at the input score on data; None where nothing is known.

    Args:
        metric: name of the metric.
        data: rows with labels, or of an autoencoder.
        row: shape of the output without batch: without labels, it names the input that it reconstructs.
    """
    if metric in _ERRORS:
        return _constant(metric, data, row)
    if metric == "auc":
        return Guess(0.5, "guessing")
    numbers = class_numbers(data.labels)
    if numbers is None or metric not in ("top1", "top5", "macro_f1"):
        return None
    classes, counts = np.unique(numbers, return_counts=True)
    if metric == "macro_f1":
        return Guess(1 / max(2, len(classes)), "guessing")
    if metric == "top5":
        five = classes[np.argsort(-counts, kind="stable")[:5]]
        right, answer = np.isin(numbers, five).astype(np.float64), "always answering the five most frequent classes"
    else:
        most = int(classes[counts.argmax()])
        right, answer = (numbers == most).astype(np.float64), f"always answering {class_name(data, most)}"
    return Guess(float(right.mean()), answer, right)


def _constant(metric: str, data: Dataset, row: tuple[int, ...]) -> Guess | None:
    """Return what the best constant output scores: the median or the mean of targets, the mean row of an input."""
    if data.labels is not None:
        targets = data.labels.reshape(len(data), -1).astype(np.float64)
        if metric == "mae":
            errors = np.abs(targets - np.median(targets, axis=0)).mean(axis=1)
            return Guess(float(errors.mean()), "always answering the median", errors)
        errors = ((targets - targets.mean(axis=0)) ** 2).mean(axis=1)
        return Guess(float(errors.mean()), "always answering the mean", errors)
    name = twin_of(row, data) if row else None
    if name is None:
        return None
    # In blocks: whole image sets as float64 would not fit in memory. A median would need them whole.
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(data), _BLOCK)]
    mean = sum(data.batch(name, block).sum(axis=0, dtype=np.float64) for block in blocks) / len(data)
    power = 1 if metric == "mae" else 2
    parts = [np.abs(data.batch(name, b).astype(np.float64) - mean) ** power for b in blocks]
    errors = np.concatenate([part.reshape(len(part), -1).mean(axis=1) for part in parts])
    return Guess(float(errors.mean()), "always giving the mean of all rows", errors)


def _one_sided(metric: str, found: Guess) -> str:
    """Return what to do where the rows allow no model to do better than a constant answer, or hardly any."""
    if metric in ("top1", "top5") and found.score == 1:
        return "add rows of other classes: on these, one answer is right on all"
    if metric == "top1" and found.score > _MAJORITY:
        return "score by macro_f1 or auc (--metric), or add rows of the other classes: one answer is right on most"
    return ""


def _remedy(metric: str, data: Dataset, better: Mapping[str, float], *, asked: bool) -> str:
    """Return what to do; better holds the preprocessing that was tried and is no guessing, asked: nothing was tried."""
    if better:
        text = min(better, key=lambda t: better[t]) if metric in _ERRORS else max(better, key=lambda t: better[t])
        return f"below [data.preprocess] set {text}: some rows then score {better[text]:.4g}"
    options = [text for text, _ in candidates(data)]
    trial = f"below [data.preprocess] try {'; or '.join(options)}; " if options and asked else ""
    if any(x.dtype in (np.int8, np.int16) and data.how(name).quantized is None for name, x in data.inputs.items()):
        codes = "`quantized = { scale = …, zero_point = … }`"
        trial += f"if the stored integers are quantized, set {codes} below [data.preprocess]; "
    if metric in _ERRORS:
        return f"{trial}see that targets have the scale and the order of columns that the model was trained with"
    return f"{trial}see that class numbers are in the order that the model was trained with"


def _finding(rule: str, what: str, remedy: str, data: Dataset) -> Finding:
    return Finding(
        severity="warning",
        rule=rule,
        what=what,
        where=place("validation", data),
        consequence="the drop that is measured against this model means nothing",
        remedy=remedy,
    )
