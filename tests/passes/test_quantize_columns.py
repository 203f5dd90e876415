"""Quantize: inputs and outputs whose columns have unlike ranges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nets
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from test_quantize import quantize, reals, rows_for

from edgecompile.data.dataset import Dataset
from edgecompile.report import Finding
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.values import Array

CENTRES = np.array([5e4, 0.5, 35.0], np.float32)
SPREADS = np.array([2e4, 0.3, 12.0], np.float32)


def table(n: int = 64, seed: int = 1, shape: tuple[int, ...] = ()) -> Array:
    """Rows of three columns around `CENTRES`."""
    normal = np.random.default_rng(seed).normal(size=(n, *shape, 3)).clip(-2.5, 2.5)
    return (normal * SPREADS + CENTRES).astype(np.float32)


def unlike(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(f.rule, f.where) for f in findings if f.rule.endswith("columns-unlike")]


def normalized_dense() -> bytes:
    """SUB and MUL of one constant per column, as Keras' Normalization becomes, and a dense layer."""
    net = nets.Net()
    x = net.input("numbers", [1, 3])
    x = net.op("SUB", [x, net.constant(CENTRES[None])], [1, 3], schema.SubOptionsT())
    x = net.op("MUL", [x, net.constant(1 / SPREADS[None])], [1, 3], schema.MulOptionsT())
    return net.done({"y": net.dense(x, 2)})


def boxes_and_scores() -> bytes:
    """Boxes in pixels beside scores in one output, as detection heads give them."""
    net = nets.Net()
    x = net.input("x", [1, 6])
    boxes = net.dense(x, 4, net.weights(4, 6) * 300, net.weights(4) + 150)
    scores = net.op("LOGISTIC", [net.dense(x, 2)], [1, 2])
    return net.done({"pred": net.op("CONCATENATION", [boxes, scores], [1, 6], schema.ConcatenationOptionsT(axis=1))})


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_unlike_columns_of_an_input_are_named(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(normalized_dense())
    rows = table()
    result = quantize(tmp_path / "m.tflite", tmp_path / "out", Dataset(inputs={"numbers": rows}), scheme=scheme)
    (found,) = [f for f in result.findings if f.rule == "input-columns-unlike"]
    assert found.where == "numbers"
    assert f"column 1 ({rows[:, 1].min():.4g} to {rows[:, 1].max():.4g})" in found.what
    assert ("column 2 (" in found.what) == (scheme == "int8")  # 60 of 95,000 are 20 steps of int16
    step = rows.max() / (255 if scheme == "int8" else 32767)
    assert f"step is {step:.3g}:" in found.what


def test_unlike_columns_of_an_output_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(boxes_and_scores())
    (found,) = [f for f in quantize(tmp_path / "m.tflite", tmp_path / "out").findings if "columns" in f.rule]
    assert (found.rule, found.where) == ("output-columns-unlike", "pred")
    assert "column 4 (" in found.what
    assert "column 5 (" in found.what


@pytest.mark.parametrize("shape", [(4,), (4, 4)], ids=["sequence", "image"])
def test_unlike_channels_are_columns_too(shape: tuple[int, ...], tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, *shape, 3])
    (tmp_path / "m.tflite").write_bytes(net.done({"y": net.dense(net.flat(x), 2)}))
    found = quantize(tmp_path / "m.tflite", tmp_path / "out", Dataset(inputs={"x": table(shape=shape)})).findings
    assert unlike(found) == [("input-columns-unlike", "x")]


def test_columns_that_their_scale_tells_apart_are_not_named(tmp_path: Path) -> None:
    """Zeros and ones beside 0..100, a column that never changes, and scores of a class that never comes up."""
    random = np.random.default_rng(0)
    rows = np.stack([random.integers(0, 2, 64), random.uniform(0, 100, 64), np.full(64, 7e-3)], axis=1)
    net = nets.Net()
    scores = net.softmax(net.dense(net.input("x", [1, 3]), 3, np.eye(3, dtype=np.float32), np.array([0, 0, -90.0])))
    (tmp_path / "m.tflite").write_bytes(net.done({"y": scores}))
    found = quantize(tmp_path / "m.tflite", tmp_path / "out", Dataset(inputs={"x": rows.astype(np.float32)})).findings
    assert unlike(found) == []


def worst(model: Path, source: Path, rows: Dataset) -> Array:
    """Return the largest error of each column of the outputs, side by side."""
    wanted, found = reals(source, rows), reals(model, rows)
    assert list(found) == list(wanted)
    return np.concatenate([np.abs(found[n] - wanted[n]).reshape(-1, wanted[n].shape[-1]).max(axis=0) for n in wanted])


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_float_io_scales_unlike_columns_before_they_are_quantized(scheme: str, tmp_path: Path) -> None:
    source = tmp_path / "m.tflite"
    source.write_bytes(normalized_dense())
    rows = Dataset(inputs={"*": table()})
    plain = quantize(source, tmp_path / "plain", rows, scheme=scheme)
    (warning,) = [f for f in plain.findings if f.rule == "input-columns-unlike"]
    assert warning.remedy.startswith("Build with `--float-io`")
    result = quantize(source, tmp_path / "out", rows, scheme=scheme, io="float32")
    assert [(f.rule, f.where) for f in result.findings] == [("input-columns-float", "numbers")]
    graph = read_graph(result.artifact.path)
    assert [op.name for op in graph.ops] == ["SUB", "MUL", "QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE"]
    assert worst(plain.artifact.path, source, rows).max() > 0.3
    assert worst(result.artifact.path, source, rows).max() < 0.03


