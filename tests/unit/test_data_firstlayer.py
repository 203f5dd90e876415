"""Values against a model's first layer, on graphs that are written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.lint import lint_model
from edgecompile.recipe import Preprocess
from edgecompile.tflite.graph import Graph, Op, Quantization, Tensor

RAW = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), np.uint8)
UNIT = {"*": Preprocess(scale=(1 / 255,))}


def tensor(index: int, shape: tuple[int, ...], data: Any = None, dtype: str = "float32", quant: Any = None) -> Tensor:
    quantization = None
    if quant is not None:
        quantization = Quantization(np.array([quant[0]], np.float32), np.array([quant[1]], np.int64))
    data = None if data is None else np.asarray(data, dtype)
    return Tensor(index, f"t{index}", shape, shape, dtype, quantization, data)


def graph(*ops: tuple[str, tuple[Any, ...]], shape: tuple[int, ...] = (1, 8, 8, 3), **first: Any) -> Graph:
    """A chain of ops over one input; constants of an op are given with it."""
    tensors = [tensor(0, shape, **first)]
    made = []
    for number, (name, constants) in enumerate(ops):
        inputs = [made[-1].outputs[0] if made else 0]
        for constant in constants:
            tensors.append(tensor(len(tensors), np.shape(constant), constant))
            inputs.append(tensors[-1].index)
        out = shape if name not in ("RESHAPE", "EXPAND_DIMS") else (1, int(np.prod(shape)))
        tensors.append(tensor(len(tensors), out))
        made.append(Op(number, name, 1, tuple(inputs), (tensors[-1].index,), {}))
    return Graph(tuple(tensors), tuple(made), (0,), (made[-1].outputs[0],), (), 1, "", ())


def conv(scale: float, bias: float, *, channels: int = 3) -> tuple[str, tuple[Any, ...]]:
    """A convolution whose response to values of spread 1 / scale spreads about as much as its bias."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(16, 3, 3, channels)) * scale / np.sqrt(9 * channels)
    return "CONV_2D", (weights, np.full(16, bias))


def found(g: Graph, x: np.ndarray = RAW, how: dict[str, Preprocess] | None = None) -> list[str]:
    return [f"{f.rule} {f.where} {f.what} → {f.remedy}" for f in lint_model(Dataset({"*": x}, preprocess=how or {}), g)]


FOR_UNIT, FOR_RAW = conv(3.0, 1.0), conv(3.0 / 255, 1.0)


def test_values_of_the_right_scale_give_no_finding() -> None:
    assert found(graph(FOR_UNIT), how=UNIT) == []
    assert found(graph(FOR_RAW)) == []


def test_values_that_are_too_large() -> None:
    (text,) = found(graph(FOR_UNIT))
    assert text.startswith("input-scale input `t0` the values look about 255 times too large")
    assert "--scale" in text


def test_values_that_are_too_small() -> None:
    (text,) = found(graph(FOR_RAW), how=UNIT)
    assert "the values look about 255 times too small" in text
    assert "leave `scale` and `offset` out" in text


def test_a_layer_of_small_biases_proves_nothing() -> None:
    assert found(graph(conv(3.0, 0.01))) == []
    assert found(graph(conv(3.0, 0.0))) == []


def test_values_of_0_to_1_cannot_be_255_times_too_large() -> None:
    # without batch normalization small biases make the ratio of a layer for 0..1 look like that of unscaled values
    for bias in (0.02, 0.04, 0.06):
        assert found(graph(conv(3.0, bias)), how=UNIT) == []


def test_large_values_cannot_be_255_times_too_small() -> None:
    assert found(graph(conv(3.0 / 255, 100.0))) == []


def test_a_rescaling_layer_counts() -> None:
    rescaling = ("MUL", (np.float32(1 / 255),)), ("ADD", (np.zeros(3),))
    assert found(graph(*rescaling, FOR_UNIT)) == []
    (text,) = found(graph(*rescaling, FOR_UNIT), how=UNIT)
    assert text.startswith("input-scaled-twice")
    assert "multiplies its input by 0.003922 itself (a Rescaling layer)" in text
    (text,) = found(graph(("DIV", (np.float32(255),)), FOR_UNIT), how=UNIT)
    assert "0.003922" in text
    assert found(graph(("MUL", (np.float32(0.5),)), FOR_UNIT), how=UNIT) == []


