"""What passes keep of one another, and what they do not believe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import save
from small_models import CLASSES, EDGE, QUICK, residual, rows, run, stored

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ConfigError, PassError
from edgecompile.passes.base import Context
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.convert import Convert
from edgecompile.passes.distil import Distil
from edgecompile.passes.prune import Prune
from edgecompile.passes.qat import Qat
from edgecompile.recipe import ModelSection
from edgecompile.tflite.graph import read_graph
from edgecompile.training.kernels import Kernel, kernels
from edgecompile.training.masks import obeys_two_of_four
from edgecompile.training.network import execute, read_network
from edgecompile.training.stored import Notes, read_notes, write_model
from edgecompile.training.train_prune import Pruning, ensure_zeros

pytestmark = pytest.mark.tf


def kernels_in(lib: Any, path: Path) -> dict[str, Kernel]:
    read = lib.tf_keras.models.load_model(str(path), compile=False)
    return {k.name: k for k in kernels(read_network(lib.tf, read).layers())}


def test_a_second_cluster_keeps_what_the_first_one_won(lib: Any, untrained: Path, tmp_path: Path) -> None:
    first = run(Cluster(**QUICK, clusters=8, skip=("hidden", "label")), untrained, tmp_path / "1", train=rows())
    second = run(
        Cluster(**QUICK, clusters=32, skip=("stem", "inner")), first.artifact.path, tmp_path / "2", train=rows()
    )
    counts = read_notes(second.artifact.path).clusters
    assert counts == {"stem/kernel": 8, "inner/kernel": 8, "hidden/kernel": 32, "label/kernel": 32}
    for name, kernel in kernels_in(lib, second.artifact.path).items():
        if name in counts:
            assert all(len(np.unique(row)) <= counts[name] for row in kernel.rows(kernel.values()))


def test_a_second_prune_keeps_the_zeros_of_the_first(lib: Any, untrained: Path, tmp_path: Path) -> None:
    first = run(Prune(**QUICK, pattern="2:4"), untrained, tmp_path / "1", train=rows())
    second = run(Prune(**QUICK, sparsity=0.75), first.artifact.path, tmp_path / "2", train=rows())
    found = kernels_in(lib, second.artifact.path)
    for name in ("inner/kernel", "hidden/kernel"):
        kernel = found[name]
        assert obeys_two_of_four(kernel.rows(kernel.values()), inner=kernel.inner)
        assert (kernel.values() == 0).mean() >= 0.75


def test_too_few_zeros_are_an_error(lib: Any, untrained: Path) -> None:
    kernel = kernels_in(lib, untrained)["inner/kernel"]
    values = kernel.values().copy()
    values.ravel()[: values.size // 2] = 0
    kernel.assign(values)
    plain = {"schedule": "constant", "block": (1, 1), "end": 0.5, "skip": ()}
    ensure_zeros([kernel], Pruning(sparsity=0.5, two_of_four=False, **plain))  # type: ignore[arg-type]
    with pytest.raises(PassError, match=r"inner/kernel: asked for 51.0% zeros, and the kernel holds 50.0%"):
        ensure_zeros([kernel], Pruning(sparsity=0.51, two_of_four=False, **plain))  # type: ignore[arg-type]
    with pytest.raises(PassError, match=r"inner/kernel: the kernel breaks 2:4"):
        ensure_zeros([kernel], Pruning(sparsity=0.5, two_of_four=True, **plain))  # type: ignore[arg-type]


@pytest.mark.parametrize("much", [{"sparsity": 0.9999}, {"sparsity": 0.9, "pattern": "blocks", "block": (16, 16)}])
def test_a_kernel_of_which_nothing_would_be_left_is_left_alone(lib: Any, tmp_path: Path, much: dict[str, Any]) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((EDGE, EDGE, 3))
    x = k.Dense(128, name="wide")(k.Flatten()(k.Conv2D(16, 3, name="few")(image)))
    source = stored(lib.tf_keras.Model(image, k.Dense(CLASSES, name="label")(x)), tmp_path / "m.h5")
    outcome = run(Prune.model_validate({**QUICK, **much}), source, tmp_path / "out", train=rows())
    told = {f.where: f.what for f in outcome.findings}
    assert told["few/kernel"] == "the kernel was not pruned: it has 432 weights, and nothing of it would be left"
    found = kernels_in(lib, outcome.artifact.path)
    assert (found["few/kernel"].values() != 0).all()
    assert much["sparsity"] <= (found["wide/kernel"].values() == 0).mean() < 1


def test_prune_looks_at_its_zeros_when_it_is_done(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pruning, "mask", lambda _self, rows, _inner, _sparsity: np.ones(rows.shape, bool))
    with pytest.raises(PassError, match=r"asked for 50.0% zeros, and the kernel holds \d"):
        run(Prune(**QUICK), untrained, tmp_path, train=rows())


def test_notes_in_the_model_of_the_build_are_not_believed(lib: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    write_model(residual(lib.tf_keras), path, Notes(clusters={"inner/kernel": 4}, ranges={"stem:0:0": (0.0, 1e-3)}))
    source = Artifact.of(path, Kind.KERAS)
    outcome = run(Distil(**QUICK), path, tmp_path / "1", train=rows(), source=source)
    assert read_notes(outcome.artifact.path) == Notes()
    (tmp_path / "2").mkdir()
    converted = Convert().run(source, Context(out=tmp_path / "2", source=source))
    assert "learned_ranges" not in converted.facts


# Models and rows that are out of the ordinary


def test_a_model_with_open_sizes_is_trained_and_kept(lib: Any, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((None, None, 3))
    x = k.GlobalAveragePooling2D()(k.Conv2D(8, 3, name="conv")(k.Conv2D(8, 3)(image)))
    path = stored(lib.tf_keras.Model(image, k.Dense(CLASSES)(x)), tmp_path / "m.h5")
    section = ModelSection(shape={"*": (1, EDGE, EDGE, 3)})
    outcome = run(Prune(**QUICK), path, tmp_path / "out", train=rows(), section=section)
    assert outcome.extras["keras"].is_file()


def test_a_fixed_batch_of_one_is_looked_at_in_many_rows(lib: Any, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input(batch_shape=(1, EDGE, EDGE, 3), name="image")
    x = k.GlobalAveragePooling2D()(k.Conv2D(8, 3, name="conv")(image))
    path = stored(lib.tf_keras.Model(image, k.Dense(CLASSES)(x)), tmp_path / "m.h5")
    data = rows(48)
    data.inputs["*"][0] = 0  # a range of this row alone would hold nothing else
    outcome = run(Qat(epochs=1), path, tmp_path / "out", train=data)
    low, high = read_notes(outcome.artifact.path).ranges["input:image"]
    assert low == pytest.approx(float(data.inputs["*"].min()), rel=0.02)
    assert high == pytest.approx(float(data.inputs["*"].max()), rel=0.02)


def test_a_teacher_of_another_batch_is_refused_by_its_batch(lib: Any, untrained: Path, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input(batch_shape=(1, EDGE, EDGE, 3))
    stored(lib.tf_keras.Model(image, k.Dense(CLASSES)(k.Flatten()(image))), tmp_path / "one.h5")
    with pytest.raises(ConfigError, match=r"takes 1×8×8×3 per batch, the model takes \?×8×8×3"):
        run(Distil(**QUICK, teacher="one.h5"), untrained, tmp_path / "d", train=rows(), base=tmp_path)


def test_padding_stays_masked_while_rounding_looks_at_tensors(lib: Any) -> None:
    k = lib.tf_keras.layers
    words = lib.tf_keras.Input((6,))
    x = k.Embedding(10, 8, mask_zero=True)(words)
    network = read_network(lib.tf, lib.tf_keras.Model(words, k.GlobalAveragePooling1D()(k.Dense(4)(x))))
    rows_ = lib.tf.constant([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8]], lib.tf.float32)
    (plain,) = execute(lib.tf, network, [rows_])
    (copied,) = execute(lib.tf, network, [rows_], after=lambda _, tensor: lib.tf.identity(tensor))
    (traced,) = lib.tf.function(lambda x: execute(lib.tf, network, [x], after=lambda _, t: lib.tf.identity(t)))(rows_)
    np.testing.assert_allclose(copied, plain, rtol=1e-5)
    np.testing.assert_allclose(traced, plain, rtol=1e-5)
    np.testing.assert_allclose(plain, network.model(rows_), rtol=1e-5)


def test_labels_go_to_the_output_that_is_named_as_keras_3_names_it(lib: Any, tmp_path: Path) -> None:
    k = lib.keras.layers
    image = lib.keras.Input((EDGE, EDGE, 3))
    x = k.Flatten()(image)
    outputs = [k.Dense(2, name="first")(x), k.Dense(CLASSES, activation="softmax", name="class scores")(x)]
    path = save(lib.keras.Model(image, outputs), tmp_path / "two.keras")
    step = Distil(**QUICK, teacher="none")
    outcome = run(step, path, tmp_path / "1", train=rows(), output="class scores")
    assert outcome.facts["loss"] == "100% cross-entropy"
    with pytest.raises(ConfigError, match=r"unknown output `class score`\n.*did you mean"):
        run(step, path, tmp_path / "2", train=rows(), output="class score")


def test_outputs_of_plain_operations_are_named_as_keras_3_names_them(lib: Any, tmp_path: Path) -> None:
    k = lib.keras.layers
    image = lib.keras.Input((EDGE, EDGE, 3))
    x = k.Flatten()(image)
    size, scores = k.Dense(1, name="size")(x), k.Dense(CLASSES, name="scores")(x)
    model = lib.keras.Model(image, [size[:, 0], 2 * size, scores + 1])
    path = save(model, tmp_path / "two.keras")
    outcome = run(Qat(**QUICK, teacher="none"), path, tmp_path / "1", train=rows(), output=model.output_names[2])
    assert outcome.facts["loss"] == "100% cross-entropy"
    converted = Convert().run(outcome.artifact, Context(out=tmp_path, calibration=rows()))
    assert list(read_graph(converted.artifact.path).output_names()) == model.output_names


def test_a_model_of_one_output_needs_no_name_for_it(lib: Any, tmp_path: Path) -> None:
    image = lib.keras.Input((EDGE, EDGE, 3))
    x = lib.keras.layers.Dense(CLASSES)(lib.keras.layers.Flatten()(image))
    path = save(lib.keras.Model(image, lib.keras.ops.sigmoid(x)), tmp_path / "one.keras")
    outcome = run(Distil(**QUICK, teacher="none"), path, tmp_path / "1", train=rows(), output="sigmoid")
    assert outcome.facts["loss"] == "100% cross-entropy"


def test_whole_numbers_alone_cannot_be_trained(lib: Any, tmp_path: Path) -> None:
    image = lib.tf_keras.Input((EDGE, EDGE, 3))
    scores = lib.tf_keras.layers.Dense(CLASSES)(lib.tf_keras.layers.Flatten()(image))
    path = stored(lib.tf_keras.Model(image, lib.tf.argmax(scores, axis=-1)), tmp_path / "m.h5")
    with pytest.raises(ConfigError, match=r"m.h5: gives whole numbers, and training can move"):
        run(Distil(**QUICK), path, tmp_path / "1", train=rows())


def test_a_users_loss_counts_with_what_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "project"
    package = base / "losses"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from losses.parts import mine\n")
    (package / ".hidden.py").write_text("")
    (package / "env" / "site-packages").mkdir(parents=True)
    (package / "env" / "site-packages" / "other.py").write_text("")
    (package / "parts.py").write_text("def mine(labels, outputs): ...\n")
    (tmp_path / "alone.py").write_text("from beside import mine\n")
    (tmp_path / "beside.py").write_text("def mine(labels, outputs): ...\n")

    def found(loss: str) -> list[str]:
        return [file.name for file in Distil(loss=loss).files(base)]

    assert found("losses:mine") == ["__init__.py", "parts.py"]
    assert found("alone:mine") == ["alone.py", "beside.py"], "a module where the command was given"
    assert found("absent_of_all:mine") == []
    assert found("numpy:mean") == []
