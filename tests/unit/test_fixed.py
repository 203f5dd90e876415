"""Float models in arithmetic that gives the same bits on every processor."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite import session, tflm
from edgecompile.tflite.feeds import match
from edgecompile.tflite.fixed import Executor, functions, grid, runs, unfixed
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import predict
from edgecompile.tflite.session import Session

DATA = Path(__file__).parents[1] / "data"
Build = Callable[[nets.Net, int], int]


# --- grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_grid_rounds_to_a_power_of_two_half_to_even(dtype: Any) -> None:
    values = np.array([1.0, -0.3, 0.625, 0.875, 0.0], dtype)
    found = grid.on_grid(values, 3)  # exponent 1: steps of 1 / 4
    assert found.dtype == dtype
    assert found.tolist() == [1.0, -0.25, 0.5, 1.0, 0.0]


@pytest.mark.parametrize("scale", [2.0**-140, 1e-30, 1.0, 1e30, 1e38])
def test_on_grid_is_off_by_half_a_step_at_most(scale: float) -> None:
    values = (np.random.default_rng(0).uniform(-1, 1, 1000) * scale).astype(np.float32)
    found = grid.on_grid(values, 22)
    assert np.abs(found.astype(np.float64) - values).max() <= np.abs(values).max() * 2.0**-22


@pytest.mark.parametrize("terms", [1, 2, 9, 576, 4608, 100_000])
def test_sums_do_not_depend_on_their_order(terms: int) -> None:
    rng = np.random.default_rng(terms)
    x, w = (rng.standard_normal(terms) * np.exp(rng.normal(0, 3, terms)) for _ in range(2))
    shuffled = rng.permutation(terms)
    there = grid.exact_product(x[None].astype(np.float32), w[:, None])
    back = grid.exact_product(x[None, shuffled].astype(np.float32), w[shuffled, None])
    assert there == back
    bits = grid.product_bits(terms)
    a, b = grid.on_grid(x.astype(np.float32), bits).astype(np.float64), grid.on_grid(w, bits)
    assert float(there[0, 0]) == math.fsum((a * b).tolist())  # a * b is exact, fsum rounds once
    assert grid.exact_sum(x, 0) == grid.exact_sum(x[shuffled], 0)
    columns = x.astype(np.float32).reshape(-1, 1)
    assert grid.column_sums(columns) == grid.column_sums(columns[shuffled])


# --- functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sin", "cos"])
def test_functions_are_those_of_libm(name: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 4001), np.linspace(-700, 700, 301)])
    x = np.abs(x) + 1e-6 if name == "log" else x
    wanted = np.array([getattr(math, name)(value) for value in x.tolist()])
    found = getattr(functions, name)(x)
    assert (
        np.abs(found - wanted).max() <= 3e-10 if name == "erf" else np.allclose(found, wanted, rtol=1e-14, atol=1e-14)
    )


def test_logistic_and_power() -> None:
    x = np.linspace(-50, 50, 1001)
    assert np.allclose(functions.logistic(x), [1 / (1 + math.exp(-v)) for v in x.tolist()], rtol=1e-14)
    assert functions.power(np.array([2.0, -2.0, 0.0, 9.0]), np.array([10.0, 3.0, 2.0, 0.5])).round(9).tolist() == [
        1024,
        -8,
        0,
        3,
    ]
    assert np.isnan(functions.power(np.array([-2.0]), np.array([0.5])))[0]
    assert np.isneginf(functions.log(np.zeros(1)))[0]
    assert np.isnan(functions.log(np.array([-1.0])))[0]


# --- ops against LiteRT -------------------------------------------------------------------------------------------


def _pool(net: nets.Net, x: int, name: str, padding: int) -> int:
    n, h, w, c = net.shape(x)
    out = [n, -(-h // 2), -(-w // 2), c] if padding == 0 else [n, (h - 3) // 2 + 1, (w - 3) // 2 + 1, c]
    how = schema.Pool2DOptionsT(padding=padding, strideH=2, strideW=2, filterHeight=3, filterWidth=3)
    return net.op(name, [x], out, how)


def _conv(net: nets.Net, x: int, *, stride: int, dilation: int, groups: int = 1, same: bool = True) -> int:
    n, h, w, c = net.shape(x)
    reach = 2 * dilation + 1
    size = [-(-s // stride) if same else (s - reach) // stride + 1 for s in (h, w)]
    how = schema.Conv2DOptionsT(
        strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, padding=0 if same else 1
    )
    inputs = [x, net.constant(net.weights(8, 3, 3, c // groups)), net.constant(net.weights(8))]
    return net.op("CONV_2D", inputs, [n, *size, 8], how, version=6 if groups > 1 else 1)


def _depthwise(net: nets.Net, x: int, *, stride: int, dilation: int, multiplier: int) -> int:
    n, h, w, c = net.shape(x)
    how = schema.DepthwiseConv2DOptionsT(
        strideH=stride,
        strideW=stride,
        depthMultiplier=multiplier,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        fusedActivationFunction=3,
    )
    inputs = [x, net.constant(net.weights(1, 3, 3, c * multiplier)), net.constant(net.weights(c * multiplier))]
    return net.op("DEPTHWISE_CONV_2D", inputs, [n, -(-h // stride), -(-w // stride), c * multiplier], how, version=2)


def _transposed(net: nets.Net, x: int, *, kernel: int, stride: int, same: bool) -> int:
    n, h, w, c = net.shape(x)
    size = [s * stride if same else (s - 1) * stride + kernel for s in (h, w)]
    how = schema.TransposeConvOptionsT(padding=0 if same else 1, strideH=stride, strideW=stride)
    inputs = [net.constant([n, *size, 5]), net.constant(net.weights(5, kernel, kernel, c)), x]
    return net.op("TRANSPOSE_CONV", inputs, [n, *size, 5], how)


def _reduced(net: nets.Net, x: int, name: str, axes: list[int]) -> int:
    shape = [1 if axis in axes else size for axis, size in enumerate(net.shape(x))]
    return net.op(name, [x, net.constant(axes)], shape, schema.ReducerOptionsT(keepDims=True))


def _resized(net: nets.Net, x: int, height: int, width: int, **how: bool) -> int:
    n, _, _, c = net.shape(x)
    options = schema.ResizeBilinearOptionsT(**how)
    return net.op("RESIZE_BILINEAR", [x, net.constant([height, width])], [n, height, width, c], options, version=3)


def _same(name: str, options: Any = None, version: int = 1) -> Build:
    return lambda net, x: net.op(name, [x], net.shape(x), options, version)


def _positive(name: str) -> Build:
    """Apply name to squares plus a little, for what takes no negative numbers."""
    return lambda net, x: net.op(
        name, [net.op("ADD", [net.op("SQUARE", [x], net.shape(x)), net.constant(0.1)], net.shape(x))], net.shape(x)
    )


def _matmul(net: nets.Net, x: int) -> int:
    n, h, w, _ = net.shape(x)
    return net.op("BATCH_MATMUL", [x, x], [n, h, w, w], schema.BatchMatMulOptionsT(adjY=True))


OPS: dict[str, Build] = {
    "conv stride 2": lambda net, x: _conv(net, x, stride=2, dilation=1),
    "conv dilated": lambda net, x: _conv(net, x, stride=1, dilation=2),
    "conv valid": lambda net, x: _conv(net, x, stride=2, dilation=1, same=False),
    "conv of groups": lambda net, x: _conv(net, x, stride=1, dilation=1, groups=2),
    "conv 1x1": lambda net, x: net.conv(x, 7, 1, "relu"),
    "depthwise": lambda net, x: _depthwise(net, x, stride=2, dilation=1, multiplier=1),
    "depthwise, two each": lambda net, x: _depthwise(net, x, stride=1, dilation=2, multiplier=2),
    "dense": lambda net, x: net.dense(net.flat(x), 6),
    "transposed": lambda net, x: _transposed(net, x, kernel=3, stride=2, same=True),
    "transposed valid": lambda net, x: _transposed(net, x, kernel=4, stride=3, same=False),
    "transposed, kernel below stride": lambda net, x: _transposed(net, x, kernel=2, stride=3, same=True),
    "matmul": _matmul,
    "average": lambda net, x: _pool(net, x, "AVERAGE_POOL_2D", 0),
    "average valid": lambda net, x: _pool(net, x, "AVERAGE_POOL_2D", 1),
    "l2 pool": lambda net, x: _pool(net, x, "L2_POOL_2D", 1),
    "mean": lambda net, x: _reduced(net, x, "MEAN", [1, 2]),
    "sum": lambda net, x: _reduced(net, x, "SUM", [3]),
    "product": lambda net, x: _reduced(net, x, "REDUCE_PROD", [1, 3]),
    "cumsum": lambda net, x: net.op(
        "CUMSUM", [x, net.constant(1)], net.shape(x), schema.CumsumOptionsT(exclusive=True)
    ),
    "softmax": lambda net, x: net.softmax(x),
    "prelu": lambda net, x: net.op("PRELU", [x, net.constant(net.weights(1, 1, 4))], net.shape(x)),
    "leaky relu": _same("LEAKY_RELU", schema.LeakyReluOptionsT(alpha=0.2)),
    "gelu": _same("GELU", schema.GeluOptionsT(approximate=False)),
    "gelu by tanh": _same("GELU", schema.GeluOptionsT(approximate=True)),
    "power": lambda net, x: net.op("POW", [x, net.constant(3.0)], net.shape(x)),
    "difference": lambda net, x: net.op("SQUARED_DIFFERENCE", [x, net.constant(0.5)], net.shape(x)),
    "quotient": lambda net, x: net.op("DIV", [x, net.constant(1.7)], net.shape(x), schema.DivOptionsT()),
    "bilinear": lambda net, x: _resized(net, x, 12, 15),
    "bilinear, half pixels": lambda net, x: _resized(net, x, 12, 5, halfPixelCenters=True),
    "bilinear, corners": lambda net, x: _resized(net, x, 12, 15, alignCorners=True),
    **{name: _positive(name) for name in ("LOG", "RSQRT", "SQRT")},
    **{
        name: _same(name)
        for name in (
            *("ABS", "COS", "ELU", "EXP", "HARD_SWISH", "L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "NEG"),
            *("RELU", "RELU6", "RELU_N1_TO_1", "SIN", "SQUARE", "TANH"),
        )
    },
}


def _compared(path: Path, rows: Dataset) -> None:
    """Check every float value of the executor against LiteRT's built-in kernels."""
    graph = read_graph(path)
    rows = rows.renamed(graph.input_names())
    feeds = match(graph, rows, where=str(path))
    contents = [feed.content(rows, slice(0, feed.rows_per_run)) for feed in feeds]
    # LiteRT leaves unwritten what a loop gives and nobody reads.
    read = {*graph.outputs, *(i for op in graph.ops for i in op.inputs)}
    wanted = [i for op in graph.ops for i in op.outputs if i in read and graph.tensors[i].dtype == "float32"]
    given = Session(path, "builtin", graph, feeds, keep_all=True).once(contents, wanted)
    found = Executor(path, graph).run([x if f.batched else x[0] for f, x in zip(feeds, contents, strict=True)])
    for index, values in zip(wanted, given, strict=True):
        assert found[index].shape == values.shape, graph.tensors[index].name
        assert found[index].dtype == np.float32
        assert np.abs(found[index] - values).max() <= 4e-6 * max(1.0, np.abs(values).max()), graph.tensors[index].name


