"""The same bytes on every processor: builds five models under emulated processors and natively, and compares all files.

    EDGECOMPILE_DATA=folder python benchmarks/processors.py [PROCESSOR …]

qemu-user (`qemu-x86_64 -cpu NAME`) stands for processors that this machine is not. Every Python process of a build is
emulated, the children too: `sys.executable` is a script that starts the interpreter under qemu, and each process notes
the instruction sets that numpy sees; the last column counts them. TensorFlow's wheels need AVX: processors without it
start from the float `.tflite`, and so does one of two native builds. qemu 7.2 has no AVX-512; a native build has it
where the machine does. Rows are few, since emulation is 50 to 100 times slower.

With PROCESSORS_KEEP=folder the bundles are kept there. Ends with exit code 1 where two bundles of one model differ in
any file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SAMPLES = Path(__file__).parents[1] / "sample_models"
DATA = Path(os.environ.get("EDGECOMPILE_DATA", ""))

PROCESSORS = {
    "Nehalem": False,  # SSE4.2
    "SandyBridge": True,  # AVX
    "Haswell": True,  # AVX2, FMA
    "EPYC": True,  # AVX2, FMA, another maker and other caches
}
"""Name for qemu → whether it has AVX."""

CALIBRATION, VALIDATION = 12, 24
"""Rows; a bundle's content depends on every one of them."""

_NOTE = """
import atexit, os, sys
def _note():
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        sets = sys.modules["numpy._core._multiarray_umath"].__cpu_features__
        seen = [name for name in ("SSE42", "AVX", "AVX2", "FMA3", "AVX512F") if sets.get(name)]
        with open(os.environ["PROCESSORS_SEEN"], "a") as file:
            file.write(" ".join(seen) + "\\n")
if "PROCESSORS_SEEN" in os.environ:
    atexit.register(_note)
"""
"""Runs in every process, from `sitecustomize.py` on its path."""


def models(work: Path) -> dict[str, tuple[Path, list[str]]]:
    """Return name → model and arguments of its build, on few rows that are written below work."""
    found = {}
    for name, model, scale in (
        ("digits-cnn", "model.keras", ["--scale", "0.0625", "-t", "coral"]),
        ("digits-lstm", "model.h5", ["--scale", "0.0625", "-t", "linux-x86_64"]),
        ("pump-autoencoder", "model.h5", ["--mean=-20", "--std", "13", "--metric", "auc", "-t", "raspberry-pi-4"]),
    ):
        folder = SAMPLES / name
        rows = _few(work / name, folder / "validation.npz", folder / "calibration.npz")
        found[name] = (folder / model, [*rows, *scale])
    ic = _few(work / "ic", DATA / "ic/cifar10_test_3000.npz", DATA / "ic/cifar10_train_5000.npz")
    found["ic"] = (DATA / "ic/pretrainedResnet.tflite", [*ic, "-t", "linux-x86_64"])
    clips = DATA / "kws/kws01_mfcc_int8_1000.npz"
    kws = [*_few(work / "kws", clips, clips), "--scale", "0.5847029", "--offset=-48.5303407", "-t", "linux-x86_64"]
    found["kws"] = (DATA / "kws/kws_ref_model_float32.tflite", kws)
    return found


def _few(folder: Path, validation: Path, calibration: Path) -> list[str]:
    """Write few rows of both, evenly taken; return the arguments that name them."""
    folder.mkdir(parents=True)
    for role, path, count in (("validation", validation, VALIDATION), ("calibration", calibration, CALIBRATION)):
        with np.load(path, allow_pickle=False) as held:
            rows = {key: held[key] for key in held.files if key in ("x", "y", "groups")}
        length = len(next(iter(rows.values())))
        some = np.linspace(0, length - 1, count).astype(int)
        np.savez(folder / f"{role}.npz", **{key: values[some] for key, values in rows.items()})
    return ["--data", str(folder / "validation.npz"), "--calibration", str(folder / "calibration.npz")]


def emulated(processor: str, work: Path) -> Path:
    """Return a Python that runs, and starts its children, on processor: a virtual environment beside this one."""
    home = work / processor
    (home / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", home)
    (home / "lib").symlink_to(Path(sys.prefix) / "lib")
    python = home / "bin" / "python"
    real = Path(sys.executable).resolve()
    python.write_text(f'#!/bin/sh\nexec qemu-x86_64 -cpu {processor} -0 {python} {real} "$@"\n')
    python.chmod(0o755)
    return python


def build(python: Path, model: Path, arguments: list[str], work: Path) -> tuple[dict[str, str], set[str], int]:
    """Return file → sha256 of a bundle, the instruction sets that its processes saw, and how many processes."""
    work.mkdir(parents=True)
    (work / "sitecustomize.py").write_text(_NOTE)
    environment = {
        **os.environ,
        "EDGECOMPILE_CACHE": str(work / "cache"),
        "PROCESSORS_SEEN": str(work / "seen"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(work), os.environ.get("PYTHONPATH")])),
    }
    argv = [str(python), "-m", "edgecompile", "build", str(model), *arguments, "--name", "model"]
    done = subprocess.run(
        [*argv, "--max-drop", "1", "--out", str(work / "out")],
        env=environment,
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    (bundle,) = (work / "out").iterdir()
    files = {str(p.relative_to(bundle)): p for p in sorted(bundle.rglob("*")) if p.is_file()}
    seen = (work / "seen").read_text().splitlines()
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()}, set(seen), len(seen)


def main(chosen: list[str]) -> int:
    """Print a table of digests; return 1 where two bundles of one model differ."""
    differing = 0
    with tempfile.TemporaryDirectory(prefix="processors-") as name:
        work = Path(name)
        pythons = {"native": Path(sys.executable)} | {p: emulated(p, work) for p in chosen or PROCESSORS}
        every = models(work)
        floats = {model: _float(model, *how, work) for model, how in every.items()}
        jobs = [(model, "float .tflite", floats[model], how[1]) for model, how in every.items()]
        jobs += [(model, "source", *how) for model, how in every.items() if how[0] != floats[model]]
        print("| model | from | processor | sha256 of the bundle | files that differ | processes, instruction sets |")
        print("|---|---|---|---|---|---|", flush=True)
        for model, start, path, arguments in jobs:
            first: dict[str, str] | None = None
            for processor, python in pythons.items():
                if start == "source" and not PROCESSORS.get(processor, True):
                    continue
                folder = work / f"{model}-{start.split()[0]}-{processor}"
                files, sets, count = build(python, path, arguments, folder)
                first = first or files
                differ = sorted(f for f in first.keys() | files.keys() if first.get(f) != files.get(f))
                differing += len(differ)
                whole = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
                told = f"{count}, {'; '.join(sorted(sets))}"
                print(
                    f"| {model} | {start} | {processor} | {whole} | {', '.join(differ) or '–'} | {told} |", flush=True
                )
                if keep := os.environ.get("PROCESSORS_KEEP"):
                    shutil.copytree(folder / "out", Path(keep) / folder.name, dirs_exist_ok=True)
    print("all bundles are identical" if not differing else f"{differing} files differ")
    return 1 if differing else 0


def _float(model: str, source: Path, arguments: list[str], work: Path) -> Path:
    """Return the float `.tflite` of source, made natively."""
    if source.suffix == ".tflite":
        return source
    folder = work / f"{model}-float"
    at = arguments.index("-t")
    build(Path(sys.executable), source, [*arguments[:at], "-t", "linux-x86_64", "--recipe", "float32"], folder)
    (found,) = (folder / "out").rglob("*.tflite")
    return Path(shutil.copy(found, work / f"{model}.tflite"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
