"""What is inside the custom op of a compiled model, as far as Google has published it.

The op's options hold a “DarwiNN” package: a flatbuffer with identifier `DWN1` whose schema is
google-coral/libedgetpu `executable/executable.fbs`. Only a few plain fields are read, each access checked against the
length of what is there; anything unexpected ends in `PayloadError`, never in a guess. Programs and parameters
themselves are opaque.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

IDENTIFIER: Final = b"DWN1"
"""`file_identifier` of the package, bytes 4 to 8."""

_TYPES = {0: "stand alone", 1: "parameter caching", 2: "execution only"}
"""`ExecutableType`."""

_PACKAGE = {"min_runtime_version": 0, "multi_executable": 1, "compiler_version": 4}
_EXECUTABLE = {"instructions": 5, "parameters": 6, "chip": 10, "narrow_memory": 12, "type": 13, "token": 14}
"""Field → its place in the schema's table."""

_MOST_EXECUTABLES = 1_000


class PayloadError(Exception):
    """The options of the custom op are not a package that can be read."""


@dataclass(frozen=True)
class Executable:
    """One program for the chip.

    Attributes:
        type: `execution only` runs inferences, `parameter caching` fills the cache before, `stand alone` does both.
        instruction_bytes: size of its instructions.
        parameter_bytes: size of the parameters it sends; of a program that runs inferences, at every inference.
        activation_bytes_per_tile: most memory for activations that it uses on one of the chip's 16 tiles.
        token: models whose programs share it can share the cache.
    """

    type: str
    instruction_bytes: int
    parameter_bytes: int
    activation_bytes_per_tile: int
    token: int


@dataclass(frozen=True)
class Package:
    """What one custom op holds.

    Attributes:
        min_runtime_version: the oldest Edge TPU runtime that loads it.
        compiler_version: what the compiler calls itself; release builds say only `cl/`.
        chip: `beagle` is the Edge TPU.
        executables: its programs.
    """

    min_runtime_version: int
    compiler_version: str
    chip: str
    executables: tuple[Executable, ...]

    @property
    def cached_bytes(self) -> int:
        """Parameters that stay on the chip."""
        return sum(e.parameter_bytes for e in self.executables if e.type == "parameter caching")

    @property
    def streamed_bytes(self) -> int:
        """Parameters sent at every inference."""
        return sum(e.parameter_bytes for e in self.executables if e.type != "parameter caching")

    @property
    def instruction_bytes(self) -> int:
        """Instructions of all programs."""
        return sum(e.instruction_bytes for e in self.executables)

    @property
    def activation_bytes_per_tile(self) -> int:
        """Most memory for activations on one tile."""
        return max((e.activation_bytes_per_tile for e in self.executables), default=0)


def read_package(options: bytes) -> Package:
    """Return the package in the options of an `edgetpu-custom-op`.

    Raises:
        PayloadError: there is none, or it is damaged.
    """
    at = options.find(IDENTIFIER)
    if at < 4:
        raise PayloadError(f"no {IDENTIFIER.decode()} package in it")
    package = _Table.root(options[at - 4 :])
    inner = _Table.root(package.vector(_PACKAGE["multi_executable"]))
    programs = tuple(_Table.root(part) for part in inner.strings(0))
    if not programs:
        raise PayloadError("a package without a program")
    return Package(
        min_runtime_version=package.number(_PACKAGE["min_runtime_version"], "<i"),
        compiler_version=package.text(_PACKAGE["compiler_version"]),
        chip=programs[0].text(_EXECUTABLE["chip"]),
        executables=tuple(_executable(program) for program in programs),
    )


def _executable(program: _Table) -> Executable:
    kind = program.number(_EXECUTABLE["type"], "<h")
    return Executable(
        type=_TYPES.get(kind, f"type {kind}"),
        instruction_bytes=sum(len(part.vector(0)) for part in program.tables(_EXECUTABLE["instructions"])),
        parameter_bytes=len(program.vector(_EXECUTABLE["parameters"])),
        activation_bytes_per_tile=program.number(_EXECUTABLE["narrow_memory"], "<i"),
        token=program.number(_EXECUTABLE["token"], "<Q"),
    )


class _Table:
    """A flatbuffer table, read field by field."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - _number(data, at, "<i")
        self._fields = (_number(data, self._vtable, "<H") - 4) // 2

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _number(data, 0, "<I"))

    def number(self, field: int, form: str) -> int:
        """Return a number; 0, the schema's default, where the field is absent."""
        where = self._where(field)
        return 0 if where is None else _number(self._data, where, form)

    def text(self, field: int) -> str:
        return self.vector(field).decode("utf-8", "replace")

    def vector(self, field: int) -> bytes:
        """Return a vector of bytes; empty where the field is absent."""
        where = self._where(field)
        return b"" if where is None else _bytes(self._data, where + _number(self._data, where, "<I"))

    def strings(self, field: int) -> list[bytes]:
        return [_bytes(self._data, where) for where in self._targets(field)]

    def tables(self, field: int) -> list[_Table]:
        return [_Table(self._data, where) for where in self._targets(field)]

    def _targets(self, field: int) -> list[int]:
        where = self._where(field)
        if where is None:
            return []
        start = where + _number(self._data, where, "<I")
        length = _number(self._data, start, "<I")
        if length > _MOST_EXECUTABLES:
            raise PayloadError(f"{length:,} parts")
        places = [start + 4 + 4 * n for n in range(length)]
        return [place + _number(self._data, place, "<I") for place in places]

    def _where(self, field: int) -> int | None:
        if field >= self._fields:
            return None
        offset = _number(self._data, self._vtable + 4 + 2 * field, "<H")
        return self._at + offset if offset else None


def _number(data: bytes, at: int, form: str) -> int:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise PayloadError("an offset points outside the package")
    found: int = struct.unpack_from(form, data, at)[0]
    return found


def _bytes(data: bytes, at: int) -> bytes:
    length = _number(data, at, "<I")
    if at + 4 + length > len(data):
        raise PayloadError("a part reaches beyond the end of the package")
    return data[at + 4 : at + 4 + length]
