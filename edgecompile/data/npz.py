"""Read an `.npz` that nobody vouches for: no pickles, no bombs, nothing allocated that the file does not hold."""

from __future__ import annotations

import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ConfigError, Problem
from edgecompile.units import MIB, show_bytes

MAX_BYTES = 4096 * MIB
"""Most that a data file may unpack to. Rows are held in memory; 4 GiB are 28,000 RGB images of 224x224, and 10,000
rows already measure an accuracy to within a percentage point."""

MAX_RATIO = 900
"""Largest believable compression of a member, above `_SMALL`. DEFLATE ends at 1032:1 and zeros were measured at 1028:1;
one-hot rows of 1,000 classes reach 752:1 as float64, MNIST digits as float32 12:1."""

_SMALL = 64 * MIB
"""Members below this many bytes harm nobody, whatever their ratio."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
"""What zipfile and its decompressors raise on a damaged archive; found by flipping bits."""


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return every array of the file by name, in sorted order.

    Raises:
        ConfigError: not a zip, damaged, too large when unpacked, or members that are not plain arrays (all of them).
    """
    where = str(path)
    arrays: dict[str, npt.NDArray[Any]] = {}
    problems: list[Problem] = []
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=where) from None
    with stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = sorted(archive.infolist(), key=lambda m: m.filename)
                _refuse_lost_members(stream, len(members))
                _refuse_bombs(members, where)
                for member in members:
                    name = member.filename.removesuffix(".npy")
                    try:
                        arrays[name] = _read_member(archive, member)
                    except ConfigError as error:
                        problems += [Problem(p.what, f"{where}: {name}", p.hint) for p in error.problems]
        except _DAMAGE as error:
            raise ConfigError(
                f"is not an .npz file, or is damaged ({error})",
                where=where,
                hint="save it again with np.savez_compressed",
            ) from None
    if problems:
        raise ConfigError.of(problems)
    if not arrays:
        raise ConfigError("holds no arrays", where=where, hint="np.savez_compressed(path, x=rows, y=labels)")
    return arrays


def _refuse_lost_members(stream: BinaryIO, found: int) -> None:
    """Compare with the count in the end record: zipfile overlooks members behind a damaged entry of the directory.

    Source: PKWARE APPNOTE 4.3.16; the record is 22 bytes and a comment of at most 65,535.
    """
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 22 - 0xFFFF))
    tail = stream.read()
    promised = struct.unpack_from("<H", tail, tail.rfind(b"PK\x05\x06") + 10)[0]
    # 0xFFFF says that the count is in a zip64 record, which a file of so few arrays does not need.
    if promised not in (found, 0xFFFF):
        raise zipfile.BadZipFile(f"its directory lists {found} of {promised} arrays")


def _refuse_bombs(members: list[zipfile.ZipInfo], where: str) -> None:
    """Judge the declared sizes before anything is unpacked; zipfile itself never reads past a declared size."""
    total = sum(m.file_size for m in members)
    if total > MAX_BYTES:
        raise ConfigError(
            f"unpacks to {show_bytes(total)}; at most {show_bytes(MAX_BYTES)} are read",
            where=where,
            hint="give fewer rows: 10,000 measure an accuracy to within a percentage point",
        )
    for member in members:
        if member.file_size > _SMALL and member.file_size > MAX_RATIO * member.compress_size:
            raise ConfigError(
                f"`{member.filename}` unpacks to {member.file_size // max(member.compress_size, 1)} times its size: "
                "this is a decompression bomb, or constant data",
                where=where,
                hint="if the file is yours, save it uncompressed with np.savez",
            )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    try:
        with archive.open(member) as stream:
            shape, fortran, dtype = _header(stream)
            count = math.prod(shape)
            body = stream.read()
    except _DAMAGE as error:
        raise ConfigError(f"is damaged ({error})", hint="copy or save the file again") from None
    if dtype.hasobject:
        raise ConfigError(
            "holds Python objects (a pickle), which are not loaded: they can run code",
            hint="save plain numeric arrays; rows of unequal length must be padded first",
        )
    if len(body) != count * dtype.itemsize:
        raise ConfigError(
            f"is damaged: its header promises {show_bytes(count * dtype.itemsize)}, the file holds "
            f"{show_bytes(len(body))}",
            hint="copy or save the file again",
        )
    flat = np.frombuffer(body, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return (shape, whether columns come first, dtype) of an .npy stream, and leave it at the first byte of data."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, KeyError) as error:
        raise ConfigError(
            f"is not an array ({str(error).splitlines()[0]})", hint="np.savez_compressed(path, x=rows, y=labels)"
        ) from None
    if any(size < 0 for size in shape):
        raise ConfigError(f"is damaged: its header says shape {shape}", hint="save the file again")
    return shape, fortran, dtype
