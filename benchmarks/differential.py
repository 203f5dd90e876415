"""Generated Keras models in int8 beside TensorFlow's quantizer: `python benchmarks/differential.py [--seeds 0:200]`.

Each seed gives a Keras model of random blocks, shapes and sizes (benchmarks/generated.py), which is built for
linux-x86_64, nucleo-h743zi2 and coral by `edgecompile.build_all`, and quantized by TensorFlow's converter as its
documentation shows: the SavedModel that Keras exports, a representative dataset, int8 ends. Both see the same rows.
Needs TensorFlow; about 20 minutes of one core. Results are kept below --folder by seed and edgecompile's code, and what
is there is not made again. Prints Markdown:

- SQNR: of the int8 outputs against those of the Keras model on rows that nothing was calibrated with, in dB, the least
  over outputs. The mean of each output is taken off first: what tells rows apart counts.
- On which kernels: edgecompile's file counts on those that the device has (XNNPACK, TFLite Micro), or where the host
  has none of them, on the better of those that may stand for them (reference and built-in for the Edge TPU; where they
  disagree, the row says so). TensorFlow's file, which was made for no target, counts where it is best.
- refused: builds that ended with an error. One is a fault where TensorFlow's file runs on the target's kernels: no
  kernel set has every op, TFLite Micro least of all.
- float ops: those left in float in the int8 file, ours for linux-x86_64 and TensorFlow's.

Exit code 1 where edgecompile refuses a model that TensorFlow takes, breaks down, or loses more than 3 dB against
TensorFlow, unless `KNOWN` names the cause.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from forks import forked, served
from generated import Generated, generate

import edgecompile
from edgecompile.cache import code_version
from edgecompile.data.dataset import Dataset
from edgecompile.errors import EdgeCompileError
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.numerics import float_ops
from edgecompile.tflite.runner import AnyKernels, dequantize_rows, predict
from edgecompile.tflite.values import Array

TARGETS: Mapping[str, tuple[AnyKernels, ...]] = {
    "linux-x86_64": ("xnnpack",),
    "nucleo-h743zi2": ("tflm",),
    "coral": ("reference", "builtin"),
}
"""Target → the kernels that stand for it: the device's own, or those that may stand for what the host does not have."""
ALL_KERNELS: tuple[AnyKernels, ...] = ("xnnpack", "builtin", "reference", "tflm")
MOST_DB = 3.0
ENOUGH_DB = 45.0
"""From here on no output code differs: an int8 output has no more to give."""

PRELOADED = (
    "ai_edge_litert.schema_py_generated",
    "edgecompile.assemble",
    "edgecompile.cli.request",
    "edgecompile.passes.convert",
    "edgecompile.worker",
    "jinja2",
    "litert_quantizer.quantizer",
    "tflite_micro",
)
"""What forks need, imported once."""

KNOWN: Mapping[int, str] = {}
"""Seed → why edgecompile's file is worse than TensorFlow's by more than MOST_DB."""


