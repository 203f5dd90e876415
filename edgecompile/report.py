"""Report: what was done, what came out, and how each number was obtained.

`report.json` is a `Report`; `docs/report.schema.json` is its published schema. `SCHEMA_VERSION` grows with every
change that a reader could notice. A report holds no clock, no host name and no path of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from edgecompile.config import Frozen
from edgecompile.payoff import Payoff
from edgecompile.target import Memory, Source

SCHEMA_VERSION: Final = 1

How = Literal["measured", "estimated", "modelled"]
"""measured: run or counted. estimated: computed from what was measured. modelled: from a model of the device."""


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
    relation: Literal["at most", "at least"]
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

    @property
    def ok(self) -> bool:
        """Whether the promise is kept."""
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


class Interval(Frozen):
    """A 95% confidence interval."""

    low: float
    high: float
    method: str
    """`Wilson score` for shares of rows, `adjusted Wald for pairs` for their drop, `bootstrap percentile …` for the
    rest; what was drawn (rows or groups) and how often is said there."""


class Score(Frozen):
    """A metric on the validation rows."""

    value: float
    interval: Interval
    n: int
    """Rows (or groups, where the metric scores groups) behind the value."""


class Flips(Frozen):
    """Paired decisions of the float model and the result on the same rows."""

    both_right: int
    both_wrong: int
    lost: int
    """Right in float, wrong in the result."""
    gained: int
    """Wrong in float, right in the result."""
    p: float
    """Exact two-sided McNemar p of lost against gained, for independent rows."""


class PerClass(Frozen):
    """Recall of one class before and after."""

    label: str
    n: int
    float_recall: float
    result_recall: float


class OutputError(Frozen):
    """How far the result's output tensor is from the float model's on the validation rows."""

    output: str
    cosine: float
    """Mean cosine similarity over rows, to 5 decimals; two rows of zeros count as 1, a row of zeros against another as
    0."""
    sqnr_db: float | None
    """Signal to quantization noise, to 0.1 dB: 10 log10(sum f^2 / sum (f-r)^2). None: no difference at all (`max_abs`
    is 0), or no signal (the float output is 0 everywhere)."""
    max_abs: float
    """Largest absolute difference, to 3 significant digits."""


class Sample(Frozen):
    """A validation row on which the result went most wrong."""

    row: int
    label: str
    float_says: str
    result_says: str
    loss: float
    """Rise of the error on this row against the float model, to 3 significant digits; `Accuracy.worst_by` says of which
    error."""


class Accuracy(Frozen):
    """Float model against result on the validation rows."""

    metric: str
    higher_is_better: bool
    unit: Literal["fraction", "metric"] = "metric"
    """fraction: a share of rows, shown as a percentage. metric: a number in the metric's own units."""
    counted: Literal["rows", "groups"] = "rows"
    """What `n` of the scores counts."""
    independent: int = 0
    """Rows, or groups of rows that depend on each other, that intervals stand on; 0: as many as the scores count."""
    output: str = ""
    """The model output that the metric reads."""
    reference: str = "float model"
    """What the result is compared with: `float model`, or `source model` where the source is quantized already."""
    float_score: Score
    result_score: Score
    drop: float
    """How much worse the result is, in the metric's units; negative: better."""
    drop_interval: Interval
    """Of the drop, from the same rows in pairs: narrower than the scores' own intervals suggest."""
    within_noise: bool
    """Whether chance alone would often (p >= 0.05) give such a drop or gain: exact McNemar where the metric is a share
    of independent rows; else whether the drop's interval holds 0, and always on fewer than 6 rows or groups."""
    agreement: float | None = None
    """Share of rows with the same decision; None where outputs are not decisions."""
    flips: Flips | None = None
    per_class: tuple[PerClass, ...] = ()
    outputs: tuple[OutputError, ...] = ()
    worst: tuple[Sample, ...] = ()
    """Rows where the result lost most; rows that the float model had right and the result has wrong come first."""
    worst_by: str = ""
    """What `Sample.loss` is, in words."""
    tied_rows: int = 0
    """Rows on which several classes share the result's largest score: the first counts, a device may take another."""
    nonfinite_rows: int = 0
    """Rows on which the result gave NaN or infinity."""
    kernels: str = ""
    """The interpreter that the result was measured on."""
    fidelity: str = ""
    """How faithfully that interpreter stands for the device."""


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
    verdict: Literal["pass", "fail"]
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
