"""A bundle appears whole or not at all, whoever is killed and whatever is in the way."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgecompile.bundle import folders, writer
from edgecompile.bundle.writer import bundle_name, destination_problems, recover, write_bundle, write_folder
from edgecompile.errors import ConfigError, ToolError
from edgecompile.report import Verdict

MANIFEST = json.dumps({"format": writer.BUNDLE_FORMAT}).encode()


def files(mark: str, count: int = 12) -> dict[str, bytes]:
    return {"manifest.json": MANIFEST} | {f"part{i}/file{i}": mark.encode() * (100 + i) for i in range(count)}


def read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_writes_exactly_the_files_and_leaves_nothing_beside_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "new" / "deep" / "x", files("a"))
    assert read(tmp_path / "new" / "deep" / "x") == files("a")
    assert [p.name for p in (tmp_path / "new" / "deep").iterdir()] == ["x"]


def test_folders_and_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_folder(tmp_path / "x", files("a"))
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "x" / "manifest.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("can_exchange", [True, False])
def test_replaces_a_bundle_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool) -> None:
    if not can_exchange:
        monkeypatch.setattr(writer, "exchange", lambda _a, _b: False)
    write_folder(tmp_path / "x", files("a", 20))
    write_folder(tmp_path / "x", files("b", 3))
    assert read(tmp_path / "x") == files("b", 3)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_replaces_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write_folder(tmp_path / "x", files("a"))
    assert read(tmp_path / "x") == files("a")


@pytest.mark.parametrize("manifest", [None, "{}", "not json", '["edgecompile bundle"]'])
def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "x" / "manifest.json").write_text(manifest)
    with pytest.raises(ConfigError, match="is not a bundle of edgecompile, so it is not replaced"):
        write_folder(tmp_path / "x", files("a"))
    assert (tmp_path / "x" / "thesis.txt").read_text() == "years of work"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert "not replaced" in destination_problems(tmp_path, "x")[0].what


def test_a_file_or_a_link_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a file where the bundle should go"):
        write_folder(tmp_path / "file", files("a"))
    with pytest.raises(ConfigError, match="is a link"):
        write_folder(tmp_path / "link", files("a"))


def test_a_file_as_the_parent_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the bundle cannot be written: Not a directory"):
        write_folder(tmp_path / "file" / "x", files("a"))
    assert "is not a folder" in destination_problems(tmp_path / "file" / "deeper", "x")[0].what


def test_an_unwritable_folder_is_a_user_error() -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_folder(Path("/proc/edgecompile/x"), files("a"))


def test_a_destination_that_can_be_written_has_no_problems(tmp_path: Path) -> None:
    write_folder(tmp_path / "ours", files("a"))
    assert destination_problems(tmp_path, "ours") == ()
    assert destination_problems(tmp_path / "not" / "yet", "x") == ()
    assert [p.name for p in tmp_path.iterdir()] == ["ours"]


def test_an_unwritable_destination_is_told_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, whom nothing refuses
    assert "cannot be written to" in destination_problems(tmp_path, "x")[0].what


def test_an_unreadable_destination_is_told_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", refuse)
    assert "cannot be read: Permission denied" in destination_problems(tmp_path, "x")[0].what


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_how_much_is_needed_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    write_folder(tmp_path / "old", files("a"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError, match=r"the disk is full: the bundle needs 2,047 B \(2.0 KiB\)"):
        write_folder(tmp_path / "made" / "x", {"manifest.json": MANIFEST, "model": b"m" * (2047 - len(MANIFEST))})
    with pytest.raises(ToolError, match="the disk is full"):
        write_folder(tmp_path / "old", files("b"))
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert read(tmp_path / "old") == files("a")


def test_a_swap_that_the_system_refuses_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "x", files("a"))
    monkeypatch.setattr(writer, "exchange", lambda _a, _b: False)
    real = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name.startswith(".edgecompile-new-"):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ConfigError, match="Operation not permitted"):
        write_folder(tmp_path / "x", files("b"))
    assert read(tmp_path / "x") == files("a")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_names_that_leave_the_folder_are_a_bug() -> None:
    for name in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(ValueError, match="leaves the folder"):
            write_folder(Path("x"), {name: b""})


def test_exactly_one_of_a_bundle_and_its_twins_of_other_verdicts_is_there(tmp_path: Path) -> None:
    steps: tuple[tuple[Verdict, str, str], ...] = (
        ("pass", "", "a"),
        ("fail", "-FAILED", "b"),
        ("fail", "-FAILED", "c"),
        ("not-proven", "-NOT-PROVEN", "d"),
        ("pass", "", "e"),
    )
    for verdict, suffix, mark in steps:
        folder = write_bundle(tmp_path, "m-t", files(mark), verdict=verdict)
        assert [p.name for p in tmp_path.iterdir()] == [f"m-t{suffix}"]
        assert read(folder) == files(mark)


def test_a_twin_that_is_not_ours_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "m-t-FAILED").mkdir()
    (tmp_path / "m-t-FAILED" / "notes").write_text("why it failed")
    with pytest.raises(ConfigError, match="m-t-FAILED: holds files and is not a bundle"):
        write_bundle(tmp_path, "m-t", files("a"), verdict="pass")
    assert [p.name for p in tmp_path.iterdir()] == ["m-t-FAILED"]


def test_bundle_names() -> None:
    assert bundle_name("res net.v1", "coral") == "res net.v1-coral"
    for bad in ("", "..", ".hidden", "a/b", "a\\b", "a\nb", "a\0"):
        with pytest.raises(ConfigError, match="cannot name a folder"):
            bundle_name(bad, "coral")


def test_the_lock_gives_up_after_its_time(tmp_path: Path) -> None:
    with (
        folders.locked(tmp_path),
        pytest.raises(ToolError, match=r"another build has been writing into the folder for 0.1 s"),
        folders.locked(tmp_path, timeout_s=0.1),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_exchange_tells_a_system_that_cannot_from_one_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        folders.exchange(tmp_path / "a", tmp_path / "b")


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_bundle_writer import files
from edgecompile.bundle import writer
if sys.argv[2] == "two renames":
    writer.exchange = lambda a, b: False
for n in range(10_000):
    writer.write_bundle(Path(sys.argv[1]), "m-t", files("ab"[n % 2]), verdict="fail" if n % 3 == 2 else "pass")
    if n == 0:
        print("ready", flush=True)
"""


