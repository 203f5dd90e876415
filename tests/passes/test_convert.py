"""Convert: every kind of source becomes a float flatbuffer that gives what the source gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import libraries, save

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError, PassError
from edgecompile.passes import convert
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.convert import Convert
from edgecompile.recipe import ModelSection, Preprocess
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.runner import predict

pytestmark = pytest.mark.tf

WITHIN = 1e-4
"""Source against .tflite, absolute, on outputs of the order of 1: float32 kernels that sum in another order."""


def run(source: Path, out: Path, *, calibration: Dataset | None = None, **section: Any) -> Outcome:
    out.mkdir(parents=True, exist_ok=True)
    ctx = Context(out=out, model=ModelSection(**section), calibration=calibration)
    return Convert().run(Artifact.of(source, Kind.KERAS), ctx)


def graph_of(outcome: Outcome) -> Graph:
    return read_graph(outcome.artifact.path)


def difference(outcome: Outcome) -> float:
    """Return the largest difference between the stored reference outputs and LiteRT's, relative above 1."""
    with np.load(outcome.extras["parity"]) as stored:
        arrays = dict(stored)
    rows = Dataset(inputs={k.removeprefix("input:"): v for k, v in arrays.items() if k.startswith("input:")})
    given = predict(outcome.artifact.path, rows, kernels="builtin")
    expected = {k.removeprefix("output:"): v for k, v in arrays.items() if k.startswith("output:")}
    assert set(given) == set(expected)
    worst = 0.0
    for name, value in expected.items():
        assert given[name].shape == value.shape
        scale = max(1.0, float(np.abs(value).max()))
        worst = max(worst, float(np.abs(given[name].astype(np.float64) - value).max()) / scale)
    return worst


def refusal(kind: type[Exception], source: Path, out: Path, **section: Any) -> str:
    with pytest.raises(kind) as caught:
        run(source, out, **section)
    assert not list(out.glob("*")), "a refused model must leave nothing"
    return str(caught.value)


# ------------------------------------------------------------------------------------------- sources


def small(layers: Any, keras: Any) -> Any:
    """Return a model with most of what matters: convolution, normalization, a residual, a head."""
    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    z = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y))
    y = layers.GlobalAveragePooling2D()(layers.Add()([y, z]))
    return keras.Model(x, layers.Dense(5, activation="softmax", name="scores")(y))


def two_by_two(layers: Any, keras: Any) -> Any:
    """Return a model with two inputs and two outputs whose names sort in another order than they are declared."""
    b, a = keras.Input((4,), name="b_first"), keras.Input((3,), name="a_second")
    both = layers.Concatenate()([b, a])
    return keras.Model([b, a], [layers.Dense(2, name="z_first")(both), layers.Dense(3, name="c_second")(a)])


