"""Measure a bundle again: its model on rows that the user gives, beside what its report says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Runnable
from edgecompile.bundle.check import CheckedBundle
from edgecompile.bundle.golden import GoldenInfo
from edgecompile.config import parse
from edgecompile.data.dataset import Dataset
from edgecompile.data.fit import fits
from edgecompile.data.lint import lint, lint_model, lint_score, near_guess, unlike_build
from edgecompile.data.load import load_dataset
from edgecompile.data.split import split
from edgecompile.errors import ConfigError, Problem, pick
from edgecompile.metrics import default_metric, load_metric
from edgecompile.progress import Progress
from edgecompile.recipe import DataSection, GateSection
from edgecompile.report import Accuracy, Check, Finding
from edgecompile.target import Target
from edgecompile.tflite.feeds import dequantize_rows
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.runner import predict
from edgecompile.verify import accuracy, check_chance, check_gate, check_warnings, kernel_sets, show_score
from edgecompile.verify.scores import minus

_OTHER_FOLDERS = ("validation", "calibration", "train", "labels")
"""Keys that name files of the machine that built the bundle."""
_AS_BUILT = "store rows and class numbers as those that the build measured on: its preprocessing is applied to both"


@dataclass(frozen=True)
class Again:
    """What a bundle's model scores now.

    Attributes:
        accuracy: the model set against itself; `result_score` is what it scores, the comparison says nothing.
        same_rows: whether these are the rows that the build measured on.
        checks: the gate of the build or of the caller, as far as these rows can answer it.
        findings: of the linter on these rows.
    """

    accuracy: Accuracy
    same_rows: bool
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)


def remeasure(
    bundle: CheckedBundle,
    source: str,
    *,
    base: Path,
    progress: Progress,
    gate: Mapping[str, Any] = MappingProxyType({}),
) -> Again:
    """Return what the model of bundle scores on the rows of source, by the bundle's own preprocessing and metric.

    The float model is not in the bundle: the loss against it is checked with the float score from the report, where
    the rows are those of the build or the caller sets `max_drop`.

    Args:
        bundle: checked; its report and model are as they were written.
        source: as for `--data`.
        base: folder that a relative source starts from.
        progress: told of the rows that are done.
        gate: keys of `[gate]` over those of the build.

    Raises:
        ConfigError: the bundle's model or report was changed, rows cannot be read or do not fit, or every number
            measured on them would be meaningless.
        ModelError: no interpreter here runs the model.
    """
    if bundle.host_model is None or bundle.report is None:
        raise ConfigError(
            "the model or the report is not as it was built, so accuracy cannot be measured again", hint="build again"
        )
    recipe = bundle.manifest.provenance.recipe
    how = _data_section(recipe, bundle.host_model.parent)
    graph = read_graph(bundle.host_model)
    rows, same = _rows(load_dataset(source, how, base=base), graph, how, sha256=bundle.report.data.validation_sha256)
    causes, others = _findings(bundle, rows, graph, how)
    backend = BACKENDS[pick(_target(bundle).backend, BACKENDS, what="backend", where="manifest.json")]
    stands_for = backend.runnable(Artifact.of(bundle.host_model, Kind.TFLITE), _target(bundle))
    sound = kernel_sets([step.facts for step in bundle.report.steps]).instead(stands_for)
    limits = parse(GateSection, {**recipe.get("gate", {}), **gate}, where="gate")
    built = bundle.report.accuracy if same or "max_drop" in gate else None
    now = _score(sound, rows, graph, how, built=built, gate=limits, base=base, progress=progress)
    check_gate(limits, metric=now.metric)
    unlike = _unlike_checks(now, bundle.report.accuracy, causes)
    # Where the cause is told, the score needs no guess at it.
    scores = () if unlike else lint_score(now.metric, now.result_score.value, rows, chance=now.chance, whose="result")
    scores = tuple(f.model_copy(update={"remedy": _AS_BUILT}) for f in scores)
    findings = (*causes, *scores, *others)
    checks = list(unlike)
    if not limits.allow_chance:
        checks += check_chance(now, scores, whose="result")
    checks += _checks(now, built, limits, same=same)
    if "warning" in limits.fail_on:
        checks.append(check_warnings(findings))
    return Again(now, same, tuple(checks), findings)


def _findings(
    bundle: CheckedBundle, rows: Dataset, graph: Graph, how: DataSection
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return how rows are unlike those that the model was built for, and what is wrong with them by themselves."""
    found = lint(None, rows, section=how)
    if fatal := [Problem(f.what, f.where, f.remedy) for f in found if f.severity == "error"]:
        raise ConfigError.of(fatal)
    golden = _golden_rows(bundle, graph)
    unlike = () if golden is None else tuple(unlike_build(rows, golden))
    return (*unlike, *lint_model(rows, graph)), found


