"""Read protocol buffers without their schema: fields by number.

Source: the encoding page of the protocol buffers documentation. Only what strings and messages need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class DamagedError(Exception):
    """The bytes are no protocol buffer."""


@dataclass(frozen=True)
class Message:
    """One message; its fields are read when they are asked for.

    Attributes:
        data: the bytes, without a length in front.
        depth: how many messages it lies in.
    """

    data: memoryview
    depth: int = 0

    @cached_property
    def _fields(self) -> dict[int, list[memoryview]]:
        found: dict[int, list[memoryview]] = {}
        for number, value in _fields(self.data):
            found.setdefault(number, []).append(value)
        return found

    def messages(self, number: int) -> list[Message]:
        """Return the messages in field number, in order."""
        if self.depth > 100:  # the limit of TensorFlow's own parser
            raise DamagedError("it is nested too deeply")
        return [Message(value, self.depth + 1) for value in self._fields.get(number, [])]

    def texts(self, number: int) -> list[str]:
        """Return the strings in field number, in order."""
        return [bytes(value).decode("utf-8", "replace") for value in self._fields.get(number, [])]

    def text(self, number: int) -> str:
        """Return the string in field number: the last one, as parsers do; empty when absent."""
        return next(reversed(self.texts(number)), "")


def parse(data: bytes) -> Message:
    """Return the message that data holds.

    Raises:
        DamagedError: when a field runs over the end; for inner messages once they are asked for.
    """
    message = Message(memoryview(data))
    message.messages(0)
    return message


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of the length-delimited fields; others are skipped."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise DamagedError(f"a field of the unknown wire type {kind}")
        if at + size > end:
            raise DamagedError("a field runs over the end")
        if kind == _BYTES:
            yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = shift = 0
    while shift < 70:  # ten bytes hold 64 bits
        if at >= len(data):
            raise DamagedError("it ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DamagedError("a number is longer than 64 bits")
