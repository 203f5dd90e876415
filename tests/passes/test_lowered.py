"""What is written for TFLite Micro: recurrent layers step by step, repeats and wide concatenations in ops it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import libraries, save

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.loops import ensure_control_flow
from edgecompile.backends.micro.lower import random_rows
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.passes.base import Context
from edgecompile.passes.convert import Convert
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.runner import predict
from edgecompile.training import unroll

pytestmark = pytest.mark.tf


def convert(model: Any, folder: Path, **keys: bool) -> tuple[Path, Graph, Any]:
    stored, out = folder / "model.keras", folder / "_".join(["out", *keys])
    save(model, stored)
    out.mkdir()
    outcome = Convert(**keys).run(Artifact.of(stored, Kind.KERAS), Context(out=out))
    return outcome.artifact.path, read_graph(outcome.artifact.path), outcome


def answers(path: Path, inputs: np.ndarray, kernels: Any = "tflm") -> np.ndarray:
    return next(iter(predict(path, Dataset({"*": inputs}), kernels=kernels).values()))


def parity(outcome: Any) -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(outcome.extras["parity"])
    return tuple(next(stored[k] for k in stored.files if k.startswith(role)) for role in ("input", "output"))  # type: ignore[return-value]


def test_recurrent_layers_are_written_out_and_right_on_tflite_micro(tmp_path: Path) -> None:
    # One model, one conversion: each layer reads what the one before it gives, so that a wrong one shows at the end.
    keras = libraries().keras
    layers = keras.layers
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Input((3, 3)),
            layers.GRU(4, return_sequences=True, name="gru"),
            layers.Bidirectional(layers.GRU(3, return_sequences=True), name="bidirectional"),
            layers.SimpleRNN(4, return_sequences=True, name="simple"),
            layers.RNN([layers.GRUCell(3), layers.LSTMCell(3)], return_sequences=True, name="cells"),
            layers.GRU(4, reset_after=False, name="reset_before"),
            layers.Dense(2),
        ]
    )
    path, graph, outcome = convert(model, tmp_path, unroll=True, tflm=True)
    assert not graph.bodies
    assert outcome.facts["unrolled_steps"] == 6 * 3
    (told,) = (f for f in outcome.findings if f.rule == "unrolled")
    assert all(name in told.where for name in ("gru", "simple", "cells", "reset_before"))
    rows, wanted = parity(outcome)
    np.testing.assert_allclose(answers(path, rows), wanted, atol=1e-5)


def test_a_loop_that_tflite_micro_computes_wrong_is_refused_with_the_reason(tmp_path: Path) -> None:
    keras = libraries().keras
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4, 3)), keras.layers.GRU(4, return_sequences=True)])
    path, graph, _ = convert(model, tmp_path)
    assert graph.bodies
    with pytest.raises(ModelError, match=r"another output than LiteRT.*SLICE.*takes every size from the file") as error:
        ensure_control_flow(path, graph, random_rows(graph, 4))
    assert "WHILE" in error.value.problems[0].where


def test_more_steps_than_fit_are_refused_with_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unroll, "MOST_STEPS", 5)  # two layers of 3 steps pass it together
    layers = libraries().keras.layers
    model = libraries().keras.Sequential(
        [layers.Input((3, 2)), layers.SimpleRNN(2, return_sequences=True), layers.SimpleRNN(2)]
    )
    with pytest.raises(ModelError, match=r"6 steps, .* about 15,600 bytes .*; at most 5 are"):
        convert(model, tmp_path, unroll=True)


def test_an_lstm_stays_one_op(tmp_path: Path) -> None:
    keras = libraries().keras
    model = keras.Sequential([keras.layers.Input((4, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    _, graph, outcome = convert(model, tmp_path, unroll=True)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in {op.name for op in graph.ops}
    assert "unrolled_steps" not in outcome.facts


def test_calls_of_one_layer_get_biases_of_their_own_scale(tmp_path: Path) -> None:
    # LEAKY_RELU is what LiteRT's own quantizer takes alone: it wrote the bias for one call's input scale
    keras = libraries().keras
    keras.utils.set_random_seed(2)
    one = keras.Input((6,))
    dense = keras.layers.Dense(6, bias_initializer="ones")
    first = keras.layers.LeakyReLU()(dense(one))
    model = keras.Model(one, dense(first * 40.0) * 0.01)
    path, _, outcome = convert(model, tmp_path)
    rows, wanted = parity(outcome)
    (tmp_path / "int8").mkdir()
    calibration = Dataset({read_graph(path).input_names()[0]: rows})
    ctx = Context(out=tmp_path / "int8", calibration=calibration)
    made = Quantize(io="float32").run(Artifact.of(path, Kind.TFLITE), ctx).artifact.path
    graph = read_graph(made)
    dense_ops = [op for op in graph.ops if op.name == "FULLY_CONNECTED"]
    assert len(dense_ops) == 2
    for op in dense_ops:
        source, weights, bias = (graph.tensors[i].quantization for i in op.inputs)
        assert source is not None
        assert weights is not None
        assert bias is not None
        np.testing.assert_allclose(bias.scale, source.scale[0] * weights.scale, rtol=1e-4)
    assert np.abs(answers(made, rows, "builtin") - wanted).max() < 0.05 * np.abs(wanted).max()


def test_repeats_become_a_resize(tmp_path: Path) -> None:
    layers = libraries().keras.layers
    x = libraries().keras.Input((41, 3))
    parts = [layers.UpSampling1D(times)(x) for times in (2, 3, 5, 7)]
    model = libraries().keras.Model(x, layers.Concatenate(axis=1)(parts))
    path, graph, outcome = convert(model, tmp_path, tflm=True)
    assert {op.name for op in graph.ops} == {"RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION"}
    assert sum(op.name == "RESIZE_NEAREST_NEIGHBOR" for op in graph.ops) == 4
    rows, wanted = parity(outcome)
    for kernels in ("tflm", "builtin", "reference"):
        np.testing.assert_array_equal(answers(path, rows, kernels), wanted)


def test_wide_concatenations_are_several_on_tflite_micro(tmp_path: Path) -> None:
    keras = libraries().keras
    given = keras.Input((4, 2))
    parts = [given * float(n) for n in range(1, 24)]
    model = keras.Model(given, keras.layers.Concatenate(axis=-1)(parts))
    path, graph, outcome = convert(model, tmp_path, tflm=True)
    assert max(len(op.inputs) for op in graph.ops if op.name == "CONCATENATION") <= 10
    rows, wanted = parity(outcome)
    np.testing.assert_array_equal(answers(path, rows), wanted)
