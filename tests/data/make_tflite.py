"""Write the `.tflite` fixtures beside this file: tiny models as TensorFlow's converter writes them.

Run with the `tensorflow` extra installed: `python tests/data/make_tflite.py`. Weights come from a seed; another
TensorFlow may order tensors otherwise, so tests look things up by name.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
import tf_keras as keras

HERE = Path(__file__).parent
SEED = 7


def weights(model: keras.Model) -> keras.Model:
    """Return model with seeded weights that make all parts of it matter."""
    random = np.random.default_rng(SEED)
    model.set_weights([random.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def convert(model: keras.Model, *, shapes: dict[str, tuple[int | None, ...]], int8: str = "") -> bytes:
    """Return the `.tflite` of model for inputs of shapes; int8 makes it full-integer and is the dtype at its ends."""
    signature = {i.name.split(":")[0]: i for i in model.inputs}
    specs = [tf.TensorSpec(shapes[name], tensor.dtype, name=name) for name, tensor in signature.items()]

    @tf.function(input_signature=specs)
    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        given = model(list(inputs) if len(inputs) > 1 else inputs[0])
        return dict(zip(model.output_names, tf.nest.flatten(given), strict=True))

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={"serving_default": run})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            random = np.random.default_rng(SEED)
            sizes = {name: tuple(s or 1 for s in shape) for name, shape in shapes.items()}
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                {name: random.uniform(-1, 1, size).astype(np.float32) for name, size in sizes.items()}
                for _ in range(20)
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(int8)
        return converter.convert()


def image() -> keras.Model:
    """Convolution, ReLU6, flatten, dense, softmax on 6×5×2."""
    x = keras.Input((6, 5, 2), name="image")
    y = keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu6")(x)
    y = keras.layers.Flatten()(y)
    return weights(keras.Model(x, keras.layers.Dense(4, activation="softmax", name="classes")(y)))


def reshaped() -> keras.Model:
    """A Reshape layer: with an open batch the file computes the new shape by SHAPE, STRIDED_SLICE and PACK."""
    x = keras.Input((6,), name="x")
    return weights(keras.Model(x, keras.layers.Dense(3, name="y")(keras.layers.Reshape((3, 2))(x))))


def series() -> keras.Model:
    """Convolution and mean over a time axis of open length."""
    x = keras.Input((None, 3), name="series")
    y = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(4, 3, padding="same", activation="relu")(x))
    return weights(keras.Model(x, keras.layers.Dense(2, name="classes")(y)))


def two() -> keras.Model:
    """Token ids and numbers in, a vector and a number out."""
    tokens = keras.Input((3,), dtype=tf.int32, name="tokens")
    numbers = keras.Input((2,), name="numbers")
    looked_up = keras.layers.Flatten()(keras.layers.Embedding(11, 2)(tokens))
    both = keras.layers.Concatenate()([looked_up, numbers])
    vector = keras.layers.Dense(3, name="vector")(both)
    return weights(keras.Model([tokens, numbers], [vector, keras.layers.Dense(1, name="number")(vector)]))


def lstm() -> keras.Model:
    """An LSTM that becomes one fused op, which keeps state in variable tensors."""
    x = keras.Input((5, 3), batch_size=1, name="series")
    return weights(keras.Model(x, keras.layers.Dense(2, name="classes")(keras.layers.LSTM(4)(x))))


def gru() -> keras.Model:
    """A GRU, which becomes a loop; one of the loop's outputs nothing reads."""
    x = keras.Input((5, 3), batch_size=1, name="series")
    return weights(keras.Model(x, keras.layers.Dense(2, name="classes")(keras.layers.GRU(4)(x))))


def loop(batch: int | None) -> bytes:
    """Return the `.tflite` of a loop, whose condition and body are subgraphs: halve x until its sum is below 1."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((batch, 4), tf.float32, name="x")])
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.while_loop(lambda v: tf.reduce_sum(v) > 1.0, lambda v: (v * 0.5,), (x,))[0]}

    module.run = run
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": run})
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def main() -> None:
    """Write every fixture."""
    single, open_batch = {"image": (1, 6, 5, 2)}, {"image": (None, 6, 5, 2)}
    files = {
        "image_float": convert(image(), shapes=single),
        "image_open_batch": convert(image(), shapes=open_batch),
        "image_batch4": convert(image(), shapes={"image": (4, 6, 5, 2)}),
        "image_int8": convert(image(), shapes=single, int8="int8"),
        "image_int8_float_io": convert(image(), shapes=single, int8="float32"),
        "reshape_open_batch": convert(reshaped(), shapes={"x": (None, 6)}),
        "series_open_time": convert(series(), shapes={"series": (None, None, 3)}),
        "two_inputs": convert(two(), shapes={"tokens": (1, 3), "numbers": (1, 2)}),
        "lstm": convert(lstm(), shapes={"series": (1, 5, 3)}),
        "gru": convert(gru(), shapes={"series": (1, 5, 3)}),
        "loop": loop(1),
        "loop_open_batch": loop(None),
    }
    for name, content in files.items():
        (HERE / f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    main()