@pytest.mark.parametrize("name", OPS)
def test_ops_compute_what_those_of_litert_do(name: str, tmp_path: Path) -> None:
    net = nets.Net(3)
    x = net.input("x", [1, 7, 9, 4])
    path = nets.written(net.done({"y": OPS[name](net, x)}), tmp_path)
    assert unfixed(read_graph(path)) == ()
    _compared(path, Dataset({"x": np.random.default_rng(1).normal(0, 2, (1, 7, 9, 4)).astype(np.float32)}))


@pytest.mark.parametrize(
    "name", ["gru", "loop", "image_float", "lstm", "two_inputs", "image_batch4", "series_open_time"]
)
def test_models_give_what_litert_gives(name: str) -> None:
    path = DATA / f"{name}.tflite"
    graph = read_graph(path)
    rng = np.random.default_rng(2)
    shapes = [[4, *(abs(s) if s > 0 else 6 for s in graph.tensors[i].shape_signature[1:])] for i in graph.inputs]
    rows = {
        n: rng.normal(size=s).astype(np.float32) if graph.tensors[i].dtype == "float32" else rng.integers(0, 3, s)
        for n, i, s in zip(graph.input_names(), graph.inputs, shapes, strict=True)
    }
    assert runs(graph)
    assert unfixed(graph) == ()
    _compared(path, Dataset(rows))


