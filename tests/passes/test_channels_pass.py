"""The channels pass on small models: what `skip` keeps, which rows are looked at, models with a fixed batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import CLASSES, EDGE, QUICK, rows, run, stored

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, PassError
from edgecompile.passes.base import Context, Pass
from edgecompile.passes.channels import Channels
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.prune import Prune
from edgecompile.recipe import ModelSection
from edgecompile.training import train_channels
from edgecompile.training.channel_cut import without
from edgecompile.training.opening import open_workshop
from edgecompile.training.train_channels import SCORED_ROWS

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("name", ["depthwise", "sum", "stem_norm", "inner"])
def test_skip_keeps_what_is_tied_to_a_layer_whether_it_makes_channels_or_not(
    untrained: Path, tmp_path: Path, name: str
) -> None:
    outcome = run(Channels(**QUICK, macs=0.99, skip=(name,)), untrained, tmp_path, train=rows())
    told = {f.where: f.what for f in outcome.findings if f.rule == "channels-kept"}
    assert told["layer stem"] == told["layer inner"]
    assert told["layer stem"].endswith("`skip` names it, or a layer that is tied to it")
    assert str(outcome.facts["channels"]).startswith("hidden 12 → ")


@pytest.mark.parametrize("cls", [Prune, Cluster, Channels])
def test_skip_that_names_nothing_is_an_error(untrained: Path, tmp_path: Path, cls: type[Pass]) -> None:
    step = cls.model_validate({**QUICK, "skip": ("hiden", "stem*", "lost*")})
    with pytest.raises(ConfigError) as caught:
        run(step, untrained, tmp_path, train=rows())
    first, second = caught.value.problems
    assert first.what == "`hiden` is no layer of the model"
    assert first.hint == "did you mean `hidden`?"
    assert second.what == "`lost*` is no layer of the model"


@pytest.mark.parametrize("field", ["macs", "parameters"])
def test_the_model_that_was_made_is_held_to_the_budget(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def too_large(tf: Any, keras: Any, channels: Any, removed: Any) -> Any:
        return without(tf, keras, channels, np.zeros_like(removed))

    monkeypatch.setattr(train_channels, "without", too_large)
    with pytest.raises(PassError, match=r"^channels: the model takes [\d,]+ \S+, and the budget is [\d,]+$"):
        run(Channels.model_validate({**QUICK, field: 0.75}), untrained, tmp_path, train=rows())


def sorted_by_class() -> Dataset:
    images = np.repeat(np.arange(400, dtype=np.float32) // 100, EDGE * EDGE * 3).reshape(400, EDGE, EDGE, 3)
    return Dataset({"*": images}, np.arange(400) // 100)


def test_rows_to_look_at_come_from_all_over_the_data(untrained: Path, tmp_path: Path) -> None:
    place = Channels().place(Context(out=tmp_path, train=sorted_by_class(), model=ModelSection()))
    shop = open_workshop(untrained, place)
    for wanted in (16, SCORED_ROWS):
        (images,) = shop.sample(wanted)
        assert len(images) == wanted
        assert np.bincount(images[:, 0, 0, 0].astype(int)).tolist() == [wanted // CLASSES] * CLASSES


def test_a_fixed_batch_is_obeyed(lib: Any, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input(batch_shape=(32, EDGE, EDGE, 3))
    x = k.Conv2D(16, 3, strides=2, name="conv")(image)
    x = lib.tf.reshape(k.Conv2D(8, 3, name="last")(x), [32, -1])
    path = stored(lib.tf_keras.Model(image, k.Dense(CLASSES)(x)), tmp_path / "m.h5")
    section = ModelSection(batch=32)
    outcome = run(Channels(epochs=2), path, tmp_path / "out", train=rows(96), section=section)
    assert str(outcome.facts["channels"]).startswith("conv 16 → ")


def test_skip_names_a_part_of_a_wrapper(lib: Any, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    words = lib.tf_keras.Input((6, 8))
    x = k.Dense(16, name="wide")(k.Bidirectional(k.LSTM(16), name="both")(words))
    path = stored(lib.tf_keras.Model(words, k.Dense(CLASSES)(x)), tmp_path / "m.h5")
    data = Dataset({"*": np.random.default_rng(0).normal(size=(32, 6, 8)).astype(np.float32)}, np.arange(32) % CLASSES)
    for number, name in enumerate(("both", "both/forward", "both/forward/recurrent_kernel")):
        outcome = run(Prune(**QUICK, skip=(name,)), path, tmp_path / str(number), train=data)
        left = {f.where for f in outcome.findings if "`skip` names it" in f.what}
        assert left
        assert all(where is not None and where.startswith(name) for where in left)
