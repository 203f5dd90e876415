"""prune, cluster, qat and distil on a small model: what the files hold, alone and one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import save
from small_models import CLASSES, EDGE, QUICK, residual, rows, run, stored

from edgecompile.artifact import Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError, PassError
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.convert import Convert
from edgecompile.passes.distil import Distil
from edgecompile.passes.prune import Prune
from edgecompile.passes.qat import Qat
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.learned import learned_ranges
from edgecompile.tflite.runner import predict
from edgecompile.training.kernels import Kernel, kernels
from edgecompile.training.network import read_network
from edgecompile.training.stored import read_notes

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def model(lib: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained residual network."""
    lib.tf_keras.utils.set_random_seed(3)
    made = residual(lib.tf_keras)
    data = rows(128, seed=5)
    made.compile("adam", "sparse_categorical_crossentropy")
    made.fit(data.inputs["*"], data.labels, 16, 6, verbose=0)
    return stored(made, tmp_path_factory.mktemp("model") / "model.h5")


def read(lib: Any, outcome: Outcome) -> Any:
    return lib.tf_keras.models.load_model(str(outcome.artifact.path), compile=False)


def kernels_of(lib: Any, outcome: Outcome) -> dict[str, Kernel]:
    return {k.name: k for k in kernels(read_network(lib.tf, read(lib, outcome)).layers())}


def to_int8(outcome: Outcome, out: Path, **fields: Any) -> Path:
    data = rows(32)
    (out / "c").mkdir(parents=True)
    (out / "q").mkdir()
    made = Convert().run(outcome.artifact, Context(out=out / "c", calibration=data))
    return Quantize(**fields).run(made.artifact, Context(out=out / "q", calibration=data)).artifact.path


def int8_kernels(graph: Graph) -> list[np.ndarray]:
    found = []
    for op in graph.ops:
        if op.name in ("CONV_2D", "FULLY_CONNECTED"):
            data = graph.tensors[op.inputs[1]].data
            assert data is not None
            found.append(data)
    return found


def accuracy(model: Any, data: Dataset) -> float:
    return float((np.argmax(model(data.inputs["*"]), axis=1) == data.labels).mean())


# prune


def test_prune_leaves_zeros_in_every_kernel_and_no_masks(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Prune(**QUICK, sparsity=0.6), model, tmp_path, train=rows())
    found = kernels_of(lib, outcome)
    pruned = {name: (k.values() == 0).mean() for name, k in found.items() if (k.values() == 0).any()}
    assert set(pruned) == {"inner/kernel", "hidden/kernel", "stem/kernel"}
    assert all(0.6 <= share < 0.65 for share in pruned.values())
    assert outcome.facts["pruned_kernels"] == 3
    told = {f.where: f.what for f in outcome.findings}
    assert "too small" in told["label/kernel"]
    assert "depthwise" in told["depthwise/depthwise_kernel"]
    assert accuracy(read(lib, outcome), rows(seed=9)) > 0.9


@pytest.mark.parametrize(
    "fields", [{"pattern": "2:4"}, {"pattern": "blocks", "block": (2, 2)}, {"schedule": "constant"}]
)
def test_patterns_are_in_the_written_int8_file(lib: Any, model: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    outcome = run(Prune(**QUICK, **fields), model, tmp_path / "p", train=rows())
    stem, inner, hidden, _ = int8_kernels(read_graph(to_int8(outcome, tmp_path)))
    for kernel in (inner, hidden):
        assert (kernel == 0).mean() >= 0.5
        if fields.get("pattern") == "2:4":
            assert ((kernel.reshape(-1, 4) != 0).sum(axis=1) <= 2).all()
        if fields.get("pattern") == "blocks":
            zero = kernel.reshape(len(kernel) // 2, 2, -1, 2) == 0
            assert (zero.all(axis=(1, 3)).mean()) > 0.4
    if fields.get("pattern") == "2:4":
        assert (stem == 0).mean() < 0.2, "three input channels hold no group of four"


def test_prune_takes_what_the_user_names_out(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Prune(**QUICK, skip=("st*", "hidden/kernel")), model, tmp_path, train=rows())
    assert {n for n, k in kernels_of(lib, outcome).items() if (k.values() == 0).any()} == {"inner/kernel"}


def test_prune_that_finds_nothing_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PassError, match=r"found no kernel to prune\n.*stem/kernel: `skip` names it"):
        run(Prune(**QUICK, skip=("*",)), model, tmp_path, train=rows())


def test_fields_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="2:4 is a sparsity"):
        Prune(pattern="2:4", sparsity=0.7)
    with pytest.raises(ValueError, match="`block` has no meaning"):
        Prune(block=(8, 1))


