"""What is in a bundle, that it is the same every time, and that a check finds every change to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_support import TARGET, content_of, float_model, two_by_two_model

from edgecompile.bundle.check import check_bundle, read_report
from edgecompile.bundle.files import Content, bundle_files
from edgecompile.bundle.manifest import read_manifest
from edgecompile.bundle.writer import write_bundle
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.recipe import DataSection, ModelSection, Preprocess, Recipe


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    model = tmp_path_factory.mktemp("model") / "m.tflite"
    model.write_bytes(float_model(np.eye(3, 4)))
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    data = Dataset({"x": rows}, rows[:, :3].argmax(1), class_names=("low", "mid", "high"), source="made up")
    return content_of(model, data)


@pytest.fixture
def bundle(content: Content, tmp_path: Path) -> Path:
    return write_bundle(tmp_path, "m", bundle_files(content), verdict="pass")


def test_every_file_is_there_and_in_the_manifest(content: Content) -> None:
    files = bundle_files(content)
    assert list(files) == [
        "README.md", "golden.json", "golden.npz", "io.json", "labels.txt", "m.tflite", "manifest.json", "report.html",
        "report.json", "run.py",
    ]  # fmt: skip
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    assert files["labels.txt"] == b"low\nmid\nhigh\n"
    assert files["m.tflite"] == content.models["m.tflite"]
    assert all(f"`{name}`" in files["README.md"].decode() for name in files)


def test_the_same_content_gives_the_same_bytes(content: Content) -> None:
    again = replace(content, models=dict(reversed(content.models.items())))
    assert bundle_files(again) == bundle_files(content)


def test_run_py_is_the_one_of_the_package(content: Content) -> None:
    from edgecompile.runtime import run

    assert bundle_files(content)["run.py"] == Path(run.__file__).read_bytes()


def test_the_manifest_holds_no_folder_of_this_machine(content: Content) -> None:
    recipe = Recipe(
        model=ModelSection(path="/home/ann/models/m.keras"),
        data=DataSection(validation="/home/ann/val.npz", labels="../labels.txt", seed=7),
        extends="/home/ann/base.toml",
    )
    manifest = json.loads(bundle_files(replace(content, recipe=recipe))["manifest.json"])
    assert manifest["provenance"]["recipe"] == {
        "model": {"path": "m.keras"},
        "data": {"validation": "val.npz", "labels": "labels.txt", "seed": 7},
        "extends": "base.toml",
    }
    assert manifest["provenance"]["seed"] == 7
    assert manifest["provenance"]["target"]["name"] == TARGET.name


def test_a_backend_cannot_overwrite_a_file_of_the_bundle(content: Content) -> None:
    with pytest.raises(ValueError, match=r"under names of the bundle: run\.py"):
        bundle_files(replace(content, models={**content.models, "run.py": b""}))


def test_a_whole_bundle_passes(bundle: Path) -> None:
    checked = check_bundle(bundle)
    assert [(c.name, c.ok) for c in checked.checks] == [
        ("build", True), ("bundle-files", True), ("golden-values", True), ("golden-decisions", True),
    ]  # fmt: skip
    assert checked.ok
    assert checked.host_model == bundle / "m.tflite"
    assert checked.report == read_report(bundle)
    assert checked.checks[0].detail == "the build passed"
    assert "sha256 of 9 files" in checked.checks[1].detail
    assert "12 rows of the validation data" in checked.checks[2].detail


def test_importing_run_py_from_a_bundle_changes_nothing(bundle: Path) -> None:
    (bundle / "__pycache__").mkdir()
    (bundle / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"")
    assert check_bundle(bundle).ok


@pytest.mark.parametrize(
    ("name", "change", "detail"),
    [
        ("labels.txt", lambda p: p.write_text("high\nmid\nlow\n"), "labels.txt: changed"),
        ("labels.txt", lambda p: p.unlink(), "labels.txt: missing"),
        ("notes.txt", lambda p: p.write_text("hello"), "notes.txt: not of this bundle"),
        ("m.tflite", lambda p: p.write_bytes(p.read_bytes()[:-1] + b"!"), "m.tflite: changed"),
        ("io.json", lambda p: p.unlink(), "io.json: missing"),
        ("report.json", lambda p: (p.unlink(), p.mkdir()), "report.json: missing"),
        (
            "labels.txt",
            lambda p: (p.rename(p.parent.parent / "l.txt"), p.symlink_to(p.parent.parent / "l.txt")),
            "labels.txt: a link, which a copy of the bundle would not hold",
        ),
    ],
)
def test_every_change_is_found(bundle: Path, name: str, change: Any, detail: str) -> None:
    change(bundle / name)
    checked = check_bundle(bundle)
    assert not checked.ok
    _, files, *golden = checked.checks
    assert (files.name, files.detail, files.actual) == ("bundle-files", detail, 1)
    assert files.remedy.startswith("build again")
    runs = name not in ("m.tflite", "io.json")
    assert (checked.host_model is not None) == runs, "nothing of a changed model is run"
    assert len(golden) == (2 if runs else 0)
    assert (checked.report is None) == (name == "report.json")


def test_other_answers_are_found(content: Content, tmp_path: Path) -> None:
    other = replace(content, models={"m.tflite": float_model(np.eye(3, 4)[::-1])})
    checked = check_bundle(write_bundle(tmp_path, "m", bundle_files(other), verdict="pass"))
    assert [(c.name, c.ok) for c in checked.checks] == [
        ("build", True), ("bundle-files", True), ("golden-values", False), ("golden-decisions", False),
    ]  # fmt: skip
    assert all("compare their versions" in c.remedy for c in checked.checks[2:])


def test_a_model_that_no_interpreter_runs_is_a_model_error(content: Content, tmp_path: Path) -> None:
    bad = replace(content, models={"m.tflite": b"not a model"})
    bundle = write_bundle(tmp_path, "m", bundle_files(bad), verdict="pass")
    with pytest.raises(ModelError, match=r"m\.tflite does not load"):
        check_bundle(bundle)


def _rewrite(bundle: Path, name: str, data: bytes | None) -> None:
    """Change a file (None: leave it out) and let the manifest agree."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    if data is None:
        (bundle / name).unlink()
        del manifest["files"][name]
    else:
        (bundle / name).write_bytes(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("golden.npz", None, "lists no golden.npz"),
        ("io.json", None, "lists no io.json"),
        ("report.json", None, "lists no report.json"),
        ("io.json", b"{", "cannot be read"),
        ("io.json", b"[]", "names no model of this bundle"),
        ("io.json", b'{"model": 5}', "names no model of this bundle"),
        ("io.json", b'{"model": "../m.tflite"}', "names no model of this bundle"),
        ("io.json", b'{"model": "m.tflite"}', "do not fit each other (KeyError"),
        ("io.json", b"[" * 100_000, "cannot be read: maximum recursion depth"),
        ("report.json", b"[" * 100_000, "cannot be read: maximum recursion depth"),
        ("golden.json", b"[" * 100_000, "do not fit each other (RecursionError"),
        ("golden.json", b"[1", "do not fit each other (JSONDecodeError"),
        ("golden.json", b"[1]", "do not fit each other"),
        ("golden.json", b"{}", "`outputs` is missing"),
        ("golden.npz", b"PK nothing", "do not fit each other"),
        ("golden.npz", b"", "do not fit each other (EOFError"),
    ],
)
def test_a_manifest_written_anew_does_not_pass_for_sound(
    bundle: Path, name: str, data: bytes | None, says: str
) -> None:
    _rewrite(bundle, name, data)
    with pytest.raises(ConfigError) as caught:
        check_bundle(bundle)
    assert says in str(caught.value)


