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
            changed: dict[str, Any] = {}
            size = len(kept(channels.tensors[call.outputs[0]]))
            if call.kind in _SIZES:
                changed[_SIZES[call.kind]] = size
            if call.kind == "Reshape":
                changed["target_shape"] = _target(network.shape(call.outputs[0]), size)
            copies[call.name] = clone_layer(call.layer, call.name, **changed)
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


def _target(shape: tuple[int | None, ...], size: int) -> tuple[int, ...]:
    """Return the target of a Reshape whose last axis holds size channels now; open sizes stay open."""
    return (*(-1 if d is None else d for d in shape[1:-1]), size)
