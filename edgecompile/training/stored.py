"""Models between passes: plain Keras 2 `.h5` files that any tf_keras loads, with notes beside the model.

`.h5` because equal models give equal bytes in every process, which `.keras` does not. Notes are an attribute of the
file that Keras does not look at: what an earlier pass won and a later one must keep.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgecompile.config import Frozen, canonical_json
from edgecompile.errors import ModelError
from edgecompile.training.scan import source_format

_ATTRIBUTE = "edgecompile"


class Notes(Frozen):
    """What passes won.

    Zeros need no note: weights of a trained model are never exactly 0, so zeros were meant.
    """

    clusters: Mapping[str, int] = {}
    """Kernel → how many values it may hold, each channel scaled by one number of its own."""
    per_tensor: tuple[str, ...] = ()
    """Clustered kernels whose channels share one scale."""
    ranges: Mapping[str, tuple[float, float]] = {}
    """`layer:call:output` or `input:name` → (low, high) that 8-bit codes of that tensor were trained to stand for."""

    def renamed(self, names: Mapping[str, str]) -> Notes:
        """Return the notes of a model some of whose kernels have other names now: old name → new name; no ranges."""
        return Notes(
            clusters={names.get(kernel, kernel): count for kernel, count in self.clusters.items()},
            per_tensor=tuple(names.get(kernel, kernel) for kernel in self.per_tensor),
        )


def write_model(model: Any, path: Path, notes: Notes) -> None:
    """Write a tf_keras model and its notes to an `.h5` file, without the state of an optimizer."""
    import h5py

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        model.save(str(path), save_format="h5", include_optimizer=False)
    with h5py.File(path, "r+") as file:
        file.attrs[_ATTRIBUTE] = canonical_json(notes)


def read_notes(path: Path, *, source: Path | None = None) -> Notes:
    """Return the notes that a pass left in the file of a model; empty ones for source, the model of the build.

    What a user's file says of itself is not believed.

    Raises:
        ModelError: they cannot be read.
    """
    import h5py

    if path == source or source_format(path) != "keras h5":
        return Notes()
    with h5py.File(path, "r") as file:
        text = file.attrs.get(_ATTRIBUTE)
    if text is None:
        return Notes()
    try:
        return Notes.model_validate_json(text)
    except ValidationError as error:
        raise ModelError("its notes are not those of this edgecompile", where=str(path), hint="build again") from error
