"""Bias correction, against the op itself run on rounded weights."""

from __future__ import annotations

from pathlib import Path

import nets
import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.tflite import rewrite
from edgecompile.tflite.correct import corrected_biases, input_widths
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.ranges import Recorder
from edgecompile.tflite.runner import activations, predict
from edgecompile.tflite.values import Array


def net_of(kind: str) -> bytes:
    net = nets.Net()
    x = net.input("x", [1, 5, 5, 6])
    if kind == "dense":
        return net.done({"y": net.dense(x, 4)})
    if kind == "depthwise":
        return net.done({"y": net.depthwise(x)})
    weights = net.weights(4, 3, 3, 3 if kind == "grouped" else 6)
    return net.done({"y": net.conv(x, 4, 3, weights=weights)})


def rounded(graph: Graph, path: Path, *, per_channel: bool) -> Path:
    """Return a copy of the model whose kernel is rounded to int8 steps."""
    model = read_model(path)
    (op,) = graph.ops
    kernel = graph.tensors[op.inputs[1]]
    assert kernel.data is not None
    axis = 3 if op.name == "DEPTHWISE_CONV_2D" else 0
    others = tuple(a for a in range(kernel.data.ndim) if a != axis) if per_channel else None
    step = np.abs(kernel.data).max(axis=others, keepdims=True) / 127
    rewrite.store(model, model.subgraphs[0].tensors[kernel.index], np.round(kernel.data / step) * step)
    return nets.written(write_model(model), path.parent, "rounded.tflite")


def inner(values: Array) -> Array:
    """Return outputs that no padding touches, [positions, channels]."""
    return values[:, 1:-1, 1:-1].reshape(-1, values.shape[-1]) if values.ndim == 4 else values


@pytest.mark.parametrize("kind", ["conv", "grouped", "depthwise", "dense"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_mean_error_of_rounded_weights_is_gone(kind: str, per_channel: bool, tmp_path: Path) -> None:
    path = nets.written(net_of(kind), tmp_path)
    graph = read_graph(path)
    # The same picture everywhere, so that what an op sees in its window has the mean of the whole.
    pixels = np.random.default_rng(1).normal(1, 1, (50, 1, 1, 6)).astype(np.float32)
    rows = Dataset(inputs={"x": np.tile(pixels, (1, 5, 5, 1))})
    recorder = Recorder(where="test", widths=input_widths(graph))
    activations(path, rows, consume=recorder)
    dense_only = kind == "dense"
    found = corrected_biases(graph, recorder.means(), recorder.half_means(), dense_per_channel=per_channel)
    noisy = rounded(graph, path, per_channel=per_channel or not dense_only)
    model = read_model(noisy)
    ((index, bias),) = found.items()
    rewrite.store(model, model.subgraphs[0].tensors[index], bias)
    better = nets.written(write_model(model), tmp_path, "better.tflite")
    exact, plain, fixed = (inner(predict(p, rows, kernels="reference")["y"]) for p in (path, noisy, better))
    assert np.abs((plain - exact).mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(fixed.mean(axis=0), exact.mean(axis=0), atol=1e-5)


def test_ops_without_a_bias_of_their_own_are_left(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 5, 5, 6])
    a, b = net.conv(x, 6), net.conv(x, 6)
    first, second = net.graph.operators
    second.inputs[2] = first.inputs[2]
    graph = read_graph(nets.written(net.done({"a": a, "b": b}), tmp_path))
    assert input_widths(graph) == {}
    first.inputs = first.inputs[:2]
    graph = read_graph(nets.written(net.done({"a": a, "b": b}), tmp_path))
    assert input_widths(graph) == {"x": 6}
    assert corrected_biases(graph, {}, {}, dense_per_channel=True) == {}
    assert corrected_biases(graph, {"x": np.zeros(5)}, {}, dense_per_channel=True) == {}


def test_a_layer_is_left_where_the_rows_do_not_agree_on_its_error(tmp_path: Path) -> None:
    path = nets.written(net_of("dense"), tmp_path)
    graph = read_graph(path)
    pixels = np.random.default_rng(1).normal(0, 1, (8, 5, 5, 6)).astype(np.float32)
    for shown, corrected in ((pixels, 0), (pixels + 2, 1), (pixels[:1] + 2, 0)):
        recorder = Recorder(where="test", widths=input_widths(graph))
        activations(path, Dataset(inputs={"x": shown}), consume=recorder)
        found = corrected_biases(graph, recorder.means(), recorder.half_means(), dense_per_channel=True)
        assert len(found) == corrected
