"""Take activations that int8 computes as ops of their own out of the layers that hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecompile.training.int8 import FUSED_ACTIVATIONS, activation_name
from edgecompile.training.kernels import kernels
from edgecompile.training.network import Call, read_network
from edgecompile.training.rebuild import clone_layer, rebuild


def with_split_activations(tf: Any, keras: Any, model: Any) -> tuple[Any, dict[str, str]]:
    """Return a flat model, with its own layers, in which convolutions and dense layers compute no such activation.

    Also return old name → new name of the layers that were renamed.

    `Conv2D(activation="swish")` becomes `Conv2D` and `Activation("swish")`: what lies between is rounded on the
    device, so it must be a tensor of its own in training. An output keeps its name, which the activation takes.
    """
    network = read_network(tf, model)
    outputs = {network.makers[i].name for i in network.outputs if i in network.makers}
    taken = {name for name, _ in network.layers()}
    made: dict[str, Callable[..., Any]] = {}
    copies: list[tuple[Any, Any]] = []
    renamed: dict[str, str] = {}

    def new_name(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def copied(call: Call) -> Callable[..., Any]:
        if call.name in made:
            return made[call.name]
        name = activation_name(call.layer)
        if not kernels([(call.name, call.layer)]) or not hasattr(call.layer, "activation") or _stays(call, name):
            copy = clone_layer(call.layer, call.name)
            made[call.name] = copy
        else:
            ends = call.name in outputs
            inner = new_name(f"{call.name}_linear") if ends else call.name
            if inner != call.name:
                renamed[call.name] = inner
            copy = clone_layer(call.layer, inner, activation="linear")
            outer = keras.layers.Activation(
                call.layer.activation, name=call.name if ends else new_name(f"{call.name}_{name}")
            )
            made[call.name] = lambda *args, **kwargs: outer(copy(*args, **kwargs))
        copies.append((call.layer, copy))
        return made[call.name]

    split = rebuild(tf, keras, network, layer=copied)
    for old, new in copies:
        new.set_weights(old.get_weights())
        new.trainable = old.trainable
    return split, renamed


def _stays(call: Call, name: str) -> bool:
    recurrent = hasattr(call.layer, "cell") or call.kind in ("Bidirectional", "TimeDistributed")
    return recurrent or name in FUSED_ACTIVATIONS
