"""Keras 3 models rebuilt in tf_keras: same graph, same weights, same outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras_files import libraries

from edgecompile.recipe import ModelSection
from edgecompile.training.bridge_layers import CannotCrossError
from edgecompile.training.keras2 import keras2_call, leaf_layers
from edgecompile.training.keras3 import bridged, keras3_call, keras3_source

pytestmark = pytest.mark.tf


def cross(model: Any, **section: Any) -> Any:
    return bridged(model, libraries().tf, section=ModelSection(**section), seed=0)


def largest_difference(model: Any, crossed: Any, *, ids: bool = False) -> float:
    """Return the largest output difference on rows that are not those of the bridge's own check."""
    lib, rng = libraries(), np.random.default_rng(7)
    rows = []
    for tensor in lib.keras.tree.flatten(model.inputs):
        shape = (3, *(d or 6 for d in tensor.shape[1:]))
        rows.append(lib.tf.constant(rng.integers(0, 9, shape) if ids else rng.normal(size=shape), tensor.dtype))
    expected, given = keras3_call(lib.keras, model)(rows), keras2_call(lib.tf, crossed)(rows)
    return max(float(np.abs(a.numpy() - b.numpy()).max()) for a, b in zip(expected, given, strict=True))


def shake(model: Any) -> Any:
    """Give every weight a value of its own: fresh biases are zeros, whose order nobody would miss."""
    rng = np.random.default_rng(3)
    model.set_weights([w + rng.uniform(0.05, 0.3, w.shape).astype(w.dtype) for w in model.get_weights()])
    for layer in leaf_layers(model):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # as loading does
    return model


def sequential(*layers: Any, shape: tuple[int | None, ...], **options: Any) -> Any:
    keras = libraries().keras
    return keras.Sequential([keras.Input(shape, **options), *layers])


def convolutions(layers: Any) -> Any:
    return sequential(
        layers.SeparableConv2D(6, 3, activation="relu6"),
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.Conv2D(4, 3, groups=2, dilation_rate=2, kernel_regularizer="l2", bias_constraint="non_neg"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.PReLU(shared_axes=[1, 2]),
        layers.LeakyReLU(negative_slope=0.1),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
        layers.Dense(3),
        shape=(16, 16, 4),
    )


def series(layers: Any) -> Any:
    return sequential(
        layers.Conv1D(6, 3, padding="causal"),
        layers.SeparableConv1D(4, 3),
        layers.ZeroPadding1D(2),
        layers.AveragePooling1D(2),
        layers.DepthwiseConv1D(3),
        layers.ELU(),
        layers.Permute((2, 1)),
        layers.Softmax(axis=1),
        shape=(16, 4),
    )


def preprocessing(layers: Any) -> Any:
    return sequential(
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Resizing(16, 16),
        layers.CenterCrop(14, 14),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.2),
        layers.RandomShear(0.1, 0.1),
        layers.GaussianNoise(0.1),
        layers.Conv2D(2, 3),
        shape=(20, 20, 3),
    )


def adapted(layers: Any) -> Any:
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, 8)).astype(np.float32))
    return sequential(norm, layers.Dense(3), shape=(8,))


def recurrent(layers: Any) -> Any:
    return sequential(
        layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
        layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum"),
        layers.RNN([layers.LSTMCell(5), layers.GRUCell(4)], return_sequences=True),
        layers.SimpleRNN(5, seed=3, return_sequences=True, go_backwards=True),
        layers.LSTM(4),
        shape=(9, 3),
    )


def states(layers: Any) -> Any:
    keras = libraries().keras
    x = keras.Input((5, 3))
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    return keras.Model(x, [layers.LSTM(4)(y, initial_state=[h, c]), h])


def masked(layers: Any) -> Any:
    return sequential(
        layers.Masking(), layers.LSTM(5, return_sequences=True), layers.TimeDistributed(layers.Dense(3)), shape=(9, 3)
    )


def model_in_time(layers: Any) -> Any:
    inner = sequential(
        layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Dense(2), layers.Flatten(), shape=(8, 8, 2)
    )
    return sequential(layers.TimeDistributed(inner), layers.LSTM(3), shape=(3, 8, 8, 2))


def attention(layers: Any) -> Any:
    keras = libraries().keras
    a, b = keras.Input((5, 4)), keras.Input((5, 4))
    heads = layers.MultiHeadAttention(2, 3)(a, b, use_causal_mask=True)
    return keras.Model([a, b], [layers.Attention(use_scale=True)([a, b]), layers.AdditiveAttention()([a, b]), heads])


def merges(layers: Any) -> Any:
    keras = libraries().keras
    a, b = keras.Input((5, 4)), keras.Input((5, 4))
    kinds = (
        layers.Add,
        layers.Subtract,
        layers.Multiply,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
        layers.Concatenate,
    )
    return keras.Model([a, b], [kind()([a, b]) for kind in kinds])


def norms(layers: Any) -> Any:
    return sequential(
        layers.LayerNormalization(), layers.GroupNormalization(2), layers.UnitNormalization(), shape=(8, 8, 4)
    )


