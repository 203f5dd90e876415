"""Every command of the README is run, in the order of the page, and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.target import shipped

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")
NOT_HERE = {"pip", "make"}
"""Programs that install things: `make demo` and `make test` are run by whoever releases."""

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def steps() -> list[tuple[str, str]]:
    """Return (command, the output that the page shows; empty: none is shown) of every command of the page."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return [(command, output) for command, output in found if shlex.split(command)[0] not in NOT_HERE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: one trained model in every format that the page names, and its data in every form."""
    here = tmp_path_factory.mktemp("readme")
    sample = shipped("sample_models") / "digits-cnn"
    shutil.copy(sample / "model.keras", here / "model.keras")
    for name, source in (("val", "validation"), ("train", "calibration")):
        with np.load(sample / f"{source}.npz") as data:
            np.savez(here / f"{name}.npz", x=(data["x"] / 16).astype(np.float32), y=data["y"])
    with np.load(sample / "validation.npz") as data:
        photos(here / "photos", data["x"], data["y"])
    export = (
        "import keras; model = keras.saving.load_model('model.keras'); model.save('model.h5'); "
        "model.export('saved_model', verbose=False)"
    )
    run([sys.executable, "-c", export], here)
    run(edgecompile("build model.keras -t linux-x86_64 --recipe float32 --out float"), here)
    shutil.copy(here / "float" / "model-linux-x86_64" / "model.tflite", here / "model.tflite")
    return here


def photos(folder: Path, pixels: np.ndarray, classes: np.ndarray) -> None:
    """Write grey images whose x / 127.5 - 1 is what the model was trained on: 0..16 becomes 127.5..255."""
    import PIL.Image

    for number, (image, label) in enumerate(zip(pixels.reshape(len(pixels), 8, 8), classes.ravel(), strict=True)):
        file = folder / str(int(label)) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.round(127.5 + image * (127.5 / 16)).astype(np.uint8)).save(file)


def edgecompile(arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgecompile", *shlex.split(arguments)]


def run(argv: list[str], folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EDGECOMPILE_CACHE": str(folder / "cache"), "CI": "true"}
    env["COLUMNS"] = "100"  # readline, which pytest's debugger imports, puts 80 into the environment of its process
    env.pop("EDGETPU_COMPILER", None)
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def comparable(text: str) -> str:
    """Return text without what differs by machine: seconds, and rounding errors of floats."""
    return re.sub(r"\d\.\d+e-\d+", "N", re.sub(r"\d+(\.\d+)? s\b", "N s", text)).strip()


@pytest.mark.parametrize(("command", "output"), steps(), ids=lambda text: text[:60])
def test_command(command: str, output: str, folder: Path, update_golden: bool) -> None:
    program, _, arguments = command.partition(" ")
    assert program == "edgecompile"
    said = run(edgecompile(arguments), folder)
    if output and update_golden:
        page = ROOT / "README.md"
        page.write_text(page.read_text("utf-8").replace(output, said), "utf-8")
    elif output:
        assert comparable(said) == comparable(output)


def test_python_example(folder: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert run([sys.executable, "-c", example], folder).startswith("pass ")