@pytest.mark.parametrize(
    "ops",
    [
        [("PAD", (np.zeros((4, 2)),)), FOR_UNIT],
        [("SUB", (np.float32(0),)), FOR_UNIT],
        [("RESHAPE", ()), ("FULLY_CONNECTED", (np.random.default_rng(2).normal(size=(9, 192)) / 4, np.ones(9)))],
        [("DEPTHWISE_CONV_2D", (np.random.default_rng(2).normal(size=(1, 3, 3, 6)), np.ones(6)))],
    ],
    ids=["pad", "sub", "dense", "depthwise"],
)
def test_the_first_layer_is_found(ops: list[Any]) -> None:
    assert len(found(graph(*ops))) == 1
    assert found(graph(*ops), how=UNIT) == []


@pytest.mark.parametrize(
    "ops",
    [
        [("SOFTMAX", ()), FOR_UNIT],
        [("MUL", (np.ones((8, 8, 3)),)), FOR_UNIT],
        [("CONV_2D", (np.ones((4, 3, 3, 1)), np.ones(4)))],
        [("CONV_2D", (np.ones((4, 9, 9, 3)), np.ones(4)))],
        [("CONV_2D", (np.ones((4, 3, 3, 3)),))],
        [("DEPTHWISE_CONV_2D", (np.ones((1, 3, 3, 4)), np.ones(4)))],
        [("FULLY_CONNECTED", (np.ones((4, 7)), np.ones(4)))],
    ],
)
def test_what_cannot_be_followed_gives_no_finding(ops: list[Any]) -> None:
    assert found(graph(*ops)) == []


def test_weights_that_are_computed_give_no_finding() -> None:
    g = graph(FOR_UNIT)
    loose = Tensor(1, "w", (16, 3, 3, 3), (16, 3, 3, 3), "float32", None, None)
    assert found(Graph((g.tensors[0], loose, *g.tensors[2:]), g.ops, g.inputs, g.outputs, (), 1, "", ())) == []
    small = np.full((5, 8, 8, 3), 0.5) + np.arange(5)[:, None, None, None] / 10
    g = graph(("MUL", (np.float32(1),)), FOR_UNIT)
    loose = Tensor(1, "f", (), (), "float32", None, None)
    assert found(Graph((g.tensors[0], loose, *g.tensors[2:]), g.ops, g.inputs, g.outputs, (), 1, "", ()), small) == []


def test_an_input_that_two_layers_read_gives_no_finding() -> None:
    g = graph(FOR_UNIT)
    twice = Graph(g.tensors, (g.ops[0], g.ops[0].__class__(1, "ADD", 1, (0, 0), (3,), {})), (0,), (3,), (), 1, "", ())
    assert found(twice) == []


def test_a_quantized_input_states_its_range() -> None:
    g = graph(("CONV_2D", ()), dtype="int8", quant=(1 / 255, -128))
    assert found(g, how=UNIT) == []
    (text,) = found(g)
    assert text.startswith("input-range input `t0`")
    assert "of the values lie outside of 0 to 1, all that the model's input can hold" in text
    g = graph(("CONV_2D", ()), dtype="uint8", quant=(1.0, 0))
    (text,) = found(g, how=UNIT)
    assert "the values span only 0 to 1, and the model's input was made for 0 to 255" in text
    assert "quantized" not in found(graph(("CONV_2D", ()), dtype="int8", quant=(1 / 255, -128)))[0]


def test_codes_of_the_model_itself_are_offered() -> None:
    g = graph(("CONV_2D", ()), dtype="int8", quant=(0.02, 10))
    (text,) = found(g, RAW.view(np.int8))
    assert "quantized = { scale = 0.02, zero_point = 10 }" in text


def test_a_float_input_that_is_quantized_at_once_states_its_range() -> None:
    g = graph(("QUANTIZE", ()), ("CONV_2D", ()))
    quantized = tensor(1, (1, 8, 8, 3), dtype="int8", quant=(1 / 255, -128))
    g = Graph((g.tensors[0], quantized, *g.tensors[2:]), g.ops, g.inputs, g.outputs, (), 1, "", ())
    assert found(g, how=UNIT) == []
    assert len(found(g)) == 1


def test_values_that_other_rules_report_are_left_to_them() -> None:
    assert found(graph(FOR_UNIT), np.full((5, 8, 8, 3), np.nan)) == []
    assert found(graph(FOR_UNIT), np.zeros((5, 8, 8, 3))) == []
