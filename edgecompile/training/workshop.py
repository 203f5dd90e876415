"""All that a training-time pass needs beside its own idea: the model, the teacher, the data, the loss, the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.fit import fits
from edgecompile.errors import PassError, pick
from edgecompile.report import Finding
from edgecompile.training import augment
from edgecompile.training.batches import in_slices, runs_any_batch
from edgecompile.training.bridge_layers import scope_name
from edgecompile.training.fit import History, OnStep, Settings, Student, fit
from edgecompile.training.held import Held
from edgecompile.training.keras2 import keras2_ports
from edgecompile.training.kernels import Kernel, kernels, lineage, unreached
from edgecompile.training.meaning import Meaning, meanings_of
from edgecompile.training.models import load_source, load_tf_keras
from edgecompile.training.network import Network, execute, read_network
from edgecompile.training.objective import Objective, Wishes, choose, distance
from edgecompile.training.orders import Fact, Orders, Place
from edgecompile.training.rebuild import flattened
from edgecompile.training.rows import spread
from edgecompile.training.shapes import Port, fix_shapes
from edgecompile.training.source import Call
from edgecompile.training.stored import Notes
from edgecompile.training.teacher import ensure_can_teach

Array = npt.NDArray[Any]

_TRIED = 4
"""Batches that are run at once to see whether a model saved with a fixed batch takes more."""
SAMPLE_ROWS = 256
"""Rows on which outputs and augmentation are tried: a share of 0.85 of them is known to within 0.05."""


@dataclass
class Workshop:
    """A model opened for training.

    Attributes:
        tf, keras: TensorFlow and tf_keras.
        place: where the pass works.
        model: a flat tf_keras model; its own copy.
        network: its calls.
        ports, outputs: what it takes and gives.
        notes: what earlier passes won.
        findings: what happened while it was opened.
        batch: rows that it must be run on at once; None: any number.
    """

    tf: Any
    keras: Any
    place: Place
    model: Any
    network: Network
    ports: tuple[Port, ...]
    outputs: tuple[str, ...]
    notes: Notes
    findings: tuple[Finding, ...]
    batch: int | None

    def replaced(self, model: Any, *, notes: Notes) -> Workshop:
        """Return the workshop with another model in it, and its notes."""
        ports, outputs = keras2_ports(self.tf, model)
        network = read_network(self.tf, model)
        return replace(self, model=model, network=network, ports=ports, outputs=outputs, notes=notes)

    @property
    def data(self) -> Dataset:
        """The training rows, under the model's input names.

        Raises:
            ConfigError: they do not fit the model.
        """
        fitting, _ = fits(self.place.train, fix_shapes(self.ports, self.place.section), role="train")
        return fitting

    def sample(self, rows: int = SAMPLE_ROWS) -> list[Array]:
        """Return about so many training rows, from all over, [n, ...] per input in its order, in whole batches."""
        size = self.fitting(1)
        return self._spread(max(size, min(rows, len(self.data)) // size * size))

    def _spread(self, count: int) -> list[Array]:
        """Return so many training rows, from all over; some twice where there are fewer."""
        data = self.data
        return [data.batch(p.name, spread(len(data), count)).astype(p.dtype) for p in self.ports]

    def batches(self, sample: Sequence[Array], rows: int) -> list[list[Any]]:
        """Return a sample as tensors, so many rows at once, or in the model's own batch where it takes no other."""
        size = self.fitting(rows)
        return [[self.tf.constant(x[i : i + size]) for x in sample] for i in range(0, len(sample[0]), size)]

    def outputs_of(self, run: Call, sample: Sequence[Array]) -> list[Array]:
        """Return what run gives for a sample, [n, ...] per output."""
        given = [[y.numpy() for y in run(inputs)] for inputs in self.batches(sample, len(sample[0]))]
        return [np.concatenate(parts) for parts in zip(*given, strict=True)]

    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Return tensor number → the shape that it has for training rows, batch first."""
        found: dict[int, tuple[int, ...]] = {}

        def look(index: int, tensor: Any) -> Any:
            found[index] = tuple(tensor.shape.as_list())
            return tensor

        execute(self.tf, self.network, self.batches(self.sample(1), 1)[0], after=look)
        return found

    def fitting(self, rows: int) -> int:
        """Return how many rows may be run at once: so many, or the model's own batch where it takes no other."""
        return self.batch or rows

    @property
    def stored_batch(self) -> int | None:
        """The batch that the model was saved with; None where it is open."""
        shape = self.ports[0].shape
        return shape[0] if shape else None

    def takes_any_batch(self, run: Call) -> bool:
        """Whether run, which has the stored batch of the model, gives the same for more rows at once."""
        size = self.stored_batch or 1
        return runs_any_batch(self.tf, run, self._spread(_TRIED * size), size=size)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Run the model on tensors in its order of inputs."""
        return run_model(self.tf, self.model, inputs, training=False)

    def kernels(self) -> list[Kernel]:
        """Return the kernels of the model, in order."""
        return kernels(self.network.layers())

    def names(self) -> list[str]:
        """Return the names of layers, of their parts and of kernels: all that `matches` looks at."""
        return [*(name for name, _ in self.network.layers()), *(n for k in self.kernels() for n in lineage(k.name))]

    def unreached(self) -> list[tuple[str, str]]:
        """Return name and class of the layers with large weights beside kernels, in order."""
        return unreached(self.network.layers())

    def student(self, held: Held, *, on_step: OnStep | None = None, kept_from: float = 0.0) -> Student:
        """Return the model as a student that keeps what is held; its layers run as in training."""

        def run(inputs: Sequence[Any], *, training: bool) -> Sequence[Any]:
            with held.forms.applied():
                return run_model(self.tf, self.model, inputs, training=training)

        return Student(
            run=run,
            variables=list(self.model.trainable_variables),
            state=[*self.model.variables, *held.variables()],
            on_step=on_step,
            kept_from=kept_from,
        )

    def tune(self, student: Student, orders: Orders) -> tuple[History, dict[str, Fact]]:
        """Fine-tune student; return what came out, and facts for the report.

        Raises:
            PassError: no row to learn from, nothing to train, or the loss is not finite.
            ConfigError: teacher, loss, labels and model do not fit each other.
        """
        if not student.variables:
            hint = "set `trainable = True` on some, and save the model again"
            raise PassError("every layer is frozen, so nothing can be trained", where=self.place.where, hint=hint)
        teacher = self._teacher(orders.teacher)
        sample = self.sample()
        objective = self._objective(orders, teacher, sample)
        settings = self._settings(orders, teacher, sample, objective)
        if not len(objective.rows):
            raise PassError("no training row can be learned from", where=self.place.where, hint="add normal rows")
        history = fit(
            self.tf,
            self.keras,
            student,
            teacher,
            ports=self.ports,
            data=self.data,
            objective=objective,
            settings=settings,
            progress=self.place.progress,
            step=self.place.where,
        )
        return history, _facts(history, orders, settings, objective)

    def _settings(self, orders: Orders, teacher: Call | None, sample: Sequence[Array], goal: Objective) -> Settings:
        shown = teacher or self.run
        names = [p.name for p in self.ports]

        def decide(rows: Mapping[str, Array]) -> npt.NDArray[np.int64] | None:
            first = self.outputs_of(shown, [rows[name] for name in names])[self._labelled()]
            return first.argmax(axis=-1) if goal.varied and first.ndim == 2 and first.shape[1] > 1 else None

        how = augment.choose(dict(zip(names, sample, strict=True)), decide, flip=orders.flip, shift=orders.shift)
        batch = self.fitting(min(orders.batch, len(self.data)))
        steps_an_epoch = max(1, len(self.data) // batch)
        epochs = orders.epochs or max(orders.least_epochs, -(-orders.least_steps // steps_an_epoch))
        return Settings(epochs, orders.rate, batch, self.place.seed, how)

    def _objective(self, orders: Orders, teacher: Call | None, sample: Sequence[Array]) -> Objective:
        outputs = self.outputs_of(teacher or self.run, sample)
        wishes = Wishes(
            metric=self.place.metric,
            loss=orders.loss,
            share=orders.labels,
            temperature=orders.temperature,
            output=self._labelled(),
            base=self.place.base,
        )
        return choose(self.tf, self.data, outputs, wishes, taught=teacher is not None)

    def _labelled(self) -> int:
        """Return the number of the output that labels belong to."""
        wanted, known = self.place.output, self.outputs
        if wanted is None or len(known) == 1:
            return 0
        crossed = scope_name(wanted)  # what tf_keras calls an output of a Keras 3 model
        return known.index(crossed if crossed in known else pick(wanted, known, what="output", where="data.output"))

    def distance(self) -> Callable[[Sequence[Any], Sequence[Any]], Any]:
        """Return the function of two lists of outputs that says how far they are apart: a scalar tensor."""
        outputs = self.outputs_of(self.run, self.sample())
        return distance(self.tf, outputs, self._meanings(outputs), temperature=1.0)

    def _meanings(self, outputs: Sequence[Array]) -> list[Meaning]:
        return meanings_of(outputs, self.place.metric, labelled=self._labelled())

    def _teacher(self, name: str) -> Call | None:
        """Return the model that teaches, which training does not change; None for `none`."""
        if name == "none":
            return None
        if name == "self":
            original = self._original()
            return lambda inputs: run_model(self.tf, original, inputs, training=False)
        path = self.place.base / name
        source = load_source(path, self.tf, section=self.place.section, seed=self.place.seed)
        size = self.stored_batch
        rows = [self.tf.constant(x) for x in (self._spread(size) if size else self.sample())]
        ensure_can_teach(path, source, ports=self.ports, run=self.run, rows=rows, meanings=self._meanings)
        if size is None or self.batch or self.takes_any_batch(source.run):
            return source.run
        return in_slices(self.tf, source.run, size=size)

    def _original(self) -> Any:
        if self.place.source is None:
            return flattened(self.tf, self.keras, self.model)
        return load_tf_keras(self.place.source, self.tf, section=self.place.section, seed=self.place.seed)


def run_model(tf: Any, model: Any, inputs: Sequence[Any], *, training: bool) -> list[Any]:
    """Return the flat outputs of a tf_keras model for input tensors in its order."""
    packed = tf.nest.pack_sequence_as(model.input, list(inputs))
    return list(tf.nest.flatten(model(packed, training=training)))


def _facts(history: History, orders: Orders, settings: Settings, objective: Objective) -> dict[str, Fact]:
    """Return what the report says about a fine-tuning."""
    how = settings.augment
    varied = [*(["flips"] if how.flip else []), *([f"shifts of up to {how.shift} pixels"] if how.shift else [])]
    facts: dict[str, Fact] = {
        "loss": objective.told,
        "augmentation": " and ".join(varied) or "none",
        "epochs": settings.epochs,
        "steps": history.steps,
        "best_epoch": history.best,
        "training_loss": round(history.losses[-1], 6),
    }
    if history.held_out:
        facts["held_out_loss_before"] = round(history.held_out[0], 6)
        facts["held_out_loss_after"] = round(history.held_out[history.best], 6)
    return facts
