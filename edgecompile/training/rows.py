"""The few rows on which source model and result are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.training.source import Source

Array = npt.NDArray[Any]


def parity_rows(
    source: Source, shapes: Mapping[str, tuple[int, ...]], data: Dataset | None, *, seed: int, most: int
) -> dict[str, Array]:
    """Return input name → [n, ...] rows in the input's dtype, n at most `most`.

    Args:
        source: names and dtypes of inputs.
        shapes: input name → compiled shape.
        data: rows to spread over; None: seeded random rows.
        seed: of the random rows.
        most: how many rows at most.
    """
    if data is None:
        return random_rows(source, shapes, seed=seed, n=most)
    picked = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(np.intp))
    named = data.renamed(tuple(port.name for port in source.inputs))
    return {port.name: named.batch(port.name, picked).astype(port.dtype) for port in source.inputs}


def random_rows(
    source: Source, shapes: Mapping[str, tuple[int, ...]], *, seed: int, n: int
) -> dict[str, Array]:
    """Return n seeded random rows per input: standard normal numbers; 0 or 1 for integers, which any table takes."""
    rng = np.random.default_rng(seed)
    rows: dict[str, Array] = {}
    for port in source.inputs:
        shape = (n, *shapes[port.name][1:])
        draw = rng.standard_normal(shape) if port.dtype.startswith(("float", "bfloat")) else rng.integers(0, 2, shape)
        rows[port.name] = draw.astype(port.dtype)
    return rows
