"""One Keras 3 layer → the same layer of tf_keras."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from edgecompile.errors import Problem
from edgecompile.training.activations import activation
from edgecompile.training.faults import said

Nested = Callable[[Mapping[str, Any]], Any]
"""A serialized Keras 3 layer or model → its tf_keras counterpart."""

_RENAMED = {
    "InputLayer": {"batch_shape": "batch_input_shape"},
    "LeakyReLU": {"negative_slope": "alpha"},
}
"""Options that have another name in tf_keras."""

_WITHOUT_EFFECT = frozenset({"seed", "use_cudnn", "autocast", "optional"})
"""Options that change nothing in a deployed model: seeds of dropout, the choice of a GPU kernel."""

_LAYER_KEYS = frozenset(
    {"name", "trainable", "dtype", "activity_regularizer", "batch_input_shape", "zero_output_for_mask"}
)
"""What every tf_keras layer takes through **kwargs."""

_NO_INITIALIZER = "zeros"
"""Weights are copied, so drawing them (an orthogonal matrix for each LSTM) would be wasted."""


class CannotCrossError(Exception):
    """Layers that have no exact counterpart in tf_keras."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in problems))


def scope_name(name: str) -> str:
    """Return a layer name that TensorFlow takes as a name scope: without the spaces and colons that Keras 3 allows."""
    plain = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return plain if re.match(r"[A-Za-z0-9.]", plain) else f"layer{plain}"


def crossed_layer(keras: Any, tf_keras: Any, layer: Mapping[str, Any], nested: Nested) -> Any:
    """Return the tf_keras layer for a serialized Keras 3 layer, without weights yet.

    Args:
        keras: Keras 3.
        tf_keras: the other one.
        layer: what `serialize_keras_object` gives.
        nested: crosses layers and models inside wrappers.

    Raises:
        CannotCrossError: no such layer there, or an option that it does not know and that is not at its default.
    """
    class_name, name = layer["class_name"], scope_name(layer["config"].get("name", ""))
    _ensure_of_keras(layer)
    cls = getattr(tf_keras.layers, class_name, None)
    if cls is None and class_name.startswith("Random"):
        return tf_keras.layers.Identity(name=name)  # augmentation: does nothing outside training
    if cls is None:
        raise _cannot(layer, f"tf_keras has no layer `{class_name}`")
    config: dict[str, Any] = {}
    for key, value in layer["config"].items():
        new = _RENAMED.get(class_name, {}).get(key, key)
        if new in _parameters(cls) or new in _LAYER_KEYS:
            config[new] = _crossed_value(tf_keras, layer, key, value, nested)
        elif not _may_be_dropped(keras, class_name, key, value):
            raise _cannot(layer, f"`{class_name}` of tf_keras has no option `{key}` (here {value!r})")
    try:
        return cls(**config)
    except (TypeError, ValueError) as error:
        raise _cannot(layer, f"tf_keras does not take its options: {said(error)}") from error


def _ensure_of_keras(layer: Mapping[str, Any]) -> None:
    """Raise CannotCrossError for classes and functions of the user's own, whatever their names: code for Keras 3."""
    module = str(layer.get("module"))
    if module.partition(".")[0] != "keras" or layer.get("registered_name"):
        raise _cannot(layer, f"`{layer['class_name']}` is a class of your own (module `{module}`), written for Keras 3")
    if layer["class_name"] == "Lambda":
        raise _cannot(layer, "`Lambda` holds a Python function that was written for Keras 3")


def _cannot(layer: Mapping[str, Any], what: str) -> CannotCrossError:
    return CannotCrossError([Problem(what, f"layer {layer['config'].get('name', '?')}")])


@cache
def _parameters(cls: type) -> Mapping[str, Any]:
    """Return the constructor parameters of a layer class and its bases → their defaults."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return found


def _may_be_dropped(keras: Any, class_name: str, key: str, value: Any) -> bool:
    """Whether an option that tf_keras does not have changes nothing."""
    if key in _WITHOUT_EFFECT or (key == "data_format" and value == "channels_last"):
        return True
    if class_name.startswith("Random"):
        return True  # augmentation: does nothing outside training
    default = _parameters(getattr(keras.layers, class_name)).get(key, inspect.Parameter.empty)
    return value in (None, False) or bool(value == default)  # an extra that is off


def _crossed_value(tf_keras: Any, layer: Mapping[str, Any], key: str, value: Any, nested: Nested) -> Any:
    """Return the value of one option as tf_keras takes it."""
    if key.endswith("_initializer"):
        return _NO_INITIALIZER
    if key == "name":
        return scope_name(value)
    if key.endswith("activation") and value is not None:
        return _activation(tf_keras, layer, value)
    if isinstance(value, list | tuple):
        return [_crossed_value(tf_keras, layer, key, item, nested) for item in value]
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    inner, class_name = value["config"], value["class_name"]
    if class_name.endswith("DTypePolicy"):
        return _dtype(layer, class_name, inner)
    match value.get("module"):
        case "keras.layers" | "keras" | "keras.src.models.functional":
            return nested(value)
        case "keras.regularizers" | "keras.constraints" as module:
            known = hasattr(getattr(tf_keras, module.removeprefix("keras.")), class_name)
            return {"class_name": class_name, "config": inner} if known else None  # matters in training only
    if class_name in ("__numpy__", "__tensor__"):
        return inner["value"]
    raise _cannot(layer, f"its option `{key}` holds a `{class_name}`, which tf_keras does not have")


def _activation(tf_keras: Any, layer: Mapping[str, Any], value: Any) -> Any:
    name = value["config"] if isinstance(value, Mapping) else value
    found = activation(tf_keras, name) if isinstance(name, str) else None
    if found is None:
        raise _cannot(layer, f"tf_keras has no activation `{name}`")
    return found


def _dtype(layer: Mapping[str, Any], class_name: str, config: Mapping[str, Any]) -> str:
    if class_name != "DTypePolicy":
        raise _cannot(layer, f"its weights are already quantized (`{class_name}`)")
    return str(config["name"])
