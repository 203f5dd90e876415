"""Load trained models, whatever they are stored as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecompile.training.faults import load_faults
from edgecompile.training.keras2 import keras2_call, keras2_ports, leaf_layers
from edgecompile.training.keras3 import count_layers, keras3_call, keras3_ports
from edgecompile.training.saved_model import load_saved_model
from edgecompile.training.scan import scan_source, source_format
from edgecompile.training.source import Source
from edgecompile.training.tf import keras3, tf_keras


def load_source(path: Path, tf: Any, *, signature: str, allow_code: bool) -> Source:
    """Return the model at path, ready to be run and converted.

    Args:
        path: `.keras`, `.h5` or a SavedModel folder.
        tf: TensorFlow, from `tf.start`.
        signature: which signature of a SavedModel to take.
        allow_code: run code that the file brings.

    Raises:
        ModelError: unsafe, damaged, or made of layers that nobody here knows.
    """
    scan_source(path, allow_code=allow_code)
    kind = source_format(path)
    if kind == "saved model":
        return load_saved_model(path, tf, signature=signature)
    if kind == "keras v3":
        return keras3_source(_load_keras3(path, allow_code=allow_code))
    return _load_keras2(path, tf)


def _load_keras3(path: Path, *, allow_code: bool) -> Any:
    keras = keras3()
    with load_faults(path):
        return keras.models.load_model(str(path), compile=False, safe_mode=not allow_code)


def keras3_source(model: Any) -> Source:
    """Return a Keras 3 model as a Source."""
    keras = keras3()
    inputs, outputs = keras3_ports(keras, model)
    call = keras3_call(keras, model)
    return Source(
        format="keras v3",
        reference="keras 3",
        route="keras export",
        inputs=inputs,
        outputs=outputs,
        run=call,
        forward=call,
        tracked=[variable.value for variable in model.variables],
        layers=count_layers(model),
        parameters=int(model.count_params()),
    )


def _load_keras2(path: Path, tf: Any) -> Source:
    keras = tf_keras()
    with load_faults(path):
        model = keras.models.load_model(str(path), compile=False)
    return keras2_source(model, tf)


def keras2_source(model: Any, tf: Any) -> Source:
    """Return a tf_keras model as a Source that is its own reference."""
    inputs, outputs = keras2_ports(tf, model)
    call = keras2_call(tf, model)
    return Source(
        format="keras h5",
        reference="tf_keras",
        route="tf_keras",
        inputs=inputs,
        outputs=outputs,
        run=call,
        forward=call,
        tracked=list(model.variables),
        layers=len(leaf_layers(model)),
        parameters=int(model.count_params()),
    )
