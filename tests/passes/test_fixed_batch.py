"""Models that were saved for one row at a time: they train like any other, unless they hold their batch for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import randomized, save
from small_models import CLASSES, EDGE, QUICK, residual, rows, run, stored

from edgecompile.artifact import Artifact, Kind
from edgecompile.passes.channels import Channels
from edgecompile.passes.distil import Distil
from edgecompile.passes.prune import Prune
from edgecompile.passes.qat import Qat
from edgecompile.passes.tuned import Tuned
from edgecompile.recipe import ModelSection

pytestmark = pytest.mark.tf


def fixed(keras: Any, model: Any, size: int) -> Any:
    """Return model with a fixed batch, and the same weights."""
    image = keras.Input(batch_shape=(size, EDGE, EDGE, 3), name="image")
    other = keras.models.clone_model(model, input_tensors=image)
    other.set_weights(model.get_weights())
    return other


def weights(lib: Any, path: Path) -> list[np.ndarray]:
    return [np.asarray(w) for w in lib.tf_keras.models.load_model(path, compile=False).get_weights()]


@pytest.mark.parametrize("step", [Qat(**QUICK), Channels(macs=0.8, **QUICK)], ids=lambda step: step.name)
@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_changes_nothing_of_the_training(lib: Any, tmp_path: Path, step: Tuned, size: int) -> None:
    model = randomized(residual(lib.tf_keras), 3)
    files = {"open": model, "fixed": fixed(lib.tf_keras, model, size)}
    found = {}
    for name, one in files.items():
        path = stored(one, tmp_path / f"{name}.h5")
        source = Artifact.of(path, Kind.KERAS)
        shape = {"section": ModelSection(shape={"*": (size, EDGE, EDGE, 3)})} if name == "fixed" else {}
        outcome = run(step, path, tmp_path / name, train=rows(), source=source, metric="top1", **shape)
        assert "batch-fixed" not in {f.rule for f in outcome.findings}
        found[name] = (outcome.facts, weights(lib, tmp_path / name / "compressed.h5"))
    assert found["open"][0]["steps"] == found["fixed"][0]["steps"] == 2 * 4
    for a, b in zip(found["open"][1], found["fixed"][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def held(lib: Any) -> Any:
    """Return a classifier with a step that holds a batch of 1."""
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input(batch_shape=(1, EDGE, EDGE, 3), name="image")
    x = k.Conv2D(8, 3, activation="relu", name="stem")(image)
    x = lib.tf.reshape(x, (1, -1))
    return lib.tf_keras.Model(image, k.Dense(CLASSES, activation="softmax", name="label")(x))


def test_a_batch_that_the_model_holds_is_told(lib: Any, tmp_path: Path) -> None:
    path = stored(held(lib), tmp_path / "m.h5")
    outcome = run(Prune(epochs=1), path, tmp_path / "out", train=rows(24), metric="top1")
    (told,) = [f for f in outcome.findings if f.rule == "batch-fixed"]
    assert told.what == "the model computes with 1 row at once and no other number, and is trained so"
    assert outcome.facts["steps"] == 24, "a row a step"


def test_a_teacher_that_holds_its_batch_teaches_rows_one_after_the_other(lib: Any, tmp_path: Path) -> None:
    tf = lib.tf
    teacher = held(lib)
    save(teacher, tmp_path / "teacher.h5")
    model = randomized(residual(lib.tf_keras), 3)
    path = stored(fixed(lib.tf_keras, model, 1), tmp_path / "m.h5")
    step = Distil(teacher="teacher.h5", labels=0.0, epochs=30, batch=16, flip=False, shift=False)
    data = rows(64)
    outcome = run(step, path, tmp_path / "out", train=data, metric="top1", base=tmp_path)
    assert outcome.facts["steps"] == 30 * 4
    student = lib.tf_keras.models.load_model(tmp_path / "out" / "compressed.h5", compile=False)
    shown = tf.constant(data.batch("image", np.arange(64)))
    taught = np.concatenate([teacher(shown[i : i + 1]) for i in range(64)])

    def apart(pupil: Any) -> float:
        return float(np.abs(np.asarray(pupil(shown)) - taught).mean())

    assert apart(student) < 0.5 * apart(model)
