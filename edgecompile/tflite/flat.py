"""A damaged flatbuffer must end in an error and nothing else: the checked way into a `.tflite` file.

The Python flatbuffers reader has no verifier. It does check every single access against the file's length, so what is
left to guard against is work without end: a vector whose elements all point to one large table, a length of four
billion. Everything read is therefore charged against a budget that follows from the size of the file.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.units import MIB

Array = npt.NDArray[Any]
T = TypeVar("T")

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every `.tflite` file (`file_identifier` of the TFLite schema)."""

PLACEHOLDER = 1
"""Writers of files with content outside the flatbuffer put 1 for an offset or size not known yet (TFLite schema)."""

_SMALLEST_FILE_BYTES = 12
"""Root offset, identifier and the offset to an empty table's vtable."""

_MAPPED_ABOVE_BYTES = 256 * MIB
"""Larger files are mapped. Smaller ones are read: a mapped file that someone truncates ends the process."""

_MAX_TABLES = 65_536
"""Tensors, ops and the like in one file; the largest models known have a quarter of that."""

_SHARING = 8
"""How often parts of an honest file are shared (equal strings and vectors are stored once by some writers)."""


class DamageError(Exception):
    """The file holds something impossible; the message says what, and becomes a `ModelError`."""


class Flat:
    """A `.tflite` file, its root table, and the budget for reading it.

    Attributes:
        content: the whole file, read-only.
        root: the schema's `Model` table.
    """

    def __init__(self, content: bytes | mmap.mmap) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.content = content
        self.schema = schema
        self.root: Any = schema.Model.GetRootAs(content)
        self._bytes_left = _SHARING * len(content)
        self._tables_left = _MAX_TABLES
        self.each(self.root, "Buffers")  # counts them; they are looked up one by one

    def vector(self, table: Any, field: str) -> Array:
        """Return a vector of numbers as a read-only view; empty where the field is absent."""
        found = self.view(table, field)
        return np.empty(0, np.int32) if found is None else self._charged(found)

    def numbers(self, vector: Array) -> tuple[int, ...]:
        """Return a vector that was found in the file as a tuple."""
        return tuple(self._charged(vector).tolist())

    def view(self, table: Any, field: str) -> Array | None:
        """Return a vector of numbers that nobody walks through, at no charge; None where the field is absent."""
        if getattr(table, f"{field}IsNone")():
            return None
        found: Array = getattr(table, f"{field}AsNumpy")()
        return found

    def text(self, raw: bytes | None) -> str:
        """Return a string of the file."""
        self._charge(len(raw or b""))
        return (raw or b"").decode("utf-8", "replace")

    def each(self, table: Any, field: str) -> Iterator[Any]:
        """Yield the tables of a vector of tables."""
        length: int = getattr(table, f"{field}Length")()
        self._tables_left -= length
        if self._tables_left < 0:
            raise DamageError(f"more than {_MAX_TABLES:,} tables")
        get: Callable[[int], Any] = getattr(table, field)
        return (get(i) for i in range(length))

    def outside(self, offset: int, size: int) -> Array:
        """Return size bytes at offset of the file: how content beyond the 2 GB that a flatbuffer reaches is stored."""
        if offset + size > len(self.content):
            raise DamageError(f"content at byte {offset:,} of {size:,} bytes reaches beyond the end of the file")
        return np.frombuffer(self.content, np.uint8, count=size, offset=offset)

    def _charged(self, vector: Array) -> Array:
        self._charge(vector.nbytes)
        return vector

    def _charge(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise DamageError("its parts overlap without end")


def item(table: T | None, *, what: str) -> T:
    """Return table, or raise where the file has a hole in its place."""
    if table is None:
        raise DamageError(f"{what} is missing")
    return table


def load(path: Path) -> bytes | mmap.mmap:
    """Return the content of a file that has the length and the identifier of a `.tflite`; large ones are mapped.

    Raises:
        ModelError: no such file, a folder, unreadable, too short, another format.
    """
    if not path.is_file():  # A pipe would block for ever.
        missing = "a folder, not a file" if path.is_dir() else "not a file" if path.exists() else "no such file"
        raise ModelError(missing, where=str(path), hint="give a .tflite file")
    try:
        with path.open("rb") as file:
            _ensure_tflite(file.read(_SMALLEST_FILE_BYTES), path)
            if file.seek(0, os.SEEK_END) > _MAPPED_ABOVE_BYTES:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            file.seek(0)
            return file.read()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _ensure_tflite(head: bytes, path: Path) -> None:
    if len(head) < _SMALLEST_FILE_BYTES:
        raise ModelError(f"too short for a .tflite file ({len(head)} bytes)", where=str(path))
    if head[4:8] == IDENTIFIER:
        return
    known = {b"PK\x03\x04": "a zip archive (a `.keras` file?)", b"\x89HDF": "an HDF5 file (`.h5`)"}
    looks = known.get(head[:4], "something else")
    raise ModelError(
        f"not a .tflite file: bytes 4 to 8 are {head[4:8]!r}, not {IDENTIFIER!r}; it is {looks}",
        where=str(path),
        hint="give the .tflite file, or a Keras model with its own ending",
    )


@contextmanager
def damage_reported(path: Path | None) -> Iterator[None]:
    """Turn what the flatbuffers reader raises on impossible offsets, and `DamageError`, into a ModelError."""
    where = str(path) if path else ""
    hint = "copy or export the file again"
    try:
        yield
    except DamageError as error:
        raise ModelError(f"damaged .tflite file: {error}", where=where, hint=hint) from None
    except (struct.error, ValueError, IndexError, TypeError, OverflowError):
        # What struct.unpack_from, numpy.frombuffer and flatbuffers.number_types raise for offsets outside the file.
        raise ModelError("damaged .tflite file: an offset points outside the file", where=where, hint=hint) from None