def test_ops_take_and_give_what_has_no_values_yet(tmp_path: Path) -> None:
    """What a loop of Keras collects is empty before its first step."""
    net = nets.Net(3)
    x = net.input("x", [1, 4, 6])
    none = net.op("SLICE", [x, net.constant([0, 0, 0]), net.constant([1, 0, 6])], [1, 0, 6], schema.SliceOptionsT())
    joined = net.op("CONCATENATION", [none, x], [1, 4, 6], schema.ConcatenationOptionsT(axis=1))
    path = nets.written(net.done({"y": joined}), tmp_path)
    graph, rows = read_graph(path), np.random.default_rng(1).normal(size=(1, 4, 6)).astype(np.float32)
    found = Executor(path, graph).run([rows])
    assert found[none].shape == (1, 0, 6)
    np.testing.assert_array_equal(found[joined], rows)


# --- layers of integers -------------------------------------------------------------------------------------------


def test_exact_codes_are_those_of_the_reference_kernels_but_for_rounding() -> None:
    path = DATA / "image_int8.tflite"
    graph = read_graph(path)
    shape = graph.tensors[graph.inputs[0]].shape
    rows = Dataset({"*": np.random.default_rng(0).uniform(-1, 1, (24, *shape[1:])).astype(np.float32)})
    exact, reference = (predict(path, rows, kernels=kernels) for kernels in ("exact", "reference"))
    for name, values in exact.items():
        assert values.dtype == reference[name].dtype
        assert np.abs(values.astype(int) - reference[name].astype(int)).max() <= 2
        assert len(np.unique(values)) > 3


