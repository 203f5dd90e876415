"""Hold every constant of a `.tflite` inside its flatbuffer.

The schema also lets a file keep the content of buffers and the options of custom ops behind the flatbuffer (`offset`
and `size` of `Buffer`, `large_custom_options_offset` of `Operator`), for models beyond the 2 GB that a flatbuffer
reaches. litert-quantizer 0.11 does so from 256 KiB on. TFLite Micro has no such fields: it reads whatever lies at
address 0 of an absent vector. TFLite up to 2.13, which every runtime for the Edge TPU is made of, refuses the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from edgecompile.errors import ModelError, PassError
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.flat import PLACEHOLDER, Flat, damage_reported, item, load
from edgecompile.units import show_bytes

FLATBUFFER_BYTES = (1 << 31) - 1
"""What 32-bit signed offsets reach (flatbuffers' `FLATBUFFERS_MAX_BUFFER_SIZE`)."""


def outside_bytes(content: bytes | mmap.mmap) -> int:
    """Return the bytes of content that lie behind the flatbuffer of a `.tflite` and that its tables refer to.

    Raises:
        ModelError: damaged.
    """
    with damage_reported(None):
        return sum(_outside(Flat(content)))


def inline(content: bytes | mmap.mmap, *, path: Path | None = None, limit: int = FLATBUFFER_BYTES) -> bytes:
    """Return a `.tflite` with all that it refers to inside the flatbuffer; one that needs no change keeps its bytes.

    Args:
        content: what `read_graph` took.
        path: the file that errors are to name.
        limit: bytes that a flatbuffer may have.

    Raises:
        ModelError: damaged; constants lie in other files; or too large for one flatbuffer. Such a file is refused: of
            all runtimes that bundles are made for, only recent ones of LiteRT read it.
    """
    _ensure_own_constants(content, path)
    moved = outside_bytes(content)
    if not moved:
        return bytes(content)
    if len(content) > limit:
        raise ModelError(
            f"the model holds {show_bytes(len(content))}, {show_bytes(moved)} of it behind the flatbuffer, which "
            f"reaches {show_bytes(limit)}",
            where=str(path) if path else "",
            hint="store its weights in fewer bits, or split the model: devices do not read constants from there",
        )
    return write_model(read_model(bytes(content)))


def ensure_inline(path: Path, *, where: str) -> None:
    """Raise PassError where a file that was just written refers to content behind its flatbuffer."""
    if size := outside_bytes(load(path)):
        raise PassError(
            f"the written file holds {show_bytes(size)} of its constants behind the flatbuffer",
            where=where,
            hint="this is a fault of edgecompile: TFLite Micro and TFLite up to 2.13 would not read them",
        )


def _ensure_own_constants(content: bytes | mmap.mmap, path: Path | None) -> None:
    """Raise ModelError where constants lie in other files (`external_buffer_groups` of the schema names them)."""
    with damage_reported(path):
        flat = Flat(content)
        groups = [item(g, what="a group of buffers") for g in flat.each(flat.root, "ExternalBufferGroups")]
        names = ", ".join(flat.text(group.Name()) for group in groups)
    if names:
        raise ModelError(
            f"constants of the model lie in other files: {names}",
            where=str(path) if path else "",
            hint="export the model as one file; devices take no other",
        )


def _outside(flat: Flat) -> Iterator[int]:
    for number in range(flat.root.BuffersLength()):  # `flat` has counted them
        buffer = item(flat.root.Buffers(number), what=f"buffer {number}")
        if buffer.Offset() > PLACEHOLDER:
            yield buffer.Size()
    for subgraph in flat.each(flat.root, "Subgraphs"):
        for op in flat.each(item(subgraph, what="a subgraph"), "Operators"):
            table = item(op, what="an operator")
            if table.LargeCustomOptionsOffset() > PLACEHOLDER:
                yield table.LargeCustomOptionsSize()
