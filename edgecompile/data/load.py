"""Load a dataset from wherever the user keeps it, and tell whether it changed without decoding it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.config import digest
from edgecompile.data.arrays import dataset_from_arrays, how_of
from edgecompile.data.dataset import Dataset
from edgecompile.data.images import image_files, read_images
from edgecompile.data.labels import read_names
from edgecompile.data.npz import read_npz
from edgecompile.data.table import read_csv
from edgecompile.data.usercode import is_function, load_function, users_code
from edgecompile.errors import ConfigError, near_miss
from edgecompile.recipe import DataSection

_KINDS = "an .npz, a .csv, a folder of images by class, or package.module:function"


def load_dataset(source: str, section: DataSection, *, base: Path) -> Dataset:
    """Return the rows of source with the section's preprocessing; rows stay in their stored dtype.

    ============================  =====================================================================================
    source                        what it holds
    ============================  =====================================================================================
    `.npz`                        `x` (or inputs by the model's names), `y` or `labels`, `groups`, `class_names`
    folder                        `CLASS/*.png|jpg|bmp`, or only images; uint8, one channel when all are grey, else RGB
    `.csv`                        a header; numeric columns are the row, `csv_label` (or the last) is the label
    `package.module:function`     called without arguments; gives a Dataset, a dict of arrays as in an .npz, or (x, y)
    ============================  =====================================================================================

    Labels come as one column, one-hot rows or class names; see `labels.tidy` for what they become. Class names are
    those of `section.labels`, else of the source (`class_names`, folders, text labels in sorted order).

    Args:
        source: a path, relative to base, or `package.module:function`.
        section: preprocessing, labels file, label column and metric.
        base: folder of the recipe; also first on Python's path while a function is imported and run.

    Raises:
        ConfigError: everything that is wrong with the source, at once.
        ToolError: a folder of images without Pillow.
    """
    check_source(source, base=base)
    names = read_names(base / section.labels) if section.labels else ()
    if is_function(source):
        return _from_function(source, section, names, base)
    path = base / source
    if path.is_dir():
        size = how_of(section, "x").resize
        x, y, names = read_images(path, size=size, names=names)
        arrays = {"x": x} if y is None else {"x": x, "y": y}
    elif path.suffix == ".csv":
        rows, labels, _ = read_csv(path, label=section.csv_label)
        arrays = {"x": rows, "y": labels}
    else:
        arrays = read_npz(path)
    return dataset_from_arrays(arrays, section, names=names, source=source)


def check_source(source: str, *, base: Path, key: str = "") -> None:
    """Raise ConfigError when source is no kind of data, or a file that is not there; nothing is read.

    Args:
        source: as in `load_dataset`.
        base: folder that relative paths start from.
        key: recipe key that named the source, for the error.
    """
    if is_function(source):
        return
    path = base / source
    where = f"{key} = {source}" if key else source
    if not path.exists():
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = near_miss(path.name, siblings) if siblings else f"there is no folder {path.parent}"
        raise ConfigError("no such file or folder", where=where, hint=hint)
    if path.is_fifo() or path.is_char_device():
        what = "is a pipe or a device, and data is read more than once"
        raise ConfigError(what, where=where, hint="save it as a file")
    if path.is_file() and path.suffix not in (".npz", ".csv"):
        hint = "np.savez_compressed(path, x=rows, y=labels)" if path.suffix == ".npy" else f"give {_KINDS}"
        raise ConfigError(f"`{path.name}` is not a data source", where=where, hint=hint)


def source_digest(source: str, section: DataSection, *, base: Path) -> str:
    """Return a sha256 (hex) that changes whenever `load_dataset` could give something else.

    Files are hashed, not decoded; a function has no content of its own, so it is called and its dataset is hashed.

    Raises:
        ConfigError: as `load_dataset`, for what is found without decoding.
    """
    check_source(source, base=base)
    used = section.model_dump(mode="json", include={"preprocess", "inputs", "csv_label", "metric"})
    if section.labels:
        used["labels"] = read_names(base / section.labels)
    if is_function(source):
        dataset = load_dataset(source, section, base=base)
        content = f"{dataset.sha256()} {dataset.class_names}"
    elif (base / source).is_dir():
        folder = base / source
        content = digest([[p.relative_to(folder).as_posix(), _file_sha256(p)] for p in image_files(folder)])
    else:
        content = _file_sha256(base / source)
    return digest({"section": used, "content": content})


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _from_function(source: str, section: DataSection, names: tuple[str, ...], base: Path) -> Dataset:
    function = load_function(source, base=base)
    with users_code(source, base=base):
        given = function()
        if isinstance(given, Dataset):
            given = _arrays_of(given)
        elif isinstance(given, tuple) and len(given) == 2:
            x, y = given
            given = {**(x if isinstance(x, Mapping) else {"x": x}), "y": y}
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"returned {type(given).__name__}",
                where=source,
                hint="return (x, y), a dict of arrays (x or inputs by name, y, groups), or a Dataset",
            )
        arrays = {str(key): _array(value, key) for key, value in given.items() if value is not None}
    return dataset_from_arrays(arrays, section, names=names, source=source)


def _array(value: Any, key: object) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"`{key}` cannot be made an array: {error}") from None
    return array


def _arrays_of(dataset: Dataset) -> dict[str, Any]:
    return {
        **{("x" if name == "*" else name): rows for name, rows in dataset.inputs.items()},
        "y": dataset.labels,
        "groups": dataset.groups,
        "class_names": np.array(dataset.class_names, str) if dataset.class_names else None,
    }
