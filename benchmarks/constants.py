"""Models of 0.3, 1 and 8 MB of constants on every family of targets: `python benchmarks/constants.py [MB …]`.

A dense and a convolutional network each: random features with ReLU, and a last layer fitted to the MNIST digits of
EDGECOMPILE_DATA by least squares. Built in int8 for two microcontrollers, an Ethos-U, the Edge TPU and Linux; the
accuracy of each, on the interpreter that stands for the device, must lie within 0.5 points of what the bundle's int8
file gives on LiteRT's built-in kernels, and no file may hold constants behind its flatbuffer. A missed budget is a
missed budget.

With EDGECOMPILE_RUNTIMES, a colon-separated list of Python interpreters that have a tflite-runtime each, every one of
them also runs the Edge TPU's file on 100 of the rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

import edgecompile
from edgecompile.data.dataset import Dataset
from edgecompile.recipe import Preprocess
from edgecompile.tflite.edit import write_model
from edgecompile.tflite.inline import outside_bytes
from edgecompile.tflite.runner import predict
from edgecompile.tflite.values import Array

SIZES_MB = (0.3, 1.0, 8.0)
TARGETS = ("linux-x86_64", "nucleo-h743zi2", "nucleo-l4r5zi", "corstone-300-u55-128", "coral")
FITTED, SCORED, PIXELS, CLASSES = 4000, 1000, 28, 10
WITHIN = 0.005
"""Of a share of rows, against the same file on LiteRT."""

RUN_ONE = """
import sys, numpy, tflite_runtime, tflite_runtime.interpreter as t
i = t.Interpreter(model_path=sys.argv[1]); i.allocate_tensors()
a, b, found = i.get_input_details()[0], i.get_output_details()[0], []
for x in numpy.load(sys.argv[2]):
    scale, zero = a["quantization"]
    i.set_tensor(a["index"], numpy.clip(numpy.round(x[None] / scale) + zero, -128, 127).astype(a["dtype"])); i.invoke()
    found.append(int(i.get_tensor(b["index"])[0].argmax()))
