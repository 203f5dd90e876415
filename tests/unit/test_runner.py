"""Running `.tflite` files over rows: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import nets
import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import Builder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError
from edgecompile.progress import Silent
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.tflite import activations as activations_module
from edgecompile.tflite import interpreter, runner
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import KERNELS, Kernels, activations, dequantize_rows, predict, quantize_rows

DATA = Path(__file__).parent.parent / "data"
IMAGE, INT8, FLOAT_IO, BATCH4, OPEN, TIME, RESHAPE, LSTM, TWO, LOOP = (
    DATA / f"{name}.tflite"
    for name in (
        "image_float",
        "image_int8",
        "image_int8_float_io",
        "image_batch4",
        "image_open_batch",
        "series_open_time",
        "reshape_open_batch",
        "lstm",
        "two_inputs",
        "loop",
    )
)


def images(n: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 6, 5, 2)).astype(np.float32)


def by_hand(path: Path, kernels: Kernels, *inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Run rows one by one the way the LiteRT manual says; the first output."""
    run = Interpreter(
        model_path=str(path), experimental_op_resolver_type=OpResolverType[interpreter._RESOLVERS[kernels]]
    )
    run.allocate_tensors()
    outputs = []
    for row in zip(*inputs, strict=True):
        run.reset_all_variables()
        for detail, value in zip(run.get_input_details(), row, strict=True):
            run.set_tensor(detail["index"], value[np.newaxis])
        run.invoke()
        outputs.append(run.get_tensor(run.get_output_details()[0]["index"])[0])
    return np.stack(outputs)


def changed(tmp_path: Path, path: Path, change: object) -> Path:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    change(model)  # type: ignore[operator]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    made = tmp_path / "changed.tflite"
    made.write_bytes(builder.Output())
    return made


# --- predict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNELS)
def test_float_rows_come_out_as_by_hand(kernels: Kernels) -> None:
    x = images(37)
    found = predict(IMAGE, Dataset({"*": x}), kernels=kernels)
    assert list(found) == ["classes"]
    assert found["classes"].shape == (37, 4)
    assert found["classes"].dtype == np.float32
    np.testing.assert_array_equal(found["classes"], by_hand(IMAGE, kernels, x))


@pytest.mark.parametrize("kernels", KERNELS)
def test_int8_rows_are_quantized_and_outputs_stay_int8(kernels: Kernels) -> None:
    x = images(20)
    how = read_graph(INT8).tensors[read_graph(INT8).inputs[0]].quantization
    assert how is not None
    codes = quantize_rows(x, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]), dtype="int8")
    found = predict(INT8, Dataset({"image": x}), kernels=kernels)["classes"]
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, by_hand(INT8, kernels, codes))


