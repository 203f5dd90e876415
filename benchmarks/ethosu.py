"""Every Ethos-U target on real int8 models: what runs on the NPU, memory, modelled time; what compression gains.

    EDGECOMPILE_DATA=… python benchmarks/ethosu.py [TARGET …]

Memory is in bytes. “Vela” is its own figure for the memory that holds the arena, “arena” what is counted in the file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Compiled
from edgecompile.target import Target, load_target, target_files
from edgecompile.tflite.lighter import VALUES, few_values, half_zeros, with_weights

MODELS = (
    "ic/pretrainedResnet_quant",
    "kws/kws_ref_model",
    "micro/hello_world_int8",
    "micro/micro_speech_quantized",
    "micro/keyword_scrambled_8bit",
    "micro/trained_lstm_int8",
    "micro/audio_preprocessor_int8",
)


def compiled(model: Path, target: Target) -> tuple[Compiled, float]:
    """Return what the backend makes of model (its figures: the files are gone), and how many seconds it takes."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        made = BACKENDS["ethosu"].compile(Artifact.of(model, Kind.TFLITE), target, name="net", out=Path(folder))
        return made, time.monotonic() - began


def table(data: Path, targets: list[str]) -> None:
    print(f"{'model':24} {'target':24} {'ops on NPU':>10} {'Vela':>9} {'arena':>9} {'file':>9} {'ms':>8} {'takes':>6}")
    for name in MODELS:
        for target_name in targets:
            made, seconds = compiled(data / f"{name}.tflite", load_target(target_name))
            known = made.extra["ethosu"]
            counted = {row["what"]: row["bytes"] for row in made.extra["ethosu_counted"]}
            arena = counted["the tensor arena: tensors, buffers, structures"]
            memory = {row["memory"]: row["bytes"] for row in made.extra["ethosu_memory"]}
            ok = all(check.ok for check in made.checks)
            print(
                f"{Path(name).name:24} {target_name:24} {known['ops_on_npu']:>4} of {known['ops']:<3} "
                f"{memory.get('SRAM', 0):>9,} {arena:>9,} {counted['the compiled model file']:>9,} "
                f"{1000 * known['npu_seconds']:>8.3f} {seconds:>5.1f}s{'' if ok else '  does not fit'}"
            )


def compression(data: Path) -> None:
    """Print what Vela's weights take as they are, with few values, and with zeros."""
    target = load_target("corstone-300-u55-128")
    print(f"\nweights of ResNet8 as Vela stores them, bytes ({target.title})")
    source = data / "ic" / "pretrainedResnet_quant.tflite"
    kinds = {"as trained": lambda codes: codes, f"{VALUES} values a kernel": few_values, "half zeros": half_zeros}
    for what, change in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "changed.tflite"
            file.write_bytes(with_weights(source, change))
            made, _ = compiled(file, target)
        counted = {row["what"]: row["bytes"] for row in made.extra["ethosu_counted"]}
        print(f"  {what:20} {counted['weights as Vela stores them']:>9,}")


def main() -> None:
    """Run."""
    data = os.environ.get("EDGECOMPILE_DATA")
    if not data:
        sys.exit("set EDGECOMPILE_DATA to the folder of real models")
    own = [name for name in sorted(target_files()) if load_target(name).backend == "ethosu"]
    table(Path(data), sys.argv[1:] or own)
    compression(Path(data))


if __name__ == "__main__":
    main()
