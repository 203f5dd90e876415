"""What each kind of layer does to channels: makes them, reads them, ties them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgecompile.training.activations import Keras3Activation
from edgecompile.training.channel_kinds import CONVOLUTIONS, ELEMENTWISE, MIXES, PAIRWISE, UNCHANGED
from edgecompile.training.channels import Axis, Channels, Labels, Role
from edgecompile.training.int8 import activation_name, function_name
from edgecompile.training.network import Call, Network, Ref


def find_channels(network: Network) -> Channels:
    """Return the channels of a flat network; inputs, outputs, and what nothing is known about are pinned."""
    found = Channels(network, dict(network.layers()))
    made: dict[str, Labels] = {}
    for tensor in network.inputs:
        found.tensors[tensor] = found.new(found.size(tensor))
        found.pin(found.tensors[tensor], "it is an input of the model")
    for call in network.calls:
        rule = _rule(call)
        labels = rule(found, call, made) if rule is not None else None
        if labels is None:
            _pin_around(found, call)
            continue
        for tensor in call.outputs:
            found.tensors[tensor] = labels
    for tensor in network.outputs:
        found.pin(found.tensors[tensor], "it is an output of the model")
    return found


Rule = Callable[[Channels, Call, dict[str, Labels]], Labels | None]
"""(channels, call, slots that a shared layer made before) → slots of what the call gives; None: nothing is known."""


def _pin_around(found: Channels, call: Call) -> None:
    why = f"`{call.kind}` ({call.name}) may mix channels"
    for tensor in call.inputs:
        found.pin(found.tensors[tensor], why)
    for tensor in call.outputs:
        found.tensors[tensor] = found.new(found.size(tensor))
        found.pin(found.tensors[tensor], why)


def _axis(found: Channels, call: Call, attribute: str, axis: int, *, labels: Labels, role: Role) -> None:
    """Note that channels run along an axis of a layer's weight, if the layer has that weight."""
    variable = getattr(call.layer, attribute, None)
    if variable is None:
        return
    position = next(i for i, weight in enumerate(call.layer.weights) if weight is variable)
    known = next((a for a in found.axes if (a.layer, a.position, a.axis) == (call.name, position, axis)), None)
    if known is not None:  # a layer that is called twice has one weight
        found.tie(known.labels, labels)
        return
    found.axes.append(Axis(call.name, position, axis, labels, role))


def _makes(found: Channels, call: Call, made: dict[str, Labels], size: int) -> Labels:
    """Return the slots that a layer makes: the same ones in every call of it."""
    if call.name not in made:
        made[call.name] = found.new(size)
    if activation_name(call.layer) in MIXES:
        found.pin(made[call.name], "a softmax mixes it with others")
    return made[call.name]


def _last(call: Call) -> bool:
    return getattr(call.layer, "data_format", "channels_last") == "channels_last"


