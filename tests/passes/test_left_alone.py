"""Layers whose weights no pass knows are named by the passes that leave them alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import QUICK, run, stored

from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.passes.base import Pass
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.prune import Prune
from edgecompile.training.kernels import unreached

pytestmark = pytest.mark.tf


def attention(keras: Any, *, head: bool = True) -> Any:
    layers = keras.layers
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(10, 8, name="words")(x)
    y = layers.LayerNormalization(axis=(1, 2), name="norm")(y)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    y = layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d", name="einsum")(y)
    y = layers.PReLU(shared_axes=[1], name="prelu")(y)
    y = layers.GlobalAveragePooling1D()(y)
    return keras.Model(x, layers.Dense(4, name="label")(y) if head else y)


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset({"*": rng.integers(0, 10, (32, 6)).astype(np.int32)}, np.arange(32) % 4)


@pytest.mark.parametrize(
    ("step", "rule", "done"),
    [(Prune(**QUICK), "prune-skipped", "pruned"), (Cluster(**QUICK), "cluster-skipped", "clustered")],
)
def test_layers_with_other_weights_are_listed(
    lib: Any, data: Dataset, tmp_path: Path, step: Pass, rule: str, done: str
) -> None:
    outcome = run(step, stored(attention(lib.tf_keras), tmp_path / "m.h5"), tmp_path / "a", train=data)
    told = {f.where: f.what for f in outcome.findings if f.rule == rule}
    assert set(told) == {"words", "attention", "einsum"}
    assert told["attention"].startswith(f"the weights of `MultiHeadAttention` were not {done}: ")
    assert outcome.facts[f"{done}_kernels"] == 1
    assert outcome.facts["kernels_left"] == 3


def test_a_model_of_nothing_else_is_told_so(lib: Any, data: Dataset, tmp_path: Path) -> None:
    source = stored(attention(lib.tf_keras, head=False), tmp_path / "m.h5")
    with pytest.raises(PassError, match=r"found no kernel to prune\n.*attention: the weights of `MultiHeadAttention`"):
        run(Prune(**QUICK), source, tmp_path / "a", train=data)


def test_known_kernels_and_vectors_are_not_listed(lib: Any) -> None:
    layers = lib.tf_keras.layers
    x = lib.tf_keras.Input((6, 5))
    wrapped = [
        layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both"),
        layers.GRU(4, return_sequences=True, name="two_biases"),
        layers.TimeDistributed(layers.Dense(3), name="each"),
        layers.SeparableConv1D(4, 2, name="separable"),
        layers.BatchNormalization(name="batch"),
        layers.ConvLSTM1D(2, 2, name="convlstm"),
    ]
    made = [(layer.name, layer) for layer in wrapped]
    for layer in wrapped[:5]:
        x = layer(x)
    wrapped[5](lib.tf_keras.Input((6, 5, 4)))
    assert unreached(made) == [("convlstm", "ConvLSTM1D")]