def test_golden_vectors_that_hold_code_are_not_loaded(bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", input_0=np.array([print], dtype=object))
    _rewrite(bundle, "golden.npz", (tmp_path / "evil.npz").read_bytes())
    with pytest.raises(ConfigError, match="allow_pickle=False"):
        check_bundle(bundle)


def test_no_golden_vectors_are_no_replay(bundle: Path, tmp_path: Path) -> None:
    with np.load(bundle / "golden.npz") as held:
        np.savez(tmp_path / "none.npz", **{name: array[:0] for name, array in held.items()})
    whole = (bundle / "golden.json").read_bytes()
    _rewrite(bundle, "golden.json", json.dumps({**json.loads(whole), "outputs": []}).encode())
    with pytest.raises(ConfigError, match="holds no golden vectors"):
        check_bundle(bundle)
    _rewrite(bundle, "golden.json", whole)
    _rewrite(bundle, "golden.npz", (tmp_path / "none.npz").read_bytes())
    with pytest.raises(ConfigError, match="holds no golden vectors"):
        check_bundle(bundle)


def test_a_bundle_whose_writer_died_between_two_renames_is_found(bundle: Path) -> None:
    bundle.rename(bundle.with_name(".edgecompile-old-m"))
    assert check_bundle(bundle).ok


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), r"is not a bundle: it has no manifest\.json"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text("{")), "cannot be read"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text("[" * 100_000)), "cannot be read"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text("[]")), "is not the manifest of a bundle"),
        (
            lambda p: (
                p.mkdir(),
                (p / "manifest.json").write_text('{"format": "edgecompile bundle", "format_version": 2}'),
            ),
            "has format version 2, and this edgecompile reads version 1",
        ),
        (
            lambda p: (
                p.mkdir(),
                (p / "manifest.json").write_text('{"format": "edgecompile bundle", "format_version": 1}'),
            ),
            "`provenance` is missing",
        ),
    ],
)
def test_what_is_no_bundle_is_a_configuration_error(tmp_path: Path, prepare: Any, says: str) -> None:
    prepare(tmp_path / "x")
    with pytest.raises(ConfigError, match=says):
        read_manifest(tmp_path / "x")


def test_an_unreadable_report_says_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"report\.json: cannot be read"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text('{"schema_version": 1}')
    with pytest.raises(ConfigError, match=r"report\.json: `verdict` is missing"):
        read_report(tmp_path)


def test_the_device_loads_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(two_by_two_model())
    plain = content_of(tmp_path / "m.tflite", None, decides=False)
    files = bundle_files(
        replace(
            plain,
            models={**plain.models, "m_edgetpu.tflite": b"compiled", "m_edgetpu.log": b"log"},
            device_model="m_edgetpu.tflite",
            recipe=Recipe(
                data=DataSection(preprocess=Preprocess(scale=(2.0,)), inputs={"a": Preprocess(offset=(1.0,))})
            ),
        )
    )
    described = json.loads(files["io.json"])
    assert (described["model"], described["device_model"]) == ("m.tflite", "m_edgetpu.tflite")
    assert [i["preprocess"]["offset"] for i in described["inputs"]] == [[1.0], [0.0]]
    assert [i["preprocess"]["scale"] for i in described["inputs"]] == [[1.0], [2.0]]
    page = files["README.md"].decode()
    assert "| `m_edgetpu.tflite` | the model that the device loads, 8 B |" in page
    assert "| `m.tflite` | the model before it was compiled for the device: what `run.py` runs |" in page
    assert "| `m_edgetpu.log` | written by the target's own compiler |" in page
