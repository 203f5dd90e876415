"""Make this folder: an LSTM that reads scikit-learn's digits row by row, trained and saved with Keras 2 (tf_keras).

    pip install tensorflow tf-keras scikit-learn
    python make.py

Takes about a minute on two cores. Seeded: the same machine and versions give the same weights; other processors round
differently and give a model of about the same accuracy.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow is imported: Keras 2, whose .h5 is an older format
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses kernels by machine; without it fewer machines differ

import numpy as np
import tensorflow as tf
import tf_keras as keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 11
CALIBRATION_ROWS = 200
EPOCHS = 60


def build() -> keras.Model:
    steps = keras.Input((8, 8), name="rows")  # eight time steps: the image from top to bottom
    x = keras.layers.GaussianNoise(0.1, name="noise")(steps)  # while training only, as the dropout
    x = keras.layers.LSTM(64, name="lstm")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(steps, keras.layers.Dense(10, activation="softmax", name="digit")(x), name="digits_lstm")


def main() -> None:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    digits = load_digits()
    images = digits.images.astype(np.uint8)  # 0..16
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=600, random_state=SEED, stratify=digits.target
    )
    model = build()
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    slower = keras.callbacks.LearningRateScheduler(lambda epoch: 5e-3 * 0.95**epoch)
    model.fit(x_train / np.float32(16), y_train, 32, EPOCHS, verbose=0, callbacks=[slower])
    _, accuracy = model.evaluate(x_test / np.float32(16), y_test, verbose=0)
    print(f"float accuracy on {len(x_test)} test digits: {accuracy:.4f}, {model.count_params()} parameters")

    model.save(HERE / "model.h5", include_optimizer=False)
    np.savez_compressed(HERE / "validation.npz", x=x_test, y=y_test.astype(np.uint8))
    _, x, _, y = train_test_split(x_train, y_train, test_size=CALIBRATION_ROWS, random_state=SEED, stratify=y_train)
    np.savez_compressed(HERE / "calibration.npz", x=x, y=y.astype(np.uint8))
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (HERE / "labels.txt").write_text("\n".join(names) + "\n")


if __name__ == "__main__":
    main()
