"""Models as Coral publishes them: boxes and key points are decoded on the host's CPU, in float."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from detector import POST_PROCESS, detector, pose

from edgecompile.cli.entry import run
from edgecompile.tflite.graph import read_graph


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(cache))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)


def built(content: bytes, *argv: str, target: str = "coral", code: int = 0) -> tuple[Path, Mapping[str, Any]]:
    """Build content; return the bundle and its report."""
    Path("net.tflite").write_bytes(content)
    assert run(["build", "net.tflite", "-t", target, *argv]) == code
    bundle = Path(f"out/net-{target}{'-FAILED' if code else ''}")
    return bundle, json.loads((bundle / "report.json").read_text("utf-8"))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("flags", [(), ("--float-io",)])
def test_a_detector_with_its_post_processing_passes(
    dtype: Literal["uint8", "int8"], flags: tuple[str, ...], tmp_path: Path
) -> None:
    bundle, report = built(detector(dtype), *flags)
    assert report["verdict"] == "pass"
    ends = read_graph(bundle / "net.tflite")
    assert [ends.tensors[i].dtype for i in (*ends.inputs, *ends.outputs)] == [dtype, *["float32"] * 4]
    said = {finding["rule"]: finding for finding in report["findings"]}
    assert POST_PROCESS in said["float-kept"]["what"]
    assert said["float-kept"]["consequence"].startswith("They run on the CPU")
    assert said["edgetpu-8-bit"]["remedy"].endswith("leave it to the CPU, as Coral's own detection models do")
    with np.load(bundle / "golden.npz") as golden:
        assert any(golden[name].dtype == np.float32 for name in golden.files)


def test_key_points_in_float_and_int32_pass() -> None:
    bundle, report = built(pose())
    assert report["verdict"] == "pass"
    ends = read_graph(bundle / "net.tflite")
    assert [ends.tensors[i].dtype for i in (*ends.inputs, *ends.outputs)] == ["uint8", "int32", "int8"]
    _, report = built(pose(), "--float-io")
    assert report["verdict"] == "pass"
    ends = read_graph(bundle / "net.tflite")
    assert [ends.tensors[i].dtype for i in ends.outputs] == ["int32", "float32"]


def test_a_float_detector_is_quantized_and_passes() -> None:
    np.savez("rows.npz", x=np.random.default_rng(0).normal(size=(100, 4, 4, 3)).astype(np.float32))
    _, report = built(detector("float32"), "--calibration", "rows.npz", "--float-io")
    assert report["verdict"] == "pass"
    _, lossy = built(detector("float32"), "--calibration", "rows.npz", code=1)
    (check,) = [check for check in lossy["checks"] if check["name"] == "float-ops"]
    assert check["detail"].startswith("Google Coral Edge TPU computes in integers only: QUANTIZE")
    assert check["remedy"] == "build with `--float-io`, which keeps what float ops give as it is"
    said = [finding for finding in report["findings"] if finding["rule"] == "op-float"]
    assert [finding["where"].split()[2] for finding in said] == [POST_PROCESS]


def test_float_ends_are_refused_where_the_model_has_none(capfd: pytest.CaptureFixture[str]) -> None:
    given = Path(__file__).parents[1] / "data" / "image_int8.tflite"
    Path("net.tflite").write_bytes(given.read_bytes())
    assert run(["build", "net.tflite", "-t", "coral", "--float-io"]) == 3
    assert "leave out --float-io" in capfd.readouterr().err


def test_an_op_that_litert_lacks_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    Path("net.tflite").write_bytes(detector(name="PosenetDecoderOp"))
    assert run(["build", "net.tflite", "-t", "coral"]) == 3
    assert "LiteRT has no custom op `PosenetDecoderOp`" in capfd.readouterr().err


def test_the_microcontroller_decodes_what_the_npu_leaves() -> None:
    _, report = built(detector("int8"), target="corstone-300-u55-128")
    said = {finding["rule"] for finding in report["findings"]}
    assert "float-kept" in said
    assert report["verdict"] == "pass"


def test_the_microcontroller_does_not_decode_uint8() -> None:
    """TFLite Micro's kernel looks at float32 only (tflite-micro, kernels/detection_postprocess.cc)."""
    _, report = built(detector("uint8"), target="corstone-300-u55-128", code=1)
    (said,) = [finding["what"] for finding in report["findings"] if finding["severity"] == "error"]
    assert said.startswith(f"{POST_PROCESS} is left to the CPU, and TensorFlow Lite Micro does not take it")
    assert "it fails on uint8 tensors" in said
