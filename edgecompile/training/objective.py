"""What fine-tuning makes smaller: the distance to a teacher's outputs, the error on labels, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import REGRESSION, class_numbers
from edgecompile.data.scores import class_labels, twin_of
from edgecompile.data.usercode import load_function, users_code
from edgecompile.errors import ConfigError
from edgecompile.metrics import default_metric
from edgecompile.training.meaning import CLASSIFIES, Meaning, meanings_of, whole_numbers
from edgecompile.units import show_shape

Array = npt.NDArray[Any]
Outputs = Sequence[Any]
Targets = Callable[[Mapping[str, Array], npt.NDArray[np.intp]], Array]
Error = Callable[[Outputs, Any], Any]
_SMALLEST = 1e-7
"""Probabilities below are taken for this one, so that their logarithm is finite; one float32 step below 1."""


@dataclass(frozen=True)
class Objective:
    """A loss over a batch.

    Attributes:
        told: what is minimised, in words, for the report.
        targets: (rows as the model takes them, their numbers in the data) → what the model is held against, [n, ...];
            None where only the teacher counts.
        rows: the rows to train on; an anomaly detector learns from normal rows only.
        distance: (model's outputs, teacher's outputs) → a scalar.
        error: (model's outputs, labels) → a scalar; None without labels.
        share: weight of error in [0, 1]; distance has the rest.
        varied: whether what is right stays so where rows are varied and the model decides the same: not for labels that
            are no classes, since a shift may move what they measure.
    """

    told: str
    targets: Targets | None
    rows: npt.NDArray[np.intp]
    distance: Callable[[Outputs, Outputs], Any] | None
    error: Error | None
    share: float
    varied: bool

    def loss(self, outputs: Outputs, taught: Outputs, labels: Any) -> Any:
        """Return the loss of a batch, a scalar tensor.

        Args:
            outputs: of the model.
            taught: of the teacher on the same rows; unused without one.
            labels: of the same rows; unused without labels.
        """
        if self.distance is None:
            assert self.error is not None, "an objective has a teacher or labels"
            return self.error(outputs, labels)
        if self.error is None:
            return self.distance(outputs, taught)
        return (1 - self.share) * self.distance(outputs, taught) + self.share * self.error(outputs, labels)


@dataclass(frozen=True)
class Wishes:
    """What the user says about the loss.

    Attributes:
        metric: name of the build's metric, or None.
        loss: `package.module:function`, or None: the loss that belongs to the metric.
        share: weight of the labels beside the teacher, in [0, 1].
        temperature: of distillation; above 1 the teacher's small probabilities count for more.
        output: number of the output that the labels belong to.
        base: folder that a user's module is looked for in first.
    """

    metric: str | None
    loss: str | None
    share: float
    temperature: float
    output: int
    base: Path


def choose(tf: Any, data: Dataset, sample: Sequence[Array], wishes: Wishes, *, taught: bool) -> Objective:
    """Return what is minimised on data.

    Args:
        tf: TensorFlow.
        data: training rows.
        sample: the model's outputs on some of them, [n, ...] each: shows what they hold.
        wishes: the user's.
        taught: whether there is a teacher.

    Raises:
        ConfigError: neither labels nor a teacher, labels that do not fit, or a user's loss that cannot be loaded.
    """
    labelled = sample[wishes.output]
    if not np.issubdtype(labelled.dtype, np.floating):
        raise whole_numbers(where="data.output")
    kind = _kind(data, labelled, wishes)
    meanings = meanings_of(sample, kind, labelled=wishes.output)
    if wishes.share or not taught:
        _check_labels(data, labelled, wishes, kind)
    hard = _hard(tf, data, wishes, sample=labelled, meaning=meanings[wishes.output], kind=kind)
    if hard is None and not taught:
        raise ConfigError(
            "the training data has no labels, and without a teacher nothing says what is right",
            where="teacher",
            hint='leave out `teacher = "none"`: the original model teaches by default',
        )
    share = 0.0 if hard is None else wishes.share if taught else 1.0
    words = [f"{1 - share:.0%} distance to the teacher"] if share < 1 else []
    words += [f"{share:.0%} {hard.told}"] if hard is not None and share > 0 else []
    return Objective(
        told=", ".join(words),
        targets=hard.targets if hard is not None and share > 0 else None,
        rows=np.arange(len(data)) if hard is None else hard.rows,
        distance=distance(tf, sample, meanings, temperature=wishes.temperature) if share < 1 else None,
        error=hard.error if hard is not None and share > 0 else None,
        share=share,
        varied=hard is None or share == 0 or hard.varied,
    )


@dataclass(frozen=True)
class _Hard:
    """What the data itself says is right; fields as those of `Objective`."""

    told: str
    targets: Targets
    error: Error
    rows: npt.NDArray[np.intp]
    varied: bool = True


def _kind(data: Dataset, sample: Array, wishes: Wishes) -> str | None:
    """Return the metric that decides what labels mean; None where no built-in one fits."""
    if wishes.metric is not None and ":" not in wishes.metric:
        return wishes.metric
    try:
        return default_metric(data, sample.shape)
    except ConfigError:
        return None


def _hard(tf: Any, data: Dataset, wishes: Wishes, *, sample: Array, meaning: Meaning, kind: str | None) -> _Hard | None:
    """Return what the data says is right for the output that sample, [n, ...], was given for; None: nothing."""
    at, every = wishes.output, np.arange(len(data))
    unit, scale = (_spread(sample), " over the spread of the output") if meaning == "values" else (1.0, "")
    labels = data.labels
    numbers = None if kind in REGRESSION else class_numbers(labels)
    if wishes.loss is not None:
        if labels is None:
            raise ConfigError("a loss of your own needs labels in the training data", where=f"loss = {wishes.loss}")
        error = _users(tf, wishes.loss, wishes.base, at)
        _ensure_slope(tf, wishes.loss, error, sample=sample, labels=np.asarray(labels), at=at)
        return _Hard(wishes.loss, _stored(np.asarray(labels)), error, every, varied=numbers is not None)
    twin = twin_of(sample.shape[1:], data) if kind == "auc" or (kind == "mse" and labels is None) else None
    if twin is not None:
        name, normal = twin, every if labels is None else np.flatnonzero(np.asarray(labels) == 0)
        return _Hard(
            f"reconstruction error (mse){scale}", lambda rows, _: rows[name], _mean_power(tf, at, 2, unit), normal
        )
    if labels is None:
        return None
    if numbers is not None and kind in (*CLASSIFIES, "auc"):
        return _Hard("cross-entropy", _stored(numbers), _cross_entropy(tf, meaning, at), every)
    power, told = (1, "mean absolute error") if kind == "mae" else (2, "mean squared error")
    error = _mean_power(tf, at, power, unit ** (power / 2))
    return _Hard(told + scale, _stored(np.asarray(labels, np.float32)), error, every, varied=False)


def _check_labels(data: Dataset, sample: Array, wishes: Wishes, kind: str | None) -> None:
    """Raise ConfigError unless labels fit the output that sample, [n, ...], was given for, where they will count."""
    row = sample.shape[1:]
    size = int(np.prod(row))
    if data.labels is None or wishes.loss is not None or (kind == "auc" and twin_of(row, data) is not None):
        return
    if class_numbers(data.labels) is not None and kind in (*CLASSIFIES, "auc"):
        class_labels(data, size, "cross-entropy")
    elif data.labels.size != len(data) * size:
        raise ConfigError(
            f"training labels are {show_shape(data.labels.shape[1:])} per row, and the output is {show_shape(row)}",
            where=data.source,
            hint='name the output that they belong to (`[data] output = "NAME"`), or set `labels = 0`: '
            "a teacher is enough",
        )


def _stored(labels: Array) -> Targets:
    return lambda _, picked: labels[picked]


def _users(tf: Any, source: str, base: Path, at: int) -> Error:
    function = load_function(source, base=base)

    def error(outputs: Outputs, labels: Any) -> Any:
        with users_code(source, base=base):
            found = function(labels, outputs[at])
        if found is None:
            raise ConfigError("returned None", where=source, hint="return one number, or one for each row")
        with users_code(source, base=base):
            return tf.reduce_mean(tf.cast(found, tf.float32))

    return error


def _ensure_slope(tf: Any, source: str, error: Error, *, sample: Array, labels: Array, at: int) -> None:
    """Raise ConfigError unless a user's loss, tried on a sample of output number at, changes with it."""
    given = tf.constant(sample)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = error([given] * (at + 1), tf.constant(np.resize(labels, (len(sample), *labels.shape[1:]))))
    if tape.gradient(loss, given) is None:
        raise ConfigError(
            "passes no gradient to the model's outputs, so nothing can be learned from it",
            where=source,
            hint="use operations of TensorFlow that have one: argmax, rounding and comparisons have none",
        )


def _mean_power(tf: Any, at: int, power: int, unit: float) -> Error:
    """Return the mean of |label - output| to a power, in units of what the teacher's distance is counted in."""

    def error(outputs: Outputs, labels: Any) -> Any:
        wanted, given = (tf.cast(x, tf.float32) for x in (labels, outputs[at]))
        return tf.reduce_mean(tf.abs(tf.reshape(wanted, tf.shape(given)) - given) ** power) / unit

    return error


def _cross_entropy(tf: Any, meaning: Meaning, at: int) -> Error:
    def error(outputs: Outputs, labels: Any) -> Any:
        given = tf.cast(tf.reshape(outputs[at], [tf.shape(labels)[0], -1]), tf.float32)
        if meaning == "logits":
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=given))
        if meaning == "logit":
            yes = tf.cast(tf.reshape(labels, [-1, 1]), tf.float32)
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=yes, logits=given))
        flat = tf.clip_by_value(given, _SMALLEST, 1 - _SMALLEST)
        if flat.shape[1] == 1:
            flat = tf.concat([1 - flat, flat], axis=1)
        return -tf.reduce_mean(tf.math.log(tf.gather(flat, labels, batch_dims=1)))

    return error


