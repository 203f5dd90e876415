"""The verbs that look things up: targets, passes, doctor, samples, cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecompile.cli import doctor
from edgecompile.cli.cache import size
from edgecompile.cli.entry import run
from edgecompile.cli.samples import sample_folders
from edgecompile.errors import ConfigError
from edgecompile.target import target_files

Say = Callable[..., str]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "110")


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """A function that runs a command line that must succeed, and returns what it said."""

    def say(*argv: str) -> str:
        assert run(argv) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return say


def in_json(say: Say, *argv: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(say(*argv, "--json"))
    assert document.pop("schema_version") == 1
    return document


def fails(capfd: pytest.CaptureFixture[str], *argv: str) -> str:
    assert run(argv) == 2
    return capfd.readouterr().err


def test_targets_lists_every_target(say: Say) -> None:
    lines = say("targets").splitlines()
    assert lines[0].split() == ["name", "title", "backend", "schemes", "memory"]
    assert {line.split()[0] for line in lines[1:] if line and not line.startswith(("edgecompile", " "))} == set(
        target_files()
    )
    assert {t["name"] for t in in_json(say, "targets")["targets"]} == set(target_files())


@pytest.mark.parametrize("name", sorted(target_files()))
def test_a_target_shows_its_sources(name: str, say: Say) -> None:
    (target,) = in_json(say, "targets", name)["targets"]
    said = say("targets", name)
    for source in target["sources"]:
        assert f"• {source['what']}: {source['document']}" in said
        assert source["url"] in said


def test_an_unknown_target_offers_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    assert fails(capfd, "targets", "corel") == "error: unknown target `corel`\n   hint:  did you mean `coral`?\n"


def test_a_broken_target_of_the_user_says_every_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('title = "Mine"\nbakend = "litert"\n')
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))
    err = fails(capfd, "targets")
    assert "unknown key `bakend`" in err
    assert "did you mean `backend`?" in err
    assert "`recipe` is missing" in err


def test_a_target_of_the_user_shows_its_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "Mine"\nsummary = "A board."\nbackend = "litert"\nrecipe = "int8"\nschemes = ["int8"]\n'
        'memory = {flash_bytes = 1048576, sram_bytes = 262144}\nsources = [{what = "all", document = "my desk"}]\n'
        "options = {threads = 2}\n"
    )
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))
    said = say("targets", "mine")
    assert "flash 1,048,576 B (1.00 MiB); SRAM 262,144 B (256.0 KiB)" in said
    assert "option threads" in said


def test_doctor_says_what_is_there_and_what_missing_things_cost(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = {f["name"]: f for f in in_json(say, "doctor")["findings"]}
    assert {f["group"] for f in found.values()} == {"base", "extra", "program", "machine"}
    assert found["numpy"]["state"] == "ok"
    assert found["edgetpu_compiler"]["state"] == "missing"
    said = say("doctor")
    assert "• edgetpu_compiler: models for Coral are not compiled for the Edge TPU" in said
    assert "→ see https://coral.ai/docs/edgetpu/compiler/" in said


def test_doctor_sees_a_cache_that_cannot_be_written(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "file"))
    assert run(["doctor", "--json"]) == 5
    found = {f["name"]: f for f in json.loads(capfd.readouterr().out)["findings"]}["cache"]
    assert (found["state"], found["remedy"]) == ("broken", "set EDGECOMPILE_CACHE to a folder that can be written")


def test_doctor_finds_programs_on_the_path(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgetpu_compiler").write_text("#!/bin/sh\n")
    (tmp_path / "edgetpu_compiler").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {f["name"]: f for f in in_json(say, "doctor")["findings"]}
    assert found["edgetpu_compiler"]["state"] == "ok"
    assert found["edgetpu_compiler"]["found"] == str(tmp_path / "edgetpu_compiler")


def test_doctor_tells_absent_packages_and_their_pip_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_BASE", ("numpy", "edgecompile-needs-this"))
    monkeypatch.setattr(doctor, "_EXTRAS", {"edgecompile-likes-this": ("no likes", 'pip install "edgecompile[likes]"')})
    assert run(["doctor"]) == 5
    said = capfd.readouterr().out
    assert "✗ edgecompile-needs-this: no model can be built\n    → pip install edgecompile-needs-this\n" in said
    assert '• edgecompile-likes-this: no likes\n    → pip install "edgecompile[likes]"\n' in said


def test_doctor_when_nothing_is_missing(say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_EXTRAS", {})
    monkeypatch.setattr(doctor, "_PROGRAMS", {})
    assert say("doctor").endswith("nothing is missing\n")


def test_samples_are_listed_and_copied(say: Say, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = [s["name"] for s in in_json(say, "samples")["samples"]]
    assert names == sorted(sample_folders())
    for name in names:
        assert name in say("samples")
        said = say("samples", name, "--out", str(tmp_path / "new"))
        copy = tmp_path / "new" / name
        assert f"edgecompile build --recipe {copy / 'recipe.toml'}" in said
        assert {p.name for p in copy.iterdir()} >= {"recipe.toml"}
        assert "is there already" in fails(capfd, "samples", name, "--out", str(tmp_path / "new"))
        assert "cannot be made" in fails(capfd, "samples", name, "--out", str(copy / "recipe.toml"))
        document = in_json(say, "samples", name, "--out", str(tmp_path / "again"))
        assert document["path"] == str(tmp_path / "again" / name)


def test_an_unknown_sample(capfd: pytest.CaptureFixture[str]) -> None:
    assert "unknown sample `nothing`" in fails(capfd, "samples", "nothing")


def fill_cache(root: Path) -> None:
    from edgecompile.cache import Cache

    store = Cache(root)
    with store.session():
        for key in ("aa1", "bb2"):
            with store.scratch() as folder:
                inner = folder / "entry"
                inner.mkdir()
                (inner / "file").write_bytes(b"x" * 5000)
                store.put(key, inner)


def test_cache_shows_prunes_and_clears(say: Say, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    fill_cache(root)
    shown = in_json(say, "cache")
    assert shown["root"] == str(root)
    assert shown["entries"] == 2
    assert say("cache").startswith(f"{root}: 2 entries, ")
    pruned = in_json(say, "cache", "prune", "--max-size", "6kB")
    assert pruned["removed"]["entries"] == 1
    assert pruned["entries"] == 1
    assert say("cache", "clear").splitlines()[0].startswith("removed 1 entries, ")
    assert in_json(say, "cache", "show")["entries"] == 0


def test_cache_says_what_is_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    assert "unknown action `prun`\n   hint:  did you mean `prune`?" in fails(capfd, "cache", "prun")
    assert "`much` is not a size\n   where: --max-size\n   hint:  such as 2GiB or 500MB" in fails(
        capfd, "cache", "prune", "--max-size", "much"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("1024", 1024), ("2KiB", 2048), ("1.5 MB", 1_500_000), ("5GiB", 5 * 2**30), ("7b", 7)]
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "1XB", "inf", "1e999"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size"):
        size(text)
