"""What int8 costs, by way of quantizing: `EDGECOMPILE_DATA=… python benchmarks/accuracy.py [--seeds 5] [MODEL …]`.

Real models and labelled data from EDGECOMPILE_DATA (its README says what they are): `ic`, ResNet8 on CIFAR-10, and
`kws`, a DS-CNN on spoken keywords. Needs TensorFlow, for the source models and for the converter's own post-training
quantization, which is given the same calibration rows. Every way runs with several seeds, each drawing 200 other rows:
one seed tells little, since a few rows near a decision tip either way. Prints Markdown:

- drop: float top-1 minus int8 top-1, in points; mean and worst over seeds, negative where int8 happens to be better.
- agree: rows with the same decision as the float model; SQNR: of the outputs. Both settle with fewer rows than drop.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.data.split import split, thin
from edgecompile.passes.base import Context
from edgecompile.passes.convert import Convert
from edgecompile.passes.quantize import Quantize
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import dequantize_rows, predict
from edgecompile.tflite.values import Array

KERNELS: Final = "builtin"
ROWS = 200

OURS: Mapping[str, dict[str, Any]] = {
    "edgecompile": {},
    "… ranges = minmax": {"ranges": "minmax"},
    "… ranges = mse": {"ranges": "mse"},
    "… percentile = 99.9": {"percentile": 99.9},
    "… percentile = 99.999": {"percentile": 99.999},
    "… pool_as_mean = false": {"pool_as_mean": False},
    "… bias_correction = false": {"bias_correction": False},
    "… neither": {"pool_as_mean": False, "bias_correction": False},
    "… neither, minmax": {"pool_as_mean": False, "bias_correction": False, "ranges": "minmax"},
    "… dense_per_channel = false": {"dense_per_channel": False},
}


@dataclass(frozen=True)
class Case:
    """A source model, its data, and the rows of each seed."""

    source: Path
    draw: Callable[[int], tuple[Dataset, Dataset]]
    """Seed → rows that calibrate, rows that are measured on."""


def image_classification(data: Path) -> Case:
    stored = [np.load(data / "ic" / f"cifar10_{part}.npz") for part in ("train_5000", "test_3000")]
    train, test = (Dataset({"*": s["x"]}, labels=s["y"].ravel()) for s in stored)
    return Case(data / "ic" / "pretrainedResnet.h5", lambda seed: (thin(train, rows=ROWS, seed=seed)[0], test))


def keyword_spotting(data: Path, *, everything: bool) -> Case:
    stored = np.load(data / "kws" / "kws01_mfcc_int8_1000.npz")
    how = Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83))
    clips = Dataset({"*": stored["x"]}, labels=stored["y"].ravel(), preprocess={"*": how})

    def draw(seed: int) -> tuple[Dataset, Dataset]:
        calibration, rest, _ = split(clips, rows=ROWS, seed=seed)
        return calibration, clips if everything else rest

    return Case(data / "kws" / "kws_ref_model", draw)


CASES: Mapping[str, tuple[str, Callable[[Path], Case]]] = {
    "ic": ("ResNet8, 3,000 CIFAR-10 test images; 200 other images calibrate", image_classification),
    "kws": ("DS-CNN, the 800 clips that did not calibrate", lambda data: keyword_spotting(data, everything=False)),
    "kws-all": (
        "DS-CNN, all 1,000 clips, 200 of which calibrated",
        lambda data: keyword_spotting(data, everything=True),
    ),
}


def reals(model: Path, rows: Dataset) -> Array:
    graph = read_graph(model)
    (stored,) = predict(model, rows, kernels=KERNELS).values()
    how = graph.tensors[graph.outputs[0]].quantization
    return (
        stored if how is None else dequantize_rows(stored, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
    )


def inputs_of(model: Path, rows: Dataset) -> tuple[str, Array]:
    (name,) = read_graph(model).input_names()
    return name, rows.batch(name)


def by_edgecompile(fields: Mapping[str, Any]) -> Callable[[Case, Path, Dataset, Path], None]:
    def make(_case: Case, model: Path, rows: Dataset, made: Path) -> None:
        with tempfile.TemporaryDirectory() as out:
            step = Quantize.model_validate(dict(fields))
            outcome = step.run(Artifact.of(model, Kind.TFLITE), Context(out=Path(out), calibration=rows))
            made.write_bytes(outcome.artifact.path.read_bytes())

    return make


def by_litert_quantizer(_case: Case, model: Path, rows: Dataset, made: Path) -> None:
    """litert-quantizer with its own calibration, as its documentation shows."""
    from litert_quantizer import quantizer, recipe

    name, x = inputs_of(model, rows)
    engine = quantizer.Quantizer(str(model), recipe.static_wi8_ai8())
    seen = engine.calibrate({"serving_default": [{name: row[None]} for row in x]})
    made.write_bytes(engine.quantize(seen, enable_progress_report=False).quantized_model)


def by_tensorflow(case: Case, model: Path, rows: Dataset, made: Path) -> None:
    """TensorFlow's converter with a representative dataset, as its documentation shows."""
    import tensorflow as tf
    import tf_keras

    if case.source.is_dir():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(case.source))
    else:
        source = tf_keras.models.load_model(case.source, compile=False)
        converter = tf.lite.TFLiteConverter.from_keras_model(source)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in inputs_of(model, rows)[1])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    made.write_bytes(converter.convert())


