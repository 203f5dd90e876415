"""Loading: which Keras reads what, damage, and what training-time passes get."""

from __future__ import annotations

import errno
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import libraries, save

from edgecompile.errors import ModelError, ToolError
from edgecompile.recipe import ModelSection
from edgecompile.training import freeze
from edgecompile.training import tf as door
from edgecompile.training.export import to_tflite
from edgecompile.training.faults import load_faults
from edgecompile.training.models import load_source, load_tf_keras

pytestmark = pytest.mark.tf


def load(path: Path, **section: Any) -> Any:
    return load_source(path, libraries().tf, section=ModelSection(**section), seed=0)


def load_for_training(path: Path, **section: Any) -> Any:
    return load_tf_keras(path, libraries().tf, section=ModelSection(**section), seed=0)


def dense(keras: Any, *, activation: str = "relu") -> Any:
    return keras.Sequential([keras.Input((8,), name="x"), keras.layers.Dense(3, activation=activation, name="d")])


# ------------------------------------------------------------------------------------------- for training


@pytest.mark.parametrize(("which", "file"), [("keras", "m.keras"), ("keras", "m.h5"), ("tf_keras", "m.h5")])
def test_training_gets_tf_keras_models(tmp_path: Path, which: str, file: str) -> None:
    model = dense(getattr(libraries(), which), activation="hard_sigmoid")
    path = save(model, tmp_path / file)
    given = load_for_training(path)
    assert type(given).__module__.startswith("tf_keras.")
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert np.abs(np.asarray(given(rows)) - np.asarray(model(rows))).max() <= 1e-6


def test_what_the_bridge_made_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """Training-time passes hand .h5 files on, with activations that only the bridge knows."""
    first = load_for_training(save(dense(libraries().keras, activation="hard_silu"), tmp_path / "m.keras"))
    again = load_for_training(save(first, tmp_path / "again.h5"))
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert np.array_equal(np.asarray(first(rows)), np.asarray(again(rows)))


def test_training_says_every_layer_that_is_in_the_way(tmp_path: Path) -> None:
    keras = libraries().keras
    layers = [keras.layers.RMSNormalization(name="rms"), keras.layers.Dense(3, activation="celu", name="head")]
    path = save(keras.Sequential([keras.Input((8,)), *layers]), tmp_path / "m.keras")
    with pytest.raises(ModelError) as caught:
        load_for_training(path)
    assert "layer rms: tf_keras has no layer `RMSNormalization`" in str(caught.value)
    assert "layer head: tf_keras has no activation `celu`" in str(caught.value)
    assert "training-time passes need tf_keras" in str(caught.value)


def test_training_needs_layers(tmp_path: Path) -> None:
    dense(libraries().tf_keras).export(str(tmp_path / "saved"))
    with pytest.raises(ModelError, match="a SavedModel holds a graph of operations; training needs the layers"):
        load_for_training(tmp_path / "saved")


# ------------------------------------------------------------------------------------------- damage


def test_an_unknown_keras(tmp_path: Path) -> None:
    path = save(dense(libraries().keras), tmp_path / "m.keras")
    changed = tmp_path / "changed.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) if name != "metadata.json" else json.dumps({"keras_version": "next"}))
    with pytest.raises(ModelError, match="was written by an unknown Keras `next`"):
        load(changed)


@pytest.mark.parametrize(
    ("key", "value"),
    [("units", "many"), ("units", -3), ("activation", "rleu"), ("dtype", 7), ("name", None), ("use_bias", {"a": 1})],
)
@pytest.mark.parametrize("which", ["keras", "tf_keras"])
def test_configs_that_no_layer_takes(tmp_path: Path, which: str, key: str, value: object) -> None:
    path = save(dense(getattr(libraries(), which)), tmp_path / "m.keras")
    changed = tmp_path / "changed.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][-1]["config"][key] = value
                content = json.dumps(config).encode()
            new.writestr(name, content)
    said = ""
    try:
        load(changed)
    except ModelError as error:
        said = str(error)
    assert said or key in ("dtype", "name", "use_bias"), "Keras has a meaning for these only"


def test_flipped_bytes_of_an_h5_model_give_an_answer_or_an_error(tmp_path: Path) -> None:
    data = save(dense(libraries().tf_keras), tmp_path / "m.h5").read_bytes()
    flipped = tmp_path / "flipped.h5"
    refused = 0
    for at in range(5, len(data), len(data) // 60):
        flipped.write_bytes(data[:at] + bytes([data[at] ^ 0x24]) + data[at + 1 :])
        try:
            load(flipped)
        except ModelError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    "file", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_saved_model_with_a_file_cut_off(tmp_path: Path, file: str) -> None:
    dense(libraries().tf_keras).export(str(tmp_path / "saved"))
    path = tmp_path / "saved" / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError):
        load(tmp_path / "saved")
    path.unlink()
    with pytest.raises(ModelError):
        load(tmp_path / "saved")


def test_a_full_disk_is_not_the_models_fault(tmp_path: Path) -> None:
    libraries()
    with pytest.raises(OSError, match="No space"), load_faults(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ModelError, match="cannot be loaded: KeyError"), load_faults(tmp_path):
        raise KeyError


# ------------------------------------------------------------------------------------------- the door


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_MODULES", ("tensorflow", "no_such_keras"))
    with pytest.raises(ToolError) as caught:
        door.start(seed=0)
    assert "needs the `tensorflow` extra" in str(caught.value)
    assert 'pip install "edgecompile[tensorflow]"' in str(caught.value)


def test_seeds() -> None:
    tf = door.start(seed=5)
    first = tf.random.normal((3,)).numpy()
    assert np.array_equal(first, door.start(seed=5).random.normal((3,)).numpy())
    assert not np.array_equal(first, door.start(seed=6).random.normal((3,)).numpy())


# ------------------------------------------------------------------------------------------- export


def test_constants_and_variables_convert_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib = libraries()
    source = load(save(dense(lib.keras), tmp_path / "m.keras"))
    constants = to_tflite(source, lib.tf)
    monkeypatch.setattr(freeze, "MAX_CONSTANT_BYTES", 0)
    variables = to_tflite(source, lib.tf)
    rows = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    assert np.array_equal(outputs(constants, rows), outputs(variables, rows))


def outputs(model: bytes, rows: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=model).get_signature_runner()
    return runner(input_000=rows)["output_000"]


def test_a_converter_that_fails_without_naming_an_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow.lite.python import lite
    from tensorflow.lite.python.convert_phase import ConverterError

    lib = libraries()
    source = load(save(dense(lib.keras), tmp_path / "m.keras"))

    def fail(self: object) -> bytes:
        raise ConverterError("something\n  broke inside")

    monkeypatch.setattr(lite.TFLiteSavedModelConverterV2, "convert", fail)
    with pytest.raises(ModelError, match="TensorFlow's converter refuses the model: something broke inside"):
        to_tflite(source, lib.tf)
