"""From a model to firmware sources, by the command line: verdicts, exit codes, and what the bundle holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.target import target_files
from edgecompile.tflite import tflm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not tflm.installed(), reason="TFLite Micro's interpreter is not installed"),
]
ROOT = Path(__file__).parent.parent.parent
KWS = ("--scale", "0.5847029", "--offset", "-48.5303407")


def some_rows(source: Path, out: Path, count: int) -> Path:
    with np.load(source) as data:
        np.savez(out, **{name: data[name][:count] for name in data.files})
    return out


def run(cache: Path, *argv: str | Path, targets: Path | None = None) -> tuple[int, str]:
    env = {**os.environ, "EDGECOMPILE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    if targets is not None:
        env["EDGECOMPILE_TARGETS"] = str(targets)
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile", *map(str, argv)], capture_output=True, text=True, env=env, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.tf
@pytest.mark.parametrize(
    ("model", "rows", "target", "floor", "extra"),
    [
        ("ic/pretrainedResnet.h5", "ic/cifar10_test_3000.npz", "nucleo-l4r5zi", 0.80, ()),
        ("kws/kws_ref_model", "kws/kws01_mfcc_int8_1000.npz", "arduino-nano-33-ble", 0.85, KWS),
    ],
)
def test_reference_models_pass_on_their_boards(
    edgecompile_data: Path, tmp_path: Path, model: str, rows: str, target: str, floor: float, extra: tuple[str, ...]
) -> None:
    data = some_rows(edgecompile_data / rows, tmp_path / "rows.npz", 600)
    code, said = run(
        tmp_path / "cache", "build", edgecompile_data / model, "-t", target, "--data", data, "-o", tmp_path, *extra,
        "--max-drop", "0.03",
    )  # fmt: skip
    assert code == 0, said
    (bundle,) = tmp_path.glob(f"*-{target}")
    report = json.loads((bundle / "report.json").read_text("utf-8"))
    assert report["verdict"] == "pass"
    assert report["accuracy"]["kernels"] == "tflm"
    assert report["accuracy"]["result_score"]["value"] >= floor
    memory = report["backend"]["memory"]
    assert memory["plan"]["gap_bytes"] == 0
    assert memory["plan"]["bytes"] == memory["plan"]["bound_bytes"]
    assert report["libraries"]["tflite-micro"]
    sources = {p.name for p in (bundle / "firmware").iterdir()}
    assert sources >= {"model_data.cc", "model_data.h", "model_ops.h", "model_config.h", "model_io.h", "model_golden.h"}
    config = (bundle / "firmware" / "model_config.h").read_text("utf-8")
    assert f"#define MODEL_ARENA_BYTES {memory['arena_bytes']}u" in config
    (device,) = bundle.glob("*_micro.tflite")
    data_cc = (bundle / "firmware" / "model_data.cc").read_text("utf-8")
    assert f"model_data_size = {device.stat().st_size};" in data_cc


def test_too_little_memory_exits_1_and_says_what_would_fit(edgecompile_data: Path, tmp_path: Path) -> None:
    board = target_files()["arduino-nano-33-ble"].read_text("utf-8")
    small = board.replace("sram_bytes = 262_144", "sram_bytes = 110_592", 1)
    small = small.replace("flash_bytes = 1_048_576", "flash_bytes = 155_648", 1)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "small-board.toml").write_text(small, "utf-8")
    rows = some_rows(edgecompile_data / "kws/kws01_mfcc_int8_1000.npz", tmp_path / "rows.npz", 200)
    code, said = run(
        tmp_path / "cache", "build", edgecompile_data / "kws/kws_ref_model.tflite", "-t", "small-board",
        "--data", rows, "-o", tmp_path, *KWS, targets=tmp_path / "targets",
    )  # fmt: skip
    assert code == 1, said
    words = " ".join(said.split())
    report = json.loads((tmp_path / "kws_ref_model-small-board-FAILED" / "report.json").read_text("utf-8"))
    checks = {check["name"]: check for check in report["checks"]}
    for name, limit in (("arena", 110_592 - 98_304), ("model-size", 155_648 - 131_072)):
        check = checks[name]
        assert check["limit"] == limit
        assert f"{check['actual'] - limit:,.0f} bytes too much" in words
        assert "targets that would fit: arduino-nano-33-ble" in check["remedy"]
    assert "of the values there are left, by a smaller input, or by fewer channels" in words
    assert "(pass `cluster`) with --option look_up_tables=true: " in words


def test_the_same_build_gives_the_same_bytes(edgecompile_data: Path, tmp_path: Path) -> None:
    rows = some_rows(edgecompile_data / "kws/kws01_mfcc_int8_1000.npz", tmp_path / "rows.npz", 100)
    trees, model = [], edgecompile_data / "kws/kws_ref_model.tflite"
    for name in ("one", "two"):
        code, said = run(
            tmp_path / f"cache-{name}", "build", model, "-t", "raspberry-pi-pico",
            "--data", rows, "-o", tmp_path / name, *KWS, "--max-drop", "1",
        )  # fmt: skip
        assert code == 0, said
        bundle = tmp_path / name / "kws_ref_model-raspberry-pi-pico"
        trees.append({p.relative_to(bundle): p.read_bytes() for p in bundle.rglob("*") if p.is_file()})
    assert trees[0] == trees[1]


@pytest.mark.parametrize("target", ["nucleo-l4r5zi", "corstone-300-u55-128"])
def test_a_model_that_tflite_micro_alone_runs(edgecompile_data: Path, tmp_path: Path, target: str) -> None:
    """Its int8 states make LiteRT write beyond them; nothing but TFLite Micro runs it, here or on the device."""
    if target.startswith("corstone"):
        pytest.importorskip("ethosu.vela")
    model = edgecompile_data / "micro" / "keyword_scrambled_8bit.tflite"
    code, said = run(tmp_path / "cache", "build", model, "-t", target, "-o", tmp_path, "--layout", "zephyr")
    assert code == 0, said
    bundle = tmp_path / f"keyword_scrambled_8bit-{target}"
    assert json.loads((bundle / "golden.json").read_text("utf-8"))["kernels"] == "tflm"
    assert (bundle / "firmware" / "edgecompile_model" / "zephyr" / "module.yml").is_file()
    code, said = run(tmp_path / "cache", "verify", bundle)
    assert code == 0, said
    done = subprocess.run(
        [sys.executable, "run.py", "--check"], cwd=bundle, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "runs on TFLite Micro alone" in done.stderr
    assert "TFLite Micro does" in (bundle / "README.md").read_text("utf-8")