@pytest.mark.parametrize(
    ("which", "file", "facts"),
    [
        ("keras", "m.keras", ("keras v3", "keras 3", "bridge")),
        ("keras", "m.h5", ("keras h5", "keras 3", "bridge")),
        ("tf_keras", "m.keras", ("keras v3", "tf_keras", "tf_keras")),
        ("tf_keras", "m.h5", ("keras h5", "tf_keras", "tf_keras")),
    ],
)
def test_keras_files(tmp_path: Path, which: str, file: str, facts: tuple[str, str, str]) -> None:
    keras = getattr(libraries(), which)
    outcome = run(save(small(keras.layers, keras), tmp_path / file), tmp_path / "out")
    assert (outcome.facts["format"], outcome.facts["reference"], outcome.facts["route"]) == facts
    graph = graph_of(outcome)
    assert (graph.input_names(), graph.output_names()) == (("image",), ("scores",))
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 8, 3)
    assert [graph.tensors[i].name for i in (*graph.inputs, *graph.outputs)] == ["image", "scores"]
    assert outcome.facts["parameters"] == 4 * 3 * 9 + 4 + 4 * 9 + 4 + 16 + 4 * 5 + 5
    assert outcome.facts["layers"] == 6
    assert outcome.facts["ops"] == len(graph.ops)
    assert "CONV_2D" in str(outcome.facts["op_kinds"])
    assert outcome.facts["bytes"] == outcome.artifact.path.stat().st_size
    assert difference(outcome) <= WITHIN


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
@pytest.mark.parametrize("alone", [False, True])
def test_swish_brings_a_gradient_of_its_own(tmp_path: Path, which: str, alone: bool) -> None:
    """TensorFlow's swish refers to a tensor of the graph that it was traced in, which is not saved."""
    keras = getattr(libraries(), which)
    x = keras.Input((8, 8, 3), name="image")
    y = keras.layers.Conv2D(4, 3, activation=None if alone else "swish")(x)
    y = keras.layers.Activation("swish")(y) if alone else y
    source = save(keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(y))), tmp_path / "m.keras")
    assert difference(run(source, tmp_path / "out")) <= WITHIN


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_exported_saved_models(tmp_path: Path, which: str) -> None:
    keras = getattr(libraries(), which)
    model = small(keras.layers, keras)
    model.export(str(tmp_path / "saved"))
    outcome = run(tmp_path / "saved", tmp_path / "out")
    assert (outcome.facts["format"], outcome.facts["route"]) == ("saved model", "saved model")
    assert outcome.facts["parameters"] == model.count_params()
    assert graph_of(outcome).tensors[graph_of(outcome).inputs[0]].shape == (1, 8, 8, 3)
    assert difference(outcome) <= WITHIN


def plain_saved_model(folder: Path, function: Callable[..., Any], *specs: Any, **owned: Any) -> Path:
    tf = libraries().tf
    module = tf.Module()
    for name, value in owned.items():
        setattr(module, name, value)
    traced = tf.function(function, input_signature=list(specs))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": traced, "other": traced})
    return folder


def test_plain_saved_model(tmp_path: Path) -> None:
    tf = libraries().tf
    weights = tf.Variable(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))

    def call(x: Any) -> Any:
        return {"scores": tf.nn.softmax(tf.matmul(x, weights)), "logits": tf.matmul(x, weights)}

    folder = plain_saved_model(tmp_path / "saved", call, tf.TensorSpec((None, 6), name="x"), weights=weights)
    outcome = run(folder, tmp_path / "out", signature="other", batch=2)
    assert set(graph_of(outcome).output_names()) == {"scores", "logits"}
    assert graph_of(outcome).tensors[graph_of(outcome).inputs[0]].shape == (2, 6)
    assert outcome.facts["parameters"] == 18
    assert difference(outcome) <= WITHIN
    assert "did you mean `other`?" in refusal(ModelError, folder, tmp_path / "no", signature="othr")


def test_saved_model_without_signatures(tmp_path: Path) -> None:
    tf = libraries().tf
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    assert "the SavedModel has no signature" in refusal(ModelError, tmp_path / "saved", tmp_path / "out")


def test_the_real_keyword_spotter(tmp_path: Path, edgecompile_data: Path) -> None:
    outcome = run(edgecompile_data / "kws" / "kws_ref_model", tmp_path / "out")
    assert outcome.facts["parameters"] == 24_908  # as MLPerf Tiny says
    assert outcome.facts["op_kinds"] == (
        "1 AVERAGE_POOL_2D, 5 CONV_2D, 4 DEPTHWISE_CONV_2D, 1 FULLY_CONNECTED, 1 SOFTMAX"
    )
    assert difference(outcome) <= WITHIN


def test_the_real_resnet_on_real_rows(tmp_path: Path, edgecompile_data: Path) -> None:
    with np.load(edgecompile_data / "ic" / "cifar10_test_3000.npz") as file:
        rows = Dataset(inputs={"*": file["x"][:1000]})
    outcome = run(edgecompile_data / "ic" / "pretrainedResnet.h5", tmp_path / "out", calibration=rows)
    assert outcome.facts["parameters"] == 78_666
    assert outcome.facts["route"] == "tf_keras"
    assert difference(outcome) <= WITHIN
    with np.load(outcome.extras["parity"]) as stored:
        assert stored["input:input_1"].shape == (32, 32, 32, 3)
        assert stored["input:input_1"].dtype == np.float32
        assert stored["output:dense"].shape == (32, 10)


