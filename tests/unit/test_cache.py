"""The cache: whole entries or none, checked when read, safe beside other processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from edgecompile.cache import Cache, code_version, default_root, library_version
from edgecompile.errors import ToolError

KEY = "ab" + "0" * 62


def _put(cache: Cache, key: str = KEY, content: bytes = b"content") -> Path:
    with cache.scratch() as scratch:
        folder = scratch / "files"
        (folder / "sub").mkdir(parents=True)
        (folder / "model.bin").write_bytes(content)
        (folder / "sub" / "note.txt").write_text("note", "utf-8")
        return cache.put(key, folder)


def test_an_entry_comes_back_whole_and_absent_ones_are_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        assert cache.get(KEY) is None
        _put(cache)
        entry = cache.get(KEY)
        assert entry is not None
        assert (entry / "model.bin").read_bytes() == b"content"
        assert (entry / "sub" / "note.txt").read_text("utf-8") == "note"
        assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "seal", "no seal"])
def test_a_damaged_entry_is_removed_and_never_used(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        entry = _put(cache)
        file = entry / "model.bin"
        if damage == "flip":
            file.write_bytes(b"cOntent")
        elif damage == "truncate":
            file.write_bytes(b"")
        elif damage == "delete":
            file.unlink()
        elif damage == "seal":
            (entry / "entry.json").write_text("[1, 2", "utf-8")
        else:
            (entry / "entry.json").unlink()
        assert cache.get(KEY) is None
        assert not entry.exists()
        assert _put(cache) == entry
        assert cache.get(KEY) == entry


def test_the_second_of_two_equal_results_is_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        first = _put(cache)
        assert _put(cache) == first
        assert cache.usage().entries == 1


def test_a_damaged_entry_gives_way_to_a_good_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        entry = _put(cache)
        (entry / "model.bin").write_bytes(b"broken")
        _put(cache)
        found = cache.get(KEY)
        assert found is not None
        assert (found / "model.bin").read_bytes() == b"content"


def test_prune_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        for number, key in enumerate(("aa1", "bb2", "cc3")):
            seal = _put(cache, key, bytes(1000)) / "entry.json"
            os.utime(seal, (number, number))
        size = cache.usage().bytes
        cache.get("aa1")  # used now: it survives
    removed = cache.prune(max_bytes=size // 3)
    assert removed.entries == 2
    with cache.session():
        assert cache.get("aa1") is not None
        assert cache.get("bb2") is None
    assert cache.clear().entries == 1
    assert cache.usage().entries == 0


def test_clear_waits_for_nobody_and_says_so(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session(), pytest.raises(ToolError, match="in use by a build"):
        Cache(tmp_path).clear()


def test_old_scratch_folders_are_swept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.session():
        old, new = tmp_path / "scratch" / "step-old", tmp_path / "scratch" / "step-new"
        old.mkdir()
        new.mkdir()
        long_ago = time.time() - 30 * 24 * 3600
        os.utime(old, (long_ago, long_ago))
    with cache.session():
        assert not old.exists()
        assert new.exists()


def test_a_cache_that_cannot_be_made_says_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ToolError, match="EDGECOMPILE_CACHE"), Cache(tmp_path / "file" / "cache").session():
        raise AssertionError("not reached")


def _hammer(root: Path, rounds: int) -> None:
    cache = Cache(root)
    with cache.session():
        for n in range(rounds):
            key = f"{n % 7:02d}key"
            entry = cache.get(key) or _put(cache, key, key.encode() * 1000)
            assert (entry / "model.bin").read_bytes() == key.encode() * 1000


def test_processes_share_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_hammer, args=(tmp_path, 60)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0, 0]


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("EDGECOMPILE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "edgecompile"


def test_versions_are_read_without_importing() -> None:
    assert library_version("numpy")[0].isdigit()
    assert library_version("no-such-distribution") == "absent"
    assert len(code_version()) == 64
