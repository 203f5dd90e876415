"""Models with something in them that training cannot handle: each is told, by name and with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_files import save
from small_models import CLASSES, EDGE, QUICK, rows, run

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Outcome
from edgecompile.passes.channels import Channels
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.distil import Distil
from edgecompile.passes.prune import Prune
from edgecompile.passes.qat import Qat
from edgecompile.passes.tuned import Tuned
from edgecompile.recipe import ModelSection

pytestmark = pytest.mark.tf

EVERY: tuple[type[Tuned], ...] = (Prune, Channels, Cluster, Qat, Distil)


def odd(keras: Any, gain: Any = None) -> Any:
    """Return a model with a frozen BatchNormalization, a Lambda, a nested model and, if it is given, a layer gain."""
    layers = keras.layers
    image = keras.Input((EDGE, EDGE, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(trainable=False, name="norm")(x)
    x = layers.Lambda(lambda t: t * 2.0, output_shape=(EDGE, EDGE, 8), name="double")(x)
    x = x if gain is None else gain(name="gain")(x)
    inside = keras.Input((EDGE, EDGE, 8))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")(inside)
    x = keras.Model(inside, y, name="block")(x)
    x = layers.Conv2D(12, 3, activation="relu", name="mid")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="label")(x), name="odd")


@pytest.fixture(scope="module")
def model(lib: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(odd(lib.tf_keras), tmp_path_factory.mktemp("odd") / "model.h5")


def passed(step: Tuned, model: Path, out: Path, *, allow_code: bool = True) -> Outcome:
    section, source = ModelSection(allow_code=allow_code), Artifact.of(model, Kind.KERAS)
    return run(step, model, out, train=rows(32), section=section, source=source, metric="top1")


@pytest.mark.parametrize("cls", EVERY)
def test_what_is_left_alone_is_told(cls: type[Tuned], model: Path, tmp_path: Path) -> None:
    budget = {"macs": 0.75} if cls is Channels else {}
    outcome = passed(cls(**QUICK, **budget), model, tmp_path)
    told = {(f.rule, f.where): f.what for f in outcome.findings}
    assert "taken apart" in told.pop(("nested-flattened", "model block"))
    assert "weights and statistics stay as they are" in told.pop(("frozen", "layer norm"))
    if cls is Qat:
        assert "a Lambda can compute anything" in told.pop(("qat-skipped", "layer double"))
    if cls is Channels:
        assert told.pop(("channels-kept", "layer stem")) == (
            "no channel of the layer can go: `Lambda` (double) may mix channels"
        )
        assert ("channels-kept", "layer label") in told
        assert "inner" in str(outcome.facts["channels"])
    else:
        assert not told, "nothing else is odd"


@pytest.mark.parametrize("cls", EVERY)
def test_code_in_the_file_is_refused_before_it_is_loaded(cls: type[Tuned], model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"layer double: `Lambda` holds a Python function as bytecode\n.*--allow-code"):
        passed(cls(**QUICK), model, tmp_path, allow_code=False)


def test_code_of_keras_3_does_not_cross(lib: Any, tmp_path: Path) -> None:
    class Gain(lib.keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras has no types
        """Multiplies each channel by a weight."""

        def build(self, shape: Any) -> None:
            self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

        def call(self, x: Any) -> Any:
            return x * self.gain

    with lib.keras.saving.CustomObjectScope({"Gain": Gain}):
        source = save(odd(lib.keras, Gain), tmp_path / "model.keras")
        with pytest.raises(ModelError) as refused:
            passed(Qat(**QUICK), source, tmp_path / "no", allow_code=False)
        with pytest.raises(ModelError) as stopped:
            passed(Qat(**QUICK), source, tmp_path / "yes")
    assert [p.where for p in refused.value.problems] == ["layer double", "layer gain"]
    assert "which is not a part of Keras" in str(refused.value)
    told = {p.where: p.what for p in stopped.value.problems}
    assert "`Gain` is a class of your own" in told["layer gain"]
    assert "`Lambda` holds a Python function that was written for Keras 3" in told["layer double"]
    assert all("training-time passes need tf_keras" in p.hint for p in stopped.value.problems)


def test_a_model_that_is_frozen_as_a_whole(lib: Any, tmp_path: Path) -> None:
    made = odd(lib.tf_keras)
    made.trainable = False
    source = save(made, tmp_path / "model.h5")
    with pytest.raises(PassError, match="every layer is frozen, so nothing can be trained"):
        passed(Distil(**QUICK), source, tmp_path / "d")
    with pytest.raises(PassError, match=r"found no kernel to prune\n.*stem/kernel: the layer is frozen"):
        passed(Prune(**QUICK), source, tmp_path / "p")