# ------------------------------------------------------------------------------------------- shapes and names


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_several_inputs_and_outputs_keep_their_names_and_order(tmp_path: Path, which: str) -> None:
    keras = getattr(libraries(), which)
    outcome = run(save(two_by_two(keras.layers, keras), tmp_path / "m.keras"), tmp_path / "out")
    graph = graph_of(outcome)
    assert graph.input_names() == ("b_first", "a_second")
    assert graph.output_names() == ("z_first", "c_second")
    assert difference(outcome) <= WITHIN


def test_names_that_tensorflow_does_not_take(tmp_path: Path) -> None:
    keras = libraries().keras
    x = keras.Input((4,), name="class")
    y = keras.Input((4,), name="in put:0")
    outputs = [keras.layers.Dense(2, name="out put")(x), keras.layers.Add(name="1st")([x, y])]
    outcome = run(save(keras.Model([x, y], outputs), tmp_path / "m.keras"), tmp_path / "out")
    assert graph_of(outcome).input_names() == ("class", "in put:0")
    assert graph_of(outcome).output_names() == ("out put", "1st")
    assert difference(outcome) <= WITHIN


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_dictionaries_of_inputs_and_outputs_go_by_their_keys(tmp_path: Path, which: str) -> None:
    keras = getattr(libraries(), which)
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    dense = keras.layers.Dense(2)
    model = keras.Model({"x": x, "y": y}, {"sum": dense(x), "other": dense(y)})
    outcome = run(save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert set(graph_of(outcome).input_names()) == {"x", "y"}
    assert graph_of(outcome).output_names() == ("other", "sum")
    assert difference(outcome) <= WITHIN


def test_one_layer_that_gives_two_outputs(tmp_path: Path) -> None:
    keras = libraries().keras
    x, y = keras.Input((4,)), keras.Input((4,))
    tower = keras.layers.Dense(2, name="tower")
    outcome = run(save(keras.Model([x, y], [tower(x), tower(y)]), tmp_path / "m.keras"), tmp_path / "out")
    assert graph_of(outcome).output_names() == ("tower", "tower_1")
    assert difference(outcome) <= WITHIN


def test_an_output_that_is_an_input_and_one_given_twice(tmp_path: Path) -> None:
    tf = libraries().tf

    def call(x: Any) -> Any:
        y = x * 2.0
        return {"same": x, "a": y, "b": y}

    outcome = run(plain_saved_model(tmp_path / "m", call, tf.TensorSpec((None, 4), name="x")), tmp_path / "out")
    assert difference(outcome) <= WITHIN


def open_model(path: Path) -> Path:
    keras = libraries().keras
    x = keras.Input((None, None, 3), name="image")
    return save(
        keras.Model(x, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(x))), path / "open.keras"
    )


def test_open_sizes(tmp_path: Path) -> None:
    source = open_model(tmp_path)
    text = refusal(ConfigError, source, tmp_path / "no")
    assert "input image: takes ?×?×?×3" in text
    assert "--shape image=1,224,224,3" in text
    outcome = run(source, tmp_path / "out", shape={"image": (2, 20, 16, 3)})
    assert graph_of(outcome).tensors[graph_of(outcome).inputs[0]].shape == (2, 20, 16, 3)
    assert difference(outcome) <= WITHIN
    assert "contradicts the model" in refusal(ConfigError, source, tmp_path / "no", shape={"*": (1, 20, 16, 4)})


def test_a_fixed_batch(tmp_path: Path) -> None:
    keras = libraries().keras
    x = keras.Input(batch_shape=(4, 6), name="x")
    source = save(keras.Model(x, keras.layers.Dense(2, name="dense")(x)), tmp_path / "m.keras")
    assert "the model has a fixed batch of 4" in refusal(ConfigError, source, tmp_path / "no")
    rows = Dataset(inputs={"x": np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)})
    outcome = run(source, tmp_path / "out", calibration=rows, batch=4)
    with np.load(outcome.extras["parity"]) as stored:
        assert len(stored["output:dense"]) == 6, "rows that do not fill the last batch count too"
    assert difference(outcome) <= WITHIN


