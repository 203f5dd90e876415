"""Small models and rows for the training-time passes: a few steps of training take well under a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.recipe import ModelSection
from edgecompile.training.kernels import Kernel
from edgecompile.training.stored import Notes, write_model

EDGE, CLASSES = 8, 4
QUICK: dict[str, Any] = {"epochs": 2, "batch": 16}


def residual(keras: Any, *, channels: int = 3, filters: int = 8) -> Any:
    """Return a classifier with a residual branch, a depthwise convolution and a dense head."""
    layers = keras.layers
    image = keras.Input((EDGE, EDGE, channels), name="image")
    x = layers.Conv2D(filters, 3, padding="same", name="stem")(image)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = y = layers.ReLU(name="stem_relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = layers.BatchNormalization(name="depthwise_norm")(y)
    y = layers.ReLU(6.0, name="depthwise_relu")(y)
    y = layers.Conv2D(filters, 3, padding="same", name="inner")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.Activation("relu", name="sum_relu")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="label")(x), name="residual")


def rows(n: int = 64, *, channels: int = 3, labels: bool = True, seed: int = 1) -> Dataset:
    """Return images whose brightest quarter is their class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    x = rng.normal(0, 0.3, (n, EDGE, EDGE, channels)).astype(np.float32)
    half = EDGE // 2
    for row, label in enumerate(y):
        top, left = divmod(int(label), 2)
        x[row, top * half : (top + 1) * half, left * half : (left + 1) * half] += 1
    return Dataset({"*": x}, y.astype(np.int64) if labels else None)


def run(step: Pass, model: Path, out: Path, *, train: Dataset | None, **given: Any) -> Outcome:
    """Run step on the model at path."""
    out.mkdir(parents=True, exist_ok=True)
    section = given.pop("section", ModelSection())
    return step.run(Artifact.of(model, Kind.KERAS), Context(out=out, train=train, model=section, **given))


def stored(model: Any, path: Path) -> Path:
    """Write a tf_keras model as passes do, and return path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(model, path, Notes())
    return path


def cluster_by_hand(found: list[Kernel], *, half: int = 4, one_scale: bool = False) -> dict[str, int]:
    """Let kernels hold the values -half … half, each channel scaled by a number of its own; return them as notes do."""
    rng = np.random.default_rng(0)
    for kernel in found:
        codes = rng.integers(-half, half + 1, kernel.rows(kernel.values()).shape)
        codes[:, 0] = half
        scales = rng.uniform(0.01, 0.3, (1 if one_scale else len(codes), 1))
        kernel.assign(kernel.shaped((codes * scales).astype(np.float32)))
    return {kernel.name: 2 * half + 1 for kernel in found}