def test_rows_that_are_codes_already_pass_unchanged() -> None:
    how = read_graph(INT8).tensors[read_graph(INT8).inputs[0]].quantization
    assert how is not None
    codes = np.random.default_rng(3).integers(-128, 128, (9, 6, 5, 2), np.int8)
    stored = Quantized(scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
    rows = Dataset({"*": codes}, preprocess={"*": Preprocess(quantized=stored)})
    np.testing.assert_array_equal(
        predict(INT8, rows, kernels="reference")["classes"], by_hand(INT8, "reference", codes)
    )


def test_quantizing_is_what_the_models_own_quantize_op_does() -> None:
    x = images(50, seed=1)
    inside = predict(FLOAT_IO, Dataset({"*": x}), kernels="reference")["classes"]
    outside = predict(INT8, Dataset({"*": x}), kernels="reference")["classes"]
    how = read_graph(INT8).tensors[read_graph(INT8).outputs[0]].quantization
    assert how is not None
    real = dequantize_rows(outside, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
    np.testing.assert_array_equal(inside, real)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_does_not_change_answers(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "cores", lambda: cores)
    x = images(41)
    np.testing.assert_array_equal(
        predict(IMAGE, Dataset({"*": x}), kernels="xnnpack")["classes"], by_hand(IMAGE, "xnnpack", x)
    )


def test_a_fixed_batch_is_filled_and_cut() -> None:
    x = images(10)
    found = predict(BATCH4, Dataset({"*": x}), kernels="reference")["classes"]
    np.testing.assert_array_equal(found, predict(IMAGE, Dataset({"*": x}), kernels="reference")["classes"])


def test_open_dimensions_take_the_rows_sizes() -> None:
    x = np.random.default_rng(0).normal(size=(3, 7, 3)).astype(np.float32)
    found = predict(TIME, Dataset({"*": x}), kernels="builtin")["classes"]
    twice = np.concatenate([x, x], axis=1)[:, :14]
    assert found.shape == (3, 2)
    assert predict(TIME, Dataset({"*": twice}), kernels="builtin")["classes"].shape == (3, 2)
    assert predict(OPEN, Dataset({"*": images(3)}), kernels="builtin")["classes"].shape == (3, 4)


def test_state_is_reset_between_rows() -> None:
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    found = predict(LSTM, Dataset({"*": np.concatenate([x, x[::-1]])}), kernels="builtin")["classes"]
    np.testing.assert_array_equal(found[:6], found[6:][::-1])
    np.testing.assert_array_equal(found[:6], by_hand(LSTM, "builtin", x))


def test_several_inputs_and_outputs_by_name() -> None:
    tokens = np.random.default_rng(0).integers(0, 11, (8, 3))
    numbers = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    found = predict(TWO, Dataset({"tokens": tokens, "numbers": numbers}), kernels="builtin")
    assert {name: x.shape for name, x in found.items()} == {"vector": (8, 3), "number": (8, 1)}
    order = [{"tokens": tokens.astype(np.int32), "numbers": numbers}[name] for name in read_graph(TWO).input_names()]
    first = read_graph(TWO).output_names()[0]
    np.testing.assert_array_equal(found[first], by_hand(TWO, "builtin", *order))


def test_token_ids_beyond_float32_stay_exact() -> None:
    feed = runner.match(
        read_graph(TWO),
        Dataset({"tokens": np.full((1, 3), 2**24 + 1), "numbers": np.zeros((1, 2), np.float32)}),
        where="",
    )
    ids = next(f for f in feed if f.name == "tokens")
    rows = Dataset({"tokens": np.full((1, 3), 2**24 + 1)})
    assert ids.content(rows, slice(0, 1)).tolist() == [[2**24 + 1] * 3]
    scaled = Dataset({"tokens": np.full((1, 3), 4)}, preprocess={"*": Preprocess(scale=(0.5,))})
    assert ids.content(scaled, slice(0, 1)).tolist() == [[2] * 3]


def test_rows_without_a_batch_axis(tmp_path: Path) -> None:
    """A model whose input has no axis for rows takes a whole row at a time."""

    def flat(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        main.operators = main.operators[3:]  # softmax alone
        main.inputs = main.operators[0].inputs
        for i in (main.inputs[0], main.outputs[0]):
            main.tensors[i].shape, main.tensors[i].shapeSignature = np.array([4], np.int32), None
        model.signatureDefs = None

    path = changed(tmp_path, IMAGE, flat)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    (found,) = predict(path, Dataset({"*": x}), kernels="reference").values()
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), rtol=1e-5)


def test_control_flow_runs() -> None:
    x = np.array([[8, 8, 8, 8], [0.1, 0.1, 0.1, 0.1]], np.float32)
    (found,) = predict(LOOP, Dataset({"*": x}), kernels="xnnpack").values()
    np.testing.assert_allclose(found, [[0.25] * 4, [0.1] * 4])


def test_models_that_assign_variables_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_graph(IMAGE)
    handle = found.ops[0].__class__(9, "VAR_HANDLE", 1, (), (), {"shared_name": "stream"})
    monkeypatch.setattr(
        runner, "read_graph", lambda path: found.__class__(**{**vars(found), "ops": (*found.ops, handle)})
    )
    used: set[int] = set()
    share = runner._Work.share

    def watched(self: runner._Work, session: object) -> None:
        used.add(threading.get_ident())
        share(self, session)  # type: ignore[arg-type]

    monkeypatch.setattr(runner._Work, "share", watched)
    predict(IMAGE, Dataset({"*": images(64)}), kernels="builtin")
    assert used == {threading.get_ident()}


class Listener(Silent):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int, str]] = []

    def update(self, step: str, *, done: int, total: int, note: str = "") -> None:
        self.calls.append((step, done, total, note))