def start_writer(out: Path, how: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WRITER, str(out), how, str(Path(__file__).parent)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_killed_at_any_moment_a_whole_bundle_is_there(tmp_path: Path, how: str) -> None:
    moments = random.Random(0)
    for _ in range(25):
        with start_writer(tmp_path, how) as process:
            time.sleep(moments.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        if how == "two renames":  # the one case where whoever opens a bundle must look
            recover(tmp_path / "m-t")
            recover(tmp_path / "m-t-FAILED")
        there = [p for p in (tmp_path / "m-t", tmp_path / "m-t-FAILED") if p.exists()]
        assert there
        assert all(read(p) in (files("a"), files("b")) for p in there)
    write_bundle(tmp_path, "m-t", files("z"), verdict="pass")
    assert [p.name for p in tmp_path.iterdir()] == ["m-t"]


def test_a_kill_between_two_renames_is_mended_by_the_next_reader(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", files("a"))
    (tmp_path / "x").rename(tmp_path / ".edgecompile-old-x")
    write_folder(tmp_path / "other", files("b"))
    assert read(tmp_path / "x") == files("a")
    (tmp_path / "x").rename(tmp_path / ".edgecompile-old-x")
    recover(tmp_path / "x")
    assert read(tmp_path / "x") == files("a")
    write_folder(tmp_path / ".edgecompile-old-x", files("b"))
    write_folder(tmp_path / "x", files("c"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "x"]


@pytest.mark.slow
def test_two_builds_at_once_into_one_folder_both_succeed(tmp_path: Path) -> None:
    with start_writer(tmp_path, "exchange") as one, start_writer(tmp_path, "exchange") as two:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            write_bundle(tmp_path, "m-t", files("c"), verdict="pass")
        assert (one.poll(), two.poll()) == (None, None)
        one.kill()
        two.kill()
    write_bundle(tmp_path, "m-t", files("c"), verdict="pass")
    assert [p.name for p in tmp_path.iterdir()] == ["m-t"]
