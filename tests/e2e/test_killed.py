"""Whatever ends the process: no half bundle, no broken cache, and two builds at once do not harm each other."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from edgecompile.cache import Cache
from tests.e2e.conftest import SAMPLES, Cli, command, environment

pytestmark = [pytest.mark.tf, pytest.mark.slow]

RECIPE = SAMPLES / "digits-cnn" / "recipe.toml"
COLD_KILLS, WARM_KILLS = 10, 40
"""Fifty in all: some with TensorFlow at work in its process, most where the files are written."""


def _start(cache: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("build", "--recipe", RECIPE, "--out", out),
        env=environment(cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ensure_whole(out: Path) -> None:
    """Every folder that looks like a bundle is one, to the last byte."""
    for folder in out.glob("digits-cnn-*") if out.is_dir() else ():
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        for name, entry in manifest["files"].items():
            content = (folder / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], f"{folder / name} is damaged"


def _ensure_sound(cache: Path, *, damaged: frozenset[str] = frozenset()) -> None:
    """Every entry of the cache is whole, but for those damaged on purpose: reading one that is not removes it."""
    store = Cache(cache)
    with store.session():
        entries = [p.name for p in (cache / "v1").glob("*/*")]
        assert {key for key in entries if store.get(key) is None} <= damaged


def _kill_after(seconds: float, cache: Path, out: Path) -> None:
    process = _start(cache, out)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_fifty_kills_leave_whole_bundles_and_a_sound_cache(cli: Cli, tmp_path: Path) -> None:
    chance = random.Random(7)
    cache, out = tmp_path / "cache", tmp_path / "out"
    began = time.monotonic()
    whole = cli("build", "--recipe", RECIPE, "--out", tmp_path / "reference", cache=tmp_path / "reference-cache")
    assert whole.returncode == 0, whole.stderr
    cold_s = time.monotonic() - began
    for _ in range(COLD_KILLS):
        _kill_after(chance.uniform(0.1, cold_s), cache, out)
        _ensure_whole(out)
        _ensure_sound(cache)
    assert cli("build", "--recipe", RECIPE, "--out", out, cache=cache).returncode == 0
    began = time.monotonic()
    assert cli("build", "--recipe", RECIPE, "--out", out, cache=cache).returncode == 0
    warm_s = time.monotonic() - began
    damaged: set[str] = set()
    for number in range(WARM_KILLS):
        if number % 4 == 0:  # not only the swap of bundles, also the writing of cache entries
            for entry in list((cache / "v1").glob("*/*"))[:2]:
                (entry / "entry.json").write_text("{}", "utf-8")
                damaged.add(entry.name)
        _kill_after(chance.uniform(0.3 * warm_s, 1.1 * warm_s), cache, out)
        _ensure_whole(out)
    done = cli("build", "--recipe", RECIPE, "--out", out, cache=cache)
    assert done.returncode == 0, done.stderr
    _ensure_sound(cache, damaged=frozenset(damaged))  # a finished bundle is repeated without reading its steps
    bundle = {p.name: p.read_bytes() for p in (out / "digits-cnn-coral").iterdir()}
    assert bundle == {p.name: p.read_bytes() for p in (tmp_path / "reference" / "digits-cnn-coral").iterdir()}
    assert [p.name for p in out.iterdir() if not p.name.startswith(".")] == ["digits-cnn-coral"]


def test_two_builds_at_once_share_a_cache_and_a_folder(tmp_path: Path) -> None:
    builds = [_start(tmp_path / "cache", tmp_path / "out") for _ in range(2)]
    assert [build.wait(300) for build in builds] == [0, 0]
    _ensure_whole(tmp_path / "out")
    _ensure_sound(tmp_path / "cache")
