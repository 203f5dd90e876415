"""The `.keras` archive: is it whole, is it small enough, what does its config say. Standard library only."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from edgecompile.errors import ModelError
from edgecompile.units import GIB, MIB, show_bytes

CONFIG = "config.json"
METADATA = "metadata.json"

MAX_CONFIG_BYTES = 64 * MIB
"""EfficientNetB7's config, one of the longest in Keras, has 0.5 MB; a hundred times that is no model."""

MAX_MODEL_BYTES = 8 * GIB
"""A .tflite cannot pass 2 GiB (its offsets are signed 32-bit); a trained file holds the weights and Adam's two copies,
so 3 times that, and some."""

MAX_RATIO = 200
"""Trained float weights deflate 1.1:1, weights with 99% zeros about 50:1; deflate's own limit, 1032:1, is a bomb's."""

RATIO_FROM_BYTES = 64 * MIB
"""Below this a high ratio does no harm: a new model's biases and moments are all zeros."""

MAX_ENTRIES = 10_000
"""A .keras file holds three entries and a folder of vocabularies."""


def read_config(path: Path) -> dict[str, Any]:
    """Return the model config in a `.keras` file, after checking the whole archive.

    Raises:
        ModelError: damaged (each entry's checksum is verified), not written by Keras, encrypted, with paths that
            leave the archive, too large, or a zip bomb.
    """
    with _read_faults(path), zipfile.ZipFile(path) as archive:
        _check_entries(path, archive.infolist())
        damaged = archive.testzip()
        if damaged is not None:
            raise ModelError(f"is damaged: `{damaged}` fails its checksum", where=str(path), hint=_AGAIN)
        return _json(path, archive, CONFIG)


def keras_version(path: Path) -> str:
    """Return the version of Keras that wrote a `.keras` file which `read_config` has checked."""
    with _read_faults(path), zipfile.ZipFile(path) as archive:
        return str(_json(path, archive, METADATA).get("keras_version", ""))


def _json(path: Path, archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        value = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"`{name}` cannot be read: {error}", where=str(path), hint=_AGAIN) from None
    if not isinstance(value, dict):
        raise ModelError(f"`{name}` does not hold an object", where=str(path), hint=_AGAIN)
    return value


@contextmanager
def _read_faults(path: Path) -> Iterator[None]:
    """Turn what zipfile raises on damaged archives into a ModelError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ModelError(f"is damaged or cut off: {error}", where=str(path), hint=_AGAIN) from None


_AGAIN = "copy or download the file again, or save the model again"


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    where = str(path)
    names = [entry.filename for entry in entries]
    if not {CONFIG, METADATA} <= set(names):
        raise ModelError(_what_else(names), where=where, hint="save the model with `model.save('model.keras')`")
    if len(names) > MAX_ENTRIES or len(set(names)) < len(names):
        raise ModelError("holds entries that Keras does not write: too many, or one name twice", where=where)
    for entry in entries:
        inside = PurePosixPath(entry.filename)
        if inside.is_absolute() or ".." in inside.parts or "\\" in entry.filename:
            raise ModelError(f"holds `{entry.filename}`, which points outside the file", where=where)
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"`{entry.filename}` is encrypted or packed in a way that Keras does not use", where=where)
    declared = sum(entry.file_size for entry in entries)
    stored = max(1, path.stat().st_size)
    config = max(entry.file_size for entry in entries if entry.filename in (CONFIG, METADATA))
    if declared > MAX_MODEL_BYTES or config > MAX_CONFIG_BYTES:
        raise ModelError(
            f"would unpack to {show_bytes(declared)}, of which config {show_bytes(config)}; no model for a device does",
            where=where,
        )
    if declared > RATIO_FROM_BYTES and declared > MAX_RATIO * stored:
        raise ModelError(
            f"is a zip bomb: {show_bytes(stored)} would unpack to {show_bytes(declared)}",
            where=where,
            hint=f"weights do not compress {MAX_RATIO}:1; get the file from somewhere else",
        )


def _what_else(names: list[str]) -> str:
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file, not a Keras model"
    if names and all(name.endswith(".npy") for name in names):
        return "is an .npz of arrays, not a Keras model"
    return "is a zip file, but Keras did not write it: `config.json` or `metadata.json` is missing"
