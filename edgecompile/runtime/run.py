"""Run the model of this bundle.

    python run.py INPUT.npy         one row or several, as they are before preprocessing
    python run.py INPUT.npz         one array per input, by name
    python run.py PHOTO.png         an image (needs Pillow)
    python run.py --check           replay the golden vectors; exit code 0 when they match

Needs Python 3.8 or later, numpy, and ai-edge-litert or tflite-runtime (2.14: numpy < 2), which pycoral brings too.
From Python: `from run import Model`, then `Model().predict(rows)`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
RESOLVERS = {"reference": "BUILTIN_REF", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
INSTALL = "pip install ai-edge-litert    (or, up to Python 3.11: pip install tflite-runtime==2.14.0 'numpy<2')"


class RunError(Exception):
    """Something the user can mend; the message says what."""


class Replay(NamedTuple):
    """How one output of the golden vectors came out."""

    output: str
    unit: str  # codes: of an integer output; real: values of a float one
    limit: float  # the largest difference allowed
    largest: float  # the largest difference found
    values: int
    differ: int  # how many of the values differ at all
    rows: int
    decisions: int | None  # rows that decide the same; None: the output decides nothing

    @property
    def ok(self) -> bool:
        """Whether every difference is within the limit and every decision is the same."""
        return self.largest <= self.limit and self.decisions in (None, self.rows)

    def __str__(self) -> str:
        same = "" if self.decisions is None else f", same decision on {self.decisions} of {self.rows} rows"
        largest = f"{self.largest:.6g}{' codes' if self.unit == 'codes' else ''}"
        return f"{self.output}: {self.differ} of {self.values} values differ{same}, largest difference {largest}"


class Model:
    """The model of a bundle, with preprocessing and quantization as `io.json` describes them.

    Args:
        folder: the bundle.
        kernels: `default`, what the interpreter picks (XNNPACK on CPUs), `builtin`, or `reference`: slow and plain.
        delegate: a delegate library, such as `libedgetpu.so.1`; the file that was compiled for it is loaded.
    """

    def __init__(self, folder: str | Path = HERE, *, kernels: str = "default", delegate: str | None = None) -> None:
        io = _read_json(Path(folder) / "io.json")
        self.inputs, self.outputs, self.labels = io["inputs"], io["outputs"], io["labels"]
        names = [io["model"]] if delegate is None else io["device_chain"] or [io["device_model"]]
        if _read_json(Path(folder) / "golden.json")["kernels"] == "tflm":
            raise RunError(f"{io['model']} runs on TFLite Micro alone: build firmware/ and call model_selftest")
        self._ends = io["chain_inputs"], io["chain_outputs"]
        self._chain = [_load(Path(folder) / name, kernels, delegate) for name in names]

    def predict(self, x: Any) -> Any:
        """Return the output's real values, float32 [n, ...]; of several outputs a dict by name.

        x holds stored values, as before preprocessing, of one row or of n; for several inputs it is a dict by name.
        """
        reals = [dequantize(stored, how) for stored, how in zip(self.invoke(self.codes(x)), self.outputs)]
        return reals[0] if len(reals) == 1 else {how["name"]: y for how, y in zip(self.outputs, reals)}

    def codes(self, x: Any) -> list[Any]:
        """Return what the input tensors take, one array [n, ...] per input: preprocessed and quantized."""
        given = x if isinstance(x, Mapping) else {self.inputs[0]["name"]: x}
        if sorted(given) != sorted(names := [how["name"] for how in self.inputs]):
            raise RunError(f"the model takes {', '.join(names)}; given: {', '.join(sorted(given))}")
        return [quantize(_rows(np.asarray(given[how["name"]]), how), how) for how in self.inputs]

    def invoke(self, codes: Sequence[Any]) -> list[Any]:
        """Return stored output values, one array [n, ...] per output, of rows as `codes` gives them."""
        n, batched = len(codes[0]), [how["batched"] for how in self.inputs]
        size = next((how["shape"][0] for how in self.inputs if how["batched"]), 1)
        found, several = [], len(self._chain) > 1
        names = self._ends[0] if several else [detail["name"] for detail in self._chain[0].get_input_details()]
        for start in range(0, n, size):
            known: dict[str, Any] = {}
            for name, rows, first in zip(names, codes, batched):
                part = rows[start : start + size]
                whole = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])  # filler: cut off below
                known[name] = whole if first else whole[0]
            for run in self._chain:  # of several, each takes by name what those before it gave
                for detail in run.get_input_details():
                    run.set_tensor(detail["index"], known[detail["name"]])
                run.reset_all_variables()  # rows are independent; an LSTM would carry its state over
                run.invoke()
                known.update(made := [(d["name"], run.get_tensor(d["index"])) for d in run.get_output_details()])
            found.append([known[name] for name in self._ends[1]] if several else [y for _, y in made])
        return [(np.concatenate if p[0].shape[:1] == (size,) else np.stack)(p)[:n] for p in zip(*found)]


def _load(path: Path, kernels: str, delegate: str | None) -> Any:
    module = interpreter()[1]
    try:
        with _silence():
            options = {"experimental_delegates": [module.load_delegate(delegate)]} if delegate else {}
            if kernels != "default":  # interpreters as old as pycoral's have no choice
                options["experimental_op_resolver_type"] = getattr(module.OpResolverType, RESOLVERS[kernels])
            run = module.Interpreter(model_path=str(path), num_threads=os.cpu_count(), **options)
            run.allocate_tensors()
            return run
    except (ValueError, RuntimeError, OSError, AttributeError) as error:
        raise RunError(f"{path.name} does not load{f' with {delegate}' if delegate else ''}: {error}") from None


def _rows(x: Any, how: Mapping[str, Any]) -> Any:
    """Return preprocessed rows [n, ...] of the input's shape; x is one row or several."""
    wanted = how["shape"][1:] if how["batched"] else how["shape"]
    if how["preprocess"]["resize"] is not None:
        x = x[..., None] if x.shape[-1] != wanted[-1] else x
        x = resize(x if x.ndim > len(wanted) else x[None], how["preprocess"]["resize"])
    # Axes of length 1 may be left out: 28×28 images serve a 28×28×1 input.
    bare, one, many = ([d for d in shape if d != 1] for shape in (wanted, x.shape, x.shape[1:]))
    if bare not in (one, many):
        raise RunError(f"input {how['name']} takes rows of shape {wanted}; given: {list(x.shape)}")
    return preprocess(x.reshape(-1, *wanted), how["preprocess"])


