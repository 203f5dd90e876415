"""Whether the float model's score is no better than guessing, and which preprocessing to try then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.data.rules import class_name, place, some_rows, span
from edgecompile.recipe import Preprocess
from edgecompile.report import Finding

_GAIN = 0.1
"""A score within this share of the way from guessing to perfect counts as guessing."""

_ERRORS = ("mae", "mse")
"""Metrics of which less is better."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, as torchvision's models take them."""


def lint_score(
    metric: str, score: float, data: Dataset, *, tried: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """Return a finding when the float model scores no better than guessing, or its detection is inverted.

    Args:
        metric: name of the metric; nothing is known about users' metrics.
        score: of the float model.
        data: the validation rows.
        tried: score of the float model under other preprocessing (`candidates`), where the caller measured it.
    """
    if metric == "auc" and score < 0.5 - _GAIN:
        what = f"the float model's auc is {score:.3f}: below 0.5 it tells the two classes apart the wrong way round"
        remedy = "label 1 must be what the score is high for: swap the labels, or score by a function of yours"
        return (_finding("score-inverted", what, remedy, data),)
    guess = _guessing(metric, data)
    if guess is None:
        return ()
    value, how = guess
    if not _near(metric, score, value):
        return ()
    what = f"the float model scores {score:.4g} ({metric}), and {how} {value:.4g}: is the preprocessing right?"
    better = {text: s for text, s in (tried or {}).items() if not _near(metric, s, value)}
    return (_finding("score-near-chance", what, _remedy(metric, data, better, asked=tried is None), data),)


def _near(metric: str, score: float, guess: float) -> bool:
    """Return whether score is hardly better than guess."""
    return score >= guess * (1 - _GAIN) if metric in _ERRORS else score <= guess + _GAIN * (1 - guess)


def candidates(data: Dataset) -> tuple[tuple[str, Dataset], ...]:
    """Return (what to set, the dataset under it) for the usual preprocessing that the data does not have.

    Empty where stored values look neither like 0..255, 0..1 nor -1..1. A float model is quick enough on a hundred rows
    to try each; see `lint_score`.
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
    return []


def _guessing(metric: str, data: Dataset) -> tuple[float, str] | None:
    """Return what a guess scores, and how to say so; None where nothing is known."""
    numbers = class_numbers(data.labels)
    if metric in _ERRORS:
        if data.labels is None:
            return None
        targets = data.labels.reshape(len(data), -1).astype(np.float64)
        if metric == "mae":
            return float(np.abs(targets - np.median(targets, axis=0)).mean()), "always answering the median gives"
        return float(targets.var(axis=0).mean()), "always answering the mean gives"
    if metric == "auc":
        return 0.5, "guessing gives"
    if numbers is None or metric not in ("top1", "top5", "macro_f1"):
        return None
    classes, counts = np.unique(numbers, return_counts=True)
    if metric == "macro_f1":
        return 1 / max(2, len(classes)), "guessing gives about"
    if metric == "top5":
        return float(np.sort(counts)[-5:].sum() / len(numbers)), "always answering the five most frequent classes gives"
    most = int(counts.argmax())
    return float(counts[most] / len(numbers)), f"always answering {class_name(data, int(classes[most]))} gives"


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