def test_float_io_joins_unlike_parts_of_an_output_in_float(tmp_path: Path) -> None:
    source = tmp_path / "m.tflite"
    source.write_bytes(boxes_and_scores())
    rows = rows_for(read_graph(source), seed=1)
    result = quantize(source, tmp_path / "out", io="float32")
    assert [(f.rule, f.where) for f in result.findings] == [("output-columns-float", "pred")]
    assert [op.name for op in read_graph(result.artifact.path).ops][-1] == "CONCATENATION"
    plain = quantize(source, tmp_path / "plain").artifact.path
    assert worst(plain, source, rows)[4:].min() > 0.3
    assert worst(result.artifact.path, source, rows)[4:].max() < 0.03


def test_ends_around_a_second_input_and_output_keep_their_places(tmp_path: Path) -> None:
    net = nets.Net()
    ids, x = net.input("code", [1, 3]), net.input("numbers", [1, 3])
    x = net.op("MUL", [x, net.constant(1 / SPREADS[None])], [1, 3], schema.MulOptionsT())
    x = net.op("SUB", [x, net.constant((CENTRES / SPREADS)[None])], [1, 3], schema.SubOptionsT())
    both = net.op("CONCATENATION", [x, ids], [1, 6], schema.ConcatenationOptionsT(axis=-1))
    big, small = net.dense(both, 2, net.weights(2, 6) * 4000), net.dense(both, 2)
    pred = net.op("CONCATENATION", [big, small], [1, 4], schema.ConcatenationOptionsT(axis=-1))
    source = tmp_path / "m.tflite"
    source.write_bytes(net.done({"pred": pred, "score": net.op("LOGISTIC", [net.dense(both, 1)], [1, 1])}))
    numbers = table()
    rows = Dataset(inputs={"code": (numbers / CENTRES - 1).astype(np.float32), "numbers": numbers})
    result = quantize(source, tmp_path / "out", rows, io="float32")
    assert [f.rule for f in result.findings] == ["input-columns-float", "output-columns-float"]
    graph = read_graph(result.artifact.path)
    assert (graph.input_names(), graph.output_names()) == (("code", "numbers"), ("pred", "score"))
    assert worst(result.artifact.path, source, rows)[2:].max() < 0.05


def raw_dense(net: nets.Net) -> tuple[int, int]:
    """A dense layer that reads columns as they are."""
    x = net.input("x", [1, 3])
    return x, net.dense(x, 4, net.weights(4, 3) / SPREADS, net.weights(4) - 2)


def raw_image(net: nets.Net) -> tuple[int, int]:
    """A convolution that reads channels as they are."""
    x = net.input("x", [1, 4, 4, 3])
    return x, net.conv(x, 4, 3, weights=net.weights(4, 3, 3, 3) / SPREADS)


def two_units(net: nets.Net) -> tuple[int, int]:
    """A dense layer that predicts values of unlike units."""
    x = net.input("x", [1, 3])
    return x, net.dense(x, 3, net.weights(3, 3) * SPREADS[:, None], CENTRES)


@pytest.mark.parametrize("make", [raw_dense, raw_image, two_units])
def test_float_io_adds_a_scale_per_column_beside_a_layer(make: Callable[..., tuple[int, int]], tmp_path: Path) -> None:
    net = nets.Net()
    x, y = make(net)
    source, shape = tmp_path / "m.tflite", net.shape(x)[1:]
    source.write_bytes(net.done({"y": y}))
    columns = table(shape=tuple(shape[:-1]))
    rows = Dataset(inputs={"x": (columns - CENTRES) / SPREADS if make is two_units else columns})
    role, ops = ("output", "MUL and ADD") if make is two_units else ("input", "SUB and MUL")
    plain = quantize(source, tmp_path / "plain", rows)
    (warning,) = [f for f in plain.findings if f.rule == f"{role}-columns-unlike"]
    assert f"({ops}, added)" in warning.remedy
    result = quantize(source, tmp_path / "out", rows, io="float32")
    assert [f.rule for f in result.findings] == [f"{role}-columns-float"]
    wanted = reals(source, rows)["y"].reshape(-1, net.shape(y)[-1])
    spans = wanted.max(axis=0) - wanted.min(axis=0)
    assert (worst(plain.artifact.path, source, rows) / spans).max() > 0.2
    assert (worst(result.artifact.path, source, rows) / spans).max() < 0.04