def resize(x: Any, size: Sequence[int]) -> Any:
    """Return images [n, h, w, c] as float32 of size (h, w): bilinear, half-pixel centres."""
    x = x.astype(np.float32, copy=False)
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = x.shape[axis]
        centre = (np.arange(wanted) + 0.5) * have / wanted - 0.5
        low = np.clip(np.floor(centre).astype(np.intp), 0, have - 1)
        share = np.clip(centre - low, 0, 1).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, np.minimum(low + 1, have - 1), axis) * share
    return x


def preprocess(x: Any, how: Mapping[str, Any]) -> Any:
    """Return rows as float32 after dequantize, `x * scale + offset`, `(x - mean) / std`; see `io.json`."""
    x = x.astype(np.float32, copy=False) if how["quantized"] is None else dequantize(x, how["quantized"])
    scale, offset, mean, std = (np.asarray(how[key], np.float32) for key in ("scale", "offset", "mean", "std"))
    return (x * scale + offset - mean) / std


def quantize(x: Any, how: Mapping[str, Any]) -> Any:
    """Return stored values: round(x / scale) + zero_point, clipped; halves away from zero, as in TFLite's QUANTIZE."""
    if how["scale"] is None:
        return x.astype(how["dtype"])
    steps = x / np.float32(how["scale"])
    whole = np.trunc(steps)
    whole += np.sign(steps) * (np.abs(steps - whole) >= 0.5)
    limits = np.iinfo(how["dtype"])
    return np.clip(whole + how["zero_point"], limits.min, limits.max).astype(how["dtype"])


def dequantize(stored: Any, how: Mapping[str, Any]) -> Any:
    """Return real values, float32: scale * (stored - zero_point); stored itself where there is no scale."""
    if how["scale"] is None:
        return stored
    return np.float32(how["scale"]) * (stored.astype(np.float32) - np.float32(how["zero_point"]))


def decide(stored: Any, rule: Mapping[str, Any]) -> Any:
    """Return the class of each row, int [n]: place of the largest value, or whether the only one reaches a limit."""
    flat = stored.reshape(len(stored), -1)
    return flat.argmax(axis=1) if rule["by"] == "argmax" else (flat[:, 0] >= rule["threshold"]).astype(np.intp)


def check(folder: str | Path = HERE, *, kernels: str | None = None) -> list[Replay]:
    """Replay the golden vectors on kernels (by default those that they name); one result per output."""
    golden = _read_json(Path(folder) / "golden.json")
    model = Model(folder, kernels=kernels or golden["kernels"])
    with np.load(str(Path(folder) / "golden.npz")) as arrays:
        inputs = [arrays[f"input_{i}"] for i in range(len(model.inputs))]
        expected = [arrays[f"output_{i}"] for i in range(len(model.outputs))]
    return [compare(*row) for row in zip(model.invoke(inputs), expected, golden["outputs"])]


