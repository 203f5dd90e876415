"""Make this folder: train a small image classifier on scikit-learn's digits with Keras 3.

    pip install tensorflow scikit-learn
    python make.py

Takes under a minute on two cores. Seeded: the same machine and versions give the same weights; other processors round
differently and give a model of about the same accuracy.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN chooses kernels by machine; without it fewer machines differ

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 7
CALIBRATION_ROWS = 200
EPOCHS = 40


def build() -> keras.Model:
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = image
    for number, (filters, strides) in enumerate(((16, 1), (24, 2), (32, 1)), 1):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x), name="digits_cnn")


def main() -> None:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., None]  # 0..16
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=600, random_state=SEED, stratify=digits.target
    )
    model = build()
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    slower = keras.callbacks.LearningRateScheduler(lambda epoch: 3e-3 * 0.92**epoch)
    model.fit(x_train / np.float32(16), y_train, 64, EPOCHS, verbose=0, callbacks=[slower])
    _, accuracy = model.evaluate(x_test / np.float32(16), y_test, verbose=0)
    print(f"float accuracy on {len(x_test)} test digits: {accuracy:.4f}, {model.count_params()} parameters")

    bare = build()  # without the optimizer's state, which is twice the weights
    bare.set_weights(model.get_weights())
    bare.save(HERE / "model.keras")
    make_reproducible(HERE / "model.keras")
    np.savez_compressed(HERE / "validation.npz", x=x_test, y=y_test.astype(np.uint8))
    _, x, _, y = train_test_split(x_train, y_train, test_size=CALIBRATION_ROWS, random_state=SEED, stratify=y_train)
    np.savez_compressed(HERE / "calibration.npz", x=x, y=y.astype(np.uint8))
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (HERE / "labels.txt").write_text("\n".join(names) + "\n")


def make_reproducible(path: Path) -> None:
    """Write a .keras file again without the time of saving and memory addresses: equal models, equal files."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in sorted(archive.namelist())}
    about = json.loads(contents["metadata.json"])
    contents["metadata.json"] = json.dumps({**about, "date_saved": "2000-01-01@00:00:00"}).encode()
    config = contents["config.json"].decode()
    addresses = dict.fromkeys(re.findall(r'"shared_object_id": (\d+)', config))
    for number, address in enumerate(addresses, 1):
        config = config.replace(f'"shared_object_id": {address}', f'"shared_object_id": {number}')
    contents["config.json"] = config.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
