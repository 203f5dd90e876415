"""A model of keras.applications through passes that train; `benchmarks/applications.py` has all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from int8_emulation import trained
from keras_files import libraries, save

from edgecompile.data.dataset import Dataset

pytestmark = [pytest.mark.tf, pytest.mark.slow]

EDGE, CLASSES = 32, 10


def images(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    grain = sum(rng.uniform(0, 85, (n, g, g, 3)).repeat(EDGE // g, 1).repeat(EDGE // g, 2) for g in (2, 8, EDGE))
    return Dataset({"*": np.asarray(grain, np.float32)}, np.arange(n) % CLASSES)


def test_mobilenet_v3_computes_what_it_was_trained_to(tmp_path: Path) -> None:
    """Squeeze-and-excite gates, hard swish, residual sums: what is rounded in training is what int8 rounds."""
    lib: Any = libraries()
    lib.keras.utils.set_random_seed(0)
    model = lib.keras.applications.MobileNetV3Small(
        (EDGE, EDGE, 3), alpha=0.5, weights=None, classes=CLASSES, classifier_activation=None, dropout_rate=0
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:  # as much comes out of a layer as goes in; Keras' own weights let the signal die out
        if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D"):
            *window, given, made = layer.kernel.shape
            read = int(np.prod(window)) * (1 if type(layer).__name__ == "DepthwiseConv2D" else given)
            layer.kernel.assign(rng.normal(0, np.sqrt(2 / read), (*window, given, made)).astype(np.float32))
    source = save(model, tmp_path / "model.keras")
    found = trained(lib, source, tmp_path, images(32, 1), images(32, 2), epochs=1, batch=16, teacher="none")
    assert found.calibrated == ["MUL"], "of the Rescaling, whose sum is a tensor of Keras and whose product is none"
    assert found.ops.count("HARD_SWISH") == 19
    assert "RELU6" not in found.ops, "the `+ 3` and the ReLU6 of a gate belong to its convolution"
    assert found.outcome.findings == ()
    assert found.steps <= 16, "110 ops deep, and half of that was measured"
