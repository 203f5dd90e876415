"""Pictures of rows for the report: as small PNG files inside the page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

SIDE = 64
"""Longest side of a picture in the page, pixels; larger ones are averaged down. Twelve of them take about 150 kB."""
SMALLEST = 8
"""Shortest side, pixels, of what is taken for a picture: below that it is a table of numbers."""
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""What pixels are stored in, where they are not bytes; anything else is stretched from its minimum to its maximum."""


def is_picture(rows: Array) -> bool:
    """Return whether rows [n, ...] look like pictures: [n, h, w] or [n, h, w, 1 or 3] of bytes, or of colours.

    One channel of anything but bytes is more often a spectrogram or a map of features: no picture to a reader.
    """
    shape = rows.shape[1:]
    if len(shape) not in (2, 3) or min(shape[:2]) < SMALLEST:
        return False
    channels = shape[2] if len(shape) == 3 else 1
    return channels in (1, 3) and (rows.dtype == np.uint8 or (channels == 3 and rows.dtype.kind in "if"))


def pictures(rows: Array) -> tuple[str, ...]:
    """Return rows [n, h, w] or [n, h, w, c] as data URIs of PNG files, all in one range of brightness."""
    x = rows[..., None] if rows.ndim == 3 else rows
    return tuple(png_uri(picture) for picture in _shrunk(_as_bytes(x)))


def png_uri(pixels: Bytes) -> str:
    """Return pixels, uint8 [h, w, 1] grey or [h, w, 3] RGB, as the data URI of a PNG file."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: Bytes) -> bytes:
    """Return pixels, uint8 [h, w, 1] grey or [h, w, 3] RGB, as a PNG file.

    Source: PNG specification, third edition: signature, IHDR (8 bits, colour type 0 or 2), IDAT with filter 0 (none) in
    front of every line, IEND.
    """
    height, width, channels = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _as_bytes(x: Array) -> Bytes:
    if x.dtype == np.uint8 and x.max() > 127:
        return x
    low, high = float(x.min()), float(x.max())
    if x.dtype == np.int8:
        low, high = -128.0, 127.0
    elif x.dtype == np.uint8:  # few grey levels, such as 0 to 16: stretched
        low = 0.0
    else:
        low, high = next(((a, b) for a, b in _RANGES if a <= low and high <= b), (low, high))
    level = (x.astype(np.float64) - low) * (255 / max(high - low, 1e-9))
    return np.rint(level).astype(np.uint8)


def _shrunk(x: Bytes) -> Bytes:
    """Return pictures [n, h, w, c] with no side longer than SIDE: means over blocks of whole pixels."""
    step = -(-max(x.shape[1:3]) // SIDE)
    if step == 1:
        return x
    n, height, width, channels = x.shape
    height, width = height // step * step, width // step * step
    blocks = x[:, :height, :width].reshape(n, height // step, step, width // step, step, channels)
    small: Bytes = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return small
