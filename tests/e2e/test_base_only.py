"""With only the base installed, in an environment that has no TensorFlow: everything after `convert` works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, SAMPLES

pytestmark = [pytest.mark.slow]

_PREPROCESS = ["--scale", "0.5847029", "--offset", "-48.5303407"]
"""KWS rows are stored as int8 of this scale and zero point 83: (x - 83) * 0.5847029."""


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with edgecompile and its base dependencies alone."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), "--editable", str(ROOT)], check=True)
    return python


def _run(python: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(python), "-m", "edgecompile", *map(str, arguments)],
        env={**env, "EDGECOMPILE_CACHE": str(folder / "cache"), "CI": "true"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_is_no_tensorflow(base_python: Path) -> None:
    done = subprocess.run([str(base_python), "-c", "import tensorflow"], capture_output=True, text=True, check=False)
    assert "No module named 'tensorflow'" in done.stderr


def test_a_keras_model_asks_for_the_extra_and_writes_nothing(base_python: Path, tmp_path: Path) -> None:
    done = _run(base_python, tmp_path, "build", SAMPLES / "digits-cnn" / "model.keras", "-t", "coral", "--json")
    assert done.returncode == 5, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert 'pip install "edgecompile[tensorflow]"' in error["problems"][0]["hint"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["coral", "linux-x86_64"])
def test_float_tflite_files_build(base_python: Path, tmp_path: Path, edgecompile_data: Path, target: str) -> None:
    kws = edgecompile_data / "kws"
    model, data = kws / "kws_ref_model_float32.tflite", kws / "kws01_mfcc_int8_1000.npz"
    done = _run(base_python, tmp_path, "build", model, "-t", target, "--data", data, *_PREPROCESS, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)["results"][0]["report"]
    assert report["accuracy"]["float_score"]["value"] > 0.88
    assert "tensorflow" not in report["libraries"]


def test_reference_int8_files_are_verified(base_python: Path, tmp_path: Path, edgecompile_data: Path) -> None:
    kws, ic = edgecompile_data / "kws", edgecompile_data / "ic"
    rows = {
        kws / "kws_ref_model.tflite": (kws / "kws01_mfcc_int8_1000.npz", _PREPROCESS, 0.89),
        ic / "pretrainedResnet_quant.tflite": (ic / "cifar10_test_3000.npz", [], 0.86),
    }
    for model, (data, preprocess, least) in rows.items():
        done = _run(base_python, tmp_path, "build", model, "-t", "linux-x86_64", "--data", data, *preprocess, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout)["results"][0]
        assert result["report"]["accuracy"]["result_score"]["value"] > least
        checked = _run(base_python, tmp_path, "verify", result["path"], "--data", data, "--json")
        assert checked.returncode == 0, checked.stdout + checked.stderr
