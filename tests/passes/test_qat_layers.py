"""qat on layers that other tools refuse: their int8 kernels compute what training computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from int8_emulation import Trained, trained
from keras_files import save
from small_models import QUICK, run, stored

from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.passes.qat import Qat
from edgecompile.training.int8 import lay_out
from edgecompile.training.network import execute, read_network
from edgecompile.training.qat import Ranges

pytestmark = pytest.mark.tf


def settled(model: Any) -> Any:
    """Give every BatchNormalization statistics of its own: fresh ones do nothing."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            gamma, beta, mean, variance = (w.shape for w in layer.weights)
            spread = [rng.uniform(0.5, 1.5, gamma), rng.normal(0, 0.3, beta)]
            layer.set_weights([*spread, rng.normal(0, 0.3, mean), rng.uniform(0.5, 1.5, variance)])
    return model


def noise(model: Any, seed: int, n: int = 64) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset({"*": rng.normal(0.3, 1, (n, *model.input_shape[1:])).astype(np.float32)}, np.arange(n) % 4)


def through_qat(lib: Any, layers: list[Any], shape: tuple[int, ...], folder: Path) -> Trained:
    lib.keras.utils.set_random_seed(4)
    model = settled(lib.keras.Sequential([lib.keras.Input(shape), *layers]))
    return trained(lib, save(model, folder / "model.keras"), folder, noise(model, 1), noise(model, 2), **QUICK)


