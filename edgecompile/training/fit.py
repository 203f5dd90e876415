"""One seeded fine-tuning loop for every pass that trains.

The model that a pass gives is small and its data often few: a cosine schedule with a short warm-up, Adam, gradients of
limited length, and the weights of the epoch that did best on rows held out from the training data. The validation
data of the build is never seen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.progress import Progress
from edgecompile.training.augment import Augment
from edgecompile.training.objective import Objective
from edgecompile.training.shapes import Port
from edgecompile.training.source import Call

Array = npt.NDArray[Any]


class Run(Protocol):
    """Runs a model on tensors."""

    def __call__(self, inputs: Sequence[Any], *, training: bool) -> Sequence[Any]:
        """Return output tensors for input tensors, both in the model's order; training: its layers run as in it."""


OnStep = Callable[[int, int], None]
"""(number of the step, how many there will be); called before each."""

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises from 0; Adam's moments are noise at first."""
CLIP = 1.0
"""Longest gradient (global norm): one bad batch must not undo a trained model."""
HELD_OUT = 0.1
"""Share of the training rows that epochs are compared on …"""
MOST_HELD_OUT = 2000
"""… and how many of them at most: the standard error of a mean over 2,000 rows is small enough."""
FEWEST_HELD_OUT = 8
"""With fewer, epochs are not compared and the last one counts."""


@dataclass(frozen=True)
class Settings:
    """How long and how fast.

    Attributes:
        epochs: times that all training rows are seen.
        rate: largest learning rate of Adam.
        batch: rows a step.
        seed: of order, augmentation and the held-out rows.
        augment: how rows are varied.
    """

    epochs: int
    rate: float
    batch: int
    seed: int
    augment: Augment = field(default_factory=Augment)


@dataclass
class Student:
    """The model that is trained.

    Attributes:
        run: the model, with everything that training puts into it (masks, rounding).
        variables: what gradients change.
        state: every variable whose value belongs to the result: weights, moving statistics, ranges.
        on_step: moves a schedule on.
        kept_from: share of the steps after which an epoch may be kept: before, a schedule has not reached its end.
    """

    run: Run
    variables: Sequence[Any]
    state: Sequence[Any]
    on_step: OnStep | None = None
    kept_from: float = 0.0


@dataclass(frozen=True)
class History:
    """What came out of a fine-tuning.

    Attributes:
        losses: mean training loss of each epoch.
        held_out: loss on the held-out rows before the first epoch and after each; empty where there were too few rows.
        best: number of the epoch that was kept, from 1; 0 where the model was best before the first.
        steps: how many steps were taken.
    """

    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    best: int
    steps: int