def test_progress_counts_rows_up_to_all() -> None:
    heard = Listener()
    predict(IMAGE, Dataset({"*": images(100)}), kernels="builtin", progress=heard, step="run float")
    assert {call[0] for call in heard.calls} == {"run float"}
    assert [call[1] for call in heard.calls] == sorted(call[1] for call in heard.calls)
    assert heard.calls[-1][1:3] == (100, 100)
    assert heard.calls[-1][3].endswith("rows/s")


def test_cores_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert runner.cores() == 1


# --- refusals -----------------------------------------------------------------------------------------------------


def refused(error: type[EdgeCompileError], path: Path, rows: Dataset, kernels: Kernels = "builtin") -> str:
    with pytest.raises(error) as caught:
        predict(path, rows, kernels=kernels)
    return str(caught.value)


def test_rows_that_do_not_fit() -> None:
    def one(x: npt.NDArray[np.generic]) -> str:
        return refused(ConfigError, IMAGE, Dataset({"*": x}))

    assert "input `image`: takes rows of 6×5×2, and the data has rows of 6×5" in one(np.zeros((1, 6, 5)))
    assert "reshape the data" in one(np.zeros((1, 6, 5, 1, 2)))
    assert "channels first, the model channels last: transpose" in one(np.zeros((1, 2, 6, 5)))
    assert "the data has no rows" in one(np.zeros((0, 6, 5, 2)))
    assert "takes rows of ?×3, and the data has rows of 7×4" in refused(
        ConfigError, TIME, Dataset({"*": np.zeros((1, 7, 4))})
    )


def test_channels_last_rows_for_a_channels_first_model(tmp_path: Path) -> None:
    def first(model: schema.ModelT) -> None:
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        tensor.shape = np.array([1, 2, 6, 5], np.int32)

    path = changed(tmp_path, IMAGE, first)
    text = refused(ConfigError, path, Dataset({"*": images(1)}))
    assert "the data has channels last, the model channels first: transpose the data" in text


def test_names_that_do_not_fit_are_all_reported() -> None:
    rows = Dataset({"token": np.zeros((1, 3), int), "numbers": np.zeros((2, 2)), "more": np.zeros((1, 1))})
    text = refused(ConfigError, TWO, rows)
    assert "the data has no input `tokens`" in text
    assert "did you mean `token`?" in text
    assert "the model has no input `token`, which the data has" in text
    assert "the model has no input `more`" in text
    assert "inputs have different numbers of rows: {'token': 1, 'numbers': 2, 'more': 1}" in text
    unnamed = refused(ConfigError, TWO, Dataset({"*": np.zeros((1, 3))}))
    assert "the model has 2 inputs" in unnamed
    assert "one without a name" in unnamed


@pytest.mark.parametrize(
    ("ids", "wrong"), [([[0.5, 1, 2]], "0.5"), ([[0, 1, 2**31]], "2147483648"), ([[np.nan, 0, 0]], "nan")]
)
def test_token_ids_must_be_whole_numbers_in_range(ids: list[list[float]], wrong: str) -> None:
    text = refused(ConfigError, TWO, Dataset({"tokens": np.array(ids), "numbers": np.zeros((1, 2))}))
    assert f"input `tokens`: takes int32 as it is, and the rows hold {wrong}" in text