# cluster


def test_cluster_leaves_few_values_a_channel_and_few_codes_a_kernel(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Cluster(**QUICK, clusters=8), model, tmp_path / "k", train=rows())
    found = kernels_of(lib, outcome)
    for name in ("stem/kernel", "inner/kernel", "hidden/kernel", "label/kernel"):
        values = found[name].rows(found[name].values())
        assert all(len(np.unique(row)) <= 8 for row in values)
    assert read_notes(outcome.artifact.path).clusters["inner/kernel"] == 8
    for kernel in int8_kernels(read_graph(to_int8(outcome, tmp_path))):
        assert len(np.unique(kernel)) <= 8


def test_one_scale_a_dense_layer(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Cluster(**QUICK, clusters=8, dense_per_channel=False), model, tmp_path, train=rows())
    assert len(np.unique(kernels_of(lib, outcome)["hidden/kernel"].values())) <= 8
    assert set(read_notes(outcome.artifact.path).per_tensor) == {"hidden/kernel", "label/kernel"}


def test_cluster_that_finds_nothing_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PassError, match="found no kernel to cluster"):
        run(Cluster(**QUICK, skip=("*",)), model, tmp_path, train=rows())


# qat


def test_learned_ranges_reach_the_int8_file(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Qat(**QUICK), model, tmp_path / "a", train=rows())
    notes = read_notes(outcome.artifact.path)
    assert {"input:image", "stem_relu:0:0", "depthwise_relu:0:0", "sum_relu:0:0", "pool:0:0"} <= set(notes.ranges)
    assert not {"stem:0:0", "stem_norm:0:0", "sum:0:0", "label:0:0"} & set(notes.ranges), "these are fused or fixed"
    assert notes.ranges["sum_relu:0:0"] == notes.ranges["pool:0:0"], "pooling has one scale"
    path = to_int8(outcome, tmp_path)
    learned = learned_ranges(tmp_path / "c" / "model.tflite")
    graph = read_graph(path)
    tensors = {t.name: t for t in graph.tensors}
    low, high = learned["image"]
    assert tensors["image"].quantization is not None
    assert tensors["image"].quantization.scale[0] == pytest.approx((high - low) / 255, rel=1e-5)
    assert {tensors[n].dtype for n in ("image", "label")} == {"int8"}
    assert [op.name for op in graph.ops] == [op.name for op in read_graph(tmp_path / "c" / "model.tflite").ops]


def test_learned_ranges_without_use_are_told(model: Path, tmp_path: Path) -> None:
    outcome = run(Qat(**QUICK), model, tmp_path / "a", train=rows())
    ctx = Context(out=tmp_path / "c", calibration=rows(32))
    ctx.out.mkdir()
    converted = Convert().run(outcome.artifact, ctx).artifact
    for scheme in ("int16x8", "float16", "int8"):
        ctx = Context(out=tmp_path / scheme, calibration=rows(32))
        ctx.out.mkdir()
        made = Quantize(scheme=scheme).run(converted, ctx)
        told = [f.what for f in made.findings if f.rule == "range-unused"]
        number = len(learned_ranges(converted.path))
        wanted = f"the {number} ranges that `qat` learned are for int8, and {scheme} has no use for them"
        assert told == ([] if scheme == "int8" else [wanted])
    given = Context(out=tmp_path / "given", source=converted)  # the file alone, where no pass has trained
    given.out.mkdir()
    found = Quantize(scheme="float16").run(converted, given).findings
    (unused,) = (f for f in found if f.rule == "range-unused")
    assert "that the given model holds" in unused.what
    assert unused.remedy == 'Build with quantize.scheme = "int8".'


