"""How long a build takes beside the script that a user would write, on a MobileNetV1-0.25 for 96×96 images.

    python benchmarks/build_time.py

Both sides start from the same `.keras` file and the same rows, in fresh processes, and do the same job: a float and an
int8 `.tflite`, 200 rows of calibration, outputs of both models on 1,000 rows. edgecompile also verifies, reports and
writes a bundle. Then: the same build again, and a second target. Prints seconds and ratios, and whether the last two
imported TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODEL = """
import sys, keras, numpy as np
keras.utils.set_random_seed(7)
model = keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=10)
# One pass in training mode gives BatchNorm the statistics that a trained model would have: with those it starts with,
# activations fade to nothing from layer to layer, and no quantizer could show anything.
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.0
model(np.random.default_rng(7).integers(0, 256, (64, 96, 96, 3)).astype("float32") / 127.5 - 1, training=True)
model.save(sys.argv[1])
"""

_SCRIPT = """
import sys, numpy as np, tensorflow as tf
model = tf.keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
x, y = data["x"].astype("float32") / 127.5 - 1, data["y"]

float_model = tf.lite.TFLiteConverter.from_keras_model(model).convert()
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([row[None]] for row in x[:200])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
int8_model = converter.convert()

def accuracy(content):
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    given, gives = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    right = 0
    for row, label in zip(x[200:], y[200:]):
        row = row[None]
        if given["dtype"] == np.int8:
            scale, zero = given["quantization"]
            row = np.clip(np.round(row / scale + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], row)
        interpreter.invoke()
        right += interpreter.get_tensor(gives["index"])[0].argmax() == label
    return right / len(x[200:])

print("float", accuracy(float_model), "int8", accuracy(int8_model), len(int8_model), "bytes")
"""

_OURS = """
import json, resource, sys
import edgecompile
report = edgecompile.build(
    sys.argv[1], target=sys.argv[3], data=sys.argv[2], out=sys.argv[4], scale=1 / 127.5, offset=-1.0, max_drop=1.0,
)
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "verdict": report.verdict,
    "tensorflow in sys.modules": "tensorflow" in sys.modules,
    "cpu seconds of child processes": round(children.ru_utime + children.ru_stime, 2),
}))
"""


def _timed(code: str, *arguments: str, env: dict[str, str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds, done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="repeat everything and give the median ratio")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        model, data = here / "mobilenet.keras", here / "data.npz"
        _timed(MODEL, str(model), env={"TF_CPP_MIN_LOG_LEVEL": "3"})
        rng = np.random.default_rng(7)
        x = rng.integers(0, 256, (1200, 96, 96, 3), dtype=np.uint8)
        np.savez(data, x=x, y=np.arange(1200, dtype=np.int64) % 10)
        ratios: dict[str, list[float]] = {"cold": [], "rebuild": [], "second target": []}
        for number in range(rounds):
            script, said = _timed(_SCRIPT, str(model), str(data), env={"TF_CPP_MIN_LOG_LEVEL": "3"})
            print(f"script         {script:6.2f} s         {said}")
            env = {"EDGECOMPILE_CACHE": str(here / f"cache{number}")}
            for label, target in (
                ("cold", "linux-x86_64"),
                ("rebuild", "linux-x86_64"),
                ("second target", "raspberry-pi-4"),
            ):
                seconds, said = _timed(_OURS, str(model), str(data), target, str(here / f"out{number}"), env=env)
                ratios[label].append(seconds / script)
                print(f"{label:14} {seconds:6.2f} s  {seconds / script:5.3f}  {said}")
        limits = {"cold": 0.6, "rebuild": 0.08, "second target": 0.15}
        print(json.dumps({k: {"median": round(float(np.median(v)), 3), "limit": limits[k]} for k, v in ratios.items()}))


if __name__ == "__main__":
    main()
