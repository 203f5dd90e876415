"""Write protocol buffers by hand: SavedModels for tests, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

Field = str | bytes | int


def message(*fields: tuple[int, Field]) -> bytes:
    """Return a message of (number, value); text and bytes are length-delimited, integers varints."""
    return b"".join(_field(number, value) for number, value in fields)


def varint(value: int) -> bytes:
    """Return value in base 128, least significant group first."""
    groups = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        groups.append(low | (0x80 if value else 0))
        if not value:
            return bytes(groups)


def _field(number: int, value: Field) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(name: str, op: str, inputs: Sequence[str] = (), calls: Sequence[str] = ()) -> bytes:
    """Return a NodeDef; calls are functions in an attribute of its own each."""
    attributes = [
        (5, message((1, f"f{i}"), (2, message((10, message((1, called))))))) for i, called in enumerate(calls)
    ]
    return message((1, name), (2, op), *((3, i) for i in inputs), *attributes)


def saved_model(
    folder: Path,
    nodes: Sequence[bytes],
    *,
    functions: Mapping[str, Sequence[bytes]] | None = None,
    outputs: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Path:
    """Write a SavedModel with these nodes, functions, signature outputs and object methods; return folder."""
    library = message(
        *((1, message((1, message((1, name))), *((3, n) for n in body))) for name, body in (functions or {}).items())
    )
    graph = message(*((1, n) for n in nodes), (2, library))
    signature = message(*((2, message((1, name), (2, message((1, name))))) for name in outputs))
    objects = message(*((1, message((6, message((1, method))))) for method in methods))
    meta = message((2, graph), (5, message((1, "serving_default"), (2, signature))), (7, objects))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(message((1, 1), (2, meta)))
    return folder
