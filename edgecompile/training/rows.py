"""The few rows on which two forms of a model are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.fit import fits
from edgecompile.training.shapes import Port

Array = npt.NDArray[Any]


def spread_rows(
    ports: Sequence[Port], shapes: Mapping[str, tuple[int, ...]], data: Dataset, *, most: int
) -> dict[str, Array]:
    """Return input name → [n, ...] rows in the input's dtype, evenly spread over data, n at most `most`.

    Raises:
        ConfigError: the data does not fit the inputs.
    """
    fitting, _ = fits(data, shapes, role="calibration")
    picked = np.unique(spread(len(fitting), min(most, len(fitting))))
    return {port.name: fitting.batch(port.name, picked).astype(port.dtype) for port in ports}


def spread(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Return the numbers of wanted of count rows, evenly spread; some twice where there are fewer."""
    return np.linspace(0, count - 1, wanted).astype(np.intp)


def random_rows(
    ports: Sequence[Port], shapes: Mapping[str, tuple[int, ...]], *, seed: int, n: int, bits: bool = False
) -> dict[str, Array]:
    """Return n seeded random rows per input.

    Args:
        ports: inputs.
        shapes: input name → compiled shape, batch first.
        seed: of the numbers.
        n: rows.
        bits: zeros and ones only, which any look-up table takes; else floats are standard normal.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, Array] = {}
    for port in ports:
        shape = (n, *shapes[port.name][1:])
        whole = bits or not port.dtype.startswith(("float", "bfloat"))
        rows[port.name] = (rng.integers(0, 2, shape) if whole else rng.standard_normal(shape)).astype(port.dtype)
    return rows


def takes_indices(layers: Sequence[Any]) -> bool:
    """Whether a layer looks its input up in a table, so that random numbers would fall outside of it."""
    return any(type(layer).__name__ in ("Embedding", "IntegerLookup", "CategoryEncoding") for layer in layers)
