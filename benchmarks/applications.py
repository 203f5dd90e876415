"""keras.applications through every pass and recipe that trains: `python benchmarks/applications.py [MODEL …]`.

MobileNetV2, MobileNetV3Small and EfficientNetB0 as Keras 3 has them, from random weights, on small images of patterns.
Needs TensorFlow. A pass trains for a few steps: nothing here says how accurate a compressed model is. What is shown is
that each one comes out as a valid int8 `.tflite` that computes what its Keras form computes. Prints Markdown:

- float ops: those of the int8 file that compute in floats, next to all of its ops.
- SQNR: of the int8 outputs against the outputs of the compressed Keras form, on rows that nothing was trained or
  calibrated with. The mean of each output is taken off first, so that only what tells rows apart counts.
- as trained: after `qat`, the same against the Keras form that rounds and clips as it was trained to; what lies outside
  of a learned range is clipped by the file and not by the plain Keras model. Without `qat`, the SQNR again.
- error: root mean square of that difference, in units of the output. largest: the largest, in steps of the int8 output.
- MACs, zeros, values: of the written file. values: distinct ones, of the largest kernel.

Ends with exit code 1 where a pass refuses, or a file computes in floats, has more ops than plain int8 of the model, or
is further from its Keras form (as trained) than rounding explains: an error above half of what tells rows apart, or
more than twice plain int8's both in units of the output and as a share of what tells rows apart. Either alone says
little: a few steps of training shrink or stretch the outputs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import EdgeCompileError
from edgecompile.measure import stage
from edgecompile.passes import PASSES
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.convert import Convert
from edgecompile.passes.quantize import Quantize
from edgecompile.passes.tuned import Tuned
from edgecompile.payoff import Stage
from edgecompile.recipe import ModelSection, builtin_recipes, load_recipe
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import dequantize_rows, predict
from edgecompile.tflite.values import Array
from edgecompile.training import tf as door
from edgecompile.training.forms import Forms
from edgecompile.training.int8 import lay_out
from edgecompile.training.kernels import kernels
from edgecompile.training.models import load_source, load_tf_keras
from edgecompile.training.network import execute, read_network
from edgecompile.training.qat import marked, rounded_weights
from edgecompile.training.stored import read_notes

CLASSES = 10
MODELS: Mapping[str, tuple[int, float, Callable[..., Any]]] = {
    "MobileNetV2": (32, 1.0, lambda apps, **options: apps.MobileNetV2(**options)),
    "MobileNetV3Small": (64, 255.0, lambda apps, **options: apps.MobileNetV3Small(**options)),
    "EfficientNetB0": (32, 255.0, lambda apps, **options: apps.EfficientNetB0(**options)),
}
"""Name → edge of its images in pixels, largest pixel value that it takes, how it is made."""

QUICK: Mapping[str, Any] = {"epochs": 2, "batch": 32}
"""A few steps, of the batch that the model was made with.