def by_tensorflow(made: Generated, folder: Path) -> bytes:
    """Return the int8 file of TensorFlow's converter; ops that have no integer form stay float."""
    if made.file.suffix == ".h5":
        tf.saved_model.save(made.model, str(folder))
    else:
        made.model.export(str(folder), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    names = list(made.calibration)
    rows = len(made.calibration[names[0]])
    # By name: the order of a SavedModel's inputs is not that of the model's.
    keys = tf.saved_model.load(str(folder)).signatures["serving_default"].structured_input_signature[1]
    taken = {key: key if key in made.calibration else names[i] for i, key in enumerate(sorted(keys))}
    converter.representative_dataset = lambda: (
        {key: made.calibration[name][i : i + 1] for key, name in taken.items()} for i in range(rows)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def sqnr_db(wanted: Array, given: Array) -> float:
    """Return by how much what tells rows apart exceeds the error, in dB."""
    signal, noise = wanted - wanted.mean(axis=0), given.reshape(wanted.shape) - wanted
    return 10 * float(np.log10((signal**2).sum() / max(float((noise**2).sum()), 1e-20)))


def reals(path: Path, rows: Mapping[str, Array], kernels: AnyKernels) -> dict[str, Array]:
    """Return output → what a `.tflite` gives for rows, as real numbers."""
    graph = read_graph(path)
    names = graph.input_names()
    given = {n: rows[n if n in rows else list(rows)[i]] for i, n in enumerate(names)}
    stored = predict(path, Dataset(given if len(given) > 1 else {"*": next(iter(given.values()))}), kernels=kernels)
    made = {}
    for (name, values), index in zip(stored.items(), graph.outputs, strict=True):
        how = graph.tensors[index].quantization
        made[name] = (
            values
            if how is None
            else dequantize_rows(values, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
        )
    return made


def quality(path: Path, rows: Mapping[str, Array], wanted: Mapping[str, Array], kernels: AnyKernels) -> Any:
    """Return the SQNR of the worst output, or why the file does not run."""
    try:
        found = reals(path, rows, kernels)
    except EdgeCompileError as error:
        return str(error)[:200]
    # TensorFlow names outputs its own way, and orders them by these names: the best fit is the output that is meant.
    return min(
        sqnr_db(x, found[name])
        if name in found
        else max(sqnr_db(x, y) for y in found.values() if y[0].size == x[0].size)
        for name, x in wanted.items()
    )


def trial_of_tensorflow(seed: int, folder: Path) -> None:
    """Write the model of seed, its rows and `tensorflow.json`: how TensorFlow's file does."""
    made = generate(seed, folder, keras=keras, tf_keras=tf_keras, tf=tf)
    np.savez(folder / "rows.npz", **_saved(made.calibration))
    np.savez(folder / "held.npz", **_saved(made.held))
    np.savez(folder / "outputs.npz", **_saved(made.outputs))
    about: dict[str, Any] = {"kinds": made.kinds, "blocks": made.blocks, "parameters": made.model.count_params()}
    (folder / "model.json").write_text(json.dumps(about), "utf-8")
    try:
        content = by_tensorflow(made, folder / "exported")
    except Exception as error:  # noqa: BLE001 - whatever it raises is its refusal
        about["refusal"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    else:
        path = folder / "tensorflow.tflite"
        path.write_bytes(content)
        about |= {"kernels": {k: quality(path, made.held, made.outputs, k) for k in ALL_KERNELS}}
        about["float_ops"] = sorted(op.name for op in float_ops(read_graph(path)))
    (folder / "tensorflow.json").write_text(json.dumps(about), "utf-8")


def trial(target: str, folder: Path) -> None:
    """Write `TARGET.json`: how edgecompile's file for it does."""
    began = time.monotonic()
    held, wanted = dict(np.load(folder / "held.npz")), dict(np.load(folder / "outputs.npz"))
    (source,) = [folder / name for name in ("model.keras", "model.h5") if (folder / name).exists()]
    about: dict[str, Any] = {}
    try:
        (result,) = edgecompile.build_all(
            source, targets=[target], calibration=folder / "rows.npz", out=folder / "out", name="model"
        )
    except EdgeCompileError as error:
        about["refusal"] = f"{type(error).__name__}: {'; '.join(f'{p.where}: {p.what}' for p in error.problems)[:400]}"
    else:
        path = result.path / "model.tflite"
        about |= {"verdict": result.report.verdict, "kernels": {}, "file": path.name}
        about["kernels"] = {k: quality(path, held, wanted, k) for k in dict.fromkeys(("builtin", *TARGETS[target]))}
        about["float_ops"] = sorted(op.name for op in float_ops(read_graph(path)))
        about["rules"] = sorted({f.rule for f in result.report.findings if f.severity != "info"})
    about["seconds"] = time.monotonic() - began
    (folder / f"{target}.json").write_text(json.dumps(about), "utf-8")


def _saved(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return dict(arrays)


def results(seeds: range, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield seed and what came out for `tensorflow` and each target, from the folder where it is there already."""
    version = code_version()[:12]
    for seed in seeds:
        room = folder / f"{seed:04}"
        ours = room / version
        ours.mkdir(parents=True, exist_ok=True)
        if not (room / "tensorflow.json").exists():
            code = forked(trial_of_tensorflow, seed, room)
            if code and not (room / "model.json").exists():
                sys.exit(f"seed {seed}: no model, exit {code}")
            if code:
                about = json.loads((room / "model.json").read_text("utf-8"))
                about["refusal"] = f"its process ended with {code}"
                (room / "tensorflow.json").write_text(json.dumps(about), "utf-8")
        found = {"tensorflow": json.loads((room / "tensorflow.json").read_text("utf-8"))}
        files = {target: ours / f"{target}.json" for target in TARGETS}
        while missing := [target for target, file in files.items() if not file.exists()]:
            code = forked(_trials, missing, room, ours)
            first = next((file for file in files.values() if not file.exists()), None)
            if first is not None:
                first.write_text(json.dumps({"broken": f"exit {code}"}), "utf-8")
        yield seed, found | {target: json.loads(file.read_text("utf-8")) for target, file in files.items()}


def _trials(targets: Sequence[str], room: Path, ours: Path) -> None:
    for file in room.iterdir():
        if file.is_file() and not (ours / file.name).exists() and file.suffix in (".keras", ".h5", ".npz"):
            (ours / file.name).symlink_to(file)
    for target in targets:
        trial(target, ours)


def best(about: Mapping[str, Any]) -> float | None:
    """Return the SQNR of a file on the kernels where it is highest; None where it runs on none of them."""
    found = [x for x in about.get("kernels", {}).values() if not isinstance(x, str)]
    return max(found) if found else None


def judged(found: Mapping[str, Any]) -> Iterator[tuple[str, float | None, str]]:
    """Yield target, SQNR of our file, and what is wrong beside TensorFlow's."""
    theirs = best(found["tensorflow"])
    for target, kernels in TARGETS.items():
        about = found[target]
        given = {k: about["kernels"][k] for k in kernels} if "kernels" in about else {}
        ours = best({"kernels": given})
        if "broken" in about:
            yield target, None, f"breaks down: {about['broken']}"
        elif "refusal" in about:
            its = found["tensorflow"].get("kernels", {})
            yield target, None, about["refusal"] if best({"kernels": {k: its.get(k, "") for k in kernels}}) else ""
        elif ours is None:
            yield target, None, f"does not run: {given}"
        elif theirs is not None and min(theirs, ENOUGH_DB) - ours > MOST_DB:
            yield target, ours, f"{theirs - ours:.1f} dB worse"
        else:
            yield target, ours, ""


def apart(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield where kernels that stand for one target give unlike results, which rounding does not explain."""
    for target, kernels in TARGETS.items():
        given = {k: found[target].get("kernels", {}).get(k, "") for k in kernels}
        numbers = {k: x for k, x in given.items() if not isinstance(x, str)}
        if numbers and max(numbers.values()) - min(numbers.values()) > MOST_DB:
            yield f"kernels disagree on {target}: " + ", ".join(f"{k} {x:.1f}" for k, x in numbers.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:200", metavar="FIRST:END", help="which models; 0:200 by default")
    parser.add_argument("--folder", type=Path, help="where models and results are kept; a temporary one by default")
    given = parser.parse_args()
    seeds = range(*(int(x) for x in given.seeds.split(":")))
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["EDGECOMPILE_CACHE"] = str(folder / "cache")
        for module in PRELOADED:
            importlib.import_module(module)
        with served(Path(scratch)):
            code = report(seeds, folder.absolute())
    sys.exit(code)


def report(seeds: range, folder: Path) -> int:
    """Print a row a model, then the tables of all; return the exit code."""
    covered: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    pairs: dict[str, list[tuple[float, float]]] = {target: [] for target in TARGETS}
    unexplained = 0
    print(f"| seed | blocks | {' | '.join(TARGETS)} | TensorFlow | float ops, ours / TensorFlow's | |")
    print("| ---: | --- |" + " ---: |" * (len(TARGETS) + 2) + " --- |")
    for seed, found in results(seeds, folder):
        covered.update(found["tensorflow"]["kinds"].keys())
        refused.update(name for name in found if "refusal" in found[name])
        cells, faults = [], []
        theirs = best(found["tensorflow"])
        for target, ours, fault in judged(found):
            cells.append(shown(ours))
            if ours is not None and theirs is not None:
                pairs[target].append((ours, theirs))
            if fault:
                faults.append(f"{target}: {fault}")
        if faults:
            unexplained += seed not in KNOWN
            faults.append(KNOWN.get(seed, "unexplained"))
        floats = " / ".join(str(len(found[name].get("float_ops", ()))) for name in ("linux-x86_64", "tensorflow"))
        notes = "; ".join([*faults, *apart(found)])
        blocks = ", ".join(found["tensorflow"]["blocks"])
        print(f"| {seed} | {blocks} | {' | '.join(cells)} | {shown(theirs)} | {floats} | {notes} |", flush=True)
    print(
        "\n| target | both run | SQNR, median | worst | TensorFlow's, median | worst | ours minus its, median | worst ",
        end="",
    )
    print("| refused | by TensorFlow |\n| --- |" + " ---: |" * 9)
    for target, numbers in pairs.items():
        if numbers:
            ours, its = np.array(numbers).T
            columns = [shown(x) for s in (ours, its, ours - its) for x in (float(np.median(s)), float(s.min()))]
            print(
                f"| {target} | {len(numbers)} | {' | '.join(columns)} | {refused[target]} | {refused['tensorflow']} |"
            )
    print("\nModels that hold each kind: " + ", ".join(f"{kind} {n}" for kind, n in sorted(covered.items())))
    return 1 if unexplained else 0


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