# ------------------------------------------------------------------------------------------- rows


def test_calibration_rows_are_preprocessed_and_spread(tmp_path: Path) -> None:
    keras = libraries().keras
    source = save(small(keras.layers, keras), tmp_path / "m.keras")
    rows = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    data = Dataset(inputs={"*": rows}, preprocess={"*": Preprocess(scale=(0.5,), offset=(1.0,))})
    outcome = run(source, tmp_path / "out", calibration=data)
    with np.load(outcome.extras["parity"]) as stored:
        first = stored["input:image"][:, 0, 0, 0]
    assert (first[0], first[-1], len(first)) == (1.0, 99 * 0.5 + 1, 32)


def test_calibration_rows_that_do_not_fit(tmp_path: Path) -> None:
    keras = libraries().keras
    source = save(small(keras.layers, keras), tmp_path / "m.keras")
    with pytest.raises(ConfigError, match="image"):
        run(source, tmp_path / "out", calibration=Dataset(inputs={"*": np.zeros((5, 9, 9, 3), np.float32)}))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_random_rows_stay_inside_of_tables(tmp_path: Path, dtype: str) -> None:
    keras = libraries().keras
    x = keras.Input((7,), dtype=dtype, name="ids")
    y = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(3, 4)(x))
    outcome = run(save(keras.Model(x, y), tmp_path / "m.keras"), tmp_path / "out")
    with np.load(outcome.extras["parity"]) as stored:
        assert set(np.unique(stored["input:ids"])) == {0, 1}
    assert difference(outcome) <= WITHIN


def test_random_rows_of_a_saved_model_stay_inside_of_tables(tmp_path: Path) -> None:
    tf = libraries().tf
    table = tf.Variable(np.ones((2, 4), np.float32))

    def call(x: Any) -> Any:
        return {"y": tf.gather(table, tf.cast(x, tf.int32))}

    folder = plain_saved_model(tmp_path / "saved", call, tf.TensorSpec((None, 6), name="x"), table=table)
    assert difference(run(folder, tmp_path / "out")) <= WITHIN


# ------------------------------------------------------------------------------------------- recurrent layers


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_lstm_is_one_fused_op(tmp_path: Path, which: str) -> None:
    keras = getattr(libraries(), which)
    model = keras.Sequential(
        [keras.Input((28, 28)), keras.layers.LSTM(32), keras.layers.Dense(10, activation="softmax")]
    )
    outcome = run(save(model, tmp_path / "m.keras"), tmp_path / "out")
    kinds = [op.name for op in graph_of(outcome).ops]
    assert kinds.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1
    assert "WHILE" not in kinds
    assert difference(outcome) <= WITHIN
    (finding,) = outcome.findings
    assert finding.rule == "keeps-state"
    assert "reset the interpreter's variables" in finding.remedy


def test_other_recurrent_layers(tmp_path: Path) -> None:
    keras = libraries().keras
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 4)), layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(5)]
    )
    outcome = run(save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert difference(outcome) <= WITHIN


def test_a_loop_whose_size_is_open(tmp_path: Path) -> None:
    keras = libraries().keras
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.LSTM(3, name="lstm")])
    model.export(str(tmp_path / "saved"))
    text = refusal(ModelError, tmp_path / "saved", tmp_path / "out")
    assert "the size of a loop is only known when the model runs (`TensorListReserve`)" in text
    assert "lstm" in text
    assert "keras.Input(batch_shape=(1, …))" in text


# ------------------------------------------------------------------------------------------- what is refused


