"""The bridge from Keras 3 to tf_keras: the same graph, layer by layer, with the same weights.

Training-time passes (TF-MOT) take tf_keras models only, and TFLite's fused LSTM comes only from tf_keras. A model is
rebuilt from its public config; what has no exact counterpart is reported, never approximated, and the caller
asserts that outputs are equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgecompile.errors import Problem
from edgecompile.training.bridge_layers import CannotCrossError, crossed_layer, scope_name
from edgecompile.training.bridge_ops import crossed_op
from edgecompile.training.bridge_weights import copy_weights
from edgecompile.training.faults import said

_OPS = "keras.src.ops."


def to_tf_keras(keras: Any, tf_keras: Any, tf: Any, model: Any) -> Any:
    """Return a tf_keras model with the graph and the weights of a Keras 3 model.

    Functional and Sequential models, nested ones kept nested; layers called several times stay one layer.

    Raises:
        CannotCrossError: with every layer that has no counterpart, and why.
    """
    tf_keras.backend.reset_uids()  # names of unnamed operations must not depend on what was built before
    room = _Room(keras, tf_keras, tf)
    built = room.model(keras.saving.serialize_keras_object(model))
    if room.problems:
        raise CannotCrossError(room.problems)
    copy_weights(model, built)
    return built


class _Room:
    """The libraries, and the problems found so far: all of them are wanted, not the first."""

    def __init__(self, keras: Any, tf_keras: Any, tf: Any) -> None:
        self._keras, self._tf_keras, self._tf = keras, tf_keras, tf
        self.problems: list[Problem] = []

    def model(self, data: Mapping[str, Any]) -> Any:
        """Return the tf_keras model of a serialized Keras 3 model; None when something in it cannot cross."""
        config = data["config"]
        made = {layer["config"]["name"]: self._operation(layer) for layer in config["layers"]}
        if self.problems:
            return None
        with _refusals(f"model {config['name']}"):
            if data["class_name"] == "Sequential":
                built = self._sequential(config, list(made.values()))
            else:
                built = self._functional(config, made)
        if not config.get("trainable", True):
            built.trainable = False  # True would unfreeze every layer inside
        return built

    def _operation(self, layer: Mapping[str, Any]) -> Any:
        """Return the tf_keras layer, model or function for one entry of `layers`."""
        if layer["class_name"] in ("Functional", "Sequential"):
            return self.model(layer)
        try:
            if str(layer["module"]).startswith(_OPS):
                return crossed_op(self._tf_keras, self._tf, layer)
            return crossed_layer(self._keras, self._tf_keras, layer, self._operation)
        except CannotCrossError as error:
            self.problems.extend(error.problems)
            return None

    def _sequential(self, config: Mapping[str, Any], layers: list[Any]) -> Any:
        built = self._tf_keras.Sequential(layers, name=scope_name(config["name"]))
        if not built.built:
            built.build(tuple(config["build_input_shape"]))
        return built

    def _functional(self, config: Mapping[str, Any], made: Mapping[str, Any]) -> Any:
        outputs: dict[tuple[str, int], list[Any]] = {}
        calls = [
            (layer["config"]["name"], number, node)
            for layer in config["layers"]
            for number, node in enumerate(layer["inbound_nodes"])
        ]
        for layer in config["layers"]:
            name = layer["config"]["name"]
            if layer["class_name"] == "InputLayer":
                outputs[name, 0] = [made[name].output]
        nested = {x["config"]["name"] for x in config["layers"] if x["class_name"] == "Functional"}
        while calls:
            waiting = []
            for name, number, node in calls:
                if _ready(node, outputs):
                    outputs[name, number] = self._call(made[name], name, node, outputs)
                else:
                    waiting.append((name, number, node))
            assert len(waiting) < len(calls), "Keras 3 has no graphs with loops"
            calls = waiting

        def tensors(places: Any) -> Any:
            """Replace [layer, call, output] by tensors; calls of nested models are numbered from 1 here."""
            if isinstance(places, dict):
                return {key: tensors(place) for key, place in places.items()}
            if len(places) == 3 and isinstance(places[0], str):
                name, number, index = places
                tensor = outputs[name, number - 1 if name in nested else number][index]
                return _named(tensor, scope_name(name)) if number == 0 else tensor
            return [tensors(place) for place in places]

        taken, given = tensors(config["input_layers"]), tensors(config["output_layers"])
        return self._tf_keras.Model(taken, given, name=scope_name(config["name"]))

    def _call(self, operation: Any, name: str, node: Mapping[str, Any], outputs: Mapping[Any, list[Any]]) -> list[Any]:
        """Return the flat outputs of one call."""
        args = [_revived(self._tf, arg, outputs) for arg in node["args"]]
        kwargs = {key: _revived(self._tf, value, outputs) for key, value in node["kwargs"].items()}
        with _refusals(f"layer {name}"):
            return list(self._tf.nest.flatten(operation(*args, **_accepted(operation, kwargs))))


def _named(tensor: Any, name: str) -> Any:
    """Return an output; where tf_keras made its layer of a function, under the name of the operation in Keras 3."""
    layer = tensor.node.layer
    if type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda"):
        layer._name = name  # noqa: SLF001 (tf_keras names such layers itself; users call outputs by their own names)
    return tensor


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    """Turn what tf_keras raises on a call that it does not take into a CannotCrossError."""
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        raise CannotCrossError([Problem(f"tf_keras does not take it: {said(error)}", where)]) from error


def _ready(node: Mapping[str, Any], outputs: Mapping[tuple[str, int], Any]) -> bool:
    return all((name, number) in outputs for name, number, _ in _histories(node))


def _histories(value: Any) -> Iterator[Sequence[Any]]:
    """Yield [layer, call, output] of every tensor below value."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"]
        else:
            for item in value.values():
                yield from _histories(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _histories(item)


def _revived(tf: Any, value: Any, outputs: Mapping[Any, list[Any]]) -> Any:
    """Return a serialized call argument with tensors in the place of their histories."""
    if isinstance(value, list | tuple):
        return type(value)(_revived(tf, item, outputs) for item in value)
    if not isinstance(value, Mapping):
        return value
    config: Any = value.get("config")
    match value.get("class_name"):
        case "__keras_tensor__":
            name, number, index = config["keras_history"]
            return outputs[name, number][index]
        case "__slice__":
            return slice(*(_revived(tf, config[key], outputs) for key in ("start", "stop", "step")))
        case "__ellipsis__":
            return Ellipsis
        case "__numpy__" | "__tensor__":
            return tf.constant(config["value"], config["dtype"])
        case _:
            return {key: _revived(tf, item, outputs) for key, item in value.items()}


def _accepted(operation: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return kwargs without those that mean nothing: None, and `training=False` for layers that know no training."""
    call = getattr(operation, "call", operation)
    knows_training = "training" in inspect.signature(call).parameters
    return {
        key: value
        for key, value in kwargs.items()
        if value is not None and not (key == "training" and not value and not knows_training)
    }
