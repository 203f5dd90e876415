"""Run the model of this bundle.

    python run.py INPUT.npy         one row or several, as they are before preprocessing
    python run.py INPUT.npz         one array per input, by name
    python run.py PHOTO.png         an image (needs Pillow)
    python run.py --check           replay the golden vectors; exit code 0 when they match

Needs Python 3.8 or later, numpy, and ai-edge-litert or tflite-runtime (2.14: numpy < 2). From Python:

    from run import Model
    scores = Model().predict(rows)
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
INSTALL = "pip install ai-edge-litert    (or, up to Python 3.11: pip install tflite-runtime==2.14.0 'numpy<2')"


class RunError(Exception):
    """Something the user can mend; the message says what."""


class Replay(NamedTuple):
    """How one output of the golden vectors came out."""

    output: str
    rows: int
    unit: str
    """`codes` of an integer output, `real` values of a float one."""
    limit: float
    """The largest difference allowed."""
    largest: float
    """The largest difference found."""
    values: int
    """How many output values there are."""
    differ: int
    """How many of them differ at all."""
    decisions: int | None
    """Rows that decide the same; None where the output decides nothing."""

    @property
    def ok(self) -> bool:
        """Whether every difference is within the limit and every decision is the same."""
        return self.largest <= self.limit and self.decisions in (None, self.rows)


class Model:
    """The model of a bundle, with preprocessing and quantization as `io.json` describes them.

    Attributes:
        inputs, outputs: one dict per tensor, from `io.json`.
        labels: class names in output order; empty when unknown.
        interpreter: name of the package that runs the model.
    """

    def __init__(self, folder: str | Path = HERE, *, kernels: str = "default", delegate: str | None = None) -> None:
        """Load the model.

        Args:
            folder: the bundle.
            kernels: `default`, what the interpreter picks (XNNPACK on CPUs), or `reference`: slow, and the same
                arithmetic on every machine.
            delegate: a delegate library, such as `libedgetpu.so.1`; the file that was compiled for it is loaded.

        Raises:
            RunError: no interpreter is installed, or the model or the delegate does not load.
        """
        folder = Path(folder)
        io = _read_json(folder / "io.json")
        self.inputs: list[dict[str, Any]] = io["inputs"]
        self.outputs: list[dict[str, Any]] = io["outputs"]
        self.labels: list[str] = io["labels"]
        self.interpreter, module = _interpreter()
        self._run = _load(module, folder / io["model" if delegate is None else "device_model"], kernels, delegate)
        self._in = [detail["index"] for detail in self._run.get_input_details()]
        self._out = [detail["index"] for detail in self._run.get_output_details()]

    def predict(self, x: Any) -> Any:
        """Return the output's real values, float32 [n, ...]; of several outputs a dict by name.

        Args:
            x: stored values (before preprocessing) of one row or of n rows; for several inputs a dict by name.
        """
        reals = [dequantize(stored, how) for stored, how in zip(self.invoke(self.codes(x)), self.outputs)]
        return reals[0] if len(reals) == 1 else {how["name"]: y for how, y in zip(self.outputs, reals)}

    def codes(self, x: Any) -> list[Any]:
        """Return what the input tensors take, one array [n, ...] per input: preprocessed and quantized."""
        given = x if isinstance(x, Mapping) else {self.inputs[0]["name"]: x}
        names = [how["name"] for how in self.inputs]
        if sorted(given) != sorted(names):
            raise RunError(f"the model takes {', '.join(names)}; given: {', '.join(sorted(given))}")
        return [quantize(_rows(np.asarray(given[how["name"]]), how), how) for how in self.inputs]

    def invoke(self, codes: Sequence[Any]) -> list[Any]:
        """Return stored output values, one array [n, ...] per output, of rows as `codes` gives them."""
        n, batch = len(codes[0]), self.inputs[0]["shape"][0]
        results: list[list[Any]] = [[] for _ in self._out]
        for start in range(0, n, batch):
            for index, rows in zip(self._in, codes):
                part = rows[start : start + batch]
                filler = np.repeat(part[-1:], batch - len(part), axis=0)  # cut off again below
                self._run.set_tensor(index, np.concatenate([part, filler]))
            self._run.reset_all_variables()  # rows are independent; an LSTM would carry its state over
            self._run.invoke()
            for index, found in zip(self._out, results):
                found.append(self._run.get_tensor(index))
        return [np.concatenate(found)[:n] for found in results]


def _rows(x: Any, how: Mapping[str, Any]) -> Any:
    """Return preprocessed rows [n, ...] of the input's shape; x is one row or several."""
    wanted = tuple(how["shape"][1:])
    if how["preprocess"]["resize"] is not None:
        x = x[..., None] if x.shape[-1] != wanted[-1] else x
        x = resize(x[None] if len(x.shape) == len(wanted) else x, how["preprocess"]["resize"])
    bare = _bare(wanted)
    if _bare(x.shape) != bare and _bare(x.shape[1:]) != bare:
        raise RunError(f"input {how['name']} takes rows of {_shape(wanted)}; given: {_shape(x.shape)}")
    return preprocess(x.reshape(-1, *wanted), how["preprocess"])


