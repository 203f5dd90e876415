"""Write a bundle: a folder that appears whole or not at all, and is replaced whole or not at all.

How a kill at any moment leaves either the old bundle or the new one:

1. Everything is written and synced in a staging folder beside the final one.
2. One rename puts it in place; where a bundle is there already, the two folders change places in one system call
   (`RENAME_EXCHANGE`, Linux 3.15; `RENAME_SWAP`, macOS 10.12).
3. File systems that cannot exchange get two renames. A kill between them leaves the old bundle beside its place under
   a known name; whoever writes or opens a bundle in that folder next moves it back (`recover`).

A lock on the parent folder lets one writer in at a time, so hidden folders that a writer finds are those of the dead.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from edgecompile.bundle.folders import exchange, locked, sync
from edgecompile.errors import ConfigError, Problem, ToolError
from edgecompile.report import Verdict
from edgecompile.units import show_bytes

BUNDLE_FORMAT: Final = "edgecompile bundle"
"""Value of `format` in the manifest: how a folder is known to be ours to replace."""
SUFFIXES: Mapping[Verdict, str] = {"pass": "", "fail": "-FAILED", "not-proven": "-NOT-PROVEN"}
"""Verdict → what the name of the bundle ends in."""
_NEW, _OLD = ".edgecompile-new-", ".edgecompile-old-"
_LONGEST = 200
"""Bytes of a bundle's name. File systems take 255, and files of the bundle have longer names than its folder."""


def bundle_name(model: str, target: str) -> str:
    """Return the folder name of a bundle that passes: `<model>-<target>`.

    Raises:
        ConfigError: the model's name cannot be part of a folder name.
    """
    bad = any(c in "/\\\0" or not c.isprintable() for c in model)
    if not model or model != model.strip() or model.startswith(".") or bad:
        raise ConfigError(
            f"`{model}` cannot name a folder",
            where="[model] name",
            hint="letters, digits, `-`, `_`, `.`, and spaces between them",
        )
    if len(os.fsencode(f"{model}-{target}{max(SUFFIXES.values(), key=len)}")) > _LONGEST:
        raise ConfigError(
            f"the name `{model[:20]}…` is too long for a folder",
            where="[model] name",
            hint="give a shorter one: --name",
        )
    return f"{model}-{target}"


def destination_problems(out: Path, name: str) -> tuple[Problem, ...]:
    """Return what keeps bundle name, under any of its suffixes, from being written below out; nothing is written.

    For the plan: a build that would end in an unwritable folder should not begin.
    """
    above = out
    try:
        while not above.exists() and not above.is_symlink() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            return (Problem(f"`{above}` is not a folder", "--out", "name a folder that exists or can be made"),)
        if not os.access(above, os.W_OK | os.X_OK):
            return (Problem(f"`{above}` cannot be written to", "--out", "choose another folder"),)
        return _in_the_way(*(out / (name + suffix) for suffix in SUFFIXES.values()))
    except OSError as error:
        return (Problem(f"`{above}` cannot be read: {error.strerror}", "--out", "choose another folder"),)


def write_bundle(out: Path, name: str, files: Mapping[str, bytes], *, verdict: Verdict) -> Path:
    """Write a bundle below out and return its folder; of `name` with any suffix exactly one is there afterwards.

    A result that missed a check must not stand beside an older one that did not: a packaging step that takes
    `out/<name>` would ship the old model without a word. So the others go as soon as the new bundle stands.

    Args:
        out: folder of bundles; made when it is not there.
        name: from `bundle_name`, without suffix.
        files: relative name → content; `manifest.json` with our format is among them.
        verdict: of the build; it decides the suffix.

    Raises:
        ConfigError: something that is not a bundle is in the way, or out cannot be written to.
        ToolError: the disk is full, or another build does not finish writing.
    """
    final = out / (name + SUFFIXES[verdict])
    others = tuple(out / (name + suffix) for other, suffix in SUFFIXES.items() if other != verdict)
    write_folder(final, files, instead_of=others)
    return final


