"""Content-addressed store of step results.

An entry is a folder named by its key. It appears by one rename, so it is there whole or not at all, whatever ends
the process; every file is checked against its sha256 when read, so a damaged entry is made again and never used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache as memo
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecompile.artifact import hash_path
from edgecompile.errors import ToolError

_FORMAT = "v1"
_SEAL = "entry.json"
_SCRATCH_LIFE_S = 7 * 24 * 3600
"""Scratch folders untouched for longer than any step takes are left-overs."""


def default_root() -> Path:
    """Return the cache folder: EDGECOMPILE_CACHE, else `edgecompile` below XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("EDGECOMPILE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecompile"


@memo
def code_version() -> str:
    """Return a digest of edgecompile's own sources: other code, other results."""
    whole = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def library_version(package: str) -> str:
    """Return the installed version of a distribution without importing it; `absent` when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@dataclass(frozen=True)
class Usage:
    """What the cache holds."""

    root: Path
    entries: int
    bytes: int


class Cache:
    """The store below root. Any number of processes may use it at once.

    `session` holds a shared lock, so that `clear` and `prune` never take files from under a running build.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entries = root / _FORMAT
        self._scratch = root / "scratch"

    @contextmanager
    def session(self, *, alone: bool = False) -> Iterator[None]:
        """Hold the cache open for reading and adding; alone also keeps every other process out.

        Raises:
            ToolError: the folder cannot be made or written; or alone was asked for while a build runs.
        """
        try:
            self._entries.mkdir(parents=True, exist_ok=True)
            self._scratch.mkdir(exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ToolError(
                f"the cache folder cannot be written: {error.strerror}",
                where=str(self.root),
                hint="set EDGECOMPILE_CACHE to a folder that can",
            ) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            except BlockingIOError:
                raise ToolError(
                    "the cache is in use by a build", where=str(self.root), hint="try again when it has ended"
                ) from None
            self._sweep()
            yield
        finally:
            os.close(lock)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder on the cache's disk; it is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="step-", dir=self._scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def get(self, key: str) -> Path | None:
        """Return the folder of the entry, every file checked; None when absent. A damaged entry is removed."""
        folder = self._folder(key)
        try:
            seal = json.loads((folder / _SEAL).read_text("utf-8"))
            whole = all(hash_path(folder / name) == digest for name, digest in seal["files"].items())
            if whole:
                os.utime(folder / _SEAL)
                return folder
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Absent, or damaged in a way that does not even parse: the latter is treated like a wrong hash.
            if not folder.exists():
                return None
        self._remove(folder)
        return None

    def put(self, key: str, folder: Path) -> Path:
        """Take over the files in folder as the entry of key; return where they are now.

        folder must come from `scratch`. When another process was first, its entry is kept: keys are content
        addresses, so both hold the same.
        """
        files = {p.relative_to(folder).as_posix(): hash_path(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        (folder / _SEAL).write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n", "utf-8")
        final = self._folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(final)
        except OSError:
            if self.get(key) is None:
                # what stood there was damaged and is removed by now
                folder.rename(final)
        return final

    def usage(self) -> Usage:
        """Return how many entries there are and what they take."""
        entries = self._all()
        return Usage(self.root, len(entries), sum(_size(e) for e in entries))

    def prune(self, *, max_bytes: int) -> Usage:
        """Remove the entries used longest ago until the rest takes at most max_bytes; return what was removed."""
        with self.session(alone=True):
            kept = 0
            removed = [0, 0]
            for entry in sorted(self._all(), key=_last_used, reverse=True):
                size = _size(entry)
                kept += size
                if kept > max_bytes:
                    self._remove(entry)
                    removed[0] += 1
                    removed[1] += size
        return Usage(self.root, removed[0], removed[1])

    def clear(self) -> Usage:
        """Remove every entry; return what was removed."""
        return self.prune(max_bytes=-1)

    def _folder(self, key: str) -> Path:
        return self._entries / key[:2] / key

    def _all(self) -> list[Path]:
        return [p for p in sorted(self._entries.glob("*/*")) if p.is_dir()]

    def _remove(self, folder: Path) -> None:
        """Take the entry out of sight by a rename before it is deleted: nobody finds half of it."""
        grave = Path(tempfile.mkdtemp(prefix="grave-", dir=self._scratch))
        with suppress(FileNotFoundError):  # another process was faster
            folder.rename(grave / "entry")
        shutil.rmtree(grave, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what killed processes left in scratch.

        Age decides and not the process id: machines and containers that share a cache do not share ids.
        """
        oldest = time.time() - _SCRATCH_LIFE_S
        for folder in self._scratch.iterdir():
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _last_used(folder: Path) -> float:
    seal = folder / _SEAL
    return seal.stat().st_mtime if seal.is_file() else 0.0
