"""Rules about validation data and the other data of a build. Each is a function whose docstring is the rule.

Role is that of the other rows: findings name it, and what follows depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers, show_rows
from edgecompile.data.rules import MANY, class_name, few, in_input, place, some_rows, span
from edgecompile.report import Finding

Role = Literal["calibration", "training"]

_BLOCK = 256
"""Rows that are preprocessed at a time while they are hashed."""

_FEATURES = 4096
"""Most columns of a table that are judged one by one."""


def fingerprints(data: Dataset, *, raw: bool) -> list[bytes]:
    """Return a digest of each row: of its stored bytes, or of its preprocessed values where raw is false."""
    marks = [hashlib.blake2b(digest_size=16) for _ in range(len(data))]
    for name in sorted(data.inputs):
        for start in range(0, len(data), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = np.ascontiguousarray(data.inputs[name][block] if raw else data.batch(name, block))
            for mark, row in zip(marks[block], rows.reshape(len(rows), -1), strict=True):
                mark.update(row.data)
    return [mark.digest() for mark in marks]


def class_not_among(rows: Dataset, validation: Dataset, role: Role) -> Iterator[Finding]:
    """Every class that is measured should be among the rows that calibrate and train, where those have labels."""
    have, want = class_numbers(rows.labels), class_numbers(validation.labels)
    if have is None or want is None:
        return
    absent = sorted(set(want.tolist()) - set(have.tolist()))
    if absent and len(absent) < len(set(want.tolist())):
        yield Finding(
            severity="warning",
            rule="data-class-missing",
            what=f"no {role} rows of {few([class_name(validation, c) for c in absent])}",
            where=place(role, rows),
            consequence="values that only these classes cause may be clipped"
            if role == "calibration"
            else "what the model knows of these classes may be lost while it is fine-tuned",
            remedy="add rows of them",
        )


def overlap(rows: Dataset, validation: Dataset, measured: Sequence[bytes], role: Role) -> Iterator[Finding]:
    """No row should calibrate or train and validate too."""
    if set(rows.inputs) != set(validation.inputs):
        return
    raw = all(rows.inputs[n].dtype == validation.inputs[n].dtype for n in rows.inputs)
    known = set(measured if raw else fingerprints(validation, raw=False))
    shared = [i for i, mark in enumerate(fingerprints(rows, raw=raw)) if mark in known]
    share = len(shared) / len(rows)
    # Two parts of one source share rows only where the source holds a row twice, which another rule reports.
    parts = role == "calibration" and rows.source == validation.source
    serious = share > (0.5 if parts else MANY)
    if shared:
        yield Finding(
            severity="warning" if serious else "info",
            rule="data-overlap",
            what=f"{len(shared)} of {len(rows):,} {role} rows are validation rows too ({show_rows(np.array(shared))})",
            where=place(role, rows),
            consequence="accuracy is measured on rows that "
            + ("the ranges were made for" if role == "calibration" else "the model was trained on")
            + ", and comes out too good",
            remedy="calibrate on rows of the training set"
            if role == "calibration"
            else "measure on rows that the model has never seen",
        )


def different_spans(rows: Dataset, validation: Dataset, role: Role) -> Iterator[Finding]:
    """Values that calibrate, train and validate must be of one scale: within a factor of eight."""
    for name in rows.inputs:
        if name not in validation.inputs:
            continue
        have, want = (span(data.batch(name, some_rows(data))) for data in (rows, validation))
        if have is not None and want is not None and _apart(have, want):
            yield Finding(
                severity="warning",
                rule="data-scales-differ",
                what=f"{in_input(name)}{role} values span {have[0]:.3g} to {have[1]:.3g}, validation values "
                f"{want[0]:.3g} to {want[1]:.3g}",
                where=place(role, rows),
                consequence=f"{'ranges' if role == 'calibration' else 'weights'} will fit one of the two",
                remedy="store both the same way: the preprocessing of the recipe is applied to both",
            )


def unlike_build(rows: Dataset, built: Dataset) -> Iterator[Finding]:
    """Rows that a bundle is measured on again must be of the scale of those that it was built with."""
    for name in rows.inputs:
        have, want = (span(data.batch(name, some_rows(data))) for data in (rows, built))
        if have is None or want is None or not _apart(have, want):
            continue
        yield Finding(
            severity="warning",
            rule="data-scales-differ",
            what=f"{in_input(name)}values span {have[0]:.3g} to {have[1]:.3g}, those of the build {want[0]:.3g} to "
            f"{want[1]:.3g}",
            where=place("validation", rows),
            consequence="the model sees other values than it was built for",
            remedy="store the rows as those of the build: the preprocessing of its recipe is applied to both",
        )


def _apart(have: tuple[float, float], want: tuple[float, float]) -> bool:
    """Return whether two spans differ by a factor of eight."""
    if have[0] == have[1] or want[0] == want[1]:
        return False
    return not 1 / 8 < (have[1] - have[0]) / (want[1] - want[0]) < 8


def constant_features(calibration: Dataset, validation: Dataset) -> Iterator[Finding]:
    """A column of a table that varies in validation should vary in calibration; one that never varies is of no use."""
    for name, x in calibration.inputs.items():
        y = validation.inputs.get(name)
        if y is None or x.ndim != 2 or y.shape[1:] != x.shape[1:] or x.shape[1] > _FEATURES or len(x) < 2:
            continue
        still, still_there = (x == x[:1]).all(axis=0), (y == y[:1]).all(axis=0)
        unseen = np.flatnonzero(still & ~still_there)
        useless = np.flatnonzero(still & still_there & (x[0] == y[0]))
        if len(unseen) and len(unseen) < x.shape[1]:
            yield Finding(
                severity="warning",
                rule="data-feature-uncalibrated",
                what=f"{in_input(name)}columns {few([str(c) for c in unseen])} are constant in calibration and vary in "
                "validation",
                where=place("calibration", calibration),
                consequence="their values count for nothing in the ranges",
                remedy="calibrate on rows in which they vary",
            )
        if len(useless) and len(useless) < x.shape[1]:
            yield Finding(
                severity="info",
                rule="data-feature-constant",
                what=f"{in_input(name)}columns {few([str(c) for c in useless])} are constant in all rows",
                where=place("calibration", calibration),
                consequence="the model learns nothing from them",
                remedy="look at how they were recorded",
            )
