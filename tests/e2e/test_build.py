"""Whole builds of the sample models: verdicts, identical bytes, and what a rebuild costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, SAMPLES, Cli, environment

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def tree(folder: Path) -> dict[str, bytes]:
    """Return relative name → content of every file below folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("sample", sorted(p.parent.name for p in SAMPLES.glob("*/recipe.toml")))
def test_every_sample_passes_its_own_gate(sample: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("build", "--recipe", SAMPLES / sample / "recipe.toml", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    for result in json.loads(done.stdout)["results"]:
        assert result["verdict"] == "pass"
        assert (tmp_path / "out" / Path(result["path"]).name / "manifest.json").is_file()


def test_two_folders_and_two_caches_give_the_same_bytes(cli: Cli, tmp_path: Path) -> None:
    trees = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("model.keras", "validation.npz", "calibration.npz", "labels.txt", "recipe.toml"):
            (folder / file).write_bytes((SAMPLES / "digits-cnn" / file).read_bytes())
        (folder / "recipe.toml").rename(folder / "edgecompile.toml")
        done = cli("build", "-t", "coral", "-t", "linux-x86_64", cwd=folder, cache=tmp_path / f"cache-{name}")
        assert done.returncode == 0, done.stdout + done.stderr
        trees.append(tree(folder / "out"))
    assert sorted(trees[0]) == sorted(trees[1])
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []
    for content in trees[0].values():
        assert str(tmp_path).encode() not in content


_REBUILD = """
import json, resource, sys, time
import edgecompile
from edgecompile import plan, pipeline, request
began = time.monotonic()
results = pipeline.build(plan.resolve(request.Request(recipe=sys.argv[1], targets=(sys.argv[2],),
                                                      overrides={"build": {"out": sys.argv[3]}})))
children = resource.getrusage(resource.RUSAGE_CHILDREN)
heavy = ("tensorflow", "keras", "ai_edge_litert.interpreter", "scipy")
print(json.dumps({"heavy": [m for m in heavy if m in sys.modules],
                  "ran": results[0].ran, "children_s": children.ru_utime, "seconds": time.monotonic() - began}))
"""


def test_a_rebuild_and_a_second_target_import_nothing_heavy(cli: Cli, warm_cache: Path, tmp_path: Path) -> None:
    recipe = SAMPLES / "digits-cnn" / "recipe.toml"
    assert cli("build", "--recipe", recipe, "-t", "linux-x86_64", "--out", tmp_path).returncode == 0
    for target in ("linux-x86_64", "raspberry-pi-4"):
        done = subprocess.run(
            [sys.executable, "-c", _REBUILD, str(recipe), target, str(tmp_path)],
            env=environment(warm_cache),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(done.stdout)
        assert said["heavy"] == []
        assert said["ran"] == []
        assert said["children_s"] == 0.0


def test_a_missed_gate_is_a_result(cli: Cli, tmp_path: Path) -> None:
    done = cli("build", "--recipe", SAMPLES / "digits-cnn" / "recipe.toml", "--min", "1.0", "--out", tmp_path / "out")
    assert done.returncode == 1
    first = (done.stdout + done.stderr).splitlines()
    assert any("at least" in line or "missed" in line for line in first[:20]), done.stdout
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["digits-cnn-coral-FAILED"]
    again = cli("build", "--recipe", SAMPLES / "digits-cnn" / "recipe.toml", "--out", tmp_path / "out")
    assert again.returncode == 0
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["digits-cnn-coral"]