def distance(
    tf: Any, sample: Sequence[Array], meanings: Sequence[Meaning], *, temperature: float
) -> Callable[[Outputs, Outputs], Any]:
    """Return the function that says how far a model's outputs are from a teacher's, summed over outputs.

    Outputs of whole numbers do not count: no gradient passes them.

    Args:
        tf: TensorFlow.
        sample: some outputs, [n, ...] each; values are counted in units of their spread.
        meanings: what each output holds.
        temperature: of probabilities and logits.
    """
    counted = [number for number, s in enumerate(sample) if np.issubdtype(s.dtype, np.floating)]
    spreads = [_spread(s) for s in sample]

    def one(meaning: Meaning, spread: float, given: Any, taught: Any) -> Any:
        given, taught = (tf.cast(x, tf.float32) for x in (given, taught))
        if meaning != "values":
            given, taught = (tf.reshape(x, [tf.shape(x)[0], -1]) for x in (given, taught))
        if meaning == "logit":
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.sigmoid(taught), logits=given))
        if meaning in ("probabilities", "logits"):
            if meaning == "probabilities":
                given, taught = (tf.math.log(tf.maximum(x, _SMALLEST)) for x in (given, taught))
            wanted, found = (tf.nn.log_softmax(x / temperature) for x in (taught, given))
            # Kullback-Leibler; its gradient falls with the square of the temperature (Hinton et al. 2015).
            return tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - found), axis=-1)) * temperature**2
        if meaning == "probability":
            p, q = (tf.clip_by_value(x, _SMALLEST, 1 - _SMALLEST) for x in (given, taught))
            return -tf.reduce_mean(q * tf.math.log(p) + (1 - q) * tf.math.log(1 - p))
        return tf.reduce_mean((given - taught) ** 2) / spread

    def apart(outputs: Outputs, taught: Outputs) -> Any:
        return tf.add_n([one(meanings[i], spreads[i], outputs[i], taught[i]) for i in counted])

    return apart


def _spread(sample: Array) -> float:
    """Return the variance of an output over some rows, > 0."""
    return max(float(np.var(sample)), _SMALLEST)
