"""Compression while training beside plain TF-MOT: `EDGECOMPILE_DATA=… python benchmarks/compression.py [--only ROW …]`.

`ic`: ResNet8 of MLPerf Tiny, 5,000 CIFAR-10 images to train on, 3,000 others to measure on. `mnist`: a Keras 3 CNN that
this program trains, 12,000 and 3,000 digits. Every row is a recipe built by `edgecompile.build_all` for linux-x86_64;
`tfmot-…` is the same with TF-MOT as its guide says, same data, same epochs; `even-l2` removes a quarter of every
layer's channels by L2 norm and trains on hard labels for the epochs of `slim-0.56`. Prints Markdown as rows come:

- float → int8: top-1 on the test images, of the model that was given and of the `.tflite` that was written.
- zeros: least share of zeros among the pruned kernels; values: most distinct values among the clustered kernels; both
  read from the written `.tflite`.
- of int8: bytes, plain and gzip, as a share of those of the row `int8`. MACs: share of the given model's.
- s: seconds of all steps, from nothing; those that another row took already count as long as they took there.

Exit code 1 when a row misses what it promises. `--folder` keeps steps, so that rows can be run one at a time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from compression_rows import HEAD, ROWS, Found, Row, judged, shown

import edgecompile
from edgecompile.backends.macs import macs
from edgecompile.data.dataset import Dataset
from edgecompile.progress import Silent
from edgecompile.recipe import Preprocess
from edgecompile.report import Report
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.kernels import KernelContent, kernel_contents
from edgecompile.tflite.runner import predict

TARGET = "linux-x86_64"
TRAIN_MNIST = """
import sys, keras, numpy as np
from keras import layers
keras.utils.set_random_seed(int(sys.argv[3]))
data = np.load(sys.argv[2])
model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
    layers.MaxPooling2D(),
    layers.Conv2D(16, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),
    layers.MaxPooling2D(),
    layers.Conv2D(32, 3, padding="same", activation="relu"), layers.Flatten(),
    layers.Dense(32, activation="relu"), layers.Dropout(0.2), layers.Dense(10, activation="softmax"),
])
model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(data["x"].astype("float32") / 255, data["y"], batch_size=64, epochs=8, verbose=0)
model.save(sys.argv[1])
"""


@dataclass(frozen=True)
class Case:
    """A model, its rows, and what is done to them before the model."""

    model: Path
    train: Path
    test: Path
    scale: float

    def rows(self) -> Dataset:
        with np.load(self.test) as stored:
            return Dataset(
                {"*": stored["x"]}, labels=stored["y"].ravel(), preprocess={"*": Preprocess(scale=(self.scale,))}
            )


def cifar(data: Path, _folder: Path, _seed: int) -> Case:
    ic = data / "ic"
    return Case(ic / "pretrainedResnet.h5", ic / "cifar10_train_5000.npz", ic / "cifar10_test_3000.npz", 1.0)


def mnist(data: Path, folder: Path, seed: int) -> Case:
    case = Case(folder / f"digits-{seed}.keras", folder / "digits-train.npz", folder / "digits-test.npz", 1 / 255)
    for made, name in ((case.train, "mnist_train_12000"), (case.test, "mnist_test_3000")):
        if not made.exists():
            with np.load(data / "mnist" / f"{name}.npz") as stored:
                np.savez(made, x=stored["x"][..., None], y=stored["y"])
    if not case.model.exists():
        argv = [sys.executable, "-c", TRAIN_MNIST, str(case.model), str(case.train), str(seed)]
        subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return case


CASES = {"ic": cifar, "mnist": mnist}


class Clock(Silent):
    """Remembers how long each training pass took, across runs: its result may come from the cache the next time."""

    def __init__(self, file: Path) -> None:
        self._file, self._began = file, 0.0
        self._stored: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
        self._keys: list[str] = []
        self.earlier = 0.0

    def expect(self, keys: Sequence[str]) -> None:
        """Training passes will come in the order of keys, each of which says what shapes its result."""
        self._keys, self.earlier = list(keys), 0.0

    def start(self, step: str, *, detail: str = "") -> None:
        self._began = time.monotonic()

    def finish(self, step: str, *, cached: bool = False, note: str = "") -> None:
        if not self._keys or json.loads(self._keys[0])[-1]["name"] != step:
            return
        key = self._keys.pop(0)
        if cached:
            self.earlier += self._stored.get(key, float("nan"))
            return
        self.store(key, time.monotonic() - self._began)

    def store(self, key: str, seconds: float) -> None:
        self._stored[key] = seconds
        self._file.write_text(json.dumps(self._stored, indent=1))

    def of(self, keys: Sequence[str]) -> float:
        """Return what all these passes took."""
        return sum(self._stored.get(key, float("nan")) for key in keys)


@dataclass
class Bench:
    """Runs rows of one case."""

    case: Case
    name: str
    seed: int
    folder: Path
    clock: Clock
    plain: Found | None = None

    def run(self, row: Row, others: Mapping[str, Found]) -> Found:
        if row.tfmot:
            (base,) = (r for r in ROWS[self.name] if r.name == row.tfmot)
            return self._by_tfmot(base, others[row.tfmot])
        return self._by_edgecompile(row)

    def _keys(self, row: Row) -> list[str]:
        start = [self.name, self.seed]
        return [json.dumps([*start, *row.passes[: n + 1]], sort_keys=True) for n in range(len(row.passes))]

    def _by_edgecompile(self, row: Row) -> Found:
        recipe = self.folder / f"{self.name}-{row.name}.toml"
        recipe.write_text("\n".join(table(fields) for fields in row.passes) or 'extends = "int8"\n')
        keys = self._keys(row)
        self.clock.expect(keys)
        began = time.monotonic()
        (built,) = edgecompile.build_all(
            self.case.model,
            targets=(TARGET,),
            data=self.case.test,
            train=self.case.train,
            calibration=self.case.train,
            scale=self.case.scale,
            recipe=recipe,
            max_drop=1.0,  # rows are judged below, by what they promise
            seed=self.seed,
            name=row.name,
            out=self.folder / "out" / self.name,
            progress=self.clock,
        )
        whole = time.monotonic() - began + self.clock.earlier
        if built.cached:  # the bundle itself came from the cache: what the passes took is what counts
            whole = max(whole, self.clock.of(keys))
        report = built.report
        (file,) = built.path.glob("*.tflite")
        accuracy = report.accuracy
        assert accuracy is not None, "the rows have labels"
        return self._found(
            file,
            seconds=whole,
            top1=(100 * accuracy.float_score.value, 100 * accuracy.result_score.value),
            epochs=epochs_of(report),
            pruned=fact(report, "pruned_kernels"),
            clustered=fact(report, "clustered_kernels"),
        )

    def _by_tfmot(self, base: Row, ours: Found) -> Found:
        stages = [[fields["name"], n] for fields, n in zip(base.passes, ours.epochs, strict=True)]
        pattern = next((fields["pattern"] for fields in base.passes if "pattern" in fields), "")
        asked = json.dumps({"stages": stages, "pattern": pattern, "seed": self.seed})
        made = self.folder / f"{self.name}-tfmot-{sha256(asked.encode()).hexdigest()[:8]}.tflite"
        if not made.exists():
            argv = [sys.executable, str(Path(__file__).with_name("compression_tfmot.py")), str(self.case.model)]
            began = time.monotonic()
            with (self.folder / "tfmot.log").open("ab") as log:
                subprocess.run([*argv, str(self.case.train), str(made), asked], check=True, stdout=log, stderr=log)
            self.clock.store(made.stem, time.monotonic() - began)
        every = len(kernel_contents(read_graph(made)))
        names = [name for name, _ in stages]
        return self._found(
            made,
            seconds=self.clock.of([made.stem]),
            top1=(ours.float_top1, top1(made, self.case.rows())),
            epochs=ours.epochs,
            pruned=every if "prune" in names else 0,
            clustered=every if "cluster" in names else 0,
        )

    def _found(
        self,
        file: Path,
        *,
        seconds: float,
        top1: tuple[float, float],
        epochs: Sequence[int],
        pruned: int,
        clustered: int,
    ) -> Found:
        graph, content = read_graph(file), file.read_bytes()
        kernels = kernel_contents(graph)
        zeros = sorted((k.zeros / k.weights for k in kernels), reverse=True)[:pruned]
        distinct = sorted(k.distinct for k in kernels)[:clustered]
        cost = sum(macs(graph, op) for op in graph.ops)
        zipped = len(gzip.compress(content, mtime=0))
        plain = self.plain
        return Found(
            seconds=seconds,
            float_top1=top1[0],
            int8_top1=top1[1],
            epochs=tuple(epochs),
            zeros=zeros[-1] if zeros else None,
            distinct=distinct[-1] if distinct else None,
            obeys_two_of_four=obeys_two_of_four(graph, kernels, pruned) if pruned else None,
            bytes=len(content),
            gzip_bytes=zipped,
            macs=cost,
            bytes_share=len(content) / plain.bytes if plain else 1.0,
            gzip_share=zipped / plain.gzip_bytes if plain else 1.0,
            macs_share=cost / plain.macs if plain else 1.0,
        )


def table(fields: Mapping[str, Any]) -> str:
    """Return a pass of a recipe as TOML; its values are strings, numbers and booleans, which JSON writes alike."""
    return "[[passes]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


def epochs_of(report: Report) -> tuple[int, ...]:
    return tuple(int(step.facts["epochs"]) for step in report.steps if "epochs" in step.facts)


def fact(report: Report, name: str) -> int:
    return sum(int(step.facts[name]) for step in report.steps if name in step.facts)


def obeys_two_of_four(graph: Graph, kernels: Sequence[KernelContent], pruned: int) -> bool:
    """Whether the kernels with the most zeros, as many as were pruned, keep two zeros in every four input channels."""
    chosen = sorted(kernels, key=lambda k: k.zeros / k.weights, reverse=True)[:pruned]
    for kernel in chosen:
        data = graph.tensors[kernel.ops[0].inputs[1]].data
        assert data is not None, "a kernel has content"
        inner = data.shape[-1]
        groups = data.reshape(-1, inner)[:, : inner // 4 * 4].reshape(-1, 4)
        if not len(groups) or ((groups == 0).sum(axis=1) < 2).any():
            return False
    return True


def top1(model: Path, rows: Dataset) -> float:
    """Return percent of rows whose class the model names."""
    (stored,) = predict(model, rows, kernels="xnnpack").values()
    # One scale for all classes: codes have the order of the values.
    return 100 * float((stored.argmax(axis=1) == rows.labels).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=tuple(CASES), action="append", help="all of them by default")
    parser.add_argument("--only", action="append", metavar="ROW", help="only this row, and what it is held against")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps models, bundles and the results of steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as JSON too")
    given = parser.parse_args()
    data = os.environ.get("EDGECOMPILE_DATA")
    if not data:
        parser.error("EDGECOMPILE_DATA is not set: no folder of real models and data")
    cases = given.case or list(CASES)
    known = {row.name for name in cases for row in ROWS[name]}
    if unknown := sorted(set(given.only or ()) - known):
        parser.error(f"unknown row {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    missed, written = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["EDGECOMPILE_CACHE"] = str((folder / "cache").absolute())
        clock = Clock(folder / "seconds.json")
        for name in cases:
            wanted = [r for r in ROWS[name] if not given.only or r.name in given.only or r.name == "int8"]
            needed = {n for r in wanted for n in (*r.against, r.tfmot)}
            if given.only and len(wanted) == 1 and "int8" not in given.only:
                continue
            print(f"\n{name}, seed {given.seed}\n\n{HEAD}", flush=True)
            bench = Bench(CASES[name](Path(data), folder, given.seed), name, given.seed, folder, clock)
            others: dict[str, Found] = {}
            for row in ROWS[name]:
                if row not in wanted and row.name not in needed:
                    continue
                found = bench.run(row, others)
                others[row.name] = found
                bench.plain = bench.plain or found
                verdicts = list(judged(row, found, others))
                missed += sum(not ok for ok, _ in verdicts)
                print(shown(row, found, verdicts), flush=True)
                promises = [{"kept": ok, "promise": text} for ok, text in verdicts]
                written.append({"case": name, "row": row.name, **asdict(found), "promises": promises})
    if given.json:
        given.json.write_text(json.dumps(written, indent=1) + "\n")
    print(f"\n{missed} of the promises missed" if missed else "\nevery promise kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
