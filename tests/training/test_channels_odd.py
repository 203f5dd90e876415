"""Channel removal where a graph holds what looks like one thing and is another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import randomized

from edgecompile.training.channel_cut import without
from edgecompile.training.channel_groups import CostModel, Group, find_groups
from edgecompile.training.channel_rules import find_channels
from edgecompile.training.channel_scores import _scaling, score
from edgecompile.training.channels import Channels
from edgecompile.training.network import read_network
from edgecompile.training.workshop import run_model

pytestmark = pytest.mark.tf


def groups_of(lib: Any, model: Any) -> tuple[Channels, list[Group], dict[str, str]]:
    channels = find_channels(read_network(lib.tf, model))
    return channels, *find_groups(channels)


def halved(lib: Any, model: Any) -> Any:
    """Return model with every second channel of every group gone, run once."""
    channels, groups, _ = groups_of(lib, model)
    removed = np.zeros(channels.slots, bool)
    for group in groups:
        removed[list(group.slots[::2])] = True
    small = without(lib.tf, lib.tf_keras, channels, removed)
    inputs = [lib.tf.zeros((2, *(size or 4 for size in x.shape[1:])), x.dtype) for x in model.inputs]
    run_model(lib.tf, small, inputs, training=True)
    return small


def stored(lib: Any, model: Any, folder: Path) -> Any:
    model.save(folder / "m.h5")
    return lib.tf_keras.models.load_model(folder / "m.h5", compile=False)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_factor_for_each_channel_in_the_graph_keeps_them_also_when_read_from_a_file(lib: Any, tmp_path: Path) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((6, 6, 3))
    x = k.Conv2D(16, 3, name="scaled")(image) * np.linspace(0.5, 2, 16, dtype=np.float32)
    x = k.Conv2D(8, 3, name="halved")(x) * 0.5
    model = lib.tf_keras.Model(image, k.Dense(2)(k.Flatten()(x)))
    for one in (model, stored(lib, model, tmp_path)):
        _, groups, kept = groups_of(lib, one)
        assert [g.name for g in groups] == ["halved"]
        assert kept["scaled"].endswith("may mix channels")
        assert halved(lib, one).get_layer("halved").filters == 4


def words_with_a_table(lib: Any) -> Any:
    k = lib.tf_keras.layers
    table = np.random.default_rng(0).normal(size=(10, 8))
    words = lib.tf_keras.Input((6,))
    x = k.Embedding(10, 8, embeddings_initializer=lib.tf_keras.initializers.Constant(table))(words)
    return lib.tf_keras.Model(words, k.Dense(2)(k.GlobalAveragePooling1D()(x)))


def noise_in_a_shape(lib: Any) -> Any:
    k = lib.tf_keras.layers
    signal = lib.tf_keras.Input((6, 2))
    x = k.Dropout(0.3, noise_shape=(None, 1, 16))(k.Conv1D(16, 3, name="fixed")(signal))
    x = k.Dropout(0.3, noise_shape=(None, 1, None))(k.Conv1D(8, 3, name="free")(x))
    return lib.tf_keras.Model(signal, k.Dense(2)(k.Flatten()(x)))


def concatenated_by_a_function(lib: Any) -> Any:
    k, concat = lib.tf_keras.layers, lib.tf.concat
    image = lib.tf_keras.Input((4, 4, 3))
    a, b, c = (k.Conv2D(8, 1)(image) for _ in range(3))
    x = k.BatchNormalization()(concat([concat([a, b], 1), concat(values=[c, c], axis=1)], axis=-1))
    wide = concat([k.Conv2D(4, 1, name="kept")(image), lib.tf.ones((2, 4, 4, 3))], -1)
    return lib.tf_keras.Model(image, [k.Dense(2)(k.GlobalAveragePooling2D()(y)) for y in (x, wide)])


def one_reshape_twice(lib: Any) -> Any:
    k = lib.tf_keras.layers
    small, large = lib.tf_keras.Input((4, 4, 2)), lib.tf_keras.Input((8, 8, 2))
    flat = k.Reshape((-1, 4))
    both = [flat(k.Conv2D(4, 1, name="a")(small)), flat(k.Conv2D(4, 1, name="b")(large))]
    x = k.Concatenate(axis=1)(both)
    return lib.tf_keras.Model([small, large], k.Dense(2)(k.GlobalAveragePooling1D()(x)))


def one_flat_twice(lib: Any) -> Any:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 2))
    flat = k.Reshape((64,))
    x = k.Concatenate()([flat(k.Conv2D(4, 1, name="a")(image)), flat(k.Conv2D(4, 3, padding="same", name="b")(image))])
    return lib.tf_keras.Model(image, k.Dense(2)(x))


def open_places(lib: Any) -> Any:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((None, None, 3))
    x = k.Conv2D(1, 1)(k.Conv2D(8, 1)(image))
    return lib.tf_keras.Model(image, k.Reshape((-1,))(x))


@pytest.mark.parametrize(
    "build",
    [
        words_with_a_table,
        noise_in_a_shape,
        concatenated_by_a_function,
        one_reshape_twice,
        one_flat_twice,
        open_places,
    ],
)
def test_options_that_say_how_many_channels_there_are_follow(lib: Any, build: Callable[[Any], Any]) -> None:
    model = build(lib)
    assert halved(lib, model).count_params() < model.count_params()


def test_channels_first_is_left_as_it_is(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    x = k.Flatten(data_format="channels_first")(k.Conv2D(8, 3, name="turned")(image))
    _, groups, kept = groups_of(lib, lib.tf_keras.Model(image, k.Dense(2)(x)))
    assert not groups
    assert kept["turned"].startswith("`Flatten` ")


def gated(x: Any) -> Any:
    """Return the first half of the channels times what the second half lets through."""
    half = x.shape[-1] // 2
    return x[..., :half] / (1 + x[..., half:] ** 2)


def test_an_activation_that_mixes_channels_keeps_them(lib: Any) -> None:
    k = lib.tf_keras.layers
    x = image = lib.tf_keras.Input((4, 4, 3))
    x = k.Conv2D(8, 1, name="moved")(x)
    x = k.DepthwiseConv2D(1, activation="softmax", name="spread")(x)
    x = k.Conv2D(8, 1, activation=gated, name="user")(x)
    x = k.Conv2D(8, 1, activation=k.Softmax(), name="layer")(x)
    x = k.Conv2D(8, 1, activation=k.PReLU(), name="weights")(x)
    for number, activation in enumerate(("mish", lib.tf.nn.relu6, k.LeakyReLU(0.1))):
        x = k.Conv2D(8, 1, activation=activation, name=f"free{number}")(x)
    _, groups, kept = groups_of(lib, lib.tf_keras.Model(image, k.Dense(2, name="head")(k.Flatten()(x))))
    assert [g.name for g in groups] == ["free0", "free1", "free2"]
    assert kept == {
        "moved": "`DepthwiseConv2D` (spread) may mix channels",
        "head": "it is an output of the model",
    }


def test_a_layer_of_which_some_channels_go_is_not_among_those_that_keep_all(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    a, b, c = (k.Conv2D(size, 1, name=name)(image) for name, size in (("a", 8), ("b", 8), ("c", 16)))
    x = k.Add()([k.Concatenate()([a, b]), c])
    _, groups, kept = groups_of(lib, lib.tf_keras.Model(image, [k.Dense(2)(k.Flatten()(x)), b]))
    assert [g.name for g in groups] == ["a + c"]
    assert "b" in kept
    assert "c" not in kept


# Costs


def test_a_recurrent_kernel_is_used_in_every_step_and_tables_take_bytes(lib: Any) -> None:
    k = lib.tf_keras.layers
    words = lib.tf_keras.Input((50,))
    x = k.LSTM(8)(k.Embedding(1000, 16)(words))
    channels, _, _ = groups_of(lib, lib.tf_keras.Model(words, k.Dense(2)(x)))
    cost = CostModel(channels)(np.zeros(channels.slots, bool))
    assert cost.macs == 50 * (16 + 8) * 32 + 8 * 2
    assert cost.model_bytes > 1000 * 16


def test_a_recurrent_convolution_counts_every_step(lib: Any) -> None:
    k = lib.tf_keras.layers
    film = lib.tf_keras.Input((5, 8, 8, 2))
    for sequences in (False, True):
        x = k.ConvLSTM2D(4, 3, padding="same", return_sequences=sequences)(film)
        channels, _, _ = groups_of(lib, lib.tf_keras.Model(film, k.Flatten()(x)))
        assert CostModel(channels)(np.zeros(channels.slots, bool)).macs == 5 * 8 * 8 * 9 * (2 + 4) * 16


def test_initializers_stay_where_they_hold_no_table(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    model = lib.tf_keras.Model(image, k.Dense(2)(k.Flatten()(k.Conv2D(8, 3, name="conv")(image))))
    assert type(halved(lib, model).get_layer("conv").kernel_initializer).__name__ == "GlorotUniform"


def test_open_sizes_count_as_what_they_are_in_one_inference(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((None, None, 3))
    x = k.Conv2D(8, 3, strides=2, padding="same")(k.Conv2D(4, 3, padding="same")(image))
    channels, _, _ = groups_of(lib, lib.tf_keras.Model(image, k.GlobalAveragePooling2D()(x)))
    shapes = {0: (1, 32, 32, 3), 1: (1, 32, 32, 4), 2: (1, 16, 16, 8), 3: (1, 8)}
    cost = CostModel(channels, shapes)(np.zeros(channels.slots, bool))
    assert cost.macs == 32 * 32 * 9 * 3 * 4 + 16 * 16 * 9 * 4 * 8


# Importance


def test_a_gamma_of_zero_is_the_least(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    x = k.BatchNormalization(name="norm")(k.Conv2D(4, 1)(image))
    model = lib.tf_keras.Model(image, k.Dense(2)(k.Flatten()(x)))
    model.get_layer("norm").gamma.assign([0.3, 0.0, 0.1, 0.2])
    channels, (group,), _ = groups_of(lib, model)
    scores = score(lib.tf, channels, lambda _: [], [], how="gamma", seed=0)
    assert np.argsort([scores[slot] for slot in group.slots]).tolist() == [1, 2, 3, 0]


def taylor(lib: Any, model: Any) -> tuple[list[Group], np.ndarray]:
    channels, groups, _ = groups_of(lib, model)
    rows = [[lib.tf.random.stateless_normal((8, *(int(size) for size in model.inputs[0].shape[1:])), seed=(1, 2))]]

    def run(inputs: Any) -> Any:
        return run_model(lib.tf, model, inputs, training=False)

    return groups, score(lib.tf, channels, run, rows, how="taylor", seed=0)


def loud(layer: Any, channel: int) -> None:
    """Give one channel of a layer weights that would decide everything, if they were looked at."""
    kernel, bias = (w.numpy() for w in layer.weights)
    kernel[..., channel], bias[channel] = 100, 100
    layer.set_weights([kernel, bias])


def branches(lib: Any, join: Callable[[Any, Any, Any], Any]) -> tuple[Any, Any]:
    """Return a model that joins a kernel with a BatchNormalization of small gammas and one without, and the latter."""
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    plain = k.Conv2D(4, 1, name="plain")
    x = join(k, k.BatchNormalization(name="norm")(k.Conv2D(4, 1)(image)), plain(image))
    model = randomized(lib.tf_keras.Model(image, k.Dense(2)(k.Flatten()(x))), 3)
    for weights, value in ((model.get_layer("norm").gamma, 1e-3), (model.get_layer("norm").beta, 0.0)):
        weights.assign([value] * 4)
    return model, plain


def test_taylor_sees_kernels_without_a_normalization_that_are_added_to_one_with(lib: Any) -> None:
    for join in (lambda k, a, b: k.Add()([a, b]), lambda k, a, b: k.ReLU()(b) + a):
        model, plain = branches(lib, join)
        loud(plain, 2)
        (group,), scores = taylor(lib, model)
        assert int(np.argmax([scores[slot] for slot in group.slots])) == 2


def test_taylor_leaves_out_what_counts_already(lib: Any) -> None:
    """A gate multiplies channels that a BatchNormalization scales; one behind a sum scales both parts of it."""
    gated, gate = branches(lib, lambda k, a, b: k.Multiply()([a, k.Activation("sigmoid")(b)]))
    summed, part = branches(lib, lambda k, a, b: k.BatchNormalization(name="behind")(k.Add()([a, b])))
    for model, layer in ((gated, gate), (summed, part)):
        channels, _, _ = groups_of(lib, model)
        names = {(axis.layer, axis.position) for axis in _scaling(channels)}
        assert (layer.name, 0) not in names
        assert ("norm", 0) in names


def test_taylor_passes_over_outputs_of_whole_numbers(lib: Any) -> None:
    k = lib.tf_keras.layers
    image = lib.tf_keras.Input((4, 4, 3))
    y = k.Dense(2)(k.Flatten()(k.Conv2D(4, 1)(image)))
    model = randomized(lib.tf_keras.Model(image, [y, lib.tf.argmax(y, axis=-1)]), 0)
    (group,), scores = taylor(lib, model)
    assert all(scores[slot] > 0 for slot in group.slots)
