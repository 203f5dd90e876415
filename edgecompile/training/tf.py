"""The only door to TensorFlow.

Importing this module costs nothing; `start` imports TensorFlow, after setting what must be set before.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
from functools import cache
from typing import Any

from edgecompile.errors import missing_extra

_ENVIRONMENT = {
    # TF-MOT and `tf.keras` must mean tf_keras; read when TensorFlow is imported.
    "TF_USE_LEGACY_KERAS": "1",
    # Keras 3 runs on TensorFlow here, whatever the user trained with.
    "KERAS_BACKEND": "tensorflow",
    # A folder that cannot exist: a user's keras.json (float16, channels first) must not change what is built, and
    # Keras must not write one into the home folder. Keras skips a settings folder that it cannot make.
    "KERAS_HOME": os.path.join(os.devnull, "keras"),  # noqa: PTH118 (a Path would not be a str)
}

_MODULES = ("tensorflow", "tf_keras")


def start(*, seed: int) -> Any:
    """Import TensorFlow, seed its and Keras' randomness, make its kernels deterministic; return the module.

    Args:
        seed: seeds Python's, numpy's and TensorFlow's generators.

    Raises:
        ToolError: the `tensorflow` extra is not installed; the message has the pip line.
    """
    if any(importlib.util.find_spec(name) is None for name in _MODULES):
        raise missing_extra("tensorflow", needed_for="reading a Keras model or a SavedModel")
    tf = _import()
    tf_keras().utils.set_random_seed(seed)
    return tf


@cache
def _import() -> Any:
    os.environ.update(_ENVIRONMENT)
    # 0 prints everything, 3 only what ends the process. The chatter goes to the build's log either way.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The garbage collector would go through 500,000 new objects time and again: 0.8 of 4.5 s of the import.
    gc.disable()
    try:
        tf = importlib.import_module("tensorflow")
    finally:
        gc.enable()
    gc.freeze()
    tf.config.experimental.enable_op_determinism()
    # 10-bit mantissas on some GPUs would be a parity error that the compiled model did not make.
    tf.config.experimental.enable_tensor_float_32_execution(False)  # noqa: FBT003 (TensorFlow's signature)
    return tf


def tf_keras() -> Any:
    """Return the tf_keras module (Keras 2); `start` must have been called."""
    return importlib.import_module("tf_keras")


def keras3() -> Any:
    """Return the Keras 3 module, on the TensorFlow backend; `start` must have been called. Takes 2 s to import."""
    return importlib.import_module("keras")
