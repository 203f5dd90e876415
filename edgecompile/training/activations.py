"""Activations that Keras 3 has and tf_keras has not, or has under the same name with other numbers."""

from __future__ import annotations

import importlib
from typing import Any

_SAME = {"hard_swish": "hard_silu"}
"""Two names of one function."""

_OWN = frozenset({"hard_sigmoid", "hard_silu", "log_sigmoid"})
"""`hard_sigmoid`: that of tf_keras is clip(0.2 x + 0.5, 0, 1), another function."""


class Keras3Activation:
    """An activation of Keras 3 for tf_keras layers.

    An object and not a function: tf_keras saves functions that are not its own to .h5 in a form that it does not load.

    Source: the formulas in Keras 3's documentation of `keras.activations`.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, x: Any) -> Any:
        """Return the activation of tensor x, any shape."""
        nn = importlib.import_module("tensorflow").nn
        match self.__name__:
            case "hard_sigmoid":
                return nn.relu6(x + 3.0) / 6.0
            case "hard_silu":
                return x * nn.relu6(x + 3.0) / 6.0
            case "log_sigmoid":
                return -nn.softplus(-x)
        raise AssertionError(f"no formula for {self.__name__}")

    def get_config(self) -> dict[str, str]:
        """Return what `from_config` takes; called by tf_keras when it saves."""
        return {"name": self.__name__}

    @classmethod
    def from_config(cls, config: dict[str, str]) -> Keras3Activation:
        """Return the activation that get_config described; called by tf_keras when it loads."""
        return cls(**config)


def register_activations(tf_keras: Any) -> None:
    """Make `Keras3Activation` known to tf_keras, so that models that use it load."""
    known = tf_keras.saving.get_custom_objects()
    if Keras3Activation.__name__ not in known:
        tf_keras.saving.register_keras_serializable("edgecompile")(Keras3Activation)
        known[Keras3Activation.__name__] = Keras3Activation  # .h5 knows classes by their bare names


def activation(tf_keras: Any, name: str) -> Any:
    """Return what tf_keras takes for Keras 3's activation of this name: its own name or an object; None for neither."""
    name = _SAME.get(name, name)
    if name in _OWN:
        return Keras3Activation(name)
    try:
        tf_keras.activations.get(name)
    except ValueError:
        return None
    return name