def fit(
    tf: Any,
    keras: Any,
    student: Student,
    teacher: Call | None,
    *,
    ports: Sequence[Port],
    data: Dataset,
    objective: Objective,
    settings: Settings,
    progress: Progress,
    step: str,
) -> History:
    """Train student and leave the weights of the best epoch in it.

    Args:
        tf: TensorFlow.
        keras: tf_keras.
        student: the model; changed in place.
        teacher: gives the outputs that student is held against, or None.
        ports: the model's inputs, in order.
        data: training rows.
        objective: what becomes smaller.
        settings: how long and how fast.
        progress: told of every step with the loss so far.
        step: name of the pass there.

    Raises:
        PassError: the loss is NaN or infinite.
    """
    rng = np.random.default_rng(settings.seed)
    training, held_out = split_rows(objective.rows, rng, batch=settings.batch)
    feeder = Feeder(data.renamed(tuple(p.name for p in ports)), ports, objective, settings.augment)
    steps_an_epoch = max(1, len(training) // settings.batch)
    trainer = _Trainer(
        tf, keras, student, teacher, objective, steps=settings.epochs * steps_an_epoch, rate=settings.rate
    )
    chooser = _Best(student, trainer, feeder, held_out, settings.batch)
    losses = []
    for epoch in range(settings.epochs):
        order = np.resize(rng.permutation(training), steps_an_epoch * settings.batch)
        total = 0.0
        for number, picked in enumerate(np.split(order, steps_an_epoch)):
            at = epoch * steps_an_epoch + number
            if student.on_step is not None:
                student.on_step(at, trainer.steps)
            total += trainer.step(at, *feeder.batch(picked, rng))
            if not math.isfinite(total):
                raise PassError(
                    f"training diverged: the loss is {total} at step {at + 1} of {trainer.steps}",
                    where=step,
                    hint="lower `learning_rate`; look at the training rows, and at `loss` where it is your own",
                )
            mean = total / (number + 1)
            progress.update(step, done=at + 1, total=trainer.steps, note=f"epoch {epoch + 1}, loss {mean:.4g}")
        losses.append(total / steps_an_epoch)
        chooser.look(epoch + 1, done=(epoch + 1) / settings.epochs)
    return History(tuple(losses), tuple(chooser.losses), chooser.restore(), trainer.steps)


def split_rows(
    rows: npt.NDArray[np.intp], rng: np.random.Generator, *, batch: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return (training rows, held-out rows); none is held out where a batch would not be left.

    Held-out rows come in random order: a batch of them is a sample of all, however the data is sorted.
    """
    mixed = rng.permutation(rows)
    out = min(int(len(rows) * HELD_OUT), MOST_HELD_OUT)
    if out < FEWEST_HELD_OUT or len(rows) - out < batch:
        return np.sort(mixed), mixed[:0]
    return np.sort(mixed[out:]), mixed[:out]


def full_batches(rows: npt.NDArray[np.intp], batch: int) -> list[npt.NDArray[np.intp]]:
    """Return rows in batches that are all full, since models with a fixed batch take nothing else: first ones again."""
    count = -(-len(rows) // batch)
    return np.split(np.resize(rows, count * batch), count) if count else []


class Feeder:
    """Takes rows out of a dataset as a model takes them, varied where they train."""

    def __init__(self, data: Dataset, ports: Sequence[Port], objective: Objective, augment: Augment) -> None:
        self._data, self._ports, self._objective, self._augment = data, ports, objective, augment

    def batch(self, picked: npt.NDArray[np.intp], rng: np.random.Generator | None = None) -> tuple[list[Array], Array]:
        """Return inputs in the model's order and labels (an empty array where none count); rng: vary the rows."""
        rows = {p.name: self._data.batch(p.name, picked).astype(p.dtype, copy=False) for p in self._ports}
        if rng is not None:
            rows = self._augment(rows, rng)
        targets = self._objective.targets
        labels = np.zeros(len(picked), np.float32) if targets is None else targets(rows, picked)
        return [rows[p.name] for p in self._ports], labels


def rate_at(step: int, steps: int, largest: float) -> float:
    """Return the learning rate of a step: up in a straight line, then down along half a cosine to 0."""
    warm = max(1, int(steps * WARM_UP))
    if step < warm:
        return largest * (step + 1) / (warm + 1)
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class _Trainer:
    """Takes steps with Adam."""

    def __init__(
        self,
        tf: Any,
        keras: Any,
        student: Student,
        teacher: Call | None,
        objective: Objective,
        *,
        steps: int,
        rate: float,
    ) -> None:
        self.steps, self._rate, self._tf = steps, rate, tf
        self._optimizer = keras.optimizers.Adam(learning_rate=0.0, global_clipnorm=CLIP)
        self._optimizer.build(list(student.variables))
        variables, optimizer = list(student.variables), self._optimizer

        def loss_of(inputs: Sequence[Any], labels: Any, *, training: bool) -> Any:
            taught = [] if teacher is None else list(teacher(inputs))
            return objective.loss(student.run(inputs, training=training), taught, labels)

        def take(inputs: Sequence[Any], labels: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(inputs, labels, training=True)
            gradients = tape.gradient(loss, variables)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            optimizer.apply_gradients(pairs)
            return loss

        self._take = tf.function(take, reduce_retracing=True, autograph=False)
        self._look = tf.function(
            lambda inputs, labels: loss_of(inputs, labels, training=False), reduce_retracing=True, autograph=False
        )

    def step(self, at: int, inputs: Sequence[Array], labels: Array) -> float:
        """Take step number at, and return the loss before it."""
        self._optimizer.learning_rate.assign(rate_at(at, self.steps, self._rate))
        return float(self._take(self._tensors(inputs), self._tf.constant(labels)))

    def look(self, inputs: Sequence[Array], labels: Array) -> float:
        """Return the loss on rows, without training."""
        return float(self._look(self._tensors(inputs), self._tf.constant(labels)))

    def _tensors(self, inputs: Sequence[Array]) -> list[Any]:
        return [self._tf.constant(x) for x in inputs]


class _Best:
    """Remembers the state after the epoch that did best on the held-out rows."""

    def __init__(
        self, student: Student, trainer: _Trainer, feeder: Feeder, rows: npt.NDArray[np.intp], batch: int
    ) -> None:
        self._student, self._trainer, self._feeder = student, trainer, feeder
        self._batches = full_batches(rows, batch)
        self._kept: list[Array] | None = None
        self._epoch, self._loss = 0, math.inf
        self.losses: list[float] = []
        if self._batches:
            self.look(0, done=0.0)

    def _measure(self) -> float:
        return float(np.mean([self._trainer.look(*self._feeder.batch(picked)) for picked in self._batches]))

    def look(self, epoch: int, *, done: float) -> None:
        """Measure after an epoch (0: before the first), and keep the state where it is the best so far."""
        if not self._batches:
            self._epoch = epoch
            return
        loss = self._measure()
        self.losses.append(loss)
        if done >= self._student.kept_from and (self._kept is None or loss < self._loss):
            self._kept = [v.numpy() for v in self._student.state]
            self._epoch, self._loss = epoch, loss

    def restore(self) -> int:
        """Put the best state back; return its epoch."""
        if self._kept is not None:
            for variable, value in zip(self._student.state, self._kept, strict=True):
                variable.assign(value)
        return self._epoch
