"""What a model file is, and whether it is safe to load. No TensorFlow, no h5py: this runs in the main process.

Loading a Keras file can run code that the file brings: a Lambda layer is marshalled bytecode, a config may name any
module and class, a SavedModel graph may read and write files. Whoever builds a model they were sent has not agreed to
that, so it is refused unless `--allow-code` is given. The content of `.h5` files is read in the worker process
(`h5.py`), since the HDF5 library can crash on damaged files; here only their header is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgecompile.errors import ModelError, Problem
from edgecompile.training.archive import read_config
from edgecompile.training.code import code_in_config
from edgecompile.training.graphdef import code_in_saved_model

Format = Literal["keras v3", "keras h5", "saved model", "tflite"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_TFLITE = b"TFL3"
_SIGNS = {
    b"\x80\x02": "a pickle: opening it would run code",
    b"\x80\x03": "a pickle: opening it would run code",
    b"\x80\x04": "a pickle: opening it would run code",
    b"\x80\x05": "a pickle: opening it would run code",
    b"\x93NUMPY": "a numpy array",
    b"\x08\x07\x12": "an ONNX model",
    b"\x08\x08\x12": "an ONNX model",
}
"""How files start that people take for models; for the message only."""

_TAKEN = "edgecompile takes .keras, .h5, a SavedModel folder or .tflite"


def source_format(path: Path) -> Format:
    """Return what the model at path is, by its content.

    Raises:
        ModelError: missing, unreadable, or not a model.
    """
    where = str(path)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved model"
        raise ModelError("is a folder without a `saved_model.pb`", where=where, hint=_TAKEN)
    if not path.exists():
        raise ModelError("no such file", where=where)
    if path.is_fifo() or path.is_char_device():
        raise ModelError(
            "is a pipe or a device, and a model is read more than once", where=where, hint="save it as a file"
        )
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=where) from None
    if start[4:8] == _TFLITE:
        return "tflite"
    if start.startswith(_HDF5):
        return "keras h5"
    if start.startswith(_ZIP):
        return "keras v3"
    raise ModelError(_not_a_model(path, start), where=where, hint=_hint(path))


def _not_a_model(path: Path, start: bytes) -> str:
    if not start:
        return "is empty"
    for sign, what in _SIGNS.items():
        if start.startswith(sign):
            return f"is {what}, not a model that TensorFlow reads"
    if path.suffix in (".keras", ".h5", ".hdf5", ".tflite"):
        return f"is not a {path.suffix} file inside; it is damaged or has the wrong name"
    return "is not a model that TensorFlow reads"


def _hint(path: Path) -> str:
    if path.suffix in (".pb", ".pbtxt"):
        return f"give the folder that holds `saved_model.pb` instead: {path.parent}"
    return _TAKEN


def scan_source(path: Path, *, allow_code: bool) -> None:
    """Check that the model at path is whole enough to be loaded, and runs no code of its own when it is.

    `.keras`: the archive (checksums, declared sizes) and every object that its config names. SavedModel: every op
    that can run. `.h5`: its header. `.tflite`: nothing beyond its mark, which `tflite.graph` does.

    Args:
        path: the model.
        allow_code: the user agrees to run code from the file; damage is refused all the same.

    Raises:
        ModelError: missing, damaged, a zip bomb, or code: every layer that brings some, at once.
    """
    problems: list[Problem] = []
    match source_format(path):
        case "keras v3":
            problems = code_in_config(read_config(path))
        case "keras h5":
            _check_h5_length(path)
        case "saved model":
            problems = code_in_saved_model(path)
        case "tflite":
            pass
    refuse(problems, allow_code=allow_code)


def refuse(problems: list[Problem], *, allow_code: bool) -> None:
    """Raise ModelError with all problems unless there are none or the user allows code."""
    if problems and not allow_code:
        raise ModelError.of(problems)


def _check_h5_length(path: Path) -> None:
    """Raise ModelError when the file is shorter than its superblock says, which is how a broken download shows.

    Source: HDF5 file format specification 3.0, section II.A (superblock versions 0 to 3).
    """
    with path.open("rb") as file:
        head = file.read(64)
    version = head[8] if len(head) == 64 else -1
    if version in (0, 1):
        width, at = head[13], 24 if version == 0 else 28
    elif version in (2, 3):
        width, at = head[9], 12
    else:
        raise ModelError("is damaged: its HDF5 header is not one", where=str(path), hint="copy or save it again")
    if width != 8:
        raise ModelError(f"is damaged: {width}-byte addresses in its HDF5 header", where=str(path))
    end = int.from_bytes(head[at + 16 : at + 24], "little")
    size = path.stat().st_size
    if end > size:
        raise ModelError(
            f"is cut off: {size:,} of {end:,} bytes are there", where=str(path), hint="copy or download it again"
        )
