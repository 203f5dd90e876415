"""tf_keras (Keras 2) models: load, describe, run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError, Problem
from edgecompile.recipe import ModelSection
from edgecompile.report import Finding
from edgecompile.training.activations import register_activations
from edgecompile.training.code import EXPORT_HINT
from edgecompile.training.faults import load_faults
from edgecompile.training.precision import in_float32
from edgecompile.training.scan import Format
from edgecompile.training.shapes import Port, fix_shapes
from edgecompile.training.source import Call, Source
from edgecompile.training.tf import tf_keras

_GRAPH_LAYERS = frozenset(
    {"Functional", "InstanceProperty", "Model", "Sequential", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer"}
)
"""What Keras 2 writes as layers, beside those in `tf_keras.layers`."""


def load_keras2(path: Path, section: ModelSection) -> tuple[Any, tuple[Finding, ...]]:
    """Return the tf_keras model in a file that Keras 2 wrote, uncompiled, computing in float32, and what was found.

    Raises:
        ModelError: damaged.
    """
    keras = tf_keras()
    register_activations(keras)
    with load_faults(path):
        model = keras.models.load_model(str(path), compile=False, safe_mode=not section.allow_code)
        return in_float32(model)


def check_known(config: Mapping[str, Any]) -> None:
    """Check that tf_keras has every layer of a Keras 2 model config.

    Raises:
        ModelError: with every layer that it does not have.
    """
    keras = tf_keras()
    register_activations(keras)
    known = set(dir(keras.layers)) | _GRAPH_LAYERS | set(keras.saving.get_custom_objects())
    problems = [
        Problem(f"is of class `{layer['class_name']}`, which is not a part of Keras", f"layer {name}", EXPORT_HINT)
        for name, layer in _layers(config)
        if layer["class_name"] not in known
    ]
    if problems:
        raise ModelError.of(problems)


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and config of every layer in a Keras 2 config, those of nested models included."""
    inner = config.get("config")
    layers = inner.get("layers", []) if isinstance(inner, Mapping) else inner  # a list: Sequential before Keras 2.2.3
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, Mapping) and isinstance(layer.get("class_name"), str):
            options = layer.get("config")
            name = options.get("name", "?") if isinstance(options, Mapping) else "?"
            yield str(layer.get("name", name)), layer
            yield from _layers(layer)


def keras2_source(model: Any, tf: Any, *, kind: Format, section: ModelSection) -> Source:
    """Return a tf_keras model as a Source that is its own reference.

    Raises:
        ModelError: the model has no graph.
        ConfigError: open dimensions without a shape, or a shape that contradicts the model.
    """
    inputs, outputs = keras2_ports(tf, model)
    call = keras2_call(tf, model)
    return Source(
        format=kind,
        reference="tf_keras",
        route="tf_keras",
        inputs=inputs,
        shapes=fix_shapes(inputs, section),
        outputs=outputs,
        run=call,
        forward=call,
        owner=model,
        layers=len(leaf_layers(model)),
        parameters=int(model.count_params()),
        model=model,
    )


def keras2_ports(tf: Any, model: Any) -> tuple[tuple[Port, ...], tuple[str, ...]]:
    """Return inputs and output names of a tf_keras model.

    Names are those of the input and output layers, or the keys where the model was made with dictionaries.

    Raises:
        ModelError: the model has no graph: it was never built, or is a subclass that only code can call.
    """
    if not getattr(model, "inputs", None):
        raise ModelError(
            "has no input shape: it was saved before it was built, or only its own code knows how to call it",
            where=f"model {model.name}",
            hint="call the model once before saving, start it with an Input layer, or save it as a SavedModel",
        )
    inputs = zip(_names(model.input, model.input_names), model.inputs, strict=True)
    ports = tuple(Port(name, _shape(t.shape), tf.as_dtype(t.dtype).name) for name, t in inputs)
    return ports, tuple(unique(_names(model.output, model.output_names)))


def keras2_call(tf: Any, model: Any) -> Call:
    """Return a function from a flat list of tensors to a flat list of outputs, in inference mode."""
    structure = model.input

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        packed = tf.nest.pack_sequence_as(structure, list(tensors))
        return list(tf.nest.flatten(model(packed, training=False)))

    return call


def leaf_layers(model: Any) -> list[Any]:
    """Return the layers of a tf_keras or Keras 3 model that compute something, those of nested models included."""
    found: list[Any] = []
    for layer in model.layers:
        nested = hasattr(layer, "layers") and hasattr(layer, "summary")
        found.extend(leaf_layers(layer) if nested else [layer])
    return [layer for layer in found if type(layer).__name__ != "InputLayer"]


def unique(names: Sequence[str]) -> list[str]:
    """Return names with `_1`, `_2` … added to repetitions: one layer can give two outputs."""
    found: list[str] = []
    for name in names:
        candidate, count = name, 0
        while candidate in found:
            count += 1
            candidate = f"{name}_{count}"
        found.append(candidate)
    return found


def _names(structure: Any, layer_names: Sequence[str]) -> list[str]:
    return sorted(structure) if isinstance(structure, dict) else list(layer_names)


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())
