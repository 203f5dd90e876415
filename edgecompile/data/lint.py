"""Look for what is wrong with calibration, training and validation data before anything is built on it.

Rules are functions in `rules` (one dataset) and `pairs` (two); each one's docstring is the rule. `fits`, `lint_model`
and `lint_score` belong to this interface too and live in modules of their own.
"""

from __future__ import annotations

from edgecompile.data import pairs, rules
from edgecompile.data.chance import candidates, far_better, is_poor, lint_score, near_guess
from edgecompile.data.dataset import Dataset
from edgecompile.data.firstlayer import lint_model
from edgecompile.data.fit import fits
from edgecompile.data.pairs import unlike_build
from edgecompile.recipe import DataSection
from edgecompile.report import Finding

__all__ = [
    "candidates",
    "far_better",
    "fits",
    "is_poor",
    "lint",
    "lint_model",
    "lint_score",
    "near_guess",
    "unlike_build",
]


def lint(
    calibration: Dataset | None, validation: Dataset | None, *, section: DataSection, train: Dataset | None = None
) -> tuple[Finding, ...]:
    """Return what is wrong with the data by itself, most severe first; findings of severity `error` must stop a build.

    Args:
        calibration: rows that set ranges, or None.
        validation: rows that accuracy is measured on, or None.
        section: as the data was loaded with.
        train: rows that passes train on, or None.
    """
    findings: list[Finding] = []
    for role, data in (("calibration", calibration), ("validation", validation)):
        if data is not None:
            for rule in (rules.not_finite, rules.constant_input, rules.scaling):
                findings += rule(data, rules.place(role, data))
    marks = [] if validation is None else pairs.fingerprints(validation, raw=True)
    if calibration is not None:
        findings += rules.few_calibration(calibration)
    if train is not None:
        findings += rules.few_training(train)
    if validation is not None:
        findings += [*rules.few_validation(validation), *rules.classes_without_rows(validation)]
        findings += rules.duplicates(validation, marks)
        if section.metric in (None, "top1"):
            findings += rules.imbalance(validation)
    others: tuple[tuple[pairs.Role, Dataset | None], ...] = (("calibration", calibration), ("training", train))
    for name, rows in others:
        if rows is not None and validation is not None:
            findings += pairs.class_not_among(rows, validation, name)
            findings += pairs.overlap(rows, validation, marks, name)
            findings += pairs.different_spans(rows, validation, name)
    if calibration is not None and validation is not None:
        findings += pairs.constant_features(calibration, validation)
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(findings, key=lambda finding: order[finding.severity]))