def test_nan_has_no_code() -> None:
    x = images(30)
    x[17, 0, 0, 0] = np.nan
    text = refused(ConfigError, INT8, Dataset({"*": x}))
    assert "input `image`: the rows hold NaN" in text


def test_inputs_that_rows_cannot_be(tmp_path: Path) -> None:
    def text_input(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        main.tensors[main.inputs[0]].type = schema.TensorType.STRING

    def no_scale(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        main.tensors[main.inputs[0]].quantization.scale = np.array([0], np.float32)

    def no_inputs(model: schema.ModelT) -> None:
        model.subgraphs[0].inputs = np.array([], np.int32)

    rows = Dataset({"*": images(1)})
    assert "input `image` holds string" in refused(ModelError, changed(tmp_path, IMAGE, text_input), rows)
    assert "has the scale [0.0]: not one number above 0" in refused(ModelError, changed(tmp_path, INT8, no_scale), rows)
    assert "the model has no inputs" in refused(ModelError, changed(tmp_path, IMAGE, no_inputs), rows)


def test_inputs_with_different_batches(tmp_path: Path) -> None:
    def uneven(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        for i in main.inputs:
            if main.tensors[i].type == schema.TensorType.INT32:
                main.tensors[i].shape = np.array([4, 3], np.int32)

    path = changed(tmp_path, TWO, uneven)
    rows = Dataset({"tokens": np.zeros((8, 3), int), "numbers": np.zeros((8, 2))})
    assert "the inputs take different numbers of rows at once: `numbers` 1, `tokens` 4" in refused(
        ModelError, path, rows
    )


def test_a_batch_that_its_output_does_not_tell_apart(tmp_path: Path) -> None:
    def summed(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        main.outputs = np.array([main.operators[1].inputs[1]], np.int32)  # the constant shape of RESHAPE
        model.signatureDefs = None

    path = changed(tmp_path, BATCH4, summed)
    text = refused(ModelError, path, Dataset({"*": images(8)}))
    assert "takes 4 rows at once, and output" in text
    assert "of 2 is not one per row" in text
    assert "a batch of 1" in text


def test_outputs_that_change_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def growing(self: runner.Session, contents: list[npt.NDArray[np.float32]], read: object) -> list[object]:
        return [np.zeros((1, 1 + int(contents[0].max())), np.float32)]

    monkeypatch.setattr(runner.Session, "once", growing)
    x = np.zeros((4, 6, 5, 2), np.float32)
    x[1] = 1
    monkeypatch.setattr(runner, "cores", lambda: 1)  # all rows in one part
    assert "output `classes` changes its shape from row to row: 1×1, 1×2" in refused(
        ModelError, IMAGE, Dataset({"*": x})
    )
    monkeypatch.setattr(runner, "_ROWS_PER_PART", 1)
    assert "output `classes` changes its shape from row to row: 1, then 2" in refused(
        ModelError, IMAGE, Dataset({"*": x})
    )


def test_a_refusal_names_the_op_and_other_kernels(tmp_path: Path) -> None:
    def wrong_bias(model: schema.ModelT) -> None:
        main = model.subgraphs[0]
        main.operators[2].inputs = main.operators[2].inputs[[0, 1, 0]]

    path = changed(tmp_path, IMAGE, wrong_bias)
    text = refused(ModelError, path, Dataset({"*": images(1)}))
    assert f"{path}, op 2 `FULLY_CONNECTED`: LiteRT's builtin kernels refuse the model: " in text
    assert "failed to prepare" not in text


def test_a_refusal_on_one_kernel_set_names_those_that_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = interpreter.allocated

    def picky(model: Path, kernels: Kernels, *args: object, **more: object) -> object:
        if kernels == "xnnpack":
            raise RuntimeError("/x/y/delegate.cc:12 Could not create subgraph\n Node number 3 (ADD) failed to prepare.")
        return allocated(model, kernels, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(interpreter, "allocated", picky)
    text = refused(ModelError, IMAGE, Dataset({"*": images(1)}), "xnnpack")
    assert "op 3 `ADD`: LiteRT's xnnpack kernels refuse the model: Could not create subgraph" in text
    assert "other kernels take the model: builtin, reference" in text


def test_a_run_that_fails_names_the_op() -> None:
    tokens = np.full((1, 3), 99)
    text = refused(ModelError, TWO, Dataset({"tokens": tokens, "numbers": np.zeros((1, 2))}))
    assert "`GATHER`: LiteRT's builtin kernels refuse the model: gather index out of bounds" in text


def test_a_failure_in_a_worker_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "cores", lambda: 3)
    tokens = np.zeros((90, 3), int)
    for bad in (0, 45, 89):
        tokens[:] = 0
        tokens[bad] = 99
        text = refused(ModelError, TWO, Dataset({"tokens": tokens, "numbers": np.zeros((90, 2))}))
        assert "gather index out of bounds" in text


@pytest.mark.parametrize(
    ("op", "says"),
    [
        ("edgetpu-custom-op", "already compiled for the Edge TPU (custom op `edgetpu-custom-op`)"),
        ("ethos-u", "already compiled for an Ethos-U by Vela"),
        ("NeutronGraph", "already compiled for an NXP Neutron NPU"),
        ("FlexErf", "`FlexErf` is a TensorFlow op that only TensorFlow's Flex delegate runs"),
        ("Mine", "LiteRT has no custom op `Mine`"),
    ],
)
def test_custom_ops_are_named(tmp_path: Path, op: str, says: str) -> None:
    def custom(model: schema.ModelT) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[3].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = op.encode()

    assert says in refused(ModelError, changed(tmp_path, IMAGE, custom), Dataset({"*": images(1)}))


# --- quantize_rows, dequantize_rows -------------------------------------------------------------------------------

SCALES = st.floats(2.0**-10, 2.0**10, width=32)
DTYPES = st.sampled_from(["int8", "uint8", "int16"])


def test_halves_round_away_from_zero() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, np.nextafter(np.float32(0.5), np.float32(0))], np.float32)
    assert quantize_rows(x, scale=1.0, zero_point=0, dtype="int8").tolist() == [1, 2, 3, -1, -2, 0]


def test_codes_are_clipped() -> None:
    x = np.array([1e9, -1e9, np.inf, -np.inf], np.float32)
    assert quantize_rows(x, scale=0.1, zero_point=-128, dtype="int8").tolist() == [127, -128, 127, -128]
    assert quantize_rows(x, scale=0.1, zero_point=3, dtype="uint8").tolist() == [255, 0, 255, 0]
    assert quantize_rows(x, scale=0.1, zero_point=0, dtype="int32").tolist() == [2**31 - 1, -(2**31)] * 2


def test_nan_is_refused() -> None:
    with pytest.raises(ConfigError, match="the rows hold NaN"):
        quantize_rows(np.array([np.nan], np.float32), scale=1.0, zero_point=0, dtype="int8")


@given(DTYPES, SCALES, st.data())
def test_codes_survive_the_way_there_and_back(dtype: str, scale: float, data: st.DataObject) -> None:
    codes = data.draw(hnp.arrays(dtype, (3, 4)))
    bounds = np.iinfo(dtype)
    zero_point = data.draw(st.integers(int(bounds.min), int(bounds.max)))
    real = dequantize_rows(codes, scale=scale, zero_point=zero_point)
    assert real.dtype == np.float32
    again = quantize_rows(real, scale=scale, zero_point=zero_point, dtype=dtype)
    assert again.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(again, codes)


@given(SCALES, st.integers(-128, 127), hnp.arrays(np.float32, (5,), elements=st.floats(-1e3, 1e3, width=32)))
def test_within_the_range_the_error_is_half_a_step(scale: float, zero_point: int, x: npt.NDArray[np.float32]) -> None:
    codes = quantize_rows(x, scale=scale, zero_point=zero_point, dtype="int8")
    real = dequantize_rows(codes, scale=scale, zero_point=zero_point)
    inside = (codes > -128) & (codes < 127)
    # The quotient is a float32: its own rounding (2^-23 of up to 255 steps) comes on top.
    assert (np.abs(real - x)[inside] <= scale * (0.5 + 255 * 2.0**-23)).all()


# --- activations --------------------------------------------------------------------------------------------------


def gathered(path: Path, rows: Dataset, **more: int) -> tuple[dict[str, npt.NDArray[np.float32]], list[int]]:
    values: dict[str, list[npt.NDArray[np.float32]]] = {}

    def consume(index: int, name: str, x: npt.NDArray[np.float32]) -> None:
        assert read_graph(path).tensors[index].name == name
        values.setdefault(name, []).append(x)

    activations(path, rows, consume=consume, **more)
    sizes = [len(x) for x in next(iter(values.values()))]
    return {name: np.concatenate(parts) for name, parts in values.items()}, sizes


def test_activations_are_the_inputs_and_what_ops_write() -> None:
    x = images(7)
    found, sizes = gathered(IMAGE, Dataset({"*": x}), batch=3)
    graph = read_graph(IMAGE)
    assert sizes == [3, 3, 1]
    assert set(found) == {graph.tensors[i].name for i in (*graph.inputs, *(i for op in graph.ops for i in op.outputs))}
    np.testing.assert_array_equal(found[graph.tensors[graph.inputs[0]].name], x)
    output = found[graph.tensors[graph.outputs[0]].name]
    np.testing.assert_allclose(output, by_hand(IMAGE, "builtin", x), rtol=1e-5)
    conv = found[graph.tensors[graph.ops[0].outputs[0]].name]
    assert conv.shape == (7, 3, 3, 3)
    assert conv.min() == 0.0
    assert 0 < conv.max() <= 6.0


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_how_many_rows_are_handed_over_does_not_change_them(batch: int) -> None:
    rows = Dataset({"*": images(11)})
    wanted, _ = gathered(IMAGE, rows)
    found, sizes = gathered(IMAGE, rows, batch=batch)
    assert sizes == {1: [1] * 11, 4: [4, 4, 3], 50: [11]}[batch]
    for name, x in wanted.items():
        np.testing.assert_array_equal(found[name], x)


def test_activations_of_loops_and_states_start_afresh_with_each_row() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    found, _ = gathered(LSTM, Dataset({"*": x}))
    again, _ = gathered(LSTM, Dataset({"*": x[::-1]}))
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name][::-1])
    found, _ = gathered(LOOP, Dataset({"*": np.full((2, 4), 8, np.float32)}))
    assert all(len(values) == 2 for values in found.values())