print(tflite_runtime.__version__, *found)
"""


class Network:
    """A chain of layers of random weights, in the schema's object form."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.graph = schema.SubGraphT(name=b"main", tensors=[], operators=[], inputs=[0], outputs=[])
        self.model = schema.ModelT(version=3, operatorCodes=[], subgraphs=[self.graph], buffers=[schema.BufferT()])
        self.last = self.tensor([1, PIXELS, PIXELS, 1], "x")

    def tensor(self, shape: Sequence[int], name: str, values: Array | None = None) -> int:
        buffer = 0
        if values is not None:
            buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        dtype = schema.TensorType.INT32 if values is not None and values.dtype == np.int32 else 0
        made = schema.TensorT(name=name.encode(), shape=list(shape), type=dtype, buffer=buffer, hasRank=True)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def shape(self) -> list[int]:
        return list(self.graph.tensors[self.last].shape)

    def op(self, name: str, constants: Sequence[Array], shape: Sequence[int], options: Any) -> None:
        code, at = getattr(schema.BuiltinOperator, name), len(self.graph.operators)
        self.model.operatorCodes.append(schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1))
        inputs = [self.last, *(self.tensor(c.shape, f"c{at}_{n}", c) for n, c in enumerate(constants))]
        self.last = self.tensor(shape, f"t{at}")
        made = schema.OperatorT(opcodeIndex=at, inputs=inputs, outputs=[self.last], builtinOptions=options)
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(made)

    def conv(self, channels: int, stride: int) -> None:
        _, h, w, c = self.shape()
        weights = self.random.normal(0, np.sqrt(2 / (9 * c)), (channels, 3, 3, c)).astype(np.float32)
        how = schema.Conv2DOptionsT(padding=0, strideH=stride, strideW=stride, fusedActivationFunction=1)
        bias = self.random.normal(0, 0.1, channels).astype(np.float32)
        self.op("CONV_2D", [weights, bias], [1, -(-h // stride), -(-w // stride), channels], how)

    def flat(self) -> None:
        size = int(np.prod(self.shape()))
        self.op("RESHAPE", [np.asarray([1, size], np.int32)], [1, size], schema.ReshapeOptionsT(newShape=[1, size]))

    def dense(self, units: int, weights: Array | None = None, bias: Array | None = None) -> None:
        size = self.shape()[1]
        relu = weights is None
        if weights is None:
            weights = self.random.normal(0, np.sqrt(2 / size), (units, size)).astype(np.float32)
        bias = self.random.normal(0, 0.1, units).astype(np.float32) if bias is None else bias
        how = schema.FullyConnectedOptionsT(fusedActivationFunction=int(relu))
        self.op("FULLY_CONNECTED", [weights, bias], [1, units], how)

    def written(self) -> bytes:
        self.graph.outputs = [self.last]
        return write_model(self.model)


def features(kind: str, size_mb: float) -> Network:
    """Return a network of about size_mb million weights, but for its last layer."""
    net, weights = Network(), size_mb * 1e6
    if kind == "dense":
        net.flat()
        units = int((np.sqrt((PIXELS**2) ** 2 + 4 * weights) - PIXELS**2) / 2)  # 784·u + u² = weights
        net.dense(units)
        net.dense(units)
        return net
    net.conv(16, 2)
    net.conv(64, 2)
    channels = int((np.sqrt(64**2 + 4 * weights / 9) - 64) / 2)  # 9·(64·c + c²) = weights
    net.conv(channels, 2)
    net.conv(channels, 2)
    net.flat()
    return net


def rows(x: Array) -> Dataset:
    return Dataset(inputs={"*": x}, preprocess={"*": Preprocess(scale=1 / 255)})


def fitted(kind: str, size_mb: float, folder: Path, x: Array, y: Array) -> Path:
    """Return a `.tflite` whose last layer gives 1 for the digit and 0 for the others, by least squares."""
    net, path = features(kind, size_mb), folder / f"{kind}-{size_mb:g}.tflite"
    path.write_bytes(net.written())
    (found,) = predict(path, rows(x), kernels="builtin").values()
    seen = np.concatenate([found.reshape(len(x), -1), np.ones((len(x), 1))], axis=1).astype(np.float64)
    kernel = seen @ seen.T
    kernel[np.diag_indices(len(x))] += 1e-2 * np.trace(kernel) / len(x)
    solution = seen.T @ np.linalg.solve(kernel, np.eye(CLASSES)[y])
    net.dense(CLASSES, solution[:-1].T.astype(np.float32).copy(), solution[-1].astype(np.float32))
    path.write_bytes(net.written())
    return path


def agreement(python: str, model: Path, x: Array, folder: Path) -> str:
    """Return which runtime python has, and on how many rows it decides as LiteRT does; or why it does not run."""
    np.save(folder / "rows.npy", x.astype(np.float32) / 255)
    argv = [python, "-c", RUN_ONE, str(model), str(folder / "rows.npy")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{python}: {done.stderr.strip().splitlines()[-1]}"
    runtime, *decisions = done.stdout.split()
    (ours,) = predict(model, rows(x), kernels="builtin").values()
    same = int((ours.reshape(len(x), -1).argmax(axis=1) == np.asarray(decisions, int)).sum())
    return f"tflite-runtime {runtime}: {same} of {len(x)} decisions as LiteRT"


def tried(model: Path, target: str, folder: Path, x: Array, y: Array) -> tuple[bool, Path]:
    """Build model for target and print a line; return whether its promises hold, and the file that LiteRT runs."""
    built = edgecompile.build_all(
        model, targets=[target], data=folder / "test.npz", calibration=folder / "fit.npz",
        scale=1 / 255, max_drop=1.0, out=folder / "out",
    )[0]  # fmt: skip
    accuracy = built.report.accuracy
    assert accuracy is not None
    host = built.path / json.loads((built.path / "io.json").read_text("utf-8"))["model"]
    (given,) = predict(host, rows(x), kernels="builtin").values()
    on_litert = float((given.reshape(len(x), -1).argmax(axis=1) == y).mean())
    outside = sum(outside_bytes(file.read_bytes()) for file in built.path.rglob("*.tflite"))
    found = accuracy.result_score.value
    holds = abs(found - on_litert) <= WITHIN and not outside
    missed = ", ".join(check.name for check in built.report.checks if not check.ok)
    print(
        f"{model.stem:10} {target:21} float {accuracy.float_score.value:7.2%}  {accuracy.kernels:9} {found:7.2%}  "
        f"LiteRT {on_litert:7.2%}  outside {outside:,} B  {'ok' if holds else 'WRONG'}  {missed}",
        flush=True,
    )
    return holds, host


def main() -> int:
    """Print a line for each model and target; 1 where a promise is broken."""
    data = Path(os.environ["EDGECOMPILE_DATA"]) / "mnist"
    train, test = np.load(data / "mnist_train_12000.npz"), np.load(data / "mnist_test_3000.npz")
    runtimes = [p for p in os.environ.get("EDGECOMPILE_RUNTIMES", "").split(":") if p]
    seen, digits = train["x"][:FITTED, ..., None], train["y"][:FITTED].astype(int)
    x, y = test["x"][:SCORED, ..., None], test["y"][:SCORED].astype(int)
    broken = 0
    for size_mb in [float(a) for a in sys.argv[1:]] or SIZES_MB:
        for kind in ("dense", "conv"):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                model = fitted(kind, size_mb, folder, seen, digits)
                np.savez(folder / "test.npz", x=x, y=y)
                np.savez(folder / "fit.npz", x=seen[:SCORED], y=digits[:SCORED])
                for target in TARGETS:
                    holds, host = tried(model, target, folder, x, y)
                    broken += not holds
                    for python in runtimes if target == "coral" else ():
                        print(f"      {agreement(python, host, x[:100], folder)}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
