"""Build the smaller model: the same layers with fewer channels, the weights that stay as they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.training.channels import Channels, Labels
from edgecompile.training.network import Call
from edgecompile.training.rebuild import clone_layer, rebuild

_SIZES: Mapping[str, str] = {
    "Conv1D": "filters",
    "Conv2D": "filters",
    "Conv3D": "filters",
    "Conv1DTranspose": "filters",
    "Conv2DTranspose": "filters",
    "Conv3DTranspose": "filters",
    "SeparableConv1D": "filters",
    "SeparableConv2D": "filters",
    "Dense": "units",
    "Embedding": "output_dim",
}
"""Class of a layer → the option that says how many channels it makes."""


def without(tf: Any, keras: Any, channels: Channels, removed: npt.NDArray[np.bool_]) -> Any:
    """Return a tf_keras model without the channels whose standing slot is marked in removed, [slots]."""
    network = channels.network
    copies: dict[str, Any] = {}

    def kept(labels: Labels) -> npt.NDArray[np.intp]:
        return np.flatnonzero(~removed[channels.roots(labels)])

    def copied(call: Call) -> Any:
        if call.name not in copies:
            labels = channels.tensors[call.outputs[0]]
            size = len(kept(labels))
            changed = _smaller(call.layer, size) if size < len(labels) else {}
            copies[call.name] = clone_layer(call.layer, call.name, **_unset(call.layer), **changed)
        return copies[call.name]

    small = rebuild(tf, keras, network, layer=copied)
    for name, layer in network.layers():
        weights = layer.get_weights()
        for axis in channels.axes:
            if axis.layer == name:
                weights[axis.position] = np.take(weights[axis.position], kept(axis.labels), axis=axis.axis)
        copies[name].set_weights(weights)
        copies[name].trainable = layer.trainable
    return small


def _smaller(layer: Any, size: int) -> dict[str, Any]:
    """Return the options of a layer that differ where it gives size channels."""
    kind = type(layer).__name__
    if kind == "Reshape":
        *others, last = layer.get_config()["target_shape"]
        return {"target_shape": (*others, last if last == -1 else size)}
    return {_SIZES[kind]: size} if kind in _SIZES else {}


def _unset(layer: Any) -> dict[str, Any]:
    """Return plain initializers for a layer of Keras in the place of those that hold a value for each weight."""
    if not type(layer).__module__.startswith("tf_keras"):
        return {}
    options = layer.get_config().items()
    return {key: "zeros" for key, value in options if key.endswith("_initializer") and _holds_values(value)}


def _holds_values(initializer: Any) -> bool:
    options = initializer.get("config", {}) if isinstance(initializer, Mapping) else {}
    return any(isinstance(value, Mapping) or np.ndim(value) > 0 for value in options.values())
