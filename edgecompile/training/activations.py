"""Activations that Keras 3 has and tf_keras has not, or has under the same name with other numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_PACKAGE = "edgecompile"

_SAME = {"hard_swish": "hard_silu", "silu": "swish"}
"""Two names of one function."""


def _definitions() -> dict[str, Callable[..., Any]]:
    """Return name → function for what must be defined here. Formulas: Keras 3's documentation of each."""
    nn = importlib.import_module("tensorflow").nn
    return {
        # tf_keras' own hard_sigmoid is clip(0.2 x + 0.5, 0, 1), another function.
        "hard_sigmoid": lambda x: nn.relu6(x + 3.0) / 6.0,
        "hard_silu": lambda x: x * nn.relu6(x + 3.0) / 6.0,
        "leaky_relu": lambda x: nn.leaky_relu(x, alpha=0.2),
        "log_sigmoid": lambda x: -nn.softplus(-x),
        "log_softmax": lambda x: nn.log_softmax(x),  # noqa: PLW0108 (gets a name of its own below)
        "relu6": lambda x: nn.relu6(x),  # noqa: PLW0108
    }


def register_activations(tf_keras: Any) -> None:
    """Make the functions known to tf_keras as `edgecompile>NAME`, so that models that use them save and load."""
    known = tf_keras.saving.get_custom_objects()
    for name, function in _definitions().items():
        if f"{_PACKAGE}>{name}" not in known:
            function.__name__ = function.__qualname__ = name
            tf_keras.saving.register_keras_serializable(_PACKAGE, name)(function)


def activation_name(tf_keras: Any, name: str) -> str | None:
    """Return the name under which tf_keras finds Keras 3's activation, or None; needs `register_activations`."""
    name = _SAME.get(name, name)
    own = f"{_PACKAGE}>{name}"
    if own in tf_keras.saving.get_custom_objects():
        return own
    return name if callable(getattr(tf_keras.activations, name, None)) else None
