"""Protocol buffers read by field number."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_models import message, varint

from edgecompile.training.wire import DamagedError, Message, parse

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@given(st.lists(st.tuples(st.integers(1, 2000), TEXT | st.integers(0, (1 << 64) - 1)), max_size=20))
def test_what_is_written_is_read(fields: list[tuple[int, str | int]]) -> None:
    read = parse(message(*fields))
    for number in {n for n, _ in fields}:
        assert read.texts(number) == [v for n, v in fields if n == number and isinstance(v, str)]


@given(st.binary(max_size=200))
def test_any_bytes_give_fields_or_damage(data: bytes) -> None:
    with contextlib.suppress(DamagedError):
        walk(parse(data), 3)


def walk(found: Message, depth: int) -> None:
    for number in range(20):
        found.texts(number)
        for inner in found.messages(number) if depth else []:
            with contextlib.suppress(DamagedError):
                walk(inner, depth - 1)


def test_fixed_width_fields_are_passed_over() -> None:
    data = varint(1 << 3 | 1) + bytes(8) + varint(2 << 3 | 5) + bytes(4) + message((3, "end"))
    assert parse(data).text(3) == "end"
    assert parse(data).text(1) == ""


def test_of_a_repeated_single_field_the_last_counts() -> None:
    assert parse(message((1, "a"), (1, "b"))).text(1) == "b"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x0a\x05ab", "a field runs over the end"),
        (b"\x0d\x00", "a field runs over the end"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x08\x80", "ends inside a number"),
        (b"\x08" + b"\xff" * 11, "longer than 64 bits"),
    ],
)
def test_damage(data: bytes, said: str) -> None:
    with pytest.raises(DamagedError, match=said):
        parse(data)


def test_depth_is_bounded() -> None:
    data = b""
    for _ in range(150):
        data = message((1, data))

    def descend(found: Message) -> None:
        for inner in found.messages(1):
            descend(inner)

    with pytest.raises(DamagedError, match="nested too deeply"):
        descend(parse(data))
