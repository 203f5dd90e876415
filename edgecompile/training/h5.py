"""HDF5 files, read with h5py before Keras sees them: `.h5` models, and the weights in `.keras` archives.

Runs in the worker process. Nothing here follows a link that leaves the file, and nothing is read but attributes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError
from edgecompile.training.archive import MAX_MODEL_BYTES, MAX_RATIO, RATIO_FROM_BYTES
from edgecompile.training.code import code_in_config
from edgecompile.training.faults import FAULTS
from edgecompile.training.scan import refuse
from edgecompile.units import show_bytes


@dataclass(frozen=True)
class Header:
    """What an `.h5` model says about itself.

    Attributes:
        version: of the Keras that wrote it: `2.15.0`; `1` when it does not say.
        config: its model config.
    """

    version: str
    config: Mapping[str, Any]


def read_header(path: Path, *, allow_code: bool) -> Header:
    """Return the header of an `.h5` model, after checking that loading it is safe.

    Args:
        path: an HDF5 file that `scan_source` has passed.
        allow_code: the user agrees to run code from the file.

    Raises:
        ModelError: damaged, weights without a model, links to other files, declared sizes that it cannot hold, or
            layers that bring code.
    """
    import h5py

    where = str(path)
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            version = _text(file.attrs.get("keras_version", "1"))
            _check_links(h5py, file, where, path.stat().st_size)
    except FAULTS as error:
        raise ModelError(f"is damaged: {error}", where=where, hint="copy or save it again") from error
    if text is None:
        raise ModelError(
            "holds no model: it has weights only, or other data",
            where=where,
            hint="save the whole model: `model.save(…)` instead of `model.save_weights(…)`",
        )
    try:
        config = json.loads(_text(text))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its model config cannot be read: {error}", where=where, hint="save it again") from None
    if not isinstance(config, dict):
        raise ModelError("its model config does not hold an object", where=where, hint="save it again")
    refuse(code_in_config(config), allow_code=allow_code)
    return Header(version, config)


def check_weights(path: Path) -> None:
    """Check the HDF5 files in a `.keras` archive, which `scan_source` has passed, as `read_header` does an `.h5` model.

    Raises:
        ModelError: damaged, links to other files, or declared sizes that the file cannot hold.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        for name in (name for name in archive.namelist() if name.endswith(".h5")):
            content = archive.read(name)
            try:
                with h5py.File(io.BytesIO(content), "r") as file:
                    _check_links(h5py, file, f"{path}: {name}", len(content))
            except FAULTS as error:
                hint = "copy or save it again"
                raise ModelError(f"`{name}` in it is damaged: {error}", where=str(path), hint=hint) from error


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _check_links(h5py: Any, file: Any, origin: str, stored: int) -> None:
    """Raise ModelError on links to other files, and on sizes that the file cannot hold."""
    declared = 0
    todo, seen = [file], set()
    while todo:
        group = todo.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # groups can hold each other
            continue
        seen.add(place)
        for name in group:
            link, where = group.get(name, getlink=True), f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink):
                raise ModelError(f"`{where}` is a link to the file `{link.filename}`", where=origin)
            item = group[name] if isinstance(link, h5py.HardLink) else None
            if isinstance(item, h5py.Group):
                todo.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ModelError(f"`{where}` keeps its numbers in another file", where=origin)
                declared += item.nbytes
    if declared > MAX_MODEL_BYTES or (declared > RATIO_FROM_BYTES and declared > MAX_RATIO * stored):
        raise ModelError(
            f"is a bomb: {show_bytes(stored)} would unpack to {show_bytes(declared)}",
            where=origin,
            hint=f"weights do not compress {MAX_RATIO}:1; get the file from somewhere else",
        )
