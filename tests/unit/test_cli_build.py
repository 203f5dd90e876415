"""`build`, `verify` and the Python interface on a tiny model, the real pipeline below them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel

import edgecompile
from edgecompile.cli.entry import run
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError
from edgecompile.target import target_files
from edgecompile.tflite.runner import predict

MODEL = Path(__file__).parents[1] / "data" / "image_float.tflite"
PAGE = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, rows that it classifies right, rows with labels drawn by lot, and rows of other scales."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(MODEL, folder / "model.tflite")
    random = np.random.default_rng(1)
    rows = random.uniform(-1, 1, (120, 6, 5, 2)).astype(np.float32)
    (scores,) = predict(MODEL, Dataset({"*": rows}), kernels="reference").values()
    np.savez(folder / "val.npz", x=rows, y=scores.argmax(axis=1))
    np.savez(folder / "drawn.npz", x=rows, y=random.integers(0, 4, len(rows)))
    mixed = np.where(random.random(len(rows)) < 0.7, scores.argmax(axis=1), random.integers(0, 4, len(rows)))
    np.savez(folder / "mixed.npz", x=rows, y=mixed)
    np.savez(folder / "small.npz", x=rows / 100, y=scores.argmax(axis=1))
    np.savez(folder / "pixels.npz", x=np.round((rows + 1) * 127.5).astype(np.uint8), y=scores.argmax(axis=1))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _here(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "120")


def built(*argv: str, out: Path, code: int = 0) -> None:
    assert run(["build", "model.tflite", "--out", str(out), *argv]) == code


def test_verdict_on_stdout_progress_on_stderr_chatter_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], cache: Path
) -> None:
    log = tmp_path / "log"
    built("-t", "linux-x86_64", "--data", "val.npz", "-v", "--log", str(log), out=tmp_path)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("linux-x86_64: ")
    bundle = tmp_path / "model-linux-x86_64"
    assert f"  bundle  {bundle}" in lines
    assert f"  report  {bundle / 'report.html'}" in lines
    assert f"  log     {log}" in lines
    assert (bundle / "report.html").is_file()
    assert [line.split("  ")[0] for line in err.splitlines()][:3] == ["data", "intake", "quantize"]
    assert "XNNPACK" in log.read_text("utf-8")
    assert "XNNPACK delegate" not in out + err


def test_a_missed_gate_is_the_first_line_and_exit_code_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "linux-x86_64", "--data", "mixed.npz", "--min", "0.99", out=tmp_path, code=1)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("linux-x86_64: missed accuracy-min: ")
    assert f"  bundle  {tmp_path / 'model-linux-x86_64-FAILED'}" in lines


def test_near_chance_is_a_verdict_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "linux-x86_64", "--data", "drawn.npz", out=tmp_path, code=1)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("linux-x86_64: not proven: the float model scores ")
    bundle = tmp_path / "model-linux-x86_64-NOT-PROVEN"
    assert f"  bundle  {bundle}" in lines
    assert json.loads((bundle / "report.json").read_text("utf-8"))["verdict"] == "not-proven"
    assert "Not proven</strong>" in (bundle / "report.html").read_text("utf-8")
    assert "**NOT PROVEN: do not deploy this**" in (bundle / "README.md").read_text("utf-8")
    assert verified(capfd, str(bundle))["exit_code"] == 1
    built("-t", "linux-x86_64", "--data", "drawn.npz", "--allow-chance", out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model-linux-x86_64"]


def test_the_preprocessing_that_was_forgotten_is_in_the_first_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built("-t", "linux-x86_64", "--data", "pixels.npz", out=tmp_path, code=1)
    first, *others = capfd.readouterr().out.splitlines()
    assert first.startswith("linux-x86_64: not proven: ")
    assert "set scale = 0.00784314, offset = -1 (-1..1): some rows then score " in first
    assert not any("set scale = 0.00784314" in line for line in others), "said once"


def test_calibration_in_another_range_is_the_first_cause_that_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["-t", "linux-x86_64", "--data", "val.npz", "--calibration", "small.npz"]
    built(*argv, out=tmp_path, code=1)
    first, *others = capfd.readouterr().out.splitlines()
    assert first.startswith("linux-x86_64: missed accuracy-drop: ")
    assert "points → likely cause: calibration values span " in first
    assert first.index("likely cause") < first.index("if that is not it, try ")
    assert not any("quantize.ranges" in line for line in others), "said once"


def test_a_build_can_fail_on_warnings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["-t", "linux-x86_64", "--data", "val.npz"]
    built(*argv, "--fail-on", "warning", out=tmp_path, code=1)
    assert (
        "missed warnings: findings of severity warning, 3, must be 0 (data-calibration-few, data-validation-few, "
        in capfd.readouterr().out
    )
    built(*argv, "--fail-on", "warnings", out=tmp_path, code=2)
    assert "gate.fail_on" in capfd.readouterr().err


def test_json_is_as_documented(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "coral", "-t", "ios", "--data", "val.npz", "--json", out=tmp_path)
    document = json.loads(capfd.readouterr().out)
    example = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    assert document.keys() == example.keys()
    assert document["exit_code"] == 0
    assert [r["target"] for r in document["results"]] == ["coral", "ios"]
    for result in document["results"]:
        assert result.keys() == example["results"][0].keys()
        assert result["report"] == json.loads((Path(result["path"]) / "report.json").read_text("utf-8"))


def test_several_targets_end_in_a_summary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "coral", "-t", "ios", "--data", "val.npz", out=tmp_path)
    *_, head, coral, ios = capfd.readouterr().out.splitlines()
    assert head.split() == ["target", "verdict", "metric", "drop", "size"]
    assert coral.split()[:2] == ["coral", "pass"]
    assert ios.split()[:2] == ["ios", "pass"]


def test_every_problem_is_reported_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["-t", "corel", "--data", "vall.npz", "--scale", "a", "--min", "b", "--metric", "top"]
    built(*argv, out=tmp_path / "out", code=2)
    err = capfd.readouterr().err
    assert err.startswith("5 problems:\n1. `a` cannot be read\n   where: --scale\n")
    assert "2. `b` cannot be read\n   where: --min\n" in err
    assert "did you mean `coral`?" in err
    assert "vall.npz" in err
    assert "did you mean `top5`?" in err
    assert not (tmp_path / "out").exists()


def test_a_wrong_flag_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "coral", "--seed", "x", out=tmp_path / "out", code=2)
    assert capfd.readouterr().err == (
        "error: `x` cannot be read\n   where: --seed\n   hint:  give a whole number such as 0 or 42\n"
    )
    assert not (tmp_path / "out").exists()


def test_without_a_target_the_targets_are_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built(out=tmp_path, code=2)
    err = capfd.readouterr().err
    assert "error: no target given\n" in err
    assert "--target" in err
    assert ", ".join(sorted(target_files())) in err


def test_without_model_and_project_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["build"]) == 2
    err = capfd.readouterr().err
    assert "error: no model given, and there is no edgecompile.toml here\n" in err
    assert "edgecompile build model.keras --target coral --data val.npz" in err


def test_the_project_file_says_all(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.tflite", "val.npz"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "edgecompile.toml").write_text(
        '[model]\npath = "model.tflite"\n[data]\nvalidation = "val.npz"\n[build]\ntargets = ["ios"]\n'
    )
    monkeypatch.chdir(tmp_path)
    assert run(["build"]) == 0
    assert "  bundle  out/model-ios" in capfd.readouterr().out.splitlines()
    assert edgecompile.build().verdict == "pass"


def test_dry_run(tmp_path: Path, capfd: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    argv = ["-t", "coral", "-t", "android-gpu", "--data", "val.npz", "--min", "0.9", "--dry-run"]
    assert run(["build", "model.tflite", *argv]) == 0
    golden("cli/dry-run.txt", capfd.readouterr().out)
    assert run(["build", "model.tflite", *argv, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [t["target"] for t in document["plan"]["targets"]] == ["coral", "android-gpu"]
    names = [step["name"] for step in document["plan"]["targets"][0]["passes"]]
    assert names == ["intake", "quantize", "edgetpu-fit"]
    assert document["plan"]["recipe"]["gate"]["min"] == 0.9
    assert not Path("out").exists()


def test_the_python_interface_returns_the_report(tmp_path: Path) -> None:
    report = edgecompile.build("model.tflite", target="ios", data=Path("val.npz"), out=tmp_path, name="mine")
    assert report.verdict == "pass"
    assert report.target.name == "ios"
    assert (tmp_path / "mine-ios" / "report.json").is_file()


def test_the_python_interface_builds_for_several_targets(tmp_path: Path) -> None:
    results = edgecompile.build_all("model.tflite", targets=["ios", "coral"], data="val.npz", out=tmp_path)
    assert [r.target for r in results] == ["ios", "coral"]
    assert [r.path for r in results] == [tmp_path / "model-ios", tmp_path / "model-coral"]


def test_the_python_interface_needs_one_target(tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text('[build]\ntargets = ["ios", "coral"]\n')
    with pytest.raises(
        ConfigError, match="the recipe names several targets: ios, coral\n  → name one, or call build_a"
    ):
        edgecompile.build("model.tflite", recipe=recipe, data="val.npz", out=tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (result,) = edgecompile.build_all("model.tflite", targets=["linux-x86_64"], data="val.npz", out=tmp_path)
    return result.path


def verified(capfd: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    code = run(["verify", *argv, "--json"])
    document: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert document["exit_code"] == code
    return document


def test_verify_a_sound_bundle(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bundle)]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"sound: {bundle} (model for linux-x86_64)\n")
    assert out.count("✓") == 4
    document = verified(capfd, str(bundle))
    assert document["exit_code"] == 0
    assert document["build_verdict"] == "pass"
    assert document["measured"] is None
    assert all(check["ok"] for check in document["checks"])


def test_verify_on_the_rows_of_the_build(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = verified(capfd, str(bundle), "--data", "val.npz")
    report = json.loads((bundle / "report.json").read_text("utf-8"))
    assert document["measured"]["same_rows"] is True
    assert document["measured"]["score"] == report["accuracy"]["result_score"]
    assert document["checks"][-1]["name"] == "accuracy-drop"
    assert document["checks"][-1]["actual"] == pytest.approx(report["accuracy"]["drop"])
    assert run(["verify", str(bundle), "--data", "val.npz"]) == 0
    out = capfd.readouterr().out
    measured = report["accuracy"]["result_score"]["n"]
    assert 0 < measured < 120, "a part of the rows calibrated"
    assert f" on {measured} rows\n" in out
    assert "on the same rows\n" in out


def test_verify_on_other_rows(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bundle), "--data", "mixed.npz"]) == 0
    out = capfd.readouterr().out
    assert " on 120 rows\n" in out
    assert " on other rows (" in out
    assert "the bundle holds no float model" in out


def test_verify_holds_the_result_to_the_gate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (result,) = edgecompile.build_all("model.tflite", targets=["ios"], data="val.npz", min=0.5, out=tmp_path)
    assert run(["verify", str(result.path), "--data", "mixed.npz"]) == 0
    capfd.readouterr()
    assert run(["verify", str(result.path), "--data", "mixed.npz", "--min", "0.99"]) == 1
    assert capfd.readouterr().out.startswith("missed accuracy-min: top1 of the result, ")
    assert run(["verify", str(result.path), "--data", "mixed.npz", "--max-drop", "0.01"]) == 1
    assert capfd.readouterr().out.startswith("missed accuracy-drop: ")
    assert run(["verify", str(result.path), "--min", "0.99"]) == 2
    assert "give rows: --data" in capfd.readouterr().err


def test_verify_tells_rows_of_another_scale(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = verified(capfd, str(bundle), "--data", "small.npz")
    assert document["exit_code"] == 1
    assert "data-scales-differ" in [f["rule"] for f in document["findings"]]
    assert run(["verify", str(bundle), "--data", "small.npz"]) == 1
    first = capfd.readouterr().out.splitlines()[0]
    assert first.startswith("not proven: ")
    assert "values span " in first
    assert "those of the build " in first


def test_verify_reads_rows_as_a_build_does(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "bad.npz", x=np.full((10, 6, 5, 2), np.nan, np.float32), y=np.zeros(10, int))
    assert run(["verify", str(bundle), "--data", str(tmp_path / "bad.npz")]) == 2
    assert "values are NaN or Inf" in capfd.readouterr().err


def test_verify_a_bundle_that_failed_and_measured_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built("-t", "linux-x86_64", "--data", "mixed.npz", "--min", "0.99", out=tmp_path, code=1)
    capfd.readouterr()
    assert run(["verify", str(tmp_path / "model-linux-x86_64-FAILED")]) == 1
    assert capfd.readouterr().out.startswith("the build did not pass: missed accuracy-min: ")
    (result,) = edgecompile.build_all("model.tflite", targets=["android-gpu"], out=tmp_path)
    assert run(["verify", str(result.path), "--data", "val.npz"]) == 0
    out = capfd.readouterr().out
    assert "top1 100.00%" in out
    assert "the build measured no accuracy" in out


def test_verify_a_changed_bundle(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = next(bundle.glob("*.tflite"))
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert run(["verify", str(bundle), "--data", "val.npz"]) == 1
    out = capfd.readouterr().out
    assert out.startswith("missed bundle-files: ")
    assert f"{model.name}: changed" in out
    assert "accuracy was not measured again" in out


def test_verify_what_is_no_bundle(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(folder)]) == 2
    assert "is not a bundle" in capfd.readouterr().err


def test_measuring_a_changed_bundle_is_refused(bundle: Path) -> None:
    from edgecompile.bundle.check import check_bundle
    from edgecompile.progress import Silent
    from edgecompile.remeasure import remeasure

    (bundle / "report.json").write_text("{}")
    with pytest.raises(ConfigError, match="the model or the report is not as it was built"):
        remeasure(check_bundle(bundle), "val.npz", base=Path(), progress=Silent())


def test_a_guess_that_the_model_cannot_take_does_not_stop_the_build(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Near chance other preprocessing is tried; a model of bytes takes none of it, and its score stands."""
    flat = FlatModel("float32")
    pixels = flat.input((1, 4), dtype="uint8")
    real, scores = flat.tensor((1, 4)), flat.tensor((1, 4))
    for tensor in flat.tensors:
        tensor.quantization = None
    flat.op("CAST", [pixels], [real], options=schema.CastOptionsT())
    flat.op("SOFTMAX", [real], [scores], options=schema.SoftmaxOptionsT(beta=1.0))
    (tmp_path / "bytes.tflite").write_bytes(flat.finish(scores))
    random = np.random.default_rng(0)
    np.savez(tmp_path / "v.npz", x=random.integers(0, 256, (120, 4), np.uint8), y=random.integers(0, 4, 120))
    argv = ["build", f"{tmp_path / 'bytes.tflite'}", "-t", "linux-x86_64", "--recipe", "float32"]
    assert run([*argv, "--data", f"{tmp_path / 'v.npz'}", "--out", f"{tmp_path / 'out'}", "--json"]) == 1
    report = json.loads(capfd.readouterr().out)["results"][0]["report"]
    (found,) = [f for f in report["findings"] if f["rule"] == "score-near-chance"]
    assert found["remedy"] == "see that class numbers are in the order that the model was trained with"
