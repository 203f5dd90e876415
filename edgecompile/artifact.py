"""Artifact: a file (or SavedModel folder) with a kind and a sha256."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from edgecompile.config import Frozen


class Kind(StrEnum):
    """What an artifact is; a pass declares which kind it takes and gives."""

    KERAS = "keras"
    """A trained model that TensorFlow reads: `.keras`, `.h5` or a SavedModel folder."""
    TFLITE = "tflite"
    """A TFLite flatbuffer."""


class Artifact(Frozen):
    """A file with a kind and a content hash. The file is never changed after the artifact exists."""

    path: Path
    """Where the file or folder lies."""
    kind: Kind
    """What it is."""
    sha256: str
    """Hex digest of the content; of a folder: over names and contents of its files, sorted."""

    @classmethod
    def of(cls, path: Path, kind: Kind) -> Artifact:
        """Return the artifact at path, hashed now."""
        return cls(path=path, kind=kind, sha256=hash_path(path))


def hash_path(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's relative names and contents in sorted order."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file_path.relative_to(path).as_posix()}\0{hash_path(file_path)}\n".encode())
    return whole.hexdigest()
