"""`README.md` of a bundle: what it is, what came out, how to run it, what each file is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edgecompile.report import Report
from edgecompile.units import show_bytes, show_shape
from edgecompile.verify.wording import VERDICTS

FILES = {
    "README.md": "this page",
    "compressed.h5": "the compressed Keras model, for `tf_keras.models.load_model`; not needed on the device",
    "golden.json": "how the golden vectors were chosen, and how far a replay may be off",
    "golden.npz": "golden vectors: inputs as stored codes, and the outputs that must come back",
    "io.json": "inputs and outputs: names, shapes, dtypes, scales, zero points, preprocessing, worked examples",
    "labels.txt": "class names, one a line, in output order",
    "report.html": "the report, for people: one page, no network",
    "report.json": "the report, for programs",
    "run.py": "runs the model; needs numpy and a LiteRT or TFLite interpreter",
}
"""Files that edgecompile itself puts into a bundle. (`manifest.json` describes the others.)"""


FIRMWARE = {
    "CMakeLists.txt": "builds the library `model`; needs TFLite Micro",
    "model_golden.h": "inputs and the outputs that TFLite Micro gives, byte for byte",
    "model.cc": "sets up TFLite Micro's interpreter",
    "model.h": "the functions that an application calls",
    "model_config.h": "arena size, types, shapes, scales, zero points, labels",
    "model_data.cc": "the model as an array",
    "model_data.h": "declares the array",
    "model_io.h": "from stored values to what the model takes, preprocessing folded in, and back; C99",
    "model_ops.h": "a resolver with exactly the ops that the model needs",
    "model_selftest.cc": "replays the golden vectors on the device",
    "Kconfig": "switches for the model and for its self test",
    "SelfTest.ino": "a sketch that replays the golden vectors",
    "edgecompile_model.h": "all that an application needs",
    "idf_component.yml": "manifest of the ESP-IDF component: which TFLite Micro it needs",
    "library.json": "manifest of the PlatformIO library",
    "library.properties": "manifest of the Arduino library",
    "module.yml": "manifest of the Zephyr module",
    "main.c": "a program to start from: self-test, then one run",
    "cortex-m.cmake": "CMake's toolchain file for GCC on Cortex-M",
    "mps2.ld": "memory map of an emulated board",
    "startup.c": "reset handler of an emulated board",
}
"""Files below `firmware/`, by the last part of their path."""


_ON_THE_EDGE_TPU = (
    "",
    "# On the Edge TPU, with its runtime (libedgetpu) installed; pycoral brings an interpreter that will do:",
    "python run.py --delegate libedgetpu.so.1 INPUT.npy",
)


_ON_TFLM = (
    "## On this machine",
    "",
    "LiteRT does not run this model, TFLite Micro does: `edgecompile verify` replays the golden vectors on its",
    "interpreter.",
    "",
)


def readme(
    report: Report,
    *,
    sizes: Mapping[str, int],
    device_model: str,
    runs: bool = True,
    firmware: Sequence[str] = (),
    prefix: str = "model",
) -> str:
    """Return the page for a bundle.

    Args:
        report: of the build.
        sizes: name → bytes of each file.
        device_model: the file that the device loads.
        runs: whether LiteRT runs the model at all; otherwise TFLite Micro alone does.
        firmware: for microcontrollers the lines on firmware, which come first.
        prefix: of the names below `firmware/`.
    """
    verdict = VERDICTS[report.verdict].upper() + ("" if report.verdict == "pass" else ": do not deploy this")
    lines = [
        f"# {report.model.name} for {report.target.title}",
        "",
        f"**{verdict}**",
        "",
        *(f"- {line}" for line in report.headline),
        "",
        f"Built by edgecompile {report.edgecompile} from `{report.model.name}` ({report.model.format}, sha256",
        f"`{report.model.sha256}`). `report.html` has the whole story.",
        "",
        *firmware,
        *(_run_it(device_model, on="## On this machine" if firmware else "## Run it") if runs else _ON_TFLM),
        "## Inputs and outputs",
        "",
        "| | name | shape | dtype | scale | zero point |",
        "|---|---|---|---|---|---|",
    ]
    for side, tensors in (("in", report.inputs), ("out", report.outputs)):
        for t in tensors:
            scale, zero = ("–", "–") if t.scale is None else (f"{t.scale!r}", f"{t.zero_point}")
            lines.append(f"| {side} | `{t.name}` | {show_shape(t.shape)} | {t.dtype} | {scale} | {zero} |")
    lines += ["", "## Files", "", "| file | |", "|---|---|"]
    for name in sorted([*sizes, "README.md", "manifest.json"]):
        lines.append(f"| `{name}` | {_what(name, device_model, sizes, prefix)} |")
    return "\n".join(lines) + "\n"


def _run_it(device_model: str, *, on: str) -> tuple[str, ...]:
    return (
        on,
        "",
        "```sh",
        'pip install ai-edge-litert        # or, up to Python 3.11: pip install tflite-runtime==2.14.0 "numpy<2"',
        "python run.py --check             # replay the golden vectors: PASS and exit code 0, or FAIL and 1",
        "python run.py INPUT.npy           # one row or several, as they are before preprocessing; or an image",
        *(_ON_THE_EDGE_TPU if device_model.endswith("_edgetpu.tflite") else ()),
        "```",
        "",
        "```python",
        "from run import Model",
        "outputs = Model().predict(rows)   # preprocessing and quantization as io.json says",
        "```",
        "",
    )


def _what(name: str, device_model: str, sizes: Mapping[str, int], prefix: str) -> str:
    if name == "manifest.json":
        return "sha256 and size of every file, and what the bundle was made from"
    if name == device_model:
        return f"the model that the device loads, {show_bytes(sizes[name])}"
    if "_segment_" in name and name.endswith("_edgetpu.tflite"):
        return f"a further segment of the compiled model, for an Edge TPU of its own, {show_bytes(sizes[name])}"
    if name.endswith("_tail.tflite"):
        return f"what runs on the CPU behind the compiled model, {show_bytes(sizes[name])}"
    if name.endswith("_edgetpu.tflite"):
        return f"compiled together with the model, for the same Edge TPU, {show_bytes(sizes[name])}"
    if name.endswith(".tflite"):
        return "the model before it was compiled for the device: what `run.py` runs"
    if name.startswith("firmware/"):
        last = name.rpartition("/")[2].replace(".cpp", ".cc")  # Arduino's builder takes no .cc
        if name.endswith("example/CMakeLists.txt"):
            return "builds the example"
        return FIRMWARE.get(re.sub(rf"(^|_){prefix}(?=[._])", r"\1model", last), "source for the device")
    if name.endswith("_expected.log"):
        return "what the target's own compiler, which was not run, is expected to do; in the layout of its log"
    return FILES.get(name, "written by the target's own compiler")