def test_tensors_without_a_batch_axis_keep_their_shape() -> None:
    """The second RESHAPE of a dense layer on rows of vectors has 3 rows for one."""
    found, _ = gathered(DATA / "reshape_open_batch.tflite", Dataset({"*": np.ones((5, 6), np.float32)}))
    assert {x.shape for x in found.values()} == {(5, 6), (5, 3, 2), (5, 3, 3)}


def test_large_activations_come_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations_module, "_KEPT_BYTES", 2100)
    _, sizes = gathered(IMAGE, Dataset({"*": images(5)}))
    assert sizes == [4, 1]


def test_activations_of_a_fixed_batch() -> None:
    x = images(6)
    found, sizes = gathered(BATCH4, Dataset({"*": x}))
    assert sizes == [6]
    image = found[read_graph(BATCH4).tensors[read_graph(BATCH4).inputs[0]].name]
    np.testing.assert_array_equal(image, x)


def test_activations_whose_shape_follows_the_data_come_run_by_run(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 4])
    positive = net.op("GREATER", [x, net.constant(0.0)], [1, 4], schema.GreaterOptionsT())
    net.graph.tensors[positive].type = schema.TensorType.BOOL
    where = net.op("WHERE", [positive], [4, 2], schema.WhereOptionsT())
    net.graph.tensors[where].type = schema.TensorType.INT64
    places = net.op("CAST", [where], [4, 2], schema.CastOptionsT())
    total = net.op("SUM", [places, net.constant([0])], [2], schema.ReducerOptionsT())
    path = nets.written(net.done({"y": total}), tmp_path)
    seen: dict[str, list[tuple[int, ...]]] = {}
    rows = Dataset({"*": np.array([[1, 1, 0, 0], [0, 0, 0, 1]], np.float32)})
    activations(path, rows, consume=lambda _, name, values: seen.setdefault(name, []).append(values.shape))
    assert seen == {"x": [(2, 4)], "cast2": [(2, 2), (1, 2)], "sum3": [(2, 2)]}