def compare(found: Any, expected: Any, rule: Mapping[str, Any]) -> Replay:
    """Return how one output came out, [n, ...], against the golden one."""
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    same = None if (how := rule["decision"]) is None else int((decide(found, how) == decide(expected, how)).sum())
    largest, differ = float(apart.max()), int((apart > 0).sum())
    return Replay(rule["name"], rule["unit"], rule["limit"], largest, apart.size, differ, len(apart), same)


def interpreter() -> tuple[str, Any]:
    """Return name and module of the interpreter package that is installed; raise RunError where there is none."""
    for name, module in PACKAGES.items():
        try:
            with _silence():  # tflite-runtime prints a page when numpy is too new for it
                return name, importlib.import_module(module)
        except (ImportError, AttributeError) as error:
            why = f"{name} does not load: {error}"
    raise RunError(f"{why}\n{INSTALL}")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what C++ code says while it loads (`INFO: Created TensorFlow Lite XNNPACK delegate`) off the terminal."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror}); is {path.parent} a whole bundle?") from None


def _read_input(path: Path, model: Model) -> Any:
    if path.suffix == ".npy":
        return np.load(str(path))
    if path.suffix == ".npz":
        with np.load(str(path)) as arrays:
            found = dict(arrays)
        return next(iter(found.values())) if len(found) == len(model.inputs) == 1 else found
    try:
        image = importlib.import_module("PIL.Image")
    except ImportError:
        raise RunError("an image needs Pillow: pip install pillow    (or give the pixels as .npy)") from None
    if len(model.inputs[0]["shape"]) != 4:
        raise RunError(f"{path.name}: this model takes no images; give its values as .npy")
    height, width, channels = model.inputs[0]["shape"][1:]
    picture = image.open(path).convert("L" if channels == 1 else "RGB")
    if (size := model.inputs[0]["preprocess"]["resize"]) is not None:  # as the build does with a folder of images
        return np.rint(resize(np.asarray(picture).reshape(1, picture.height, picture.width, channels), size))
    if picture.size != (width, height):
        print(f"{path.name}: {picture.width}×{picture.height} pixels, resized to {width}×{height}")
        picture = picture.resize((width, height))
    return np.asarray(picture)


def _check(folder: Path) -> int:
    golden, results = _read_json(folder / "golden.json"), check(folder)
    print(f"golden vectors: {golden['source']}\n{golden['kernels']} kernels, {interpreter()[0]}:")
    print("\n".join(f"  {r}; {r.limit:g} allowed" for r in results))
    print("PASS" if (ok := all(r.ok for r in results)) else "FAIL")
    try:
        others = [str(r) for r in check(folder, kernels="default")]
    except RunError as error:
        others = [str(error)]
    print("\n  ".join(["for information, default kernels:", *others]))
    return 0 if ok else 1


def _predict(model: Model, path: str, top: int) -> int:
    found = model.predict(_read_input(Path(path), model))
    for name, y in (found if isinstance(found, dict) else {model.outputs[0]["name"]: found}).items():
        for n, row in enumerate(y.reshape(len(y), -1)):
            text = " ".join(f"{v:.6g}" for v in row[:16]) + (f" … ({len(row)} values)" if len(row) > 16 else "")
            if len(row) == len(model.labels):
                text = "  ".join(f"{model.labels[i]} {row[i]:.4g}" for i in np.argsort(-row, kind="stable")[:top])
            print(f"{name}[{n}]: {text}")
    return 0


def main(argv: Sequence[str] | None = None, *, folder: Path = HERE) -> int:
    """Run the command line; return the exit code: 0 done or match, 1 no match, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="run.py", description="Run the model of this bundle.")
    parser.add_argument("input", nargs="?", help=".npy, .npz or an image")
    parser.add_argument("--check", action="store_true", help="replay the golden vectors; exit code 0 when they match")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to print (default 5)")
    parser.add_argument("--delegate", metavar="LIBRARY", help="delegate library, e.g. libedgetpu.so.1")
    args = parser.parse_args(argv)
    if args.check == bool(args.input):
        parser.error("give an input file, or --check")
    try:
        return _check(folder) if args.check else _predict(Model(folder, delegate=args.delegate), args.input, args.top)
    except (RunError, OSError, ValueError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
