"""Report: what was done, what came out, and how each number was obtained.

`report.json` is a `Report`; `docs/report.schema.json` is its published schema. `SCHEMA_VERSION` grows with every
change that a reader could notice. A report holds no clock, no host name and no path of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from edgecompile.accuracy import Accuracy, Chance, Flips, Interval, OutputError, PerClass, Sample, Score
from edgecompile.config import Frozen
from edgecompile.payoff import Payoff
from edgecompile.target import Memory, Source

__all__ = [
    "SCHEMA_VERSION",
    "Accuracy",
    "Chance",
    "Check",
    "DataInfo",
    "Finding",
    "Flips",
    "How",
    "Interval",
    "ModelInfo",
    "OutputError",
    "Parity",
    "PerClass",
    "Report",
    "Sample",
    "Score",
    "Sizes",
    "Step",
    "TargetInfo",
    "TensorInfo",
    "Verdict",
]

SCHEMA_VERSION: Final = 1

How = Literal["measured", "estimated", "modelled"]
"""measured: run or counted. estimated: computed from what was measured. modelled: from a model of the device."""

Verdict = Literal["pass", "fail", "not-proven"]
"""pass: every promise is kept. not-proven: only checks are missed without which the others say nothing, such as a float
model that does no better than guessing. fail: anything else is missed."""


class Check(Frozen):
    """One promise and what came out of it."""

    name: str
    """Stable identifier: `accuracy-drop`, `model-size`."""
    title: str
    """The promise, for people."""
    actual: float
    """The value found."""
    limit: float
    """The value promised."""
    relation: Literal["at most", "at least", "above"]
    """How actual must stand to limit."""
    unit: str
    """`points` (difference of fractions, shown as percentage points), `fraction`, `metric` (the metric's own units),
    `bytes`, `codes`, `count`, `output` (units of the model's output)."""
    how: How
    """How actual was obtained."""
    detail: str = ""
    """On what it was measured."""
    remedy: str = ""
    """What to do next; empty when the promise is kept."""
    missed: Literal["fail", "not-proven"] = "fail"
    """The verdict when this is missed alone."""

    @property
    def ok(self) -> bool:
        """Whether the promise is kept."""
        if self.relation == "above":
            return self.actual > self.limit
        return self.actual <= self.limit if self.relation == "at most" else self.actual >= self.limit


class Finding(Frozen):
    """Something the user should know: the rule, where it applies, what follows, what to do."""

    severity: Literal["info", "warning", "error"]
    rule: str
    """Stable identifier of the rule: `data-nan`, `op-float`."""
    what: str
    """The rule, and how this case stands to it, in one sentence."""
    where: str = ""
    """Layer, op, file or data column."""
    consequence: str = ""
    """What follows when nothing is done."""
    remedy: str = ""
    """What to do."""


class Parity(Frozen):
    """Source model against its float `.tflite`."""

    reference: str
    """What was run as the reference: `tf_keras`, `keras 3`, `saved model`."""
    rows: int
    output: str = ""
    """The output that came nearest to its tolerance, or went furthest beyond it."""
    max_abs: float
    """Largest absolute difference on that output; where it is within the tolerance, at most this: a tenth of the
    tolerance or all of it. The difference itself is another one on every processor."""
    tolerance: float
    """Largest difference that counts as the same."""
    reason: str = ""
    """Why that much, in one sentence."""


class TensorInfo(Frozen):
    """One input or output of the result."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class ModelInfo(Frozen):
    """The source model."""

    name: str
    format: str
    """`keras v3`, `keras h5`, `saved model`, `tflite`."""
    sha256: str
    bytes: int


class Step(Frozen):
    """One step that was run, and what was read back from the file it wrote."""

    name: str
    fields: Mapping[str, Any] = Field(default_factory=dict)
    facts: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    bytes: int = 0
    """Size of the file it gave."""


class Sizes(Frozen):
    """Bytes before and after."""

    source_bytes: int
    float_bytes: int
    result_bytes: int
    result_gzip_bytes: int


class DataInfo(Frozen):
    """The rows that were used, and for what."""

    validation_source: str = ""
    validation_sha256: str = ""
    validation_rows: int = 0
    calibration_source: str = ""
    calibration_rows: int = 0
    split: str = ""
    """How calibration rows were chosen, in one sentence."""
    train_source: str = ""
    train_rows: int = 0
    """Rows that passes trained on, those held out to compare epochs included; 0 where none of them trains."""
    preprocessing: Mapping[str, Any] = Field(default_factory=dict)


class TargetInfo(Frozen):
    """The target as the report names it."""

    name: str
    title: str
    backend: str
    memory: Memory = Memory()
    sources: tuple[Source, ...] = ()


class Report(Frozen):
    """Everything that a build found out about one model on one target."""

    schema_version: Literal[1] = SCHEMA_VERSION
    edgecompile: str
    """Version that wrote this."""
    verdict: Verdict
    headline: tuple[str, ...]
    """First lines: what missed or was not done, and what to do next; then the result in a sentence."""
    model: ModelInfo
    target: TargetInfo
    recipe: str
    """Name of the recipe, or `project file`."""
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()
    """What was not checked, and why, in sentences."""
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    sizes: Sizes
    data: DataInfo = DataInfo()
    payoff: Payoff | None = None
    """None: no pass of the recipe trains."""
    parity: Parity | None = None
    accuracy: Accuracy | None = None
    """None: no validation data was given; the headline says so."""
    compiled: str = ""
    """What the target's own compiler did, or why it was not run; empty: the target has none."""
    backend: Mapping[str, Any] = Field(default_factory=dict)
    """What the backend adds: memory plans, op mappings."""
    libraries: Mapping[str, str] = Field(default_factory=dict)
    """Name → version of the libraries that shaped the result."""
