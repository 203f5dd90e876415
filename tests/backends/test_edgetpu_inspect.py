"""`edgecompile inspect`: compiled models taken apart, others planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from darwinn import compile_by_hand, packed

from edgecompile.cli.entry import run

SOURCE = Path(__file__).parent.parent / "data" / "image_int8.tflite"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    file = tmp_path / "image_edgetpu.tflite"
    file.write_bytes(compile_by_hand(SOURCE, inside=3, options=packed((2, 0, 4096), (1, 3000, 512), runtime=13)))
    return file


def said(capfd: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert run(["inspect", *(str(a) for a in argv)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_a_compiled_model(compiled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [" ".join(line.split()) for line in said(capfd, compiled).splitlines()]
    assert lines[0] == "image_edgetpu.tflite compiled for the Edge TPU, 1 subgraph"
    for expected in (
        "runtime, from 13",
        "compiler cl/1",
        "chip beagle",
        "programs execution only, parameter caching",
        "instructions 4,608 B (4.5 KiB)",
        "parameters kept on the chip 3,000 B (2.9 KiB)",
        "parameters sent at every inference 0 B",
        "activations on a tile, at most 832 B",
        "1 ops on the CPU",
    ):
        assert expected in lines
    assert any(line.startswith("SOFTMAX ") for line in lines)


def test_with_its_source_the_ops_inside_are_counted_and_compared(
    compiled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = said(capfd, compiled, "--source", SOURCE)
    assert "3 of the source's 4 ops are on the Edge TPU, 4 expected" in out
    assert "not as expected: SOFTMAX → " in out
    assert out.rstrip().endswith("on the CPU")


def test_compiled_in_json(compiled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads(said(capfd, compiled, "--source", SOURCE, "--json"))
    assert (document["compiled"], document["model"]) == (True, str(compiled))
    (chip,) = document["chips"]
    assert (chip["min_runtime_version"], chip["cached_bytes"], chip["unreadable"]) == (13, 3000, "")
    assert [left["op"] for left in document["on_cpu"]] == ["SOFTMAX"]
    assert (document["compared"]["ops"], document["compared"]["inside"]) == (4, 3)
    assert document["compared"]["unsure"] == ""


def test_a_custom_op_that_cannot_be_read_is_said_to_be_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "odd.tflite"
    file.write_bytes(compile_by_hand(SOURCE, inside=4, options=b"something else"))
    out = said(capfd, file)
    assert "no DWN1 package in it" in out
    assert "runtime, from" not in out
    assert "no ops on the CPU" in out


def test_another_model_is_planned(capfd: pytest.CaptureFixture[str]) -> None:
    out = said(capfd, SOURCE)
    assert "not compiled; what edgetpu_compiler is expected to do" in out
    assert "Number of operations that will run on Edge TPU: 4\nNumber of operations that will run on CPU: 0\n" in out
    rows = [line.split(None, 2) for line in out.splitlines() if line.endswith("Mapped to Edge TPU")]
    assert [row[:2] for row in rows] == [["CONV_2D", "1"], ["FULLY_CONNECTED", "1"], ["RESHAPE", "1"], ["SOFTMAX", "1"]]
    assert "4 of 4 ops expected on the Edge TPU, 100.0% of the multiply-accumulates" in out
    assert "parameters kept on the chip: " in out


def test_findings_of_a_planned_model(capfd: pytest.CaptureFixture[str]) -> None:
    out = said(capfd, SOURCE.with_name("image_float.tflite"))
    assert "error edgetpu-quantized" in out
    assert "do: use `--recipe int8`" in out


def test_planned_in_json(capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads(said(capfd, SOURCE.with_name("image_int8_float_io.tflite"), "--json", "-a"))
    assert document["compiled"] is False
    assert document["edgetpu"]["ops_on_edge_tpu"] == 4
    assert document["edgetpu"]["how"] == "modelled"
    assert [f["rule"] for f in document["findings"]] == ["edgetpu-integer-io"]


def test_a_source_for_a_model_that_is_not_compiled(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(SOURCE), "--source", str(SOURCE)]) == 2
    assert "there is nothing to compare with --source" in capfd.readouterr().err


def test_no_such_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tmp_path / "none.tflite")]) == 3
    assert "no such file" in capfd.readouterr().err


def test_a_real_pair(edgecompile_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = edgecompile_data / "edgetpu"
    name = "deeplabv3_mnv2_dm05_pascal_quant"
    out = said(capfd, folder / f"{name}_edgetpu.tflite", "--source", folder / f"{name}.tflite")
    assert "64 of the source's 72 ops are on the Edge TPU, 64 expected" in out
    assert "not as expected" not in out
    assert "not certain" not in out