def _unlike_checks(now: Accuracy, built: Accuracy | None, causes: Sequence[Finding]) -> tuple[Check, ...]:
    """Return a missed check where rows are unlike those of the build and the score is near chance or far below."""
    score, chance = now.result_score, now.chance
    near = chance is not None and near_guess(now.metric, score.value, chance.guess)
    below = built is not None and (
        score.interval.high < built.result_score.interval.low
        if now.higher_is_better
        else score.interval.low > built.result_score.interval.high
    )
    if not causes or not (near or below):
        return ()
    before = "" if built is None else f", and the build measured {show_score(built, built.result_score.value)}"
    return (
        Check(
            name="rows-as-built",
            title="signs that these rows are not stored as those of the build",
            actual=len(causes),
            limit=0,
            relation="at most",
            unit="count",
            how="measured",
            detail=f"{causes[0].what}; {now.metric} is {show_score(now, score.value)} on them{before}",
            remedy=_AS_BUILT if built is not None else causes[0].remedy,
            missed="not-proven",
        ),
    )


def _golden_rows(bundle: CheckedBundle, graph: Graph) -> Dataset | None:
    """Return inputs of the golden vectors as reals; None where they are random."""
    assert bundle.host_model is not None
    folder = bundle.host_model.parent
    golden = parse(GoldenInfo, json.loads((folder / "golden.json").read_text("utf-8")), where="golden.json")
    if not golden.rows:
        return None
    inputs = {}
    with np.load(folder / "golden.npz", allow_pickle=False) as held:
        for i, (index, name) in enumerate(zip(graph.inputs, graph.input_names(), strict=True)):
            codes, how = held[f"input_{i}"], graph.tensors[index].quantization
            if how is not None and codes.dtype.kind in "iu":
                codes = dequantize_rows(codes, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
            inputs[name] = codes
    return Dataset(inputs, source="golden.npz")


def _data_section(recipe: Mapping[str, Any], bundle: Path) -> DataSection:
    """Return how the build read its rows; class names come from the bundle itself."""
    keys = {k: v for k, v in recipe.get("data", {}).items() if k not in _OTHER_FOLDERS}
    labels = bundle / "labels.txt"
    return parse(DataSection, {**keys, **({"labels": str(labels)} if labels.is_file() else {})}, where="manifest.json")


def _target(bundle: CheckedBundle) -> Target:
    return parse(Target, bundle.manifest.provenance.target, where="manifest.json")


def _rows(loaded: Dataset, graph: Graph, how: DataSection, *, sha256: str) -> tuple[Dataset, bool]:
    """Return the rows to measure on, and whether the build measured on the same.

    A build with one data set calibrates on a part of it; given the whole set again, the rest is what it measured on.
    """
    shapes = {n: graph.tensors[i].shape_signature for n, i in zip(graph.input_names(), graph.inputs, strict=True)}
    whole, _ = fits(loaded, shapes, role="validation")
    if whole.sha256() == sha256:
        return whole, True
    if len(loaded) > 1:
        rest, _ = fits(split(loaded, rows=how.calibration_rows, seed=how.seed)[1], shapes, role="validation")
        if rest.sha256() == sha256:
            return rest, True
    return whole, False


def _score(
    stands_for: Runnable,
    rows: Dataset,
    graph: Graph,
    how: DataSection,
    *,
    built: Accuracy | None,
    gate: GateSection,
    base: Path,
    progress: Progress,
) -> Accuracy:
    progress.start("measure", detail=f"{len(rows):,} rows")
    outputs = predict(stands_for.model, rows, kernels=stands_for.kernels, progress=progress, step="measure")
    progress.finish("measure")
    name = how.output or next(iter(outputs))
    shape = outputs[pick(name, outputs, what="output", where="data.output")].shape
    return accuracy(
        float_outputs=outputs,
        result_outputs=outputs,
        float_graph=graph,
        result_graph=graph,
        data=rows,
        metric=load_metric(how.metric or default_metric(rows, shape), base=base),
        kernels=stands_for.kernels,
        fidelity=stands_for.fidelity,
        output=how.output,
        gate=gate,
        against=None if built is None else built.float_score.value,
        seed=how.seed,
    )


def _checks(now: Accuracy, built: Accuracy | None, gate: GateSection, *, same: bool) -> tuple[Check, ...]:
    up, value = now.higher_is_better, now.result_score.value
    n = f"{now.result_score.n:,} {now.counted}, {now.kernels} kernels"
    found = []
    if built is not None:
        better, worse = (built.float_score.value, value) if up else (value, built.float_score.value)
        found.append(
            Check(
                name="accuracy-drop",
                title=f"drop of {now.metric} against the {built.reference}",
                # Rounded: a loss of exactly the limit must not miss it by the last bit of a float.
                actual=round(better - worse, 12) if now.unit == "fraction" else minus(better, worse),
                limit=gate.max_drop,
                relation="at most",
                unit="points" if now.unit == "fraction" else "metric",
                how="measured",
                detail=f"the score of the {built.reference} is the report's{'' if same else ', on other rows'}; {n}",
            )
        )
    if gate.min is not None:
        found.append(
            Check(
                name="accuracy-min",
                title=f"{now.metric} of the result",
                actual=value,
                limit=gate.min,
                relation="at least" if up else "at most",
                unit=now.unit,
                how="measured",
                detail=n,
            )
        )
    return tuple(found)