def _bare(shape: Sequence[int]) -> list[int]:
    """Return shape without axes of length 1: 28×28 images serve a 28×28×1 input."""
    return [d for d in shape if d != 1]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a scalar"


def resize(x: Any, size: Sequence[int]) -> Any:
    """Return images [n, h, w, c] as float32 of size (h, w): bilinear, half-pixel centres."""
    x = x.astype(np.float32, copy=False)
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = x.shape[axis]
        if have == wanted:
            continue
        centre = (np.arange(wanted) + 0.5) * have / wanted - 0.5
        low = np.clip(np.floor(centre).astype(np.intp), 0, have - 1)
        high = np.minimum(low + 1, have - 1)
        share = np.clip(centre - low, 0.0, 1.0).astype(np.float32)
        share = share.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(np.float32, copy=False)


def preprocess(x: Any, how: Mapping[str, Any]) -> Any:
    """Return rows as float32 after dequantize, `x * scale + offset`, `(x - mean) / std`; see `io.json`."""
    x = x.astype(np.float32, copy=False)
    if how["quantized"] is not None:
        x = (x - np.float32(how["quantized"]["zero_point"])) * np.float32(how["quantized"]["scale"])
    if how["scale"] != [1.0] or how["offset"] != [0.0]:
        x = x * np.asarray(how["scale"], np.float32) + np.asarray(how["offset"], np.float32)
    if how["mean"] != [0.0] or how["std"] != [1.0]:
        x = (x - np.asarray(how["mean"], np.float32)) / np.asarray(how["std"], np.float32)
    return x


def quantize(x: Any, how: Mapping[str, Any]) -> Any:
    """Return stored values: round(x / scale) + zero_point, halves away from zero, clipped to the dtype.

    Source: `AffineQuantize` of TFLite's reference kernels (the QUANTIZE op).
    """
    dtype = np.dtype(how["dtype"])
    if how["scale"] is None:
        return x.astype(dtype)
    steps = x / np.float32(how["scale"])
    whole = np.trunc(steps)
    whole += np.sign(steps) * (np.abs(steps - whole) >= 0.5)
    limits = np.iinfo(dtype)
    return np.clip(whole + how["zero_point"], limits.min, limits.max).astype(dtype)


def dequantize(stored: Any, how: Mapping[str, Any]) -> Any:
    """Return real values, float32: scale * (stored - zero_point); stored itself where there is no scale."""
    if how["scale"] is None:
        return stored
    return np.float32(how["scale"]) * (stored.astype(np.float32) - np.float32(how["zero_point"]))


def decide(stored: Any, rule: Mapping[str, Any]) -> Any:
    """Return the class of each row, int [n]: where the largest value is, or whether the only one exceeds a threshold."""
    flat = stored.reshape(len(stored), -1)
    return flat.argmax(axis=1) if rule["by"] == "argmax" else (flat[:, 0] > rule["threshold"]).astype(np.intp)


def check(folder: str | Path = HERE, *, kernels: str | None = None) -> list[Replay]:
    """Replay the golden vectors on kernels (by default those that they name); one result per output."""
    folder = Path(folder)
    golden = _read_json(folder / "golden.json")
    model = Model(folder, kernels=kernels or golden["kernels"])
    with np.load(str(folder / "golden.npz")) as arrays:
        inputs = [arrays[f"input_{i}"] for i in range(len(model.inputs))]
        expected = [arrays[f"output_{i}"] for i in range(len(model.outputs))]
    return [_compare(*pair, rule) for *pair, rule in zip(model.invoke(inputs), expected, golden["outputs"])]


