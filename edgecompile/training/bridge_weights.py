"""Copy weights from Keras 3 layers to their tf_keras counterparts."""

from __future__ import annotations

from typing import Any

from edgecompile.errors import Problem
from edgecompile.training.bridge_layers import CannotCrossError, scope_name


def copy_weights(old: Any, new: Any) -> None:
    """Give new (tf_keras) the weights of old (Keras 3), layer by layer.

    Layer by layer because the order within one layer is the same in both, but models list trainable weights first in
    one and layer after layer in the other.

    Raises:
        CannotCrossError: a layer with other weights.
    """
    if hasattr(old, "layers") and hasattr(new, "layers"):
        counterparts = {layer.name: layer for layer in new.layers}
        for layer in old.layers:
            # Layers without a name here are those that the bridge replaced by functions; they have no weights.
            if layer.weights:
                copy_weights(layer, counterparts[scope_name(layer.name)])
    elif type(old).__name__ == "TimeDistributed":
        copy_weights(old.layer, new.layer)
    elif type(old).__name__ == "Bidirectional":
        copy_weights(old.forward_layer, new.forward_layer)
        copy_weights(old.backward_layer, new.backward_layer)
    else:
        _copy_layer(old, new)


def _copy_layer(old: Any, new: Any) -> None:
    weights = old.get_weights()
    shapes = [tuple(w.shape) for w in weights]
    expected = [tuple(w.shape) for w in new.weights]
    if shapes != expected:
        what = f"`{type(old).__name__}` has weights of shapes {shapes} in Keras 3 and {expected} in tf_keras"
        raise CannotCrossError([Problem(what, f"layer {old.name}")])
    new.set_weights(weights)
    if hasattr(new, "finalize_state"):
        new.finalize_state()  # preprocessing layers compute from a copy of what `adapt` found
