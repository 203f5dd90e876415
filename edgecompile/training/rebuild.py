"""Models rebuilt from the calls of another: flat, with other layers, with tensors put in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecompile.training.network import After, Call, Network, Ref, read_network, unchanged


def rebuild(
    tf: Any,
    keras: Any,
    network: Network,
    *,
    layer: Callable[[Call], Any] = lambda call: call.layer,
    after: After = unchanged,
) -> Any:
    """Return a flat tf_keras model that makes the calls of network.

    Args:
        tf: TensorFlow.
        keras: tf_keras.
        network: the calls.
        layer: gives the layer to use in a call: the network's own by default, so that both models share it.
        after: gives the tensor to use in the place of tensor number index, for inputs and outputs of calls alike.
    """
    made: dict[int, Any] = {}
    originals = [network.tensors[i] for i in network.inputs]
    fresh = [
        keras.Input(batch_shape=tuple(t.shape.as_list()), dtype=t.dtype, name=name)
        for t, name in zip(originals, network.model.input_names, strict=True)
    ]
    for i, tensor in zip(network.inputs, fresh, strict=True):
        made[i] = after(i, tensor)
    for call in network.calls:
        args, kwargs = tf.nest.map_structure(
            lambda x: made[x.index] if isinstance(x, Ref) else x, (call.args, dict(call.kwargs))
        )
        given = tf.nest.flatten(layer(call)(*args, **kwargs))
        for i, tensor in zip(call.outputs, given, strict=True):
            made[i] = after(i, tensor)
    inputs = tf.nest.pack_sequence_as(network.model.input, fresh)
    outputs = tf.nest.pack_sequence_as(network.model.output, [made[i] for i in network.outputs])
    return keras.Model(inputs, outputs, name=network.model.name)


def clone_layer(layer: Any, name: str, **changed: Any) -> Any:
    """Return a layer with the configuration of another, under a name, without its weights.

    Args:
        layer: the layer to copy.
        name: of the copy.
        changed: options that differ.
    """
    return type(layer).from_config({**layer.get_config(), "name": name, **changed})


def flattened(tf: Any, keras: Any, model: Any) -> Any:
    """Return a copy of model with its own layers and weights, the models nested in it taken apart.

    Output names stay: the layer that gives an output of a nested model takes that model's name.
    """
    network = read_network(tf, model)
    names = _with_output_names(network)
    clones: dict[int, Any] = {}

    def copied(call: Call) -> Any:
        if id(call.layer) not in clones:
            clones[id(call.layer)] = clone_layer(call.layer, names[call.name])
        return clones[id(call.layer)]

    flat = rebuild(tf, keras, network, layer=copied)
    for _, layer in network.layers():
        clones[id(layer)].set_weights(layer.get_weights())
        clones[id(layer)].trainable = layer.trainable
    return flat


def _with_output_names(network: Network) -> dict[str, str]:
    """Return layer name → its name in the flat model."""
    names = {call.name: call.name for call in network.calls}
    for output, wanted in zip(network.outputs, network.model.output_names, strict=True):
        maker = network.makers.get(output)
        if maker is not None and wanted not in names.values() and wanted not in network.model.input_names:
            names[maker.name] = wanted
    return names
