"""A model as a list of calls: nested models, shared layers, functions in the graph; and models rebuilt from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecompile.errors import ModelError
from edgecompile.training.network import execute, read_network
from edgecompile.training.rebuild import flattened

pytestmark = pytest.mark.tf


def inner(keras: Any, name: str = "inner") -> Any:
    x = keras.Input((4,))
    y = keras.layers.Dense(4, name="dense")(x)
    y = keras.layers.BatchNormalization(name="norm")(y)
    return keras.Model(x, keras.layers.Dropout(0.5, name="drop")(y), name=name)


def same(lib: Any, a: Any, b: Any, *shapes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    rows = [lib.tf.constant(rng.normal(size=s).astype(np.float32)) for s in shapes]
    packed = rows[0] if len(rows) == 1 else rows
    for x, y in zip(lib.tf.nest.flatten(a(packed)), lib.tf.nest.flatten(b(packed)), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    network = read_network(lib.tf, a)
    for x, y in zip(lib.tf.nest.flatten(a(packed)), execute(lib.tf, network, rows), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_nested_and_shared_models_become_flat_with_equal_outputs(lib: Any) -> None:
    keras = lib.tf_keras
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    block = inner(keras)
    outer = inner(keras, "outer")
    seq = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="head")
    joined = keras.layers.Concatenate()([block(a), block(b), outer(a)])
    model = keras.Model([a, b], [seq(block(a)), joined])
    flat = flattened(lib.tf, keras, model)
    assert not any(hasattr(layer, "layers") for layer in flat.layers)
    assert flat.output_names == model.output_names
    assert {layer.name for layer in flat.layers} >= {"a", "b", "dense", "outer_dense", "head"}
    same(lib, model, flat, (2, 4), (2, 4))
    shared = next(layer for layer in flat.layers if layer.name == "dense")
    assert len(shared.inbound_nodes) == 3


def test_a_flat_model_owns_its_weights(lib: Any) -> None:
    model = inner(lib.tf_keras)
    before = model.get_weights()
    flat = flattened(lib.tf, lib.tf_keras, model)
    for weight in flat.weights:
        weight.assign(weight + 1)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_nested_model_called_with_training_false_stays_so(lib: Any) -> None:
    keras = lib.tf_keras
    x = keras.Input((4,))
    model = keras.Model(x, inner(keras)(x, training=False))
    flat = flattened(lib.tf, keras, model)
    rows = lib.tf.random.stateless_normal((8, 4), seed=(1, 2))
    np.testing.assert_array_equal(flat(rows, training=True), flat(rows, training=False))
    np.testing.assert_array_equal(flat(rows, training=True), model(rows))


def test_frozen_layers_stay_frozen(lib: Any) -> None:
    model = inner(lib.tf_keras)
    model.get_layer("dense").trainable = False
    flat = flattened(lib.tf, lib.tf_keras, model)
    assert [w.name for w in flat.trainable_weights] == [w.name for w in model.trainable_weights]


def test_functions_in_the_graph_and_dictionaries(lib: Any) -> None:
    keras, tf = lib.tf_keras, lib.tf
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    z = tf.nn.relu(a * 2.0 - b)[:, 1:]
    model = keras.Model({"x": a, "y": b}, {"z": z, "sum": tf.reduce_sum(z, axis=-1, keepdims=True)})
    flat = flattened(tf, keras, model)
    rows = {k: tf.constant(np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)) for k in ("x", "y")}
    for key, value in model(rows).items():
        np.testing.assert_array_equal(value, flat(rows)[key])


def test_a_model_without_a_graph_is_refused(lib: Any) -> None:
    model = lib.tf_keras.Sequential([lib.tf_keras.layers.Dense(2)], name="open")
    with pytest.raises(ModelError, match="model open: has no graph of layers"):
        read_network(lib.tf, model)