def test_outputs_of_a_loop_that_nothing_reads_are_left_out() -> None:
    graph = read_graph(DATA / "gru.tflite")
    found, _ = gathered(DATA / "gru.tflite", Dataset({"*": np.ones((3, 5, 3), np.float32)}))
    (loop,) = (op for op in graph.ops if op.name == "WHILE")
    read = {i for op in graph.ops for i in op.inputs}
    for i in loop.outputs:
        if graph.tensors[i].dtype == "float32":
            assert (graph.tensors[i].name in found) == (i in read)
    assert set(found) >= {graph.tensors[i].name for i in (*graph.inputs, *graph.outputs)}


def test_a_model_without_float_tensors_has_no_activations() -> None:
    activations(INT8, Dataset({"*": images(2)}), consume=lambda *_: pytest.fail("nothing is float"))


def test_progress_of_activations() -> None:
    heard = Listener()
    activations(IMAGE, Dataset({"*": images(5)}), consume=lambda *_: None, progress=heard, batch=2)
    assert [call[:3] for call in heard.calls] == [("calibrate", 2, 5), ("calibrate", 4, 5), ("calibrate", 5, 5)]


# --- real models --------------------------------------------------------------------------------------------------


def test_the_accuracy_of_real_models_is_reproduced(edgecompile_data: Path) -> None:
    x, y = (np.load(edgecompile_data / "ic/cifar10_test_3000.npz")[k] for k in ("x", "y"))
    (found,) = predict(
        edgecompile_data / "ic/pretrainedResnet.tflite", Dataset({"*": x[:1000]}), kernels="xnnpack"
    ).values()
    float_share = float((found.argmax(axis=1) == y[:1000].ravel()).mean())
    (found,) = predict(
        edgecompile_data / "ic/pretrainedResnet_quant.tflite", Dataset({"*": x[:1000]}), kernels="xnnpack"
    ).values()
    int8_share = float((found.argmax(axis=1) == y[:1000].ravel()).mean())
    assert 0.85 < float_share < 0.90
    assert abs(float_share - int8_share) < 0.01

    clips = np.load(edgecompile_data / "kws/kws01_mfcc_int8_1000.npz")
    stored = Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83))
    rows = Dataset({"*": clips["x"]}, preprocess={"*": stored})
    (found,) = predict(edgecompile_data / "kws/kws_ref_model.tflite", rows, kernels="xnnpack").values()
    assert float((found.argmax(axis=1) == clips["y"]).mean()) == pytest.approx(0.902, abs=0.002)


def test_real_models_that_litert_cannot_run_say_why(edgecompile_data: Path) -> None:
    def text(name: str, row: tuple[int, ...]) -> str:
        return refused(ModelError, edgecompile_data / name, Dataset({"*": np.zeros((1, *row), np.float32)}))

    assert "LiteRT has no custom op `fake-op-double`" in text("edgetpu/model_invoking_error.tflite", (3,))
    assert "already compiled for the Edge TPU" in text("edgetpu/dense_256_edgetpu.tflite", (256,))
    person = text("micro/person_detect.tflite", (96, 96, 1))
    assert "quantized_dimension must be in range" in person
    assert "made for another interpreter (TFLite Micro?)" in person
    assert "LiteRT has no SVDF with an int8 state" in text("micro/keyword_scrambled_8bit.tflite", (96,))