WAYS = {
    "TensorFlow converter": by_tensorflow,
    "litert-quantizer, own calibration": by_litert_quantizer,
    **{name: by_edgecompile(fields) for name, fields in OURS.items()},
}


@dataclass(frozen=True)
class Trial:
    drop: float
    agree: float
    sqnr_db: float
    size: int
    seconds: float


def trial(case: Case, model: Path, *, way: str, seed: int, folder: Path, floats: dict[int, Array]) -> Trial:
    calibration, rows = case.draw(seed)
    made = folder / "made.tflite"
    began = time.monotonic()
    WAYS[way](case, model, calibration, made)
    seconds = time.monotonic() - began
    if seed not in floats:
        floats[seed] = reals(model, rows)
    before, after = floats[seed], reals(made, rows)
    decided = [x.argmax(axis=1) for x in (before, after)]
    right = [float((d == rows.labels).mean()) for d in decided]
    return Trial(
        drop=100 * (right[0] - right[1]),
        agree=100 * float((decided[0] == decided[1]).mean()),
        sqnr_db=10 * float(np.log10((before**2).sum() / ((after - before) ** 2).sum())),
        size=made.stat().st_size,
        seconds=seconds,
    )


def table(name: str, *, data: Path, seeds: int, folder: Path) -> Iterator[str]:
    title, build = CASES[name]
    case = build(data)
    out = folder / name
    out.mkdir()
    model = Convert().run(Artifact.of(case.source, Kind.KERAS), Context(out=out)).artifact.path
    floats: dict[int, Array] = {}
    by_tensorflow(case, model, case.draw(0)[0].take(np.arange(2)), out / "warm.tflite")  # imports cost no way anything
    first = True
    for way in WAYS:
        trials = [trial(case, model, way=way, seed=seed, folder=out, floats=floats) for seed in range(seeds)]
        if first:
            _, rows = case.draw(0)
            top1 = float((floats[0].argmax(axis=1) == rows.labels).mean())
            yield f"\n{title}. Float top-1 {100 * top1:.2f}; {seeds} seeds; {KERNELS} kernels.\n"
            yield "| way | drop, mean | worst | of seed 0 | agree | SQNR dB | bytes | s |"
            yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
            first = False
        drops = [t.drop for t in trials]
        yield (
            f"| {way} | {np.mean(drops):+.2f} | {max(drops):+.2f} | {drops[0]:+.2f} "
            f"| {np.mean([t.agree for t in trials]):.2f} | {np.mean([t.sqnr_db for t in trials]):.1f} "
            f"| {trials[0].size:,} | {np.median([t.seconds for t in trials]):.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(CASES)}; all of them by default")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    unknown = set(given.models) - set(CASES)
    if unknown:
        parser.error(f"unknown model {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    data = os.environ.get("EDGECOMPILE_DATA")
    if not data:
        parser.error("EDGECOMPILE_DATA is not set: no folder of real models and data")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models or CASES:
            for line in table(name, data=Path(data), seeds=given.seeds, folder=Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