def _layers(seed: int, out: Path) -> Path:
    """Write an int8 model of nothing but layers: convolution, depthwise, pointwise, dense."""
    net = nets.Net(seed)
    x = net.conv(net.input("image", [1, 9, 9, 3]), 16, 3, act="relu")
    x = net.conv(net.depthwise(x), 24, 1, act="relu")
    out.mkdir()
    path = nets.written(net.done({"y": net.dense(net.flat(x), 10)}), out)
    rows = Dataset({"*": np.random.default_rng(seed).normal(size=(32, 9, 9, 3)).astype(np.float32)})
    (out / "int8").mkdir()
    return (
        Quantize(dense_per_channel=seed != 2)
        .run(Artifact.of(path, Kind.TFLITE), Context(out=out / "int8", calibration=rows))
        .artifact.path
    )


@pytest.mark.skipif(not tflm.installed(), reason="TFLite Micro's interpreter is not installed")
def test_exact_codes_are_those_of_xnnpack_and_reference_kernels_those_of_tflite_micro(tmp_path: Path) -> None:
    """Sums are rounded once by the former pair and twice by the latter; golden rows are those that both agree on."""
    differ = 0
    for seed in range(3):
        path = _layers(seed, tmp_path / str(seed))
        rows = Dataset({"*": np.random.default_rng(9).normal(size=(24, 9, 9, 3)).astype(np.float32)})
        exact, xnnpack = (predict(path, rows, kernels=kernels)["y"] for kernels in ("exact", "xnnpack"))
        reference, micro = (predict(path, rows, kernels=kernels)["y"] for kernels in ("reference", "tflm"))
        assert len(np.unique(exact)) > 50
        np.testing.assert_array_equal(exact, xnnpack)
        np.testing.assert_array_equal(reference, micro)
        differ += int((exact != reference).sum())
    assert differ, "one rounding and two are not told apart by these models"


