"""Files that a `.tflite` brings along, such as the names of its classes: an archive behind the flatbuffer.

TFLite's metadata (`TFLITE_METADATA`, a flatbuffer of its own with the identifier `M001`; tflite-support's
metadata_schema.fbs) says which file belongs to which tensor; a zip archive at the end of the `.tflite` holds the files
themselves. Interpreters do not look at it; the Task Library, ML Kit and Android's code generator do. Nothing in the
archive is compressed, since they read it in place.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgecompile.tflite.values import Array
from edgecompile.units import MIB, show_bytes

METADATA = "TFLITE_METADATA"
"""Name of the metadata entry (tflite-support)."""

_IDENTIFIER = b"M001"
_END, _END_BYTES, _MOST_COMMENT = b"PK\x05\x06", 22, 65_535
"""The record that ends a zip archive, its length, and the longest comment behind it (PKWARE's APPNOTE, 4.3.16)."""

_MOST_BYTES = 64 * MIB
"""Of all files of an archive: a vocabulary has a few; what is said to hold more would fill the memory."""

_MOST_TABLES = 4096
_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip archive can state: equal files give equal bytes."""

_AXIS_LABELS, _VALUE_LABELS = 2, 3
"""`AssociatedFileType`: names of the places along an axis of a tensor; names of the numbers in a tensor."""

# Places of fields in the tables of metadata_schema.fbs.
_SUBGRAPHS, _OUTPUTS, _TENSOR_FILES = 3, 3, 6
_NAME, _TYPE, _LOCALE = 0, 2, 3


class AssociatedError(Exception):
    """The archive or the metadata cannot be read; the message says why."""


@dataclass(frozen=True)
class LabelFile:
    """A file of class names that the metadata gives to an output."""

    name: str
    output: int
    """Which output of the main graph, counted from 0."""
    axis: bool
    """Whether its lines name the places along the output's axis; otherwise the numbers in it."""
    locale: str = ""
    """Language of the names, such as `en`; empty where none is stated."""


def read_archive(content: bytes | mmap.mmap) -> dict[str, bytes]:
    """Return name → content of the files behind a `.tflite`, in the archive's order; empty where there is none.

    Raises:
        AssociatedError: there is an archive, and it is damaged, encrypted or unreasonably large.
    """
    if not _has_archive(content):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if (size := sum(entry.file_size for entry in entries)) > _MOST_BYTES:
                raise AssociatedError(f"its files hold {show_bytes(size)}")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise AssociatedError(str(error) or type(error).__name__) from None


def with_archive(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a `.tflite` that ends with its flatbuffer, files behind it."""
    if not files:
        return content
    behind = io.BytesIO()
    with zipfile.ZipFile(behind, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return content + behind.getvalue()


def keep_archive(content: bytes, *, of: bytes) -> bytes:
    """Return content with the archive that another `.tflite` has behind it, where content has none of its own."""
    try:
        return content if _has_archive(content) else with_archive(content, read_archive(of))
    except AssociatedError:
        return content


def _has_archive(content: bytes | mmap.mmap) -> bool:
    """Return whether content ends with the record that ends a zip archive."""
    at = content.rfind(_END, max(0, len(content) - _END_BYTES - _MOST_COMMENT))
    return at >= 0 and at + _END_BYTES + int.from_bytes(content[at + 20 : at + 22], "little") == len(content)


def label_files(metadata: Array) -> tuple[LabelFile, ...]:
    """Return the files of class names of all outputs of the main graph, in the metadata's order.

    Args:
        metadata: content of the metadata entry, [bytes].

    Raises:
        AssociatedError: it is not TFLite metadata, or damaged.
    """
    content = metadata.tobytes()
    if content[4:8] != _IDENTIFIER:
        raise AssociatedError(f"bytes 4 to 8 are not {_IDENTIFIER!r}")
    try:
        return tuple(_label_files(_Table.root(content)))
    except (LookupError, ValueError, TypeError, OverflowError, struct.error):
        raise AssociatedError("an offset points outside of it") from None


def _label_files(root: _Table) -> Iterator[LabelFile]:
    for subgraph in root.tables(_SUBGRAPHS)[:1]:
        for number, tensor in enumerate(subgraph.tables(_OUTPUTS)):
            for file in tensor.tables(_TENSOR_FILES):
                if file.byte(_TYPE) in (_AXIS_LABELS, _VALUE_LABELS):
                    yield LabelFile(file.text(_NAME), number, file.byte(_TYPE) == _AXIS_LABELS, file.text(_LOCALE))


def read_lines(content: bytes) -> tuple[str, ...]:
    """Return the class names of a file, one a line; empty lines at the end do not count.

    Raises:
        AssociatedError: not UTF-8.
    """
    try:
        return tuple(line.strip() for line in content.decode("utf-8-sig").rstrip().splitlines())
    except UnicodeDecodeError as error:
        raise AssociatedError(str(error)) from None


class _Table:
    """A table of a flatbuffer whose schema has no generated code here; fields by their place."""

    def __init__(self, content: bytes, at: int) -> None:
        from flatbuffers.table import Table

        self._content = content
        self._table: Any = Table(content, at)

    @classmethod
    def root(cls, content: bytes) -> _Table:
        return cls(content, int.from_bytes(content[:4], "little"))

    def tables(self, field: int) -> list[_Table]:
        """Return the tables of a vector of tables; none where the field is absent."""
        if not (at := self._at(field)):
            return []
        start, length = self._table.Vector(at), self._table.VectorLen(at)
        if length > _MOST_TABLES:
            raise ValueError(f"{length} tables")
        return [_Table(self._content, self._table.Indirect(start + 4 * i)) for i in range(length)]

    def text(self, field: int) -> str:
        at = self._at(field)
        return self._table.String(at + self._table.Pos).decode("utf-8", "replace") if at else ""

    def byte(self, field: int) -> int:
        at = self._at(field)
        return self._content[at + self._table.Pos] if at else 0

    def _at(self, field: int) -> int:
        """Return where a field lies behind the start of the table; 0: absent."""
        return int(self._table.Offset(4 + 2 * field))
