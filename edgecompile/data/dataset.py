"""Dataset: rows as they were stored, and the way to what the model takes.

Rows stay in their stored dtype (uint8 images are a quarter of their float form); `batch` gives the float32 rows
that the float model takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.preprocess import apply
from edgecompile.recipe import Preprocess

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """Rows of one or several named inputs, with labels where there are any.

    Attributes:
        inputs: input name → stored rows, any dtype, shape [n, ...]; the name is `*` for a model's only input.
        labels: [n] class numbers (int) or [n, ...] targets (float), or None.
        groups: [n] group ids (int), or None: rows that are scored together.
        class_names: names of classes, in label order; empty when unknown.
        preprocess: input name → preprocessing; `*` for all others.
        source: where the rows came from, as the user wrote it.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    groups: Array | None = None
    class_names: tuple[str, ...] = ()
    preprocess: Mapping[str, Preprocess] = field(default_factory=dict)
    source: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def raw(self, name: str) -> Array:
        """Return the stored rows of input name; `*` serves any name."""
        return self.inputs[name] if name in self.inputs else self.inputs["*"]

    def how(self, name: str) -> Preprocess:
        """Return the preprocessing of input name; of `*`, that of the only name there is preprocessing for."""
        names = [known for known in self.preprocess if known != "*"]
        if name == "*" and len(names) == 1:
            return self.preprocess[names[0]]
        return self.preprocess.get(name, self.preprocess.get("*", Preprocess()))

    def batch(self, name: str, rows: slice | npt.NDArray[np.intp] = slice(None)) -> npt.NDArray[np.float32]:
        """Return preprocessed float32 rows of input name: what the float model takes, shape [n, ...]."""
        return apply(self.how(name), self.raw(name)[rows])

    def take(self, rows: npt.NDArray[np.intp]) -> Dataset:
        """Return the dataset of only these rows, in this order."""
        return replace(
            self,
            inputs={name: x[rows] for name, x in self.inputs.items()},
            labels=None if self.labels is None else self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def renamed(self, names: tuple[str, ...]) -> Dataset:
        """Return the dataset with `*` replaced by the model's only input name."""
        if tuple(self.inputs) == ("*",) and len(names) == 1:
            return replace(self, inputs={names[0]: self.inputs["*"]})
        return self

    def numbered(self, names: tuple[str, ...]) -> Dataset:
        """Return the dataset with its classes numbered as in names, which a model gives its classes.

        Classes are told by their names. Where labels are no class numbers, or a class is not among names, it stays
        as it is.
        """
        labels = self.labels
        if not names or labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
            return self
        if not self.class_names:
            inside = labels.min() >= 0 and labels.max() < len(names)
            return replace(self, class_names=names) if inside else self
        if not set(self.class_names) <= set(names):
            return self
        places = np.asarray([names.index(name) for name in self.class_names], labels.dtype)
        return replace(self, labels=places[labels], class_names=names)

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Yield every array with a stable key: `input:NAME`, `labels`, `groups`."""
        for name in sorted(self.inputs):
            yield f"input:{name}", self.inputs[name]
        if self.labels is not None:
            yield "labels", self.labels
        if self.groups is not None:
            yield "groups", self.groups

    def sha256(self) -> str:
        """Return a digest of rows, labels, groups and preprocessing; sources and class names do not count."""
        whole = hashlib.sha256()
        for key, array in self.arrays():
            whole.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
            whole.update(np.ascontiguousarray(array).data)
        for name in sorted(self.preprocess):
            whole.update(f"{name} {self.preprocess[name].model_dump_json()}\n".encode())
        return whole.hexdigest()