def einsum(layers: Any) -> Any:
    return sequential(layers.EinsumDense("abc,cd->abd", output_shape=(None, 7), bias_axes="d"), shape=(5, 4))


def nested_and_shared(layers: Any) -> Any:
    keras = libraries().keras
    ops = keras.ops
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    shared = layers.Dense(8, activation="gelu", name="shared")
    x = shared(a) + shared(b) * 2.0
    inner = sequential(layers.Dense(3, activation="hard_silu"), layers.BatchNormalization(), shape=(5,))
    y = inner(ops.concatenate([x[:, 1:5], ops.mean(x, axis=1, keepdims=True)], axis=-1), training=False)
    z = inner(x[:, :5])
    into = keras.Input((3,))
    fork = keras.Model(into, [layers.Dense(4)(into), layers.Dense(2)(into)], name="fork")
    (p, q), (r, s) = fork(y), fork(z)
    return keras.Model({"b": b, "a": a}, {"sum": p + r, "product": q * s, "plain": z})


def frozen(layers: Any) -> Any:
    model = sequential(layers.Dense(4), layers.BatchNormalization(), layers.Dense(2), shape=(8,))
    model.layers[0].trainable = False
    return model


def odd_names(layers: Any) -> Any:
    keras = libraries().keras
    x = keras.Input((8,), name="in put")
    return keras.Model(x, layers.Dense(2, name="out put:0")(layers.Dense(2, name="_first-layer")(x)))


MODELS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (
        convolutions,
        series,
        preprocessing,
        adapted,
        recurrent,
        states,
        masked,
        model_in_time,
        attention,
        merges,
        norms,
        einsum,
        nested_and_shared,
        frozen,
        odd_names,
    )
}


@pytest.mark.parametrize("name", MODELS)
def test_crosses_with_equal_outputs(name: str) -> None:
    model = shake(MODELS[name](libraries().keras.layers))
    crossed = cross(model)
    assert largest_difference(model, crossed) <= 1e-5
    assert type(crossed).__module__.startswith("tf_keras.")


@pytest.mark.parametrize(
    "name",
    [
        "elu",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "leaky_relu",
        "log_sigmoid",
        "log_softmax",
        "mish",
        "relu6",
        "selu",
        "silu",
        "softplus",
        "softsign",
        "swish",
        "tanh",
        "exponential",
    ],
)
def test_activations(name: str) -> None:
    layers = libraries().keras.layers
    model = sequential(layers.Dense(6, activation=name), layers.Activation(name), shape=(6,))
    assert largest_difference(model, cross(model)) <= 1e-5


def test_operations() -> None:
    keras = libraries().keras
    ops, x = keras.ops, keras.Input((4, 4))
    pieces = ops.split(x, [1, 3], axis=1)
    outputs = [
        *(ops.relu(x), ops.sqrt(ops.abs(x)), x**2, 1 - x, 2 * x / (x * x + 1.0), -x, x / 3.0, ops.log1p(x * x)),
        *(ops.transpose(x, (0, 2, 1)), ops.swapaxes(x, 1, 2), ops.reshape(x, (-1, 16)), ops.flip(x, 1)),
        *(ops.softmax(x), ops.log_softmax(x), ops.clip(x, -0.5, 0.5), ops.leaky_relu(x), ops.hard_sigmoid(x)),
        *(ops.squeeze(ops.expand_dims(x, 1), 1), ops.stack([x, x], axis=1), ops.split(x, 2, axis=1)[1], *pieces),
        *(ops.max(x, axis=(1, 2)), ops.sum(x, axis=-1), ops.var(x, axis=1), ops.argmax(x, axis=1, keepdims=True)),
        *(ops.matmul(x, x), ops.einsum("abc,acd->abd", x, x), ops.where(x > 0, x, x * 0.1), ops.maximum(x, 0.5)),
        *(
            x[..., 0],
            x[:, None, 1],
            x[:, ::2],
            ops.take(x, [0, 2], axis=1),
            ops.cast(x, "int32"),
            ops.pad(x, [[0, 0]] + [[1, 1]] * 2),
        ),
        *(ops.tile(x, (1, 2, 1)), ops.repeat(x, 2, axis=1), ops.gelu(x), ops.hard_silu(x), x + ops.mean(x)),
    ]
    model = keras.Model(x, outputs)
    assert largest_difference(model, cross(model)) <= 1e-5


def test_integer_inputs_with_a_mask() -> None:
    layers = libraries().keras.layers
    model = shake(sequential(layers.Embedding(20, 4, mask_zero=True), layers.LSTM(5), shape=(9,), dtype="int32"))
    assert largest_difference(model, cross(model), ids=True) <= 1e-5


def test_structure_is_kept() -> None:
    model = nested_and_shared(libraries().keras.layers)
    crossed = cross(model)
    assert [layer.name for layer in crossed.layers if hasattr(layer, "summary")] == [
        layer.name for layer in model.layers if hasattr(layer, "summary")
    ]
    assert sum(layer.name == "shared" for layer in crossed.layers) == 1
    assert crossed.count_params() == model.count_params()
    assert any(type(layer).__name__ == "Add" for layer in crossed.layers), "x + y must be a layer that TF-MOT knows"


