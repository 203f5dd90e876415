"""Golden vectors are real rows, chosen by a rule that does not look at whether the model is right."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgecompile.bundle.golden import Golden, npz_bytes
from edgecompile.bundle.golden_rows import make_golden
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.recipe import Preprocess
from edgecompile.report import TensorInfo
from edgecompile.tflite.graph import Graph, Op, Quantization, Tensor

Array = npt.NDArray[Any]
X = TensorInfo(name="x", shape=(1, 2), dtype="int8", scale=0.5, zero_point=-1)
Y = TensorInfo(name="y", shape=(1, 3), dtype="int8", scale=1 / 256, zero_point=-128)


def graph_of(shape: tuple[int, ...]) -> Graph:
    """Return a graph with the input `x`; nothing else of it is asked."""
    how = Quantization(np.array([0.5], np.float32), np.array([-1], np.int64))
    return Graph((Tensor(0, "x", shape, shape, "int8", how, None),), (), (0,), (0,), (), 1, "", ())


GRAPH = graph_of((1, 2))


class Fake:
    """Stands for a model: `y` holds the input codes and -128; built-in kernels add apart[first input code] to that."""

    def __init__(self, apart: Mapping[int, int] | None = None, *, refuses: bool = False) -> None:
        self.apart, self.refuses = apart or {}, refuses

    def __call__(self, rows: Dataset, kernels: str) -> dict[str, Array]:
        if kernels == "exact" and self.refuses:
            raise ModelError("no")
        codes = np.rint(rows.batch("x") / 0.5 - 1)
        y = np.stack([codes[:, 0], codes[:, 1], np.full(len(codes), -128)], 1)
        if kernels == "exact":
            y[:, 2] += [self.apart.get(int(c), 0) for c in codes[:, 0]]
        return {"y": y.astype(np.int8)}


def rows_of(codes: list[tuple[int, int]], labels: list[int] | None = None) -> Dataset:
    x = (np.array(codes, np.float32) + 1) * 0.5
    return Dataset({"x": x}, None if labels is None else np.array(labels), source="made up")


def make(data: Dataset | None, fake: Fake | None = None, *, decides: bool = True, seed: int = 0) -> Golden:
    return make_golden(
        GRAPH, data, inputs=[X], outputs=[Y], decides=frozenset("y" if decides else ""),
        predict=fake or Fake(), seed=seed,
    )  # fmt: skip


CLEAR = [(n, 100) for n in range(40)]


def test_rows_come_in_turns_from_every_class() -> None:
    labels = [0] * 36 + [1, 1, 2, 7]
    golden = make(rows_of(CLEAR, labels))
    assert sorted(golden.info.labels[:4]) == [0, 1, 2, 7]
    assert len(golden.info.rows) == 16
    assert [labels[r] for r in golden.info.rows] == list(golden.info.labels)
    assert golden.inputs[0][:, 0].tolist() == list(golden.info.rows), "inputs are the codes of these rows"
    assert golden.outputs[0][:, 0].tolist() == list(golden.info.rows)
    assert golden.info.source == "16 rows of the validation data, drawn with seed 0, in turns from every class"


def test_another_seed_gives_other_rows_and_the_same_seed_the_same() -> None:
    one, same, other = (make(rows_of(CLEAR), seed=seed) for seed in (1, 1, 2))
    assert one.info == same.info
    assert one.npz() == same.npz()
    assert one.info.rows != other.info.rows
    assert one.info.source == "16 rows of the validation data, drawn with seed 1"


def test_near_ties_are_passed_over_only_where_rows_decide() -> None:
    codes = [(96, 100), (95, 100)] * 16
    golden = make(rows_of(codes))
    assert set(golden.outputs[0][:, 0].tolist()) == {95}
    assert golden.info.near_ties == 16
    assert "passed over, of 32 drawn: 16 near ties, 0 that depend on how kernels round" in golden.info.source
    assert set(make(rows_of(codes), decides=False).outputs[0][:, 0].tolist()) == {95, 96}


def test_rows_on_which_kernels_differ_by_more_than_the_limit_are_passed_over() -> None:
    golden = make(rows_of(CLEAR), Fake(dict.fromkeys(range(8), 3) | dict.fromkeys(range(8, 40), 2)))
    assert min(golden.info.rows) >= 8
    assert golden.info.rounding > 0
    assert golden.info.outputs[0].limit == 2


def test_where_hardly_any_row_is_fit_the_least_unfit_serve_and_the_sentence_says_so() -> None:
    golden = make(rows_of(CLEAR), Fake({n: 3 + n for n in range(2, 40)}))
    assert len(golden.info.rows) == 8
    assert {0, 1} & set(golden.info.rows) or 2 in golden.info.rows
    assert "too few rows are fit" in golden.info.source


def test_fewer_rows_than_eight_are_all_taken() -> None:
    golden = make(rows_of(CLEAR[:3]))
    assert sorted(golden.info.rows) == [0, 1, 2]


def test_kernels_that_refuse_the_model_are_left_out() -> None:
    assert len(make(rows_of(CLEAR), Fake(refuses=True)).info.rows) == 16


def test_large_inputs_get_fewer_rows() -> None:
    wide = X.model_copy(update={"shape": (1, 1 << 18)})
    data = Dataset({"x": np.zeros((20, 1 << 18), np.int8)}, source="made up")
    golden = make_golden(
        graph_of((1, 1 << 18)), data, inputs=[wide], outputs=[Y], decides=frozenset(),
        predict=lambda rows, _kernels: {"y": np.zeros((len(rows), 3), np.int8)}, seed=0,
    )  # fmt: skip
    assert len(golden.info.rows) == 8


def test_without_data_inputs_are_random_and_say_so() -> None:
    table = TensorInfo(name="ids", shape=(1, 4), dtype="int32")
    real = TensorInfo(name="real", shape=(1, 2), dtype="float32")
    golden = make_golden(
        GRAPH, None, inputs=[X, table, real], outputs=[Y], decides=frozenset(),
        predict=lambda rows, _kernels: {"y": np.zeros((len(rows), 3), np.int8)}, seed=3,
    )  # fmt: skip
    assert golden.info.source == "16 random inputs (seed 3): no data was given"
    assert (golden.info.rows, golden.info.labels) == ((), ())
    assert [x.dtype.name for x in golden.inputs] == ["int8", "int32", "float32"]
    assert golden.inputs[0].min() < -50
    assert golden.inputs[0].max() > 50
    assert set(golden.inputs[1].ravel().tolist()) == {0, 1}


def float_graph(*, maker: str, weights: str) -> Graph:
    scale = Quantization(np.array([0.1], np.float32), np.array([0], np.int64))
    tensors = (
        Tensor(0, "x", (1, 2), (1, 2), "int8", scale, None),
        Tensor(1, "w", (3, 3), (3, 3), weights, None, np.zeros((3, 3))),
        Tensor(2, "y", (1, 3), (1, 3), "float32", None, None),
    )
    return Graph(tensors, (Op(0, maker, 1, (0, 1), (2,), {}),), (0,), (2,), (), 1, "", ())


@pytest.mark.parametrize(
    ("maker", "weights", "limit"),
    [
        ("DEQUANTIZE", "int8", 2.25 * 0.1),
        ("FULLY_CONNECTED", "int8", 8.0 * 2 / 255),
        ("FULLY_CONNECTED", "float32", 8.0 * 1e-4),
    ],
)
def test_float_outputs_have_a_limit_that_fits_their_arithmetic(maker: str, weights: str, limit: float) -> None:
    y = TensorInfo(name="y", shape=(1, 3), dtype="float32")
    golden = make_golden(
        float_graph(maker=maker, weights=weights), rows_of(CLEAR), inputs=[X], outputs=[y], decides=frozenset(),
        predict=lambda rows, _kernels: {"y": np.tile(np.array([[0, 4, 8]], np.float32), (len(rows), 1))}, seed=0,
    )  # fmt: skip
    assert golden.info.outputs[0].limit == pytest.approx(limit)
    assert golden.info.outputs[0].unit == "real"


@pytest.mark.parametrize(
    ("scale", "zero_point", "values", "threshold"),
    [
        (1 / 256, -128, (-128, 127), 0.0),
        (0.1, 3, (-100, 100), 3.0),
        (None, None, (0, 1), 0.5),
        (None, None, (-4, 4), 0),
    ],
)
def test_a_lone_score_decides_at_a_half_or_at_zero(
    scale: float | None, zero_point: int | None, values: tuple[int, int], threshold: float
) -> None:
    dtype = "int8" if scale else "float32"
    lone = TensorInfo(name="y", shape=(1, 1), dtype=dtype, scale=scale, zero_point=zero_point)

    def predict(rows: Dataset, _kernels: str) -> dict[str, Array]:
        return {"y": np.resize(np.array(values, dtype), (len(rows), 1))}

    golden = make_golden(
        GRAPH, rows_of(CLEAR), inputs=[X], outputs=[lone], decides=frozenset("y"), predict=predict, seed=0
    )
    decision = golden.info.outputs[0].decision
    assert decision is not None
    assert decision.by == "threshold"
    assert decision.threshold == pytest.approx(threshold)


def test_sixteen_bit_outputs_have_a_limit_of_their_own() -> None:
    y = Y.model_copy(update={"dtype": "int16", "zero_point": 0})
    golden = make_golden(
        GRAPH, rows_of(CLEAR), inputs=[X], outputs=[y], decides=frozenset(), seed=0,
        predict=lambda rows, _kernels: {"y": np.zeros((len(rows), 3), np.int16)},
    )  # fmt: skip
    assert (golden.info.outputs[0].unit, golden.info.outputs[0].limit) == ("codes", 32)


def test_inputs_are_quantized_after_preprocessing() -> None:
    data = Dataset({"x": np.full((9, 2), 10, np.uint8)}, preprocess={"x": Preprocess(scale=(0.1,))}, source="made up")
    assert (make(data, decides=False).inputs[0] == 1).all()  # 10 * 0.1 / 0.5 - 1


def test_npz_is_read_by_numpy_and_holds_no_date() -> None:
    arrays = {"input_0": np.arange(6, dtype=np.int8).reshape(2, 3), "output_0": np.float32([[1.5]])}
    data = npz_bytes(arrays)
    with np.load(io.BytesIO(data)) as found:
        assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in arrays.items()}
    assert data == npz_bytes(arrays)