def _convolution(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    layer = call.layer
    if not _last(call) or getattr(layer, "groups", 1) != 1:
        return None
    given, given_axis, own_axis = found.given(call), -2, -1
    if "Transpose" in call.kind:
        given_axis, own_axis = -1, -2
    labels = _makes(found, call, made, int(layer.kernel.shape[own_axis]))
    rank = len(layer.kernel.shape)
    _axis(found, call, "kernel", rank + given_axis, labels=given, role="reads")
    _axis(found, call, "kernel", rank + own_axis, labels=labels, role="makes")
    _axis(found, call, "bias", 0, labels=labels, role="scales")
    return labels


def _dense(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    labels = _makes(found, call, made, int(call.layer.units))
    _axis(found, call, "kernel", 0, labels=found.given(call), role="reads")
    _axis(found, call, "kernel", 1, labels=labels, role="makes")
    _axis(found, call, "bias", 0, labels=labels, role="scales")
    return labels


def _depthwise(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    if not _last(call) or activation_name(call.layer) in MIXES:
        return None
    given = found.given(call)
    labels = np.repeat(given, call.layer.depth_multiplier)
    _axis(found, call, "depthwise_kernel", len(call.layer.depthwise_kernel.shape) - 2, labels=given, role="scales")
    _axis(found, call, "bias", 0, labels=labels, role="scales")
    return labels


def _separable(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    if not _last(call):
        return None
    layer, given = call.layer, found.given(call)
    labels = _makes(found, call, made, int(layer.filters))
    rank = len(layer.depthwise_kernel.shape)
    _axis(found, call, "depthwise_kernel", rank - 2, labels=given, role="scales")
    _axis(found, call, "pointwise_kernel", rank - 2, labels=np.repeat(given, layer.depth_multiplier), role="reads")
    _axis(found, call, "pointwise_kernel", rank - 1, labels=labels, role="makes")
    _axis(found, call, "bias", 0, labels=labels, role="scales")
    return labels


def _normalization(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    rank = len(found.network.shape(call.inputs[0]))
    if list(call.layer.axis) not in ([rank - 1], [-1]):
        return None
    given = found.given(call)
    for attribute in ("gamma", "beta", "moving_mean", "moving_variance"):
        _axis(found, call, attribute, 0, labels=given, role="scales")
    return given


def _prelu(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    given, shape = found.given(call), call.layer.alpha.shape.as_list()
    if shape[-1] == len(given) and len(given) > 1:
        _axis(found, call, "alpha", len(shape) - 1, labels=given, role="reads")
    return given


def _same(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    return found.given(call) if _last(call) else None


def _dropout(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    noise = call.layer.noise_shape
    return found.given(call) if noise is None or noise[-1] in (None, 1) else None


def _activation(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    return None if activation_name(call.layer) in MIXES else found.given(call)


def _rescaling(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    return found.given(call) if np.ndim(call.layer.scale) == np.ndim(call.layer.offset) == 0 else None


def _embedding(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    labels = _makes(found, call, made, int(call.layer.output_dim))
    _axis(found, call, "embeddings", 1, labels=labels, role="makes")
    return labels


def _merge(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    """Tie channels pair by pair; an operand with one channel belongs to all of the other's."""
    tensors = list(call.inputs)
    wide = max(tensors, key=found.size)
    rank = len(found.network.shape(wide))
    for tensor in tensors:
        size = found.size(tensor)
        if size == 1 and found.size(wide) > 1:
            found.pin(found.tensors[tensor], "it is spread over all channels of another tensor")
        elif size != found.size(wide) or len(found.network.shape(tensor)) != rank:
            return None
        else:
            found.tie(found.tensors[tensor], found.tensors[wide])
    return found.tensors[wide]


def _concatenate(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    return _joined(found, call, int(getattr(call.layer, "axis", -1)))


def _joined(found: Channels, call: Call, axis: int) -> Labels | None:
    rank = len(found.network.shape(call.inputs[0]))
    if axis in (-1, rank - 1):
        return np.concatenate([found.tensors[tensor] for tensor in call.inputs])
    return _merge(found, call, {})


def _flatten(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    given = found.given(call)
    size = found.size(call.outputs[0])
    return np.tile(given, size // len(given)) if size and len(given) and _last(call) else None


def _reshape(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    """Follow reshapes that leave the last axis alone, or flatten everything before it into it."""
    labels: Labels | None = found.given(call)
    whole = found.network.shape(call.outputs[0])
    if found.size(call.outputs[0]) != len(found.given(call)):
        labels = _flatten(found, call, made) if len(whole) == 2 else None
    if labels is not None and len(first := made.setdefault(call.name, labels)) == len(labels):
        found.tie(first, labels)  # one layer has one target, in every call of it
    return labels


def _permute(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    dims = call.layer.dims
    return found.given(call) if dims[-1] == len(dims) else None


def _function(found: Channels, call: Call, made: dict[str, Labels]) -> Labels | None:
    name = function_name(call.layer)
    if name in ELEMENTWISE | PAIRWISE:
        # A factor for each channel stays as long as it is.
        numbers_only = all(np.ndim(x) == 0 for x in (*call.args, *call.kwargs.values()) if not isinstance(x, Ref | str))
        return _merge(found, call, made) if numbers_only else None
    if name == "concat":
        values = _argument(call, "values", 0)
        known = isinstance(values, list | tuple) and all(isinstance(x, Ref) for x in values)
        return _joined(found, call, _argument(call, "axis", 1)) if known else None
    if name in ("reduce_mean", "reduce_max", "reduce_sum"):
        axis, rank = _argument(call, "axis", 1), len(found.network.shape(call.inputs[0]))
        axes = [axis] if isinstance(axis, int) else list(axis or ())
        return found.given(call) if axes and all(a % rank not in (0, rank - 1) for a in axes) else None
    return None


def _argument(call: Call, name: str, position: int) -> Any:
    return call.kwargs.get(name, call.args[position] if len(call.args) > position else None)


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"], _merge),
    **dict.fromkeys(UNCHANGED, _same),
    "Activation": _activation,
    "BatchNormalization": _normalization,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "PReLU": _prelu,
    "Permute": _permute,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "TFOpLambda": _function,
}


def _rule(call: Call) -> Rule | None:
    """Return what is known about a layer of Keras; nothing is about a user's, nor where the activation is a user's."""
    known = type(call.layer).__module__.startswith("tf_keras") and _is_known(getattr(call.layer, "activation", None))
    return _RULES.get(call.kind) if known else None


def _is_known(activation: Any) -> bool:
    """Whether an activation, or a layer in the place of one, is a function of each number, or one of MIXES."""
    if activation is None or isinstance(activation, Keras3Activation):
        return True
    if hasattr(activation, "__name__"):
        return str(activation.__module__).startswith(("tf_keras.", "tensorflow."))
    return type(activation).__module__.startswith("tf_keras") and type(activation).__name__ in UNCHANGED