def test_frozen_layers_stay_frozen() -> None:
    crossed = cross(frozen(libraries().keras.layers))
    assert [layer.trainable for layer in leaf_layers(crossed)] == [False, True, True]
    model = sequential(libraries().keras.layers.Dense(3), shape=(4,))
    model.trainable = False
    assert not cross(model).trainable_weights


def test_names_do_not_depend_on_what_was_built_before() -> None:
    model = nested_and_shared(libraries().keras.layers)
    assert [layer.name for layer in cross(model).layers] == [layer.name for layer in cross(model).layers]


def test_regularizers_cross_for_training() -> None:
    crossed = cross(convolutions(libraries().keras.layers))
    layer = next(layer for layer in crossed.layers if getattr(layer, "groups", 1) == 2)
    assert type(layer.kernel_regularizer).__name__ == "L2"
    assert type(layer.bias_constraint).__name__ == "NonNeg"


def refusal(*layers: Any, shape: tuple[int, ...] = (8,)) -> str:
    with pytest.raises(CannotCrossError) as caught:
        cross(sequential(*layers, shape=shape))
    return str(caught.value)


def test_every_layer_that_cannot_cross_is_named() -> None:
    layers = libraries().keras.layers
    text = refusal(layers.RMSNormalization(name="rms"), layers.Dense(3, activation="celu", name="head"))
    assert "layer rms: tf_keras has no layer `RMSNormalization`" in text
    assert "layer head: tf_keras has no activation `celu`" in text


def test_options_that_tf_keras_does_not_have() -> None:
    layers = libraries().keras.layers
    text = refusal(layers.Resizing(4, 4, pad_to_aspect_ratio=True, name="r"), shape=(8, 6, 3))
    assert "layer r: `Resizing` of tf_keras has no option `pad_to_aspect_ratio` (here True)" in text


def test_operations_that_are_not_in_the_table() -> None:
    keras = libraries().keras
    x = keras.Input((4,))
    with pytest.raises(CannotCrossError, match="layer sort: the operation `Sort` has no counterpart here"):
        cross(keras.Model(x, keras.ops.sort(x)))


# Both of Keras, about itself: its input layer, and how it makes arrays.
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_quantized_models() -> None:
    layers = libraries().keras.layers
    model = sequential(layers.Dense(3, name="d"), shape=(8,))
    model.quantize("int8")
    with pytest.raises(CannotCrossError, match="layer d: its weights are already quantized"):
        cross(model)


def test_weights_of_other_shapes() -> None:
    layers = libraries().keras.layers
    text = refusal(layers.SpectralNormalization(layers.Conv2D(3, 3), name="sn"), shape=(8, 8, 4))
    assert "layer sn: `SpectralNormalization` has weights of shapes" in text


def test_outputs_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of the same name and another formula: tf_keras' own hard_sigmoid is one."""
    layers = libraries().keras.layers
    monkeypatch.setattr("edgecompile.training.bridge_layers.activation", lambda _keras, name: name)
    text = refusal(layers.Dense(3, activation="hard_sigmoid", name="d"))
    assert "output d: tf_keras differs from Keras 3 by" in text


def test_a_call_that_tf_keras_does_not_take() -> None:
    keras = libraries().keras
    a, mask = keras.Input((5, 4)), keras.Input((5,), dtype="bool")
    heads = keras.layers.MultiHeadAttention(2, 3, name="mha")(a, a, query_mask=mask)
    with pytest.raises(CannotCrossError, match="layer mha: tf_keras does not take it"):
        cross(keras.Model([a, mask], heads))


def test_options_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = libraries()

    class Narrow(lib.tf_keras.layers.Dense):  # type: ignore[misc, name-defined]  # TensorFlow has no types
        def __init__(self, units: int, **kwargs: Any) -> None:
            raise ValueError("units must be\neven")

    monkeypatch.setattr(lib.tf_keras.layers, "Dense", Narrow)
    text = refusal(lib.keras.layers.Dense(3, name="d"))
    assert "layer d: tf_keras does not take its options: units must be even" in text


def test_options_that_are_objects() -> None:
    layers = libraries().keras.layers
    layer = layers.Dense(3, name="d", kernel_regularizer=None)
    layer.get_config = lambda: {"name": "d", "units": {"class_name": "Half", "module": "keras.losses", "config": {}}}
    assert "layer d: its option `units` holds a `Half`, which tf_keras does not have" in refusal(layer)


def test_what_cannot_cross_is_converted_from_keras_itself_and_said() -> None:
    lib = libraries()
    model = sequential(lib.keras.layers.RMSNormalization(name="rms"), shape=(8,))
    source = keras3_source(model, lib.tf, kind="keras v3", section=ModelSection(), seed=0)
    assert source.route == "keras export"
    (finding,) = source.findings
    assert finding.where == "layer rms"
    assert "tf_keras has no layer `RMSNormalization`" in finding.what
    assert finding.consequence
