"""TensorFlow and both Kerases for tests, and how to save with them without their advice."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecompile.training import tf as door


def libraries() -> Any:
    """Return a namespace of tf, keras (3) and tf_keras; skip the test where they are not installed."""
    pytest.importorskip("tf_keras", reason="the tensorflow extra is not installed")
    tf = door.start(seed=0)
    return SimpleNamespace(tf=tf, keras=door.keras3(), tf_keras=door.tf_keras())


def save(model: Any, path: Path) -> Path:
    """Save a model of either Keras, and return path."""
    with warnings.catch_warnings():
        # Advice against .h5, of both.
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        # Advice against what a test does on purpose.
        warnings.filterwarnings("ignore", "You are saving a model that has not yet been built", UserWarning)
        # Keras 3 writes its weights by way of an old protocol of numpy's.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        model.save(str(path))
    return path


def randomized(model: Any, seed: int) -> Any:
    """Give every weight, moving statistics included, a value that is not its initial one."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.5, weight.shape).astype(np.float32)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)
    return model
