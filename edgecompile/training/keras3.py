"""Keras 3 models: load, cross the bridge to tf_keras, describe, run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import ModelError, Problem
from edgecompile.recipe import ModelSection
from edgecompile.report import Finding
from edgecompile.training.activations import register_activations
from edgecompile.training.bridge import to_tf_keras
from edgecompile.training.bridge_layers import CannotCrossError
from edgecompile.training.faults import load_faults, run_faults
from edgecompile.training.keras2 import keras2_call, leaf_layers, unique
from edgecompile.training.precision import in_float32
from edgecompile.training.rows import random_rows, takes_indices
from edgecompile.training.scan import Format
from edgecompile.training.shapes import Port, fix_shapes
from edgecompile.training.source import Call, Source
from edgecompile.training.tf import keras3, tf_keras

CHECK_ROWS = 2
"""Rows on which the bridge is checked; every weight takes part in each row."""

TOLERANCE = 1e-5
"""Largest difference that the bridge may make, as a share of the largest output (at least 1): both sides run float32
kernels of TensorFlow and differ in the order of sums at most; a rounding step of float32 is 1.2e-7."""


def load_keras3(path: Path, section: ModelSection) -> tuple[Any, tuple[Finding, ...]]:
    """Return the Keras 3 model in a file that Keras 3 wrote, uncompiled, computing in float32, and what was found.

    Raises:
        ModelError: damaged, or with layers that Keras does not have.
    """
    keras = keras3()
    with load_faults(path):
        model = keras.models.load_model(str(path), compile=False, safe_mode=not section.allow_code)
        return in_float32(model)


def bridged(model: Any, tf: Any, *, section: ModelSection, seed: int) -> Any:
    """Return the tf_keras model with the graph, the weights and the outputs of a Keras 3 model.

    Raises:
        CannotCrossError: layers without a counterpart, or outputs that differ on seeded random rows.
        ModelError: the model has no graph.
        ConfigError: open dimensions without a shape.
    """
    keras = keras3()
    ports, outputs = keras3_ports(keras, model)
    shapes = fix_shapes(ports, section)
    register_activations(tf_keras())
    crossed = to_tf_keras(keras, tf_keras(), tf, model)
    batch = next(iter(shapes.values()))[0]
    n = CHECK_ROWS if all(port.open_batch for port in ports) else batch
    rows = random_rows(ports, shapes, seed=seed, n=n, bits=takes_indices(leaf_layers(model)))
    tensors = [tf.constant(rows[port.name]) for port in ports]
    with run_faults():
        expected, given = keras3_call(keras, model)(tensors), keras2_call(tf, crossed)(tensors)
    for name, a, b in zip(outputs, expected, given, strict=True):
        problem = _difference(a.numpy(), b.numpy())
        if problem:
            raise CannotCrossError([Problem(problem, f"output {name}")])
    return crossed


def _difference(expected: Any, given: Any) -> str:
    """Return how far the bridge is off; empty when it is not."""
    if expected.shape != given.shape:
        return f"tf_keras gives the shape {given.shape}, Keras 3 {expected.shape}"
    a, b = expected.astype(np.float64), given.astype(np.float64)
    allowed = TOLERANCE * max(1.0, float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))))
    if np.allclose(a, b, rtol=0.0, atol=allowed, equal_nan=True):
        return ""
    return f"tf_keras differs from Keras 3 by {np.nanmax(np.abs(a - b)):.2g}, {allowed:.2g} is allowed"


def keras3_source(model: Any, tf: Any, *, kind: Format, section: ModelSection, seed: int) -> Source:
    """Return a Keras 3 model as a Source: converted from its tf_keras form where it has one, else from itself.

    Raises:
        ModelError: the model has no graph.
        ConfigError: open dimensions without a shape, or a shape that contradicts the model.
    """
    keras = keras3()
    inputs, outputs = keras3_ports(keras, model)
    run = keras3_call(keras, model)
    findings: tuple[Finding, ...] = ()
    try:
        crossed = bridged(model, tf, section=section, seed=seed)
        forward = keras2_call(tf, crossed)
    except CannotCrossError as error:
        crossed, forward = None, run
        findings = tuple(_finding(problem) for problem in error.problems)
    return Source(
        format=kind,
        reference="keras 3",
        route="keras export" if crossed is None else "bridge",
        inputs=inputs,
        shapes=fix_shapes(inputs, section),
        outputs=outputs,
        run=run,
        forward=forward,
        owner=model if crossed is None else crossed,
        layers=len(leaf_layers(model)),
        parameters=int(model.count_params()),
        findings=findings,
    )


def _finding(problem: Problem) -> Finding:
    return Finding(
        severity="info",
        rule="keras-export",
        what=f"the model was converted from its Keras 3 export, not by way of tf_keras: {problem.what}",
        where=problem.where,
        consequence="outputs are the same; an LSTM becomes a loop instead of one op, and passes that train cannot run",
        remedy="replace the layer by one that Keras 2 has too, if either matters",
    )


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
