"""Make this folder: simulate the vibration of a pump and train an autoencoder on healthy windows with Keras 3.

    pip install tensorflow
    python make.py

A recording is ten windows of a quarter second; a window becomes the energy of 32 frequency bands in dB. The model
learns to reconstruct healthy windows. How badly it reconstructs the windows of a recording, on average, says how ill
the pump is.

Takes under a minute on two cores. Seeded: the same machine and versions give the same weights; other processors round
differently and give a model of about the same AUC.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses kernels by machine; without it fewer machines differ

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
SEED = 3
RATE_HZ = 4096
WINDOW = 1024  # samples, a quarter second
WINDOWS = 10  # per recording
BANDS = 32
FAULTS = ("imbalance", "bearing", "cavitation", "misalignment")
EPOCHS = 80


def recording(rng: np.random.Generator, fault: str | None) -> np.ndarray:
    """Band energies of one recording, dB, float32 [WINDOWS, BANDS]."""
    t = np.arange(WINDOW * WINDOWS) / RATE_HZ
    load = rng.uniform(0.4, 1.0)
    speed_hz = 24 + load + rng.normal(0, 0.1)
    severity = rng.uniform(0.2, 1.0) if fault else 0.0
    tones = {1: 0.5, 2: 0.2, 3: 0.1, 6: 0.4 * load, 12: 0.15 * load}  # six vanes: 6 and 12 times the shaft
    if fault == "imbalance":
        tones[1] *= 1 + 2 * severity
    if fault == "misalignment":
        tones[2] *= 1 + 4 * severity
        tones[3] *= 1 + 2 * severity
    signal = rng.normal(0, 0.03 + 0.05 * load, t.size)
    for order, amplitude in tones.items():
        strength = amplitude * rng.normal(1, 0.08)
        signal += strength * np.sin(2 * np.pi * (order * speed_hz * t + rng.uniform()))
    hiss = np.diff(rng.normal(0, 1, t.size + 1))  # rises with frequency
    signal += hiss * 0.02 * (1 + (4 * severity if fault == "cavitation" else 0))
    if fault == "bearing":
        strike = (t * speed_hz * 5.43) % 1 / (speed_hz * 5.43)  # seconds since the last ball passed the pit
        signal += 0.8 * severity * np.exp(-strike * 400) * np.sin(2 * np.pi * 1300 * strike)
    signal *= 10 ** (rng.normal(0, 0.7) / 20)  # how well the sensor sits
    windows = signal.reshape(WINDOWS, WINDOW) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2 / WINDOW
    edges = np.unique(np.geomspace(3, power.shape[1] - 1, BANDS + 9).astype(int))[: BANDS + 1]
    edges[-1] = power.shape[1]
    bands = np.stack([power[:, a:b].mean(axis=1) for a, b in pairwise(edges)], axis=1)
    return (10 * np.log10(bands + 1e-9)).astype(np.float32)


def build() -> keras.Model:
    layers = keras.layers
    bands = keras.Input((BANDS,), name="bands")
    x = bands
    for number, units in enumerate((32, 16, 6, 16, 32), 1):
        x = layers.Dense(units, activation="relu" if units != 6 else None, name=f"dense{number}")(x)
    return keras.Model(bands, layers.Dense(BANDS, name="reconstruction")(x), name="pump_autoencoder")


def main() -> None:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(SEED)
    train = np.concatenate([recording(rng, None) for _ in range(500)])
    faults = [None] * 60 + [FAULTS[i % 4] for i in range(60)]
    test = np.concatenate([recording(rng, fault) for fault in faults]).astype(np.float16)
    labels = np.repeat([fault is not None for fault in faults], WINDOWS).astype(np.uint8)
    groups = np.repeat(np.arange(len(faults)), WINDOWS).astype(np.uint16)

    def prepared(x: np.ndarray) -> np.ndarray:
        return (x.astype(np.float32) + 20) / 13  # as in recipe.toml

    model = build()
    model.compile(keras.optimizers.Adam(), "mse")
    slower = keras.callbacks.LearningRateScheduler(lambda epoch: 3e-3 * 0.95**epoch)
    model.fit(prepared(train), prepared(train), 128, EPOCHS, verbose=0, callbacks=[slower])
    errors = ((model.predict(prepared(test), verbose=0) - prepared(test)) ** 2).mean(axis=1)
    scores = errors.reshape(-1, WINDOWS).mean(axis=1)
    ill = labels[::WINDOWS] == 1
    auc = (scores[ill][:, None] > scores[~ill]).mean()
    print(f"values {train.min():.0f} to {train.max():.0f} dB, mean {train.mean():.1f}, std {train.std():.1f}")
    print(f"float AUC on {len(faults)} recordings: {auc:.4f}, {model.count_params()} parameters")

    bare = build()  # without the optimizer's state and the loss, which an .h5 of Keras 3 does not read back
    bare.set_weights(model.get_weights())
    bare.save(HERE / "model.h5")
    np.savez_compressed(HERE / "validation.npz", x=test, y=labels, groups=groups)
    (HERE / "labels.txt").write_text("healthy\nfaulty\n")
    calibration = train[rng.choice(len(train), 200, replace=False)].astype(np.float16)
    np.savez_compressed(HERE / "calibration.npz", x=calibration)


if __name__ == "__main__":
    main()