def test_ops_that_tflite_does_not_have_are_named_with_their_layer(tmp_path: Path) -> None:
    lib = libraries()
    x = lib.tf_keras.Input((4, 4), name="x")
    y = lib.tf_keras.layers.Dense(3)(lib.tf.linalg.inv(x))
    source = save(lib.tf_keras.Model(x, lib.tf.math.bessel_i0(y)), tmp_path / "m.h5")
    text = refusal(ModelError, source, tmp_path / "out")
    assert "layer tf.linalg.inv: `MatrixInverse` is not an op of TFLite" in text
    assert "`BesselI0` is not an op of TFLite" in text


def test_lambda_layers_need_the_users_word(tmp_path: Path) -> None:
    keras = libraries().tf_keras
    x = keras.Input((4,))
    source = save(keras.Model(x, keras.layers.Lambda(lambda t: t * 2, name="double")(x)), tmp_path / "m.h5")
    text = refusal(ModelError, source, tmp_path / "no")
    assert "layer double: `Lambda` holds a Python function as bytecode" in text
    assert "--allow-code" in text
    assert difference(run(source, tmp_path / "out", allow_code=True)) <= WITHIN


def test_classes_that_keras_does_not_have(tmp_path: Path) -> None:
    keras = libraries().tf_keras

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]  # TensorFlow has no types
        def call(self, x: Any) -> Any:
            return x * 2

    x = keras.Input((4,))
    source = save(keras.Model(x, Mine(name="other")(Mine(name="mine")(x))), tmp_path / "m.h5")
    text = refusal(ModelError, source, tmp_path / "out")
    assert "layer mine: is of class `Mine`, which is not a part of Keras" in text
    assert "layer other: is of class `Mine`" in text
    assert "model.export('folder')" in text


def test_a_data_dependent_output(tmp_path: Path) -> None:
    tf = libraries().tf

    def call(x: Any) -> Any:
        return {"kept": tf.boolean_mask(x, x > 0)}

    folder = plain_saved_model(tmp_path / "saved", call, tf.TensorSpec((None, 6), name="x"))
    assert "not one entry for each" in refusal(ModelError, folder, tmp_path / "out")


def test_a_model_that_its_rows_break(tmp_path: Path) -> None:
    tf = libraries().tf

    def call(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_greater(x, 10.0)]):
            return {"y": tf.identity(x)}

    folder = plain_saved_model(tmp_path / "saved", call, tf.TensorSpec((None, 6), name="x"))
    assert "the model cannot be run" in refusal(ModelError, folder, tmp_path / "out")