# --- bytes --------------------------------------------------------------------------------------------------------

_PROGRAM = """
import hashlib, sys
from pathlib import Path
import numpy as np
from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
for at, path in enumerate(sys.argv[2:]):
    with np.load(path + ".npz") as held:
        rows = Dataset({name: held[name] for name in held.files})
    out = Path(sys.argv[1]) / str(at)
    out.mkdir(parents=True)
    made = Quantize().run(Artifact.of(Path(path), Kind.TFLITE), Context(out=out, calibration=rows))
    print(made.artifact.sha256)
"""
"""Prints the digests of the int8 forms of models."""

_PROCESSORS = {
    "plain": {
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX2_Usable,-FMA_Usable",
        "OPENBLAS_NUM_THREADS": "1",
    },
    "newer": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
}
"""Environments in which numpy, its BLAS and libm compute as on other processors."""


def _models(folder: Path) -> list[str]:
    """Write models whose float sums are long, or whose activations are transcendental, and their rows."""
    rng = np.random.default_rng(5)
    wide = nets.Net(1)
    x = wide.conv(wide.input("x", [1, 12, 12, 24]), 40, 3, "relu")
    x = wide.op("LOGISTIC", [wide.depthwise(x)], [1, 12, 12, 40])
    done = wide.done({"y": wide.softmax(wide.dense(wide.flat(x), 10))})
    made = [nets.written(done, folder, "wide.tflite"), nets.written(nets.residual(), folder, "residual.tflite")]
    made.append(nets.written((DATA / "lstm.tflite").read_bytes(), folder, "lstm.tflite"))
    for path in made:
        graph = read_graph(path)
        arrays = {
            name: rng.normal(0.3, 1, (12, *graph.tensors[i].shape[1:])).astype(np.float32)
            for name, i in zip(graph.input_names(), graph.inputs, strict=True)
        }
        np.savez(f"{path}.npz", **arrays)  # type: ignore[arg-type]  # its stubs take the names for allow_pickle
    return [str(path) for path in made]


@pytest.mark.slow
def test_bytes_do_not_depend_on_how_numpy_blas_and_libm_compute(tmp_path: Path) -> None:
    models = _models(tmp_path)
    digests = set()
    for name, variables in _PROCESSORS.items():
        argv = [sys.executable, "-c", _PROGRAM, str(tmp_path / name), *models]
        done = subprocess.run(
            argv, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(set(digests.pop().split())) == len(models)


def test_last_bits_of_float_kernels_do_not_reach_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every float that LiteRT computes is moved by its last bits, as another processor would."""
    (path, *_) = map(Path, _models(tmp_path))
    with np.load(f"{path}.npz") as held:
        rows = Dataset({name: held[name] for name in held.files})
    rng = np.random.default_rng(0)
    once = Session.once

    def other(self: Session, contents: Any, read: Any) -> Any:
        found = once(self, contents, read)
        return [x * (1 + rng.integers(-2, 3, x.shape) * np.float32(2**-23)) for x in found]

    digests = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        context = Context(out=tmp_path / name, calibration=rows)
        digests.append(Quantize().run(Artifact.of(path, Kind.TFLITE), context).artifact.sha256)
        monkeypatch.setattr(session.Session, "once", other)
    assert digests[0] == digests[1]