At the end of these networks an image is one pixel, so that a BatchNormalization learns its statistics from as many
numbers as a batch has rows: eight rows a step leave EfficientNetB0 with statistics so far from its weights that
rounding alone takes it apart. `distil` alone learns from a teacher: the original teaches what it was early in its own
training, since of itself, also with a quarter of its channels gone, there is too little to learn for a few steps.
"""
TRAIN_ROWS, ROWS = 512, 64
PRETRAINING = 256
"""Steps of 32 rows."""
EARLY = 2
"""Epochs after which a model still has much to learn from what it becomes."""
LEAST_DB = 6.0
"""An error of half of what tells rows apart."""
TWICE, TWICE_DB = 2.0, 6.0

HEAD = (
    "| model | passes | ops | float ops | SQNR dB | as trained | error | largest "
    "| MACs | zeros | values | bytes | gzip | s |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)

Ways = Mapping[str, tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]]


def ways() -> Ways:
    """Return name → passes with their fields: plain int8, every pass that trains alone, every built-in recipe."""
    found: dict[str, Any] = {"int8": ()}
    found |= {name: ((name, ()),) for name, cls in PASSES.items() if issubclass(cls, Tuned)}
    for name in builtin_recipes():
        entries = load_recipe(name)[0].passes
        tuned = tuple((e.name, tuple(e.fields.items())) for e in entries if issubclass(PASSES[e.name], Tuned))
        if tuned:
            found[name] = tuned
    return found


def images(n: int, *, edge: int, largest: float, seed: int) -> Dataset:
    """Return float32 [n, edge, edge, 3] in 0 … largest, each a pattern of its class under noise, and the classes."""
    patterns = np.random.default_rng(0).uniform(0, 1, (CLASSES, 4, 4, 3)).repeat(edge // 4, 1).repeat(edge // 4, 2)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    x = 0.7 * patterns[labels] * rng.uniform(0.6, 1, (n, 1, 1, 1)) + 0.3 * rng.uniform(0, 1, (n, edge, edge, 3))
    return Dataset({"*": (x * largest).astype(np.float32)}, labels)


def make(name: str, folder: Path) -> None:
    """Write `model.keras`, of Keras 3, that began with random weights and has learned its few classes.

    `early.keras` is the same after EARLY epochs, for a teacher to find something that it can teach.

    Random weights alone show nothing: behind BatchNormalizations that have seen no data, what tells rows apart dies out
    before the output, and with statistics of data such a network is chaotic: the error of one rounding grows from layer
    to layer until nothing else is left, whatever a pass does.
    """
    keras = door.keras3()
    keras.utils.set_random_seed(0)
    edge, largest, build = MODELS[name]
    model = build(
        keras.applications,
        input_shape=(edge, edge, 3),
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
    )
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.9  # there are a few hundred steps, not a hundred thousand
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, PRETRAINING)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    rows = images(1024, edge=edge, largest=largest, seed=9)
    epochs = PRETRAINING // (len(rows) // 32)
    model.fit(rows.batch("*"), rows.labels, 32, EARLY, verbose=0)
    model.save(folder / "early.keras")
    seen = model.fit(rows.batch("*"), rows.labels, 32, epochs, initial_epoch=EARLY, verbose=0)
    print(f"{name}: {model.count_params():,} parameters, learned {seen.history['accuracy'][-1]:.1%} of its rows\n")
    model.save(folder / "model.keras")


@dataclass
class Bench:
    """One model on its way through passes; what two recipes begin with is run once."""

    source: Artifact
    early: Artifact
    folder: Path
    train: Dataset
    calibration: Dataset
    rows: Dataset

    def __post_init__(self) -> None:
        self._done: dict[Any, Artifact] = {(): self.source}

    def trained(self, steps: tuple[Any, ...]) -> Artifact:
        """Return the model after passes that train."""
        if steps not in self._done:
            name, fields = steps[-1]
            before = self.early if name == "distil" else self.trained(steps[:-1])
            step = PASSES[name].model_validate(
                {**dict(fields), **QUICK, "teacher": "self" if name == "distil" else "none"}
            )
            self._done[steps] = step.run(before, self._context(f"{len(self._done)}-{name}")).artifact
        return self._done[steps]

    def int8(self, model: Artifact, name: str) -> Outcome:
        """Return the int8 `.tflite` of a Keras model."""
        converted = Convert().run(model, self._context(f"convert-{name}"))
        return Quantize().run(converted.artifact, self._context(f"quantize-{name}"))

    def _context(self, name: str) -> Context:
        out = self.folder / name
        out.mkdir()
        return Context(
            out=out, calibration=self.calibration, train=self.train, metric="top1", source=self.source, base=self.folder
        )

    def reference(self, model: Artifact) -> Array:
        """Return what the Keras form gives for the rows, [n, classes]."""
        tf = door.start(seed=0)
        source = load_source(model.path, tf, section=ModelSection(), seed=0)
        return np.concatenate(
            [source.run([tf.constant(x[None])])[0].numpy() for x in self.rows.batch(source.inputs[0].name)]
        )

    def rounded(self, model: Artifact) -> Array | None:
        """Return the same from a model after `qat`, computing as it was trained to: rounded and clipped; else None."""
        ranges = read_notes(model.path).ranges
        if not ranges:
            return None
        tf = door.start(seed=0)
        network = read_network(tf, load_tf_keras(model.path, tf, section=ModelSection(), seed=0))
        layout, bounds, forms = lay_out(network), marked(network, ranges), Forms(tf)
        for kernel in kernels(network.layers()):
            forms.add(kernel, rounded_weights(tf, kernel))

        def after(index: int, tensor: Any) -> Any:
            limits = layout.fixed.get(index) or bounds.get(index)
            if index not in layout.rounded or limits is None:
                return tensor
            return tf.quantization.fake_quant_with_min_max_vars(tensor, *limits)

        with forms.applied():
            return np.asarray(execute(tf, network, [tf.constant(self.rows.batch("*"))], after=after)[0])


@dataclass(frozen=True)
class Match:
    """How an int8 file stands to its Keras form."""

    ops: int
    floats: int
    sqnr_db: float
    error: float
    largest: float
    stage: Stage


def match(path: Path, wanted: Array, rows: Dataset) -> Match:
    """Return how the file at path stands to the outputs wanted, on reference kernels."""
    graph = read_graph(path)
    (stored,) = predict(path, rows, kernels="reference").values()
    how = graph.tensors[graph.outputs[0]].quantization
    assert how is not None, "the output is int8"
    scale = float(how.scale[0])
    given = dequantize_rows(stored, scale=scale, zero_point=int(how.zero_point[0]))
    signal, noise = wanted - wanted.mean(axis=0), given - wanted
    return Match(
        ops=len(graph.ops),
        floats=sum(
            any(graph.tensors[i].dtype == "float32" for i in (*op.inputs, *op.outputs) if i >= 0) for op in graph.ops
        ),
        sqnr_db=10 * float(np.log10((signal**2).sum() / (noise**2).sum())),
        error=float(np.sqrt((noise**2).mean())),
        largest=float(np.abs(noise).max()) / scale,
        stage=stage("result", path),
    )


def near(found: Match, plain: Match) -> bool:
    """Whether rounding explains how far found is from its Keras form, given how far plain int8 is from its own."""
    like_plain = found.sqnr_db >= plain.sqnr_db - TWICE_DB or found.error <= TWICE * plain.error
    return found.sqnr_db >= LEAST_DB and like_plain


def table(name: str, folder: Path, wanted: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield lines of the table and whether each is as it must be."""
    edge, largest, _ = MODELS[name]
    folder.mkdir()
    make(name, folder)
    rows = partial(images, edge=edge, largest=largest)
    bench = Bench(
        Artifact.of(folder / "model.keras", Kind.KERAS),
        Artifact.of(folder / "early.keras", Kind.KERAS),
        folder,
        train=rows(TRAIN_ROWS, seed=1),
        calibration=rows(ROWS, seed=2),
        rows=rows(ROWS, seed=3),
    )
    yield HEAD, True
    plain: Match | None = None
    for way, steps in wanted.items():
        began = time.monotonic()
        try:
            model = bench.trained(steps)
            outcome = bench.int8(model, way)
        except EdgeCompileError as error:
            yield f"| {name} | {way} | {error} |", False
            continue
        found = match(outcome.artifact.path, bench.reference(model), bench.rows)
        plain = plain or found
        trained = bench.rounded(model)
        likely = found if trained is None else match(outcome.artifact.path, trained, bench.rows)
        s = found.stage
        widest = max(s.kernels, key=lambda k: k.weights)
        yield (
            f"| {name} {edge}×{edge} | {way} | {found.ops} | {found.floats} | {found.sqnr_db:.1f} "
            f"| {likely.sqnr_db:.1f} | {likely.error:.3g} | {likely.largest:.1f} "
            f"| {s.macs:,} | {s.zeros:.1%} | {widest.distinct} | {s.bytes:,} | {s.gzip_bytes:,} "
            f"| {time.monotonic() - began:.0f} |",
            not found.floats and found.ops <= plain.ops and near(likely, plain),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(MODELS)}; all of them by default")
    parser.add_argument("--ways", nargs="*", metavar="WAY", help=f"{', '.join(ways())}; all of them by default")
    given = parser.parse_args()
    for kind, names, known in (("model", given.models, MODELS), ("way", given.ways or (), ways())):
        unknown = sorted(set(names) - set(known))
        if unknown:
            parser.error(f"unknown {kind} {', '.join(unknown)}; known: {', '.join(known)}")
    wanted = {name: steps for name, steps in ways().items() if name in ("int8", *(given.ways or ways()))}
    door.start(seed=0)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models or MODELS:
            for line, right in table(name, Path(folder) / name, wanted):
                print(line if right else f"{line} ← wrong", flush=True)
                good = good and right
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