def _compare(found: Any, expected: Any, rule: Mapping[str, Any]) -> Replay:
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    same = None
    if rule["decision"] is not None:
        same = int((decide(found, rule["decision"]) == decide(expected, rule["decision"])).sum())
    largest, differ = float(apart.max()), int((apart > 0).sum())
    return Replay(rule["name"], len(expected), rule["unit"], rule["limit"], largest, apart.size, differ, same)


def _interpreter() -> tuple[str, Any]:
    """Return name and module of the interpreter package that is installed."""
    why = ""
    for name, module in PACKAGES.items():
        try:
            with _silence():  # tflite-runtime prints a page when numpy is too new for it
                return name, importlib.import_module(module)
        except (ImportError, AttributeError) as error:
            why = f"{name} does not load: {error}"
    raise RunError(f"{why}\n{INSTALL}")


def _load(module: Any, model: Path, kernels: str, delegate: str | None) -> Any:
    kinds = module.OpResolverType
    try:
        with _silence():
            run = module.Interpreter(
                model_path=str(model),
                num_threads=os.cpu_count(),
                experimental_op_resolver_type={"default": kinds.AUTO, "reference": kinds.BUILTIN_REF}[kernels],
                experimental_delegates=[module.load_delegate(delegate)] if delegate else None,
            )
            run.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        raise RunError(f"{model.name} does not load{f' with {delegate}' if delegate else ''}: {error}") from None
    return run


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what C++ code says while it loads (`INFO: Created TensorFlow Lite XNNPACK delegate`) off the terminal."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


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
        from PIL import Image
    except ImportError:
        raise RunError("an image needs Pillow: pip install pillow    (or give the pixels as .npy)") from None
    height, width, channels = model.inputs[0]["shape"][1:]
    pixels = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB"))
    if model.inputs[0]["preprocess"]["resize"] is None and pixels.shape[:2] != (height, width):
        _say(f"resized from {_shape(pixels.shape[:2])} to {height}×{width}")
        pixels = np.rint(resize(pixels.reshape(1, *pixels.shape[:2], channels), (height, width)))
    return pixels


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _show_check(folder: Path) -> int:
    golden, results = _read_json(folder / "golden.json"), check(folder)
    _say(f"golden vectors: {golden['source']}")
    _say(f"{golden['kernels']} kernels, {_interpreter()[0]}:")
    for r in results:
        _say(f"  {_line(r)}; {r.limit:g} allowed")
    ok = all(r.ok for r in results)
    _say("PASS" if ok else "FAIL")
    try:
        others = [_line(r) for r in check(folder, kernels="default")]
    except RunError as error:
        others = [str(error)]
    _say("\n  ".join(["for information, default kernels:", *others]))
    return 0 if ok else 1


def _line(r: Replay) -> str:
    same = "" if r.decisions is None else f", same decision on {r.decisions} of {r.rows} rows"
    largest = f"{r.largest:.6g}{' codes' if r.unit == 'codes' else ''}"
    return f"{r.output}: {r.differ} of {r.values} values differ{same}, largest difference {largest}"


def _show(model: Model, outputs: Any, top: int) -> None:
    for name, y in (outputs if isinstance(outputs, dict) else {model.outputs[0]["name"]: outputs}).items():
        for n, row in enumerate(y.reshape(len(y), -1)):
            if len(row) == len(model.labels):
                best = np.argsort(-row, kind="stable")[:top]
                text = "  ".join(f"{model.labels[i]} {row[i]:.4g}" for i in best)
            else:
                text = " ".join(f"{v:.6g}" for v in row[:16]) + (f" … ({len(row)} values)" if len(row) > 16 else "")
            _say(f"{name}[{n}]: {text}")


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
        if args.check:
            return _show_check(folder)
        model = Model(folder, delegate=args.delegate)
        _show(model, model.predict(_read_input(Path(args.input), model)), args.top)
    except (RunError, OSError, ValueError) as error:
        sys.stderr.write(f"run.py: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
