"""io.json tells what run.py does, and run.py does what the rest of edgecompile does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.bundle.io_json import describe_io, input_formula, json_bytes, output_formula
from edgecompile.data.preprocess import apply
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.report import TensorInfo
from edgecompile.runtime import run
from edgecompile.tflite.runner import dequantize_rows, quantize_rows

INT8 = TensorInfo(name="x", shape=(1, 2, 2, 3), dtype="int8", scale=0.5, zero_point=-1)
FLOAT = TensorInfo(name="x", shape=(1, 4), dtype="float32")


def test_the_worked_example_is_what_goes_in() -> None:
    described = describe_io(
        inputs=[INT8], outputs=[INT8], batched=[True],
        preprocess={"*": Preprocess(scale=(0.1, 0.2, 0.3), mean=(1.0,), std=(2.0,))},
        labels=["a"], host_model="m.tflite", device_model="m_edgetpu.tflite",
        device_chain=(), chain_ends=((), ()), examples={"x": 55.0},
    )  # fmt: skip
    assert described["inputs"][0]["example"] == {
        "stored": 55.0, "real": 2.25, "code": 4, "text": "stored 55 is 2.25 for the model and goes in as 4",
    }  # fmt: skip
    assert described["outputs"][0]["example"] == {"code": 127, "real": 64.0, "text": "code 127 means 64"}
    assert described["labels"] == ["a"]


def test_float_tensors_have_no_codes() -> None:
    described = describe_io(
        inputs=[FLOAT], outputs=[FLOAT], batched=[True], preprocess={}, labels=[], host_model="m",
        device_model="m", device_chain=(), chain_ends=((), ()),
        examples={},
    )  # fmt: skip
    assert described["inputs"][0]["example"]["text"] == "stored 1 is 1 for the model"
    assert "example" not in described["outputs"][0]


@pytest.mark.parametrize(
    ("how", "tensor", "formula"),
    [
        (Preprocess(), FLOAT, "x, as float32"),
        (Preprocess(scale=(1 / 255,)), FLOAT, "x * 0.003921569, as float32"),
        (
            Preprocess(resize=(2, 2), scale=(2.0,), offset=(-1.0,), mean=(1.0, 2.0, 3.0), std=(0.5,)),
            INT8,
            "resize to 2×2, bilinear; round(((x * 2 - 1 - [1, 2, 3]) / 0.5) / 0.5) - 1, halves away from zero, "
            "clipped to -128..127, as int8",
        ),
        (
            Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83)),
            INT8.model_copy(update={"scale": 0.25, "zero_point": 3}),
            "round(((x - 83) * 0.5847029) / 0.25) + 3, halves away from zero, clipped to -128..127, as int8",
        ),
        (
            Preprocess(),
            INT8.model_copy(update={"scale": 1.0, "zero_point": -128}),
            "round(x) - 128, halves away from zero, clipped to -128..127, as int8",
        ),
    ],
)
def test_formulas_of_inputs(how: Preprocess, tensor: TensorInfo, formula: str) -> None:
    assert input_formula(tensor, how) == formula


def test_formulas_of_outputs() -> None:
    assert output_formula(FLOAT) == "float32, as it is"
    assert output_formula(INT8) == "real = 0.5 * (code + 1)"
    assert output_formula(INT8.model_copy(update={"zero_point": 2})) == "real = 0.5 * (code - 2)"


def test_json_has_sorted_keys_and_one_newline() -> None:
    assert json_bytes({"b": "é", "a": 1}) == '{\n  "a": 1,\n  "b": "é"\n}\n'.encode()


numbers = st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)
nonzero = numbers.filter(bool)
positive = st.floats(0.125, 8, width=32)


@given(
    st.builds(
        Preprocess,
        resize=st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5)),
        quantized=st.none() | st.builds(Quantized, scale=positive, zero_point=st.integers(-128, 127)),
        scale=st.tuples(nonzero) | st.tuples(nonzero, nonzero),
        offset=st.tuples(numbers),
        mean=st.tuples(numbers) | st.tuples(numbers, numbers),
        std=st.tuples(positive),
    ),
    st.integers(0, 1000),
)
def test_run_py_preprocesses_bit_for_bit_as_the_build_does(how: Preprocess, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 256, (3, 4, 5, 2)).astype(np.uint8)
    steps = how.model_dump(mode="json")
    mine = rows if how.resize is None else run.resize(rows, how.resize)
    assert np.array_equal(run.preprocess(mine, steps), apply(how, rows))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1), positive, st.integers(-128, 127))
def test_codes_are_the_nearest_ones_and_halves_go_away_from_zero(
    values: list[float], scale: float, zero_point: int
) -> None:
    x = np.array(values, np.float32)
    codes = run.quantize(x, {"scale": scale, "zero_point": zero_point, "dtype": "int8"})
    steps = (x / np.float32(scale)).astype(np.float64)
    nearest = np.where(steps < 0, np.ceil(steps - 0.5), np.floor(steps + 0.5))
    assert np.array_equal(codes, np.clip(nearest + zero_point, -128, 127))
    inside = (codes > -128) & (codes < 127)
    back = run.dequantize(codes, {"scale": scale, "zero_point": zero_point})
    assert (np.abs(back - x)[inside] <= scale / 2 * (1 + 1e-4)).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1), positive, st.integers(-128, 127))
def test_run_py_quantizes_bit_for_bit_as_the_build_does(values: list[float], scale: float, zero_point: int) -> None:
    x = np.array(values, np.float32)
    how = {"scale": scale, "zero_point": zero_point, "dtype": "int8"}
    with np.errstate(over="ignore", invalid="ignore"):  # infinities: the build clips before it rounds
        codes = run.quantize(x, how)
    assert np.array_equal(codes, quantize_rows(x, scale=scale, zero_point=zero_point, dtype="int8"))
    assert np.array_equal(run.dequantize(codes, how), dequantize_rows(codes, scale=scale, zero_point=zero_point))


@pytest.mark.parametrize(
    ("given_shape", "shape", "n"),
    [
        ((28, 28), (1, 28, 28, 1), 1),
        ((5, 28, 28), (1, 28, 28, 1), 5),
        ((28, 28, 1), (1, 28, 28, 1), 1),
        ((5, 28, 28, 1), (1, 28, 28, 1), 5),
        ((4,), (1, 4), 1),
        ((4, 4), (1, 4), 4),
        ((), (1, 1), 1),
        ((3,), (1,), 3),
        ((3, 1), (1, 1), 3),
    ],
)
def test_one_row_or_several_with_or_without_axes_of_one(
    given_shape: tuple[int, ...], shape: tuple[int, ...], n: int
) -> None:
    how = {"name": "x", "shape": list(shape), "batched": True, "preprocess": Preprocess().model_dump(mode="json")}
    assert run._rows(np.zeros(given_shape), how).shape == (n, *shape[1:])


@pytest.mark.parametrize("given_shape", [(6, 9), (6, 9, 1), (2, 6, 9), (2, 6, 9, 1)])
def test_images_of_another_size_are_resized(given_shape: tuple[int, ...]) -> None:
    how = {
        "name": "x",
        "shape": [1, 3, 3, 1],
        "batched": True,
        "preprocess": Preprocess(resize=(3, 3)).model_dump(mode="json"),
    }
    assert run._rows(np.zeros(given_shape), how).shape == (2 if given_shape[0] == 2 else 1, 3, 3, 1)
