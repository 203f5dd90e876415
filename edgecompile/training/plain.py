"""A compressed model as any tf_keras loads it, without edgecompile.

Models that came over the bridge may use activations that only edgecompile registers (Keras 3's hard_silu …). Here each
becomes functions of TensorFlow, which tf_keras stores by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import PassError
from edgecompile.training.activations import Keras3Activation
from edgecompile.training.network import Call, read_network
from edgecompile.training.rebuild import clone_layer, rebuild
from edgecompile.training.rows import random_rows, takes_indices
from edgecompile.training.shapes import fix_shapes
from edgecompile.training.stored import Notes, write_model
from edgecompile.training.workshop import Workshop, run_model


def write_plain(shop: Workshop, model: Any, path: Path) -> None:
    """Write a model of the shop to an `.h5` file that loads without edgecompile.

    Raises:
        PassError: the model in that form gives other outputs.
    """
    plain = _plain(shop.tf, shop.keras, model)
    layers = [layer for _, layer in shop.network.layers()]
    shapes = fix_shapes(shop.ports, shop.place.section)
    n = next(iter(shapes.values()))[0]
    rows = random_rows(shop.ports, shapes, seed=0, n=n, bits=takes_indices(layers))
    inputs = [shop.tf.constant(rows[p.name]) for p in shop.ports]
    before, after = (run_model(shop.tf, m, inputs, training=False) for m in (model, plain))
    for a, b in zip(before, after, strict=True):
        if not np.allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(a).max())), equal_nan=True):
            raise PassError("the kept Keras model gives other outputs than the compressed one", where=shop.place.where)
    write_model(plain, path, Notes())


def _plain(tf: Any, keras: Any, model: Any) -> Any:
    """Return model with edgecompile's own activations as functions of TensorFlow; model itself where it has none."""
    network = read_network(tf, model)
    if not any(isinstance(getattr(layer, "activation", None), Keras3Activation) for _, layer in network.layers()):
        return model
    outputs = {network.makers[i].name for i in network.outputs if i in network.makers}
    made: dict[str, Callable[..., Any]] = {}
    copies: list[tuple[Any, Any]] = []

    def copied(call: Call) -> Callable[..., Any]:
        if call.name not in made:
            function = getattr(call.layer, "activation", None)
            if isinstance(function, Keras3Activation):
                ends = call.name in outputs
                layer = clone_layer(call.layer, f"{call.name}_before" if ends else call.name, activation="linear")
                made[call.name] = _applied(keras, layer, function, call.name if ends else "")
            else:
                made[call.name] = layer = clone_layer(call.layer, call.name)
            copies.append((call.layer, layer))
        return made[call.name]

    plain = rebuild(tf, keras, network, layer=copied)
    for old, new in copies:
        new.set_weights(old.get_weights())
        new.trainable = old.trainable
    return plain


def _applied(keras: Any, layer: Any, function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return the calls of layer and then function; a last layer keeps the name of an output."""

    def call(*args: Any, **kwargs: Any) -> Any:
        given = function(layer(*args, **kwargs))
        return keras.layers.Activation("linear", name=name)(given) if name else given

    return call
