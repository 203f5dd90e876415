"""Keras 3 models as a Source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecompile.errors import ModelError
from edgecompile.training.keras2 import leaf_layers, unique
from edgecompile.training.shapes import Port
from edgecompile.training.source import Call


def keras3_ports(keras: Any, model: Any) -> tuple[tuple[Port, ...], tuple[str, ...]]:
    """Return inputs and output names of a Keras 3 model: layer names, or keys where it was made with dictionaries.

    Raises:
        ModelError: the model has no graph: it was never built, or is a subclass that only code can call.
    """
    if not getattr(model, "inputs", None):
        raise ModelError(
            "has no input shape: it was saved before it was built, or only its own code knows how to call it",
            where=f"model {model.name}",
            hint="start the model with an Input layer, or export it with `model.export('folder')` and build the folder",
        )
    if isinstance(model, keras.Sequential):
        taken, given, layers = model.inputs[0], model.outputs[0], [model.layers[-1].name]
    else:
        taken, given, layers = model.input, model.output, model.output_names
    names = sorted(taken) if isinstance(taken, dict) else [tensor.name for tensor in model.inputs]
    flat = keras.tree.flatten(taken)
    ports = tuple(Port(name, tuple(t.shape), str(t.dtype)) for name, t in zip(names, flat, strict=True))
    return ports, tuple(unique(sorted(given) if isinstance(given, dict) else list(layers)))


def keras3_call(keras: Any, model: Any) -> Call:
    """Return a function from a flat list of tensors to a flat list of outputs, in inference mode."""
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        packed = keras.tree.pack_sequence_as(structure, list(tensors))
        return list(keras.tree.flatten(model(packed, training=False)))

    return call


def count_layers(model: Any) -> int:
    """Return how many layers compute something, nested ones counted one by one."""
    return len(leaf_layers(model))
