"""The rows of a build: loaded, split into roles, read by the linter, and fitted to the model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgecompile.artifact import Kind
from edgecompile.data.dataset import Dataset
from edgecompile.data.lint import fits, lint
from edgecompile.data.load import load_dataset
from edgecompile.data.rules import not_finite, place, unused_training
from edgecompile.data.split import split, thin
from edgecompile.data.usercode import is_function
from edgecompile.errors import ConfigError, EdgeCompileError, Problem, TextRowsError
from edgecompile.plan import Plan
from edgecompile.progress import Progress
from edgecompile.report import DataInfo, Finding
from edgecompile.steps import Rows
from edgecompile.tflite.class_names import ClassNames, class_names
from edgecompile.tflite.graph import read_graph


@dataclass(frozen=True)
class Inputs:
    """Rows by role, and what the linter found in them.

    Attributes:
        validation: rows that accuracy is measured on, or None.
        calibration: rows that set ranges, or None.
        train: rows for fine-tuning, or None.
        split: how calibration rows were chosen, in one sentence.
        findings: of the linter; none of severity `error`.
        model_names: names of classes that the model brings along; empty where it does not.
    """

    validation: Rows | None = None
    calibration: Rows | None = None
    train: Rows | None = None
    split: str = ""
    findings: tuple[Finding, ...] = ()
    model_names: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes in label order; empty when unknown."""
        known = (rows.dataset.class_names for rows in (self.validation, self.calibration) if rows is not None)
        return next((names for names in known if names), self.model_names)

    def fitted(self, shapes: Mapping[str, tuple[int, ...]]) -> Inputs:
        """Return the rows under the model's input names and shapes.

        Args:
            shapes: input name → shape with batch.

        Raises:
            ConfigError: rows do not fit; every problem of every role at once.
        """
        problems: list[Problem] = []
        found: list[Finding] = []

        def fit(rows: Rows | None, role: str) -> Rows | None:
            if rows is None:
                return None
            try:
                dataset, findings = fits(rows.dataset, shapes, role=role)
            except ConfigError as error:
                problems.extend(error.problems)
                return rows
            found.extend(f for f in findings if f not in found)
            return rows if dataset is rows.dataset else Rows.of(dataset)

        fitted = replace(
            self,
            validation=fit(self.validation, "validation"),
            calibration=fit(self.calibration, "calibration"),
            train=fit(self.train, "train"),
        )
        if problems:
            raise ConfigError.of(list(dict.fromkeys(problems)))
        return replace(fitted, findings=(*self.findings, *found))

    def info(self, plan: Plan, *, trained: bool) -> DataInfo:
        """Return what the report says about the rows; trained: whether a pass used those for training."""
        how = plan.recipe.data
        return DataInfo(
            validation_source=_shown(how.validation),
            validation_sha256=self.validation.sha256 if self.validation else "",
            validation_rows=len(self.validation.dataset) if self.validation else 0,
            calibration_source=_shown(how.calibration or how.validation) if self.calibration else "",
            calibration_rows=len(self.calibration.dataset) if self.calibration else 0,
            split=self.split,
            train_source=_shown(how.train) if trained else "",
            train_rows=len(self.train.dataset) if trained and self.train else 0,
            preprocessing=how.model_dump(mode="json", include={"preprocess", "inputs"}, exclude_defaults=True),
        )


def load_inputs(plan: Plan, progress: Progress) -> Inputs:
    """Return the rows of plan by role.

    Raises:
        TextRowsError: sources that hold text and no numbers.
        ConfigError: sources that cannot be read (all at once), or rows that make every later number meaningless.
    """
    how = plan.recipe.data
    sources = {role: getattr(how, role) for role in ("validation", "calibration", "train")}
    brought = _brought(plan)
    if not any(sources.values()):
        return Inputs(model_names=brought.names)
    progress.start("data")
    loaded = _load_all(plan, {role: source for role, source in sources.items() if source is not None})
    if brought.axis and how.labels is None:
        loaded = {role: rows.numbered(brought.names) for role, rows in loaded.items()}
    validation, calibration, sentence = loaded.get("validation"), loaded.get("calibration"), ""
    train = loaded.get("train")
    if train is not None:
        _stop_at(not_finite(train, place("training", train)))
    if calibration is not None:
        calibration, sentence = thin(calibration, rows=how.calibration_rows, seed=how.seed)
    elif validation is not None:
        # Before the split: a row that is named must be the row of the file.
        _stop_at(not_finite(validation, place("validation", validation)))
        calibration, validation, sentence = split(validation, rows=how.calibration_rows, seed=how.seed)
    trains = any("train" in step.uses for target in plan.targets for step in target.passes)
    findings = lint(calibration, validation, train=train if trains else None, section=how)
    if train is not None and not trains:
        findings = (*findings, *unused_training(train))
    _stop_at(findings)
    inputs = Inputs(
        validation=_rows(validation),
        calibration=_rows(calibration),
        train=_rows(train),
        split=sentence,
        findings=findings,
        model_names=brought.names,
    )
    progress.finish("data", note=_counts(inputs))
    return inputs


def _brought(plan: Plan) -> ClassNames:
    """Return the class names that a `.tflite` brings along for the output that is scored."""
    if plan.kind is not Kind.TFLITE:
        return ClassNames()
    graph = read_graph(plan.source)
    found, names = class_names(plan.source, graph), graph.output_names()
    scored = names.index(plan.recipe.data.output) if plan.recipe.data.output in names else 0
    return found if found.output == scored else ClassNames()


def _stop_at(findings: Iterable[Finding]) -> None:
    """Raise ConfigError with every finding of severity `error`."""
    fatal = [Problem(f.what, f.where, f.remedy) for f in findings if f.severity == "error"]
    if fatal:
        raise ConfigError.of(fatal)


def _load_all(plan: Plan, sources: Mapping[str, str]) -> dict[str, Dataset]:
    loaded: dict[str, Dataset] = {}
    problems: list[Problem] = []
    kind: type[ConfigError] = ConfigError
    for role, source in sources.items():
        try:
            loaded[role] = load_dataset(source, plan.recipe.data, base=plan.base)
        except EdgeCompileError as error:
            if not isinstance(error, ConfigError):
                raise
            problems.extend(error.problems)
            kind = TextRowsError if isinstance(error, TextRowsError) else kind
    if problems:
        raise kind.of(list(dict.fromkeys(problems)))
    return loaded


def _rows(dataset: Dataset | None) -> Rows | None:
    return None if dataset is None else Rows.of(dataset)


def _counts(inputs: Inputs) -> str:
    roles: Mapping[str, Rows | None] = {
        "validation": inputs.validation,
        "calibration": inputs.calibration,
        "training": inputs.train,
    }
    return ", ".join(f"{len(rows.dataset):,} {role}" for role, rows in roles.items() if rows is not None)


def _shown(source: str | None) -> str:
    """Return a data source as reports name it: without folders, which differ from machine to machine."""
    return "" if source is None else source if is_function(source) else Path(source).name