def test_text_is_no_input(tmp_path: Path) -> None:
    keras = libraries().keras
    x = keras.Input((1,), dtype="string", name="words")
    model = keras.Model(x, keras.layers.StringLookup(vocabulary=["a", "b"])(x))
    text = refusal(ModelError, save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert "input words: takes `string`, and a device gives numbers" in text


@pytest.mark.parametrize("kind", ["look-up", "nested", "hash", "count", "saved model"])
def test_a_preprocessing_layer_without_ops_is_one_problem_with_what_to_do(tmp_path: Path, kind: str) -> None:
    keras = libraries().keras
    layers = keras.layers
    x = keras.Input((3,), dtype="int64", name="ids")
    look_up = layers.IntegerLookup(vocabulary=[1, 2, 5], name="codes")
    layer, name = {
        "look-up": (look_up, "IntegerLookup"),
        "nested": (keras.Sequential([keras.Input((3,), dtype="int64"), look_up]), "IntegerLookup"),
        "hash": (layers.Hashing(6, name="codes"), "Hashing"),
        "count": (layers.CategoryEncoding(6, output_mode="count", name="codes"), "CategoryEncoding"),
        "saved model": (look_up, "LookupTableFindV2"),
    }[kind]
    model = keras.Model(x, layer(x))
    if kind == "saved model":
        source = tmp_path / "saved"
        model.export(str(source))
    else:
        source = save(model, tmp_path / "m.keras")
    with pytest.raises(ModelError) as error:
        run(source, tmp_path / "out")
    (problem,) = error.value.problems
    assert name in problem.what
    assert "not an op of TFLite" in problem.what or "are not ops of TFLite" in problem.what
    assert "take it out of the model, do its work in the application, and give the model" in problem.hint
    assert "codes" in problem.where
    if kind != "saved model":  # which holds names of scopes, and no layers
        assert problem.where == "layer codes"


def test_channels_first(tmp_path: Path) -> None:
    keras = libraries().keras
    x = keras.Input((3, 8, 8))
    model = keras.Model(x, keras.layers.Conv2D(2, 3, data_format="channels_first")(x))
    source = save(model, tmp_path / "m.keras")
    if _runs(model, (1, 3, 8, 8)):  # TensorFlow's own kernels cannot; those of oneDNN, on newer processors, can
        assert difference(run(source, tmp_path / "out")) < 1e-5
        return
    text = refusal(ModelError, source, tmp_path / "out")
    assert "the model cannot be run: in Conv2D: The Conv2D op currently only supports the NHWC" in text
    assert "data_format='channels_last'" in text


def _runs(model: Any, shape: tuple[int, ...]) -> bool:
    from tensorflow.errors import OpError

    try:
        model(np.zeros(shape, np.float32))
    except OpError:
        return False
    return True


def test_names_that_cannot_be_traced(tmp_path: Path) -> None:
    keras = libraries().keras
    x = keras.Input((8,))
    model = keras.Model(x, keras.layers.RMSNormalization(name="root mean")(x))
    text = refusal(ModelError, save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert "the model cannot be traced: in Functional: 'root mean' is not a valid scope name" in text
    assert "give the layer a name of letters" in text


def test_weights_that_diverged(tmp_path: Path) -> None:
    keras = libraries().keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.set_weights([np.full((4, 3), np.nan, np.float32), np.zeros(3, np.float32)])
    text = refusal(ModelError, save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert "1 of its weights hold NaN or infinity: kernel" in text


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_a_model_without_a_shape(tmp_path: Path, which: str) -> None:
    keras = getattr(libraries(), which)
    source = save(keras.Sequential([keras.layers.Dense(3)]), tmp_path / "m.keras")
    assert "has no input shape" in refusal(ModelError, source, tmp_path / "out")


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    lib = libraries()
    for name, keras in (("m.keras", lib.keras), ("m.h5", lib.tf_keras)):
        inner = keras.Sequential([keras.layers.Dense(4, dtype="mixed_float16", activation="relu")])
        model = keras.Sequential([keras.Input((8,)), inner, keras.layers.Dense(3)])
        outcome = run(save(model, tmp_path / name), tmp_path / f"out-{name}")
        assert [finding.rule for finding in outcome.findings] == ["half-precision"]
        assert "CAST" not in str(outcome.facts["op_kinds"])
        assert difference(outcome) <= WITHIN


def test_double_precision_becomes_float32(tmp_path: Path) -> None:
    lib = libraries()
    for name, keras in (("m.keras", lib.keras), ("m.h5", lib.tf_keras)):
        image = keras.Input((8,), dtype="float64")
        x = keras.layers.Dense(4, dtype="float64", activation="relu")(image)
        model = keras.Model(image, keras.layers.Dense(3, dtype="float64")(x))
        outcome = run(save(model, tmp_path / name), tmp_path / f"out-{name}")
        assert [finding.rule for finding in outcome.findings] == ["double-precision"]
        assert "CAST" not in str(outcome.facts["op_kinds"])
        assert difference(outcome) <= WITHIN


def test_what_cannot_cross_the_bridge_is_converted_from_keras(tmp_path: Path) -> None:
    keras = libraries().keras
    model = keras.Sequential([keras.Input((8,)), keras.layers.RMSNormalization(name="rms"), keras.layers.Dense(3)])
    outcome = run(save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert outcome.facts["route"] == "keras export"
    assert [(f.rule, f.where) for f in outcome.findings] == [("keras-export", "layer rms")]
    assert difference(outcome) <= WITHIN


def test_a_file_that_does_not_hold_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras = libraries().keras
    source = save(small(keras.layers, keras), tmp_path / "m.keras")
    monkeypatch.setattr(convert, "with_names", lambda content, **_: content)
    with pytest.raises(PassError, match=r"the file takes .*input_000"):
        run(source, tmp_path / "out")


# ------------------------------------------------------------------------------------------- promises


def test_equal_bytes_from_other_processes_and_folders(tmp_path: Path) -> None:
    keras = libraries().keras
    layers = keras.layers
    x = keras.Input((6, 4), name="x")
    model = keras.Model(x, [layers.LSTM(3)(x), layers.GRU(3)(x), layers.Dense(2)(x) + 1.0])
    source = save(model, tmp_path / "m.keras")
    code = (
        "import sys; from pathlib import Path\n"
        "from edgecompile.artifact import Artifact, Kind\n"
        "from edgecompile.passes.base import Context\n"
        "from edgecompile.passes.convert import Convert\n"
        "out = Path(sys.argv[2]); out.mkdir(parents=True)\n"
        "Convert().run(Artifact.of(Path(sys.argv[1]), Kind.KERAS), Context(out=out))\n"
    )
    made = []
    for number in (1, 2):
        out = tmp_path / f"folder {number}" / ("deep" * number)
        (tmp_path / f"tmp{number}").mkdir()
        env = {
            "PYTHONHASHSEED": str(number),
            "TMPDIR": str(tmp_path / f"tmp{number}"),
            "PYTHONPATH": ":".join(sys.path),
        }
        subprocess.run([sys.executable, "-c", code, str(source), str(out)], check=True, env=env)
        made.append({file.name: file.read_bytes() for file in sorted(out.iterdir())})
    assert made[0] == made[1]
    assert set(made[0]) == {"model.tflite", "parity.npz"}
    outcome = run(source, tmp_path / "here")
    assert outcome.artifact.path.read_bytes() == made[0]["model.tflite"], "whatever this process did before"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50V2"])
def test_models_of_keras_applications(tmp_path: Path, name: str) -> None:
    model = getattr(libraries().keras.applications, name)(weights=None, input_shape=(96, 96, 3))
    outcome = run(save(model, tmp_path / "m.keras"), tmp_path / "out")
    assert outcome.facts["route"] == "bridge"
    assert difference(outcome) <= WITHIN


# ------------------------------------------------------------------------------------------- processors


@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_normalizations_are_folded_with_roots_that_no_processor_approximates(
    which: str, lib: Any, tmp_path: Path
) -> None:
    """TensorFlow's Rsqrt starts from an instruction whose result the processor's maker chooses."""
    keras = getattr(lib, which)
    x = keras.Input((6, 6, 3), name="image")
    y = keras.layers.Conv2D(64, 3, use_bias=False, name="stem")(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization(name="fused")(y))
    y = keras.layers.Dense(32, use_bias=False, name="head")(keras.layers.Flatten()(y))
    model = keras.Model(x, keras.layers.BatchNormalization(name="plain")(y))
    rng = np.random.default_rng(0)
    for name in ("fused", "plain"):
        layer = model.get_layer(name)
        layer.set_weights([rng.uniform(0.1, 3, w.shape).astype(np.float32) for w in layer.get_weights()])
    outcome = run(save(model, tmp_path / "model.keras"), tmp_path / "out")
    assert difference(outcome) < WITHIN
    graph = graph_of(outcome)
    for kernel, normalization in (("stem", "fused"), ("head", "plain")):
        gamma, _, _, variance = model.get_layer(normalization).get_weights()
        shifted = variance.astype(np.float64) + np.float32(model.get_layer(normalization).epsilon)
        if normalization == "fused":  # one op; the other is several, each of which rounds
            scale = (gamma / np.sqrt(shifted)).astype(np.float32)
        else:
            scale = (1 / np.sqrt(shifted.astype(np.float32).astype(np.float64))).astype(np.float32) * gamma
        (weights,) = model.get_layer(kernel).get_weights()
        folded = np.moveaxis(weights * scale, -1, 0)
        found = [t.data for t in graph.tensors if t.data is not None and t.data.shape == folded.shape]
        assert len(found) == 1
        np.testing.assert_array_equal(found[0], folded)
    assert not [t.name for t in graph.tensors if "folded" in t.name]