def test_a_global_average_has_its_own_range_and_flattening_leaves_no_op(lib: Any, tmp_path: Path) -> None:
    keras = lib.tf_keras
    image = keras.Input((EDGE, EDGE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = keras.layers.AveragePooling2D(EDGE, name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    source = stored(keras.Model(image, keras.layers.Dense(CLASSES, name="y")(x)), tmp_path / "m.h5")
    outcome = run(Qat(**QUICK), source, tmp_path / "a", train=rows())
    ranges = read_notes(outcome.artifact.path).ranges
    assert ranges["pool:0:0"] == ranges["flat:0:0"] != ranges["conv:0:0"]
    scales = {}
    for pool_as_mean in (True, False):
        path = to_int8(outcome, tmp_path / str(pool_as_mean), pool_as_mean=pool_as_mean)
        graph = read_graph(path)
        needed = {i for op in graph.ops for i in op.inputs} | set(graph.outputs)
        assert [op.name for op in graph.ops if not needed & set(op.outputs)] == []
        assert [graph.tensors[op.outputs[0]].name for op in graph.ops][:2] == ["conv", "pool"]
        assert predict(path, rows(8), kernels="xnnpack")["y"].shape == (8, CLASSES)
        scales[pool_as_mean] = [graph.tensors[op.outputs[0]].quantization for op in graph.ops[:2]]
    conv, pool = (float(how.scale[0]) for how in scales[True])
    assert pool < conv
    conv, pool = (float(how.scale[0]) for how in scales[False])
    assert pool == conv, "the kernel of an average pool has one scale"


def test_the_keras_form_gives_what_the_int8_file_gives(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Qat(**QUICK), model, tmp_path / "a", train=rows())
    data = rows(64, seed=11)
    path = to_int8(outcome, tmp_path)
    codes = predict(path, data, kernels="reference")["label"]
    how = read_graph(path).tensors[read_graph(path).outputs[0]].quantization
    assert how is not None
    real = how.scale[0] * (codes.astype(np.float32) - how.zero_point[0])
    assert np.abs(real - read(lib, outcome)(data.inputs["*"]).numpy()).max() < 0.1


def test_activations_that_int8_computes_apart_become_layers(lib: Any, tmp_path: Path) -> None:
    keras = lib.tf_keras
    image = keras.Input((EDGE, EDGE, 3))
    x = keras.layers.Conv2D(8, 3, activation="swish", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    source = stored(
        keras.Model(image, keras.layers.Dense(CLASSES, activation="softmax", name="y")(x)), tmp_path / "m.h5"
    )
    outcome = run(Qat(**QUICK), source, tmp_path / "a", train=rows())
    made = read(lib, outcome)
    assert [layer.name for layer in made.layers[1:]] == [
        "conv", "conv_swish", "global_average_pooling2d", "y_linear", "y",
    ]  # fmt: skip
    assert made.output_names == ["y"]
    assert {"conv:0:0", "conv_swish:0:0", "y_linear:0:0"} <= set(read_notes(outcome.artifact.path).ranges)


def test_layers_that_qat_does_not_reach_are_listed(lib: Any, tmp_path: Path) -> None:
    keras = lib.tf_keras
    x = keras.Input((6, 5))
    y = keras.layers.LSTM(4, name="lstm")(x)
    y = keras.layers.LayerNormalization(name="layernorm")(y)
    y = keras.layers.Dense(4, activation="selu", name="dense")(y)
    source = stored(keras.Model(x, keras.layers.Dense(CLASSES, name="y")(y)), tmp_path / "m.h5")
    data = Dataset({"*": np.random.default_rng(0).normal(size=(32, 6, 5)).astype(np.float32)}, np.arange(32) % CLASSES)
    told = {f.where: f.what for f in run(Qat(**QUICK), source, tmp_path / "a", train=data).findings}
    assert "rounds inside of the loop" in told["layer lstm"]
    assert "becomes several int8 ops" in told["layer layernorm"]
    assert "computes `selu` in several ops" in told["layer dense_selu"]


def test_qat_without_kernels_is_an_error(lib: Any, tmp_path: Path) -> None:
    keras = lib.tf_keras
    x = keras.Input((6, 5))
    source = stored(keras.Model(x, keras.layers.LSTM(CLASSES)(x)), tmp_path / "m.h5")
    data = Dataset({"*": np.zeros((32, 6, 5), np.float32)}, np.arange(32) % CLASSES)
    with pytest.raises(PassError, match="found nothing to train with int8 rounding"):
        run(Qat(**QUICK), source, tmp_path / "a", train=data)


# together


def test_each_pass_keeps_what_the_one_before_won(lib: Any, model: Path, tmp_path: Path) -> None:
    pruned = run(Prune(**QUICK), model, tmp_path / "1", train=rows())
    zeros = {n: k.values() == 0 for n, k in kernels_of(lib, pruned).items() if (k.values() == 0).any()}
    clustered = run(Cluster(**QUICK, clusters=8), pruned.artifact.path, tmp_path / "2", train=rows())
    # Large steps: what is not held would move to other codes.
    rounded = run(Qat(**QUICK, learning_rate=0.02), clustered.artifact.path, tmp_path / "3", train=rows())
    for outcome in (clustered, rounded):
        found = kernels_of(lib, outcome)
        for name, zero in zeros.items():
            assert (found[name].values()[zero] == 0).all()
    for kernel in int8_kernels(read_graph(to_int8(rounded, tmp_path))):
        assert len(np.unique(kernel)) <= 8
    again = run(Distil(**QUICK), clustered.artifact.path, tmp_path / "4", train=rows())
    for name, zero in zeros.items():
        kernel = kernels_of(lib, again)[name]
        assert (kernel.values()[zero] == 0).all()
        assert all(len(np.unique(row)) <= 8 for row in kernel.rows(kernel.values()))
    assert accuracy(read(lib, rounded), rows(seed=9)) > 0.9


def test_equal_inputs_give_equal_bytes(model: Path, tmp_path: Path) -> None:
    first = run(Prune(**QUICK), model, tmp_path / "1", train=rows())
    second = run(Prune(**QUICK), model, tmp_path / "2", train=rows())
    assert first.artifact.sha256 == second.artifact.sha256
    other = run(Prune(**QUICK), model, tmp_path / "3", train=rows(), seed=1)
    assert other.artifact.sha256 != first.artifact.sha256


def test_a_keras_3_model_is_taken(lib: Any, tmp_path: Path) -> None:
    source = save(residual(lib.keras), tmp_path / "model.keras")
    outcome = run(Qat(**QUICK), source, tmp_path / "a", train=rows())
    assert outcome.artifact.kind is Kind.KERAS
    assert outcome.facts["rounded_kernels"] == 5


def test_the_kept_model_loads_where_edgecompile_is_not(lib: Any, tmp_path: Path) -> None:
    keras = lib.keras
    image = keras.Input((EDGE, EDGE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, activation="hard_silu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    source = save(keras.Model(image, keras.layers.Dense(3, "hard_sigmoid", name="gate")(x)), tmp_path / "model.keras")
    data = Dataset({"*": rows(32).inputs["*"]})
    outcome = run(Distil(**QUICK), source, tmp_path / "a", train=data)
    np.save(tmp_path / "x.npy", data.inputs["*"])
    code = (
        "import sys, numpy as np, tf_keras\n"
        "model = tf_keras.models.load_model(sys.argv[1], compile=False)\n"
        "assert 'edgecompile' not in sys.modules and model.output_names == ['gate']\n"
        "np.save(sys.argv[3], model(np.load(sys.argv[2])).numpy())\n"
    )
    files = [str(outcome.extras["keras"]), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(files[2]), read(lib, outcome)(data.inputs["*"]), atol=1e-5)


# data and teacher


@pytest.mark.parametrize(("labels", "varied"), [(1.0, "none"), (0.0, "flips and shifts of up to 1 pixels")])
def test_images_are_not_varied_under_labels_that_say_where_something_is(
    lib: Any, tmp_path: Path, labels: float, varied: str
) -> None:
    layers, images = lib.tf_keras.layers, rows().inputs["*"]
    places = images.mean(axis=(2, 3))[:, :2] + [0, 10]
    model = lib.tf_keras.Sequential([lib.tf_keras.Input(images.shape[1:]), layers.Flatten(), layers.Dense(2)])
    model.layers[-1].bias.assign([0, 10])
    source, data = stored(model, tmp_path / "m.h5"), Dataset({"*": images}, places)
    outcome = run(Qat(**QUICK, labels=labels), source, tmp_path / "1", train=data)
    assert outcome.facts["augmentation"] == varied


def test_rows_without_labels_are_enough(lib: Any, model: Path, tmp_path: Path) -> None:
    outcome = run(Distil(**QUICK), model, tmp_path, train=rows(labels=False))
    assert outcome.facts["loss"] == "100% distance to the teacher"


def test_without_labels_and_teacher_nothing_says_what_is_right(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher: the training data has no labels"):
        run(Distil(**QUICK, teacher="none"), model, tmp_path, train=rows(labels=False))


def test_without_training_data_a_pass_says_so(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PassError, match=r"distil: needs training data\n.*--train"):
        run(Distil(**QUICK), model, tmp_path, train=None)


def test_another_model_may_teach(lib: Any, model: Path, tmp_path: Path) -> None:
    stored(residual(lib.tf_keras, filters=12), tmp_path / "large.h5")
    outcome = run(Distil(**QUICK, teacher="large.h5", labels=0), model, tmp_path / "d", train=rows(), base=tmp_path)
    assert outcome.facts["loss"] == "100% distance to the teacher"


def test_a_saved_model_may_teach(lib: Any, model: Path, tmp_path: Path) -> None:
    same = []
    for name in ("large.h5", "large"):
        lib.tf_keras.utils.set_random_seed(1)
        teacher = residual(lib.tf_keras, filters=12)
        stored(teacher, tmp_path / name) if name.endswith(".h5") else teacher.export(str(tmp_path / name))
        del teacher
        outcome = run(Qat(**QUICK, teacher=name), model, tmp_path / f"{name}_", train=rows(), base=tmp_path)
        same.append(outcome.facts["training_loss"])
    assert same[0] == pytest.approx(same[1], rel=1e-4)


def test_a_tflite_cannot_teach(model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(ModelError, match=r"t.tflite: is a .tflite, which TensorFlow does not run\n.*SavedModel"):
        run(Distil(**QUICK, teacher="t.tflite"), model, tmp_path / "d", train=rows(), base=tmp_path)


def test_a_teacher_whose_outputs_mean_something_else_is_refused(lib: Any, model: Path, tmp_path: Path) -> None:
    scores = residual(lib.tf_keras)
    scores.get_layer("label").activation = lib.tf_keras.activations.linear
    stored(scores, tmp_path / "scores.h5")
    with pytest.raises(ConfigError, match=r"scores.h5: gives logits, the model gives probabilities\n.*softmax"):
        run(Qat(**QUICK, teacher="scores.h5"), model, tmp_path / "d", train=rows(), base=tmp_path, metric="top1")


def test_a_teacher_with_other_inputs_is_refused(lib: Any, model: Path, tmp_path: Path) -> None:
    stored(residual(lib.tf_keras, channels=1), tmp_path / "grey.h5")
    with pytest.raises(ConfigError, match=r"teacher = .*grey.h5: takes 8×8×1 per row, the model takes 8×8×3"):
        run(Distil(**QUICK, teacher="grey.h5"), model, tmp_path / "d", train=rows(), base=tmp_path)


def test_training_that_diverges_is_an_error(model: Path, tmp_path: Path) -> None:
    data = rows()
    data.inputs["*"][7] = np.inf
    with pytest.raises(PassError, match=r"(training diverged: the loss is nan|activations are NaN)"):
        run(Distil(**QUICK), model, tmp_path, train=data)


def test_a_loss_of_the_users_own(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine_of_compression.py").write_text(
        "import tensorflow as tf\n"
        "def loss(labels, outputs):\n"
        "    return tf.reduce_sum((tf.one_hot(labels, 4) - outputs) ** 2, axis=1)\n"
    )
    fields = {**QUICK, "loss": "mine_of_compression:loss", "teacher": "none"}
    outcome = run(Distil(**fields), model, tmp_path / "d", train=rows(), base=tmp_path)
    assert outcome.facts["loss"] == "100% mine_of_compression:loss"
    with pytest.raises(ConfigError, match="a loss of your own needs labels"):
        run(Distil(**fields), model, tmp_path / "e", train=rows(labels=False), base=tmp_path)


def test_a_pass_that_only_made_the_model_worse_says_so(model: Path, tmp_path: Path) -> None:
    """A model that is its own teacher as it stands has nothing to learn; with enough rows held out that is seen."""
    with pytest.raises(PassError, match=r"distil: no epoch was better than the model as it came: loss .*\n.*`teacher`"):
        run(Distil(**QUICK, labels=0), model, tmp_path, train=rows(128))


def test_a_teacher_with_other_outputs_is_refused(lib: Any, model: Path, tmp_path: Path) -> None:
    keras = lib.tf_keras
    image = keras.Input((EDGE, EDGE, 3))
    seven = keras.Model(image, keras.layers.Dense(7, activation="softmax")(keras.layers.Flatten()(image)))
    stored(seven, tmp_path / "seven.h5")
    with pytest.raises(ConfigError, match=r"teacher = .*seven.h5: gives 7 per row, the model gives 4"):
        run(Distil(**QUICK, teacher="seven.h5"), model, tmp_path / "d", train=rows(), base=tmp_path)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(64) % CLASSES + 100, r"cross-entropy takes labels 0 to 3, and there are labels up to 103"),
        (np.zeros((64, 7), np.float32), r"training labels are 7 per row, and the output is 4\n.*`labels = 0`"),
    ],
)
def test_labels_that_do_not_fit_the_output_are_refused(
    model: Path, tmp_path: Path, labels: np.ndarray, said: str
) -> None:
    data = Dataset({"*": rows(64).inputs["*"]}, labels)
    with pytest.raises(ConfigError, match=said):
        run(Distil(**QUICK), model, tmp_path / "d", train=data)
    outcome = run(Distil(**QUICK, labels=0), model, tmp_path / "e", train=data)
    assert outcome.facts["loss"] == "100% distance to the teacher", "labels that do not count need not fit"


@pytest.mark.parametrize(
    "value", ["tf.cast(tf.argmax(outputs, axis=1) != labels, tf.float32)", "tf.constant(1.0)", "labels"]
)
@pytest.mark.parametrize("teacher", ["self", "none"])
def test_a_users_loss_without_a_gradient(model: Path, tmp_path: Path, value: str, teacher: str) -> None:
    (tmp_path / "flat_losses.py").write_text(
        f"import tensorflow as tf\ndef loss(labels, outputs):\n    return {value}\n"
    )
    step = Qat(**QUICK, loss="flat_losses:loss", teacher=teacher)
    with pytest.raises(ConfigError, match=r"flat_losses:loss: passes no gradient to the model's outputs"):
        run(step, model, tmp_path / "d", train=rows(), base=tmp_path)


def test_a_users_loss_that_returns_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing_of_compression.py").write_text("def loss(labels, outputs):\n    pass\n")
    with pytest.raises(ConfigError, match=r"nothing_of_compression:loss: returned None"):
        run(Distil(**QUICK, loss="nothing_of_compression:loss"), model, tmp_path, train=rows(), base=tmp_path)