def test_images(lib: Any, tmp_path: Path) -> None:
    layers = lib.keras.layers
    found = through_qat(
        lib,
        [
            layers.BatchNormalization(name="first"),
            layers.SeparableConv2D(8, 3, activation="gelu", name="separable"),
            layers.PReLU(shared_axes=[1, 2], alpha_initializer=lib.keras.initializers.Constant(0.2), name="prelu"),
            layers.BatchNormalization(name="alone"),
            layers.ReLU(name="relu"),
            layers.Conv2D(8, 3, activation="hard_silu", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(4, activation="hard_sigmoid", name="gate"),
        ],
        (8, 8, 3),
        tmp_path,
    )
    assert found.ops == [
        "DEPTHWISE_CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "GELU", "PRELU", "DEPTHWISE_CONV_2D", "CONV_2D",
        "HARD_SWISH", "MEAN", "FULLY_CONNECTED", "MUL",
    ]  # fmt: skip
    assert found.calibrated == ["FULLY_CONNECTED"], "relu6(x + 3), of which Keras has no tensor"
    assert found.outcome.findings == ()
    assert found.steps <= 2


def test_series(lib: Any, tmp_path: Path) -> None:
    layers = lib.keras.layers
    found = through_qat(
        lib,
        [
            layers.Rescaling(0.5, offset=-0.1, name="scale"),
            layers.Conv1D(8, 3, padding="causal", activation="relu", name="conv"),
            layers.MaxPooling1D(2, name="pool"),
            layers.Conv1D(8, 3, name="second"),
            layers.BatchNormalization(name="taken_in"),
            layers.ReLU(name="relu"),
            layers.SeparableConv1D(8, 3, name="separable"),
            layers.ReLU(name="last"),
            layers.BatchNormalization(name="alone"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="label"),
        ],
        (24, 3),
        tmp_path,
    )
    told = {f.where: f.what for f in found.outcome.findings}
    assert set(told) == {"layer separable", "layer alone"}
    assert "between the kernels" in told["layer separable"]
    assert "the product" in told["layer alone"]
    assert found.ops.count("ADD") <= 2, "of the scale and of the BatchNormalization that stands alone"
    assert found.steps <= 6


def test_a_layer_between_others_of_a_shared_one(lib: Any, tmp_path: Path) -> None:
    """A BatchNormalization that one call takes in and another does not stays what it is."""
    layers = lib.keras.layers
    x = lib.keras.Input((8, 8, 3))
    norm = layers.BatchNormalization(name="norm")
    y = norm(layers.Conv2D(3, 3, padding="same", name="conv")(x))
    y = norm(layers.ReLU(name="relu")(y))
    model = settled(lib.keras.Model(x, layers.Dense(4, name="label")(layers.GlobalAveragePooling2D()(y))))
    source = save(model, tmp_path / "model.keras")
    found = trained(lib, source, tmp_path, noise(model, 1), noise(model, 2), **QUICK)
    assert "DEPTHWISE_CONV_2D" not in found.ops
    assert found.steps <= 6


def test_normalizations_before_dense_layers_are_rounded_in_their_kernels(lib: Any, tmp_path: Path) -> None:
    layers = lib.keras.layers
    found = through_qat(
        lib,
        [
            layers.BatchNormalization(name="first"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.BatchNormalization(name="between"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(8, activation="swish", use_bias=True, name="second"),
            layers.Dense(4, activation="softmax", name="label"),
        ],
        (10,),
        tmp_path,
    )
    assert found.ops == ["FULLY_CONNECTED"] * 2 + ["LOGISTIC", "MUL", "FULLY_CONNECTED", "SOFTMAX"]
    assert found.outcome.findings == ()
    assert found.steps <= 2


def test_normalizations_that_dense_layers_do_not_take_in_stay(lib: Any, tmp_path: Path) -> None:
    layers = lib.keras.layers
    x = lib.keras.Input((10,))
    y = both = layers.BatchNormalization(name="read_twice")(layers.Dense(8, activation="relu", name="hidden")(x))
    y = layers.Add(name="sum")([layers.Dense(8, name="branch")(y), both])
    y = layers.BatchNormalization(name="before_no_bias")(layers.ReLU(name="relu")(y))
    model = settled(lib.keras.Model(x, layers.Dense(4, use_bias=False, name="label")(y)))
    source = save(model, tmp_path / "model.keras")
    found = trained(lib, source, tmp_path, noise(model, 1), noise(model, 2), **QUICK)
    assert found.ops.count("MUL") == 2
    assert {f.where for f in found.outcome.findings} == {"layer read_twice", "layer before_no_bias"}
    assert found.steps <= 4


def test_gates_that_are_joined_with_other_tensors(lib: Any, tmp_path: Path) -> None:
    layers = lib.keras.layers
    x = lib.keras.Input((8,))
    gates = layers.Reshape((2, 2), name="moved")(layers.Dense(4, activation="sigmoid", name="gates")(x))
    values = layers.Reshape((2, 2), name="shaped")(layers.Dense(4, name="values")(x))
    y = layers.Flatten(name="flat")(layers.Concatenate(name="joined")([gates, values]))
    model = lib.keras.Model(x, layers.Dense(4, name="label")(y))
    source = save(model, tmp_path / "model.keras")
    found = trained(lib, source, tmp_path, noise(model, 1), noise(model, 2), **QUICK)
    assert set(found.calibrated) == {"LOGISTIC", "RESHAPE", "QUANTIZE"}, "codes of a gate are given by its kernel"
    assert found.steps <= 3


def test_a_row_that_the_model_has_no_answer_to_is_named(lib: Any, tmp_path: Path) -> None:
    x = lib.tf_keras.Input((4,))
    logarithm = lib.tf.math.log(lib.tf_keras.layers.Dense(4, kernel_initializer="ones", name="sum")(x))
    source = stored(lib.tf_keras.Model(x, lib.tf_keras.layers.Dense(2, name="label")(logarithm)), tmp_path / "m.h5")
    rows = np.ones((600, 4), np.float32)
    rows[599] = -1
    with pytest.raises(PassError, match=r"layer tf.math.log: activations are NaN or infinite on training row 599\n"):
        run(Qat(**QUICK), source, tmp_path / "1", train=Dataset({"*": rows}))


def test_probabilities_that_are_only_moved_to_an_output_are_not_rounded(lib: Any) -> None:
    layers = lib.tf_keras.layers
    x = lib.tf_keras.Input((4,))
    probabilities = layers.Dense(8, activation="softmax", name="label")(x)
    network = read_network(lib.tf, lib.tf_keras.Model(x, layers.Reshape((2, 4), name="moved")(probabilities)))
    ranges = Ranges(lib.tf, network, lay_out(network))
    inputs = [lib.tf.random.stateless_normal((16, 4), (1, 2))]
    ranges.observe([inputs], rows=np.arange(16))
    seen: dict[int, Any] = {}
    execute(lib.tf, network, inputs, after=lambda i, tensor: seen.setdefault(i, ranges.round(i, tensor)))
    given = seen[network.calls[0].outputs[0]].numpy() * 256
    assert np.abs(given - np.round(given)).max() > 0.01