def write_folder(final: Path, files: Mapping[str, bytes], *, instead_of: Sequence[Path] = ()) -> None:
    """Make folder final hold exactly files, in one step; see the module's docstring.

    Args:
        final: the folder; an existing one is replaced only if it is empty or a bundle of ours.
        files: relative name, `/` between folders → content.
        instead_of: bundles beside final that are removed once final stands.

    Raises:
        ConfigError: final is a file, a link or a folder that is not ours, or cannot be written.
        ToolError: the disk is full, or another build does not finish writing.
    """
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r} leaves the folder")
    needed = sum(len(data) for data in files.values())
    with _as_user_errors(final, needed), _parents(final.parent), locked(final.parent):
        _clean(final.parent)
        if problems := _in_the_way(final, *instead_of):
            raise ConfigError.of(problems)
        staging = final.parent / (_NEW + final.name)
        try:
            _fill(staging, files)
            _put(staging, final)
        finally:
            _remove(staging)
        for other in instead_of:
            if other.is_dir():
                _remove(other)
        sync(final.parent)


def recover(final: Path) -> None:
    """Move the bundle at final back if a writer died between its two renames; call it before opening a bundle."""
    if not final.exists() and (final.parent / (_OLD + final.name)).is_dir():
        with locked(final.parent):
            _clean(final.parent)


def _in_the_way(*folders: Path) -> tuple[Problem, ...]:
    return tuple(p for folder in folders if (p := _not_ours(folder)) is not None)


def _not_ours(folder: Path) -> Problem | None:
    """Return why folder may not be replaced, or None."""
    if folder.is_symlink():
        return Problem("is a link", str(folder), "remove it, or choose another --out")
    if not folder.exists():
        return None
    if not folder.is_dir():
        return Problem("is a file where the bundle should go", str(folder), "remove it, or choose another --out")
    if not any(folder.iterdir()) or _is_bundle(folder):
        return None
    return Problem(
        "holds files and is not a bundle of edgecompile, so it is not replaced",
        str(folder),
        "move it away, or choose another --out",
    )


def _is_bundle(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == BUNDLE_FORMAT


def _clean(parent: Path) -> None:
    """Finish what writers that died here left: put old bundles back, drop staging folders. Needs the lock."""
    for old in sorted(parent.glob(_OLD + "*")):
        final = parent / old.name.removeprefix(_OLD)
        if final.exists():
            shutil.rmtree(old)
        else:
            old.rename(final)
    for staging in parent.glob(_NEW + "*"):
        shutil.rmtree(staging)


def _fill(staging: Path, files: Mapping[str, bytes]) -> None:
    staging.mkdir()
    folders = {staging}
    for name, data in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.update(p for p in path.parents if staging in p.parents)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for folder in sorted(folders):
        sync(folder)


def _put(staging: Path, final: Path) -> None:
    if not final.exists():
        staging.rename(final)
    elif not exchange(staging, final):
        old = final.parent / (_OLD + final.name)
        final.rename(old)
        try:
            staging.rename(final)
        except OSError:
            old.rename(final)
            raise
        shutil.rmtree(old)


def _remove(folder: Path) -> None:
    """Delete folder; it leaves its name first, so that nobody sees half of it."""
    if folder.is_dir():
        if not folder.name.startswith(_NEW):
            folder = folder.rename(folder.with_name(_NEW + folder.name))
        shutil.rmtree(folder)


@contextlib.contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """Make folder and those above it; take away the ones made here if the work fails."""
    made = []
    while not folder.exists():
        made.append(folder)
        folder = folder.parent
    try:
        for new in reversed(made):
            new.mkdir(exist_ok=True)
        yield
    except BaseException:
        for new in made:
            with contextlib.suppress(OSError):  # not empty: another build writes there; or it was never made
                new.rmdir()
        raise


@contextlib.contextmanager
def _as_user_errors(final: Path, needed: int) -> Iterator[None]:
    """Turn what the system refuses into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError(
                f"the disk is full: the bundle needs {show_bytes(needed)}",
                where=str(final.parent),
                hint="free some space, or choose another --out",
            ) from None
        raise ConfigError(
            f"the bundle cannot be written: {error.strerror or error}",
            where=str(error.filename or final),
            hint="choose another --out",
        ) from None
