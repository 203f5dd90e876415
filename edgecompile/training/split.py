"""Make layers of what int8 computes as ops of their own, so that training can round what lies between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecompile.training.int8 import FUSED_ACTIVATIONS, activation_name, folded
from edgecompile.training.kernels import Floats, kernels
from edgecompile.training.multiplied import normalized_before
from edgecompile.training.network import Call, Network, read_network
from edgecompile.training.rebuild import clone_layer, rebuild


def split_for_int8(tf: Any, keras: Any, model: Any) -> tuple[Any, dict[str, str]]:
    """Return a flat model, with layers of its own, whose layers are the ops of its int8 form; outputs are the same.

    Also return old name → new name of the kernels that were renamed, `layer/attribute` each.

    - `Conv2D(activation="swish")` becomes `Conv2D` and `Activation("swish")`.
    - `SeparableConv2D` becomes `DepthwiseConv2D` and `Conv2D`.
    - A BatchNormalization of images that no layer before it takes in becomes `DepthwiseConv2D`: one op with a scale per
      channel in the place of a multiplication and an addition whose constants have one scale for all.
    - A BatchNormalization that the converter multiplies into the kernel of the dense layer behind it is in that kernel
      and its bias from the start: this is the kernel that int8 rounds.

    An output keeps its name, which the last of the new layers takes.
    """
    network = read_network(tf, model)
    splitter = _Splitter(keras, network)
    split = rebuild(tf, keras, network, layer=splitter.layer)
    splitter.finish()
    return split, splitter.renamed


class _Splitter:
    """Makes the new layers, and gives them the weights of the old ones in the end, when they are built.

    Attributes:
        renamed: kernels that have another name now.
    """

    def __init__(self, keras: Any, network: Network) -> None:
        self._keras, self._network = keras, network
        self._outputs = {network.makers[i].name for i in network.outputs if i in network.makers}
        self._taken = {name for name, _ in network.layers()}
        self._before = normalized_before(network)
        self._gone = {call.name for call in self._before.values()}
        self._made: dict[str, Callable[..., Any]] = {}
        self._weights: list[tuple[Any, Any, list[Any]]] = []
        self.renamed: dict[str, str] = {}

    def layer(self, call: Call) -> Callable[..., Any]:
        """Return what to call in the place of the layer of call."""
        if call.name not in self._made:
            if call.kind == "SeparableConv2D" and type(call.layer).__module__.startswith("tf_keras"):
                made = self._separable(call)
            elif call.name in self._gone:
                made = _nothing
            elif call.name in self._before:
                made = self._normalized(call, self._before[call.name].layer)
            elif stands_alone(self._network, call) and len(self._network.shape(call.inputs[0])) == 4:
                made = self._normalization(call)
            else:
                made = self._activated(call, clone_layer, call.layer.get_weights())
            self._made[call.name] = made
        return self._made[call.name]

    def finish(self) -> None:
        """Give the new layers their weights."""
        for old, new, weights in self._weights:
            new.set_weights(weights)
            new.trainable = old.trainable

    def _new_name(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _activated(self, call: Call, make: Callable[..., Any], weights: list[Any]) -> Callable[..., Any]:
        """Return the layer that make gives for (old layer, name, options), its activation apart where int8 has it."""
        name = activation_name(call.layer)
        if not kernels([(call.name, call.layer)]) or not hasattr(call.layer, "activation") or _stays(call, name):
            copy = make(call.layer, call.name)
            self._weights.append((call.layer, copy, weights))
            return copy  # type: ignore[no-any-return]  # tf_keras has no types
        ends = call.name in self._outputs
        inner = self._new_name(f"{call.name}_linear") if ends else call.name
        for kernel in kernels([(call.name, call.layer)]) if inner != call.name else ():
            self.renamed[kernel.name] = f"{inner}/{kernel.attribute}"
        copy = make(call.layer, inner, activation="linear")
        outer = self._keras.layers.Activation(
            call.layer.activation, name=call.name if ends else self._new_name(f"{call.name}_{name}")
        )
        self._weights.append((call.layer, copy, weights))
        return lambda *args, **kwargs: outer(copy(*args, **kwargs))

    def _separable(self, call: Call) -> Callable[..., Any]:
        layer, layers = call.layer, self._keras.layers
        depthwise_kernel, *pointwise = layer.get_weights()
        depthwise = layers.DepthwiseConv2D(
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            depth_multiplier=layer.depth_multiplier,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            depthwise_regularizer=layer.depthwise_regularizer,
            depthwise_constraint=layer.depthwise_constraint,
            name=self._new_name(f"{call.name}_depthwise"),
        )
        self._weights.append((layer, depthwise, [depthwise_kernel]))

        def convolution(old: Any, name: str, **changed: Any) -> Any:
            options = {
                "activation": old.activation,
                "use_bias": old.use_bias,
                "kernel_regularizer": old.pointwise_regularizer,
                "bias_regularizer": old.bias_regularizer,
                "kernel_constraint": old.pointwise_constraint,
                "bias_constraint": old.bias_constraint,
            }
            self.renamed[f"{call.name}/depthwise_kernel"] = f"{depthwise.name}/depthwise_kernel"
            self.renamed[f"{call.name}/pointwise_kernel"] = f"{name}/kernel"
            return layers.Conv2D(old.filters, 1, data_format=old.data_format, name=name, **{**options, **changed})

        pointwise_layer = self._activated(call, convolution, pointwise)
        return lambda x, **_: pointwise_layer(depthwise(x))

    def _normalization(self, call: Call) -> Callable[..., Any]:
        by, bias = _product_and_sum(call.layer)
        made = self._keras.layers.DepthwiseConv2D(1, name=call.name)
        self._weights.append((call.layer, made, [by.reshape(1, 1, -1, 1), bias]))
        return lambda x, **_: made(x)

    def _normalized(self, call: Call, normalization: Any) -> Callable[..., Any]:
        """Return a dense layer that does what a BatchNormalization before it does too."""
        by, added = _product_and_sum(normalization)
        kernel, *bias = call.layer.get_weights()
        weights = [by[:, None] * kernel, added @ kernel + (bias[0] if bias else 0)]

        def dense(old: Any, name: str, **changed: Any) -> Any:
            return clone_layer(old, name, use_bias=True, **changed)

        return self._activated(call, dense, weights)


def _product_and_sum(normalization: Any) -> tuple[Floats, Floats]:
    """Return what a BatchNormalization multiplies each channel by, and then adds to it, [channels] each."""
    by = (normalization.moving_variance.numpy() + normalization.epsilon) ** -0.5
    by = by * normalization.gamma.numpy() if normalization.scale else by
    added = -normalization.moving_mean.numpy() * by
    added = added + normalization.beta.numpy() if normalization.center else added
    return by.astype(np.float32), added.astype(np.float32)


def _nothing(x: Any, **_: Any) -> Any:
    return x


def stands_alone(network: Network, call: Call) -> bool:
    """Whether call is a BatchNormalization over the last axis that no op before it takes in, whichever call of it."""
    if call.kind != "BatchNormalization" or not type(call.layer).__module__.startswith("tf_keras"):
        return False
    last = len(network.shape(call.inputs[0])) - 1
    calls = [c for c in network.calls if c.layer is call.layer]
    return list(call.layer.axis) in ([last], [-1]) and not any(folded(network, c) for c in calls)


def _stays(call: Call, name: str) -> bool:
    recurrent = hasattr(call.layer, "cell") or call.kind in ("Bidirectional", "TimeDistributed")
    return recurrent or name in FUSED_ACTIVATIONS
