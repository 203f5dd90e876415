"""TF-MOT as its guide says: `python compression_tfmot.py MODEL.h5 TRAIN.npz OUT.tflite '{"stages": [["qat", 4]], …}'`.

Run by benchmarks/compression.py in a process of its own. Follows the guides of TF-MOT 0.8: pruning_with_keras
(polynomial schedule from 0, batch 128, Adam), pruning_with_sparsity_2_by_4, pcqat_example (sparsity-preserving
clustering, then sparsity- and cluster-preserving quantization) and training_example (quantize_model); hard labels, a
tenth of the rows for validation; TFLiteConverter with Optimize.DEFAULT.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as experimental

BATCH = 128
VALIDATION = 0.1
CALIBRATION_ROWS = 200
CLUSTERS = 16
SPARSITY = 0.5
RATES = {"prune": 1e-3, "cluster": 1e-5, "qat": 1e-3}
"""The guides say optimizer="adam", whose default is 1e-3, but for clustering."""


class Rows:
    def __init__(self, file: str) -> None:
        with np.load(file) as stored:
            self.x, self.y = stored["x"].astype("float32"), stored["y"].ravel().astype("int64")

    def fit(self, model: Any, stage: str, epochs: int, rates: dict[str, float], callbacks: list[Any]) -> None:
        model.compile(tf_keras.optimizers.Adam(rates[stage]), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(
            self.x, self.y, BATCH, epochs, validation_split=VALIDATION, callbacks=callbacks, verbose=2, shuffle=True
        )

    def steps(self) -> int:
        return int(np.ceil(len(self.x) * (1 - VALIDATION) / BATCH))


def prune(model: Any, rows: Rows, epochs: int, rates: dict[str, float], pattern: str) -> Any:
    if pattern == "2:4":
        # The first convolution has three input channels, and TF-MOT refuses it; the guide names layers one by one.
        def wrapped(layer: Any) -> Any:
            kernel = getattr(layer, "kernel", None)
            fits = kernel is not None and kernel.shape[-2] % 4 == 0
            return tfmot.sparsity.keras.prune_low_magnitude(layer, sparsity_m_by_n=(2, 4)) if fits else layer

        pruned = tf_keras.models.clone_model(model, clone_function=wrapped)
        pruned.set_weights(_matched(pruned, model))
    else:
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0, final_sparsity=SPARSITY, begin_step=0, end_step=rows.steps() * epochs
        )
        pruned = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
    rows.fit(pruned, "prune", epochs, rates, [tfmot.sparsity.keras.UpdatePruningStep()])
    return tfmot.sparsity.keras.strip_pruning(pruned)


def _matched(pruned: Any, model: Any) -> list[Any]:
    """Return the weights of pruned in its order, those that model has taken from there."""
    known = {w.name: w.numpy() for w in model.weights}
    return [known.get(w.name.removeprefix("prune_low_magnitude_"), w.numpy()) for w in pruned.weights]


def cluster(model: Any, rows: Rows, epochs: int, rates: dict[str, float], *, sparse: bool) -> Any:
    start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
    asked = {"number_of_clusters": CLUSTERS, "cluster_centroids_init": start}
    if sparse:
        asked["preserve_sparsity"] = True
    clustered = experimental.cluster_weights(model, **asked)
    rows.fit(clustered, "cluster", epochs, rates, [])
    return tfmot.clustering.keras.strip_clustering(clustered)


def quantized(model: Any, rows: Rows, epochs: int, rates: dict[str, float], before: list[str]) -> Any:
    if "cluster" in before:
        scheme = tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(
            preserve_sparsity="prune" in before
        )
    elif "prune" in before:
        scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    else:
        scheme = None
    if scheme is None:
        aware = tfmot.quantization.keras.quantize_model(model)
    else:
        annotated = tfmot.quantization.keras.quantize_annotate_model(model)
        aware = tfmot.quantization.keras.quantize_apply(annotated, scheme)
    rows.fit(aware, "qat", epochs, rates, [])
    if "cluster" in before:
        aware = tfmot.clustering.keras.strip_clustering(aware)
    return aware


def main() -> None:
    source, train, made, asked = sys.argv[1:]
    wanted = json.loads(asked)
    tf_keras.utils.set_random_seed(wanted["seed"])
    rows, model = Rows(train), tf_keras.models.load_model(source, compile=False)
    rates = RATES | wanted.get("rates", {})
    before: list[str] = []
    for stage, epochs in wanted["stages"]:
        if stage == "prune":
            model = prune(model, rows, epochs, rates, wanted["pattern"])
        elif stage == "cluster":
            model = cluster(model, rows, epochs, rates, sparse="prune" in before)
        else:
            model = quantized(model, rows, epochs, rates, before)
        before.append(stage)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if "qat" not in before:
        picked = np.random.default_rng(wanted["seed"]).choice(len(rows.x), CALIBRATION_ROWS, replace=False)
        converter.representative_dataset = lambda: ([rows.x[i][None]] for i in picked)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    Path(made).write_bytes(converter.convert())


if __name__ == "__main__":
    main()
