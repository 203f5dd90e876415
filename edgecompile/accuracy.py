"""Accuracy: what was measured on the float model and on the result, as values that the report holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from edgecompile.config import Frozen


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
    """Rise of the error on this row against the float model, to the third digit of the largest; `Accuracy.worst_by`
    says of which error."""


class Chance(Frozen):
    """What answers without looking at the input score on the same rows, and whether the float model does better."""

    guess: float
    """Their score."""
    answer: str
    """How they answer: ``always answering `cat` ``, `guessing`."""
    lead: Interval
    """Of the float model over them, in the metric's units; positive: better. Of pairs of rows where the guess has
    right rows or errors of its own, else of the float score alone."""
    units: int
    """Independent rows or groups that lead stands on."""
    proven: bool
    """Whether lead lies above 0, on 6 units or more: the float model does better than guessing, beyond noise."""
    tried: Mapping[str, float] = Field(default_factory=dict)
    """Usual preprocessing → score of the float model on some of the rows under it; tried where the score is less than
    halfway from the guess to perfect, and only what is far better than score and guess is listed."""


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
    chance: Chance | None = None
    """None: nothing is known about guesses under this metric (users' own) or these labels."""
