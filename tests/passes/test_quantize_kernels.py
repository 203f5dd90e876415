"""Quantize: kernel sets that compute an op wrong are found, named, and kept out of golden vectors and measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nets
import numpy as np
import pytest
from test_quantize import DATA, quantize
from test_quantize_scales import reduced

from edgecompile.backends.base import Runnable
from edgecompile.tflite import fidelity
from edgecompile.tflite.agreement import disagreements, random_rows
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.interpreter import KERNELS
from edgecompile.verify import KernelSets, kernel_sets

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_kernel_set_that_computes_an_op_wrong_is_named(scheme: str, tmp_path: Path) -> None:
    outcome = quantize(nets.written(reduced("SUM"), tmp_path), tmp_path / "out", scheme=scheme)
    assert outcome.facts["kernels"] == "xnnpack, builtin, reference"
    assert outcome.facts["wrong_kernels"] == "reference"
    (finding,) = outcome.findings
    assert finding.rule == "kernels-differ"
    assert "reference kernels compute SUM wrong" in finding.what
    assert finding.where == "op 1 SUM (sum1)"


def test_an_integer_model_that_was_brought_along_is_tried_too(tmp_path: Path) -> None:
    made = quantize(nets.written(reduced("SUM"), tmp_path), tmp_path / "made").artifact.path
    given = quantize(made, tmp_path / "given")
    assert given.facts["already_quantized"]
    assert given.facts["wrong_kernels"] == "reference"
    assert [f.rule for f in given.findings] == ["kernels-differ"]


def test_kernels_that_only_round_otherwise_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecompile.tflite.agreement._SAME_DB", 1000.0)  # look at every op
    for source in (nets.written(nets.residual(), tmp_path), DATA / "lstm.tflite", DATA / "two_inputs.tflite"):
        model = quantize(source, tmp_path / source.stem).artifact.path
        assert disagreements(model, random_rows(read_graph(model)), KERNELS) == ()


def test_ratios_of_signal_to_noise() -> None:
    one, nothing, bad = np.ones((2, 3)), np.zeros((2, 3)), np.full((2, 3), np.nan)
    assert fidelity.sqnr_db([one], [one * 1.1]) == pytest.approx(20)
    assert fidelity.sqnr_db([one, one], [one * 1.1, one * 1.01]) == pytest.approx(20)
    assert fidelity.sqnr_db([one], [one]) == pytest.approx(300)
    assert fidelity.sqnr_db([one], [bad]) == fidelity.NOISE_DB
    assert fidelity.sqnr_db([nothing, bad], [one, one]) == 0.0


def test_which_kernels_stand_for_a_device() -> None:
    given = Runnable(model=Path("m.tflite"), kernels="reference", fidelity="on reference kernels")
    assert kernel_sets([{"layers": 2}]).instead(given) == given
    assert KernelSets(("builtin", "reference")).instead(given) == given
    wrong = kernel_sets([{"kernels": "tflm"}, {"kernels": "xnnpack, builtin, reference", "wrong_kernels": "reference"}])
    assert (wrong.golden, wrong.instead(given).kernels) == ("builtin", "builtin")
    assert "reference kernels, which compute an op of it wrong" in wrong.instead(given).fidelity
    absent = KernelSets(("xnnpack", "builtin"))
    assert "which do not run it" in absent.instead(given).fidelity
    on_device = given.model_copy(update={"kernels": "xnnpack"})
    assert KernelSets(("xnnpack", "builtin"), ("xnnpack",)).instead(on_device) == on_device
    assert KernelSets(("tflm",)).golden == "tflm"


@pytest.mark.slow
@pytest.mark.parametrize("op", ["SUM", "ELU"])
def test_bundles_are_measured_and_replayed_on_kernels_that_are_right(op: str, tmp_path: Path) -> None:
    content = reduced("SUM", "LEAKY_RELU") if op == "SUM" else nets.chain(op)
    source = nets.written(content, tmp_path)
    rows = np.random.default_rng(0).normal(size=(240, 6, 6, 3)).astype(np.float32)
    (wanted,) = fidelity.real_outputs(source, fidelity.Dataset(inputs={"*": rows}), "builtin")
    np.savez(tmp_path / "rows.npz", x=rows, y=wanted.astype(np.float32))
    argv = ["build", source, "-t", "coral", "--data", tmp_path / "rows.npz", "--metric", "mae", "--max-drop", "1"]
    assert run(tmp_path, *argv, "-o", tmp_path / "out")[0] == 0
    (bundle,) = (tmp_path / "out").iterdir()
    golden, report = (json.loads((bundle / f"{name}.json").read_text("utf-8")) for name in ("golden", "report"))
    assert golden["kernels"] == report["accuracy"]["kernels"] == "builtin"
    assert "built-in kernels" in golden["source"]
    assert "built-in kernels instead" in report["accuracy"]["fidelity"]
    assert report["accuracy"]["result_score"]["value"] < 0.03 * float(np.ptp(wanted))
    done = subprocess.run([sys.executable, bundle / "run.py", "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, "PASS" in done.stdout) == (0, True)
    code, said = run(tmp_path, "verify", bundle, "--data", tmp_path / "rows.npz")
    assert code == 0, said


def run(folder: Path, *argv: object) -> tuple[int, str]:
    env = {**os.environ, "EDGECOMPILE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile", *map(str, argv)], capture_output=True, text=True, env=env, check=False
    )
    return done.returncode, done.stdout + done.stderr
