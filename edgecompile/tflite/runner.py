"""Run a `.tflite` over many rows, on all cores, with named kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.progress import Progress

Kernels = Literal["xnnpack", "builtin", "reference"]


def predict(
    model: Path, rows: Dataset, *, kernels: Kernels, progress: Progress | None = None, step: str = "run"
) -> Mapping[str, npt.NDArray[Any]]:
    """Return output name → [n, ...] in the output's stored dtype (int8 outputs stay int8).

    Float32 rows (`rows.batch`) are quantized with the model's own input scale where the input is an integer.

    Raises:
        ModelError: the interpreter refuses the model, names the op and what else to try.
        ConfigError: rows do not fit the inputs: which input, what shape it has, what was given.
    """
    raise NotImplementedError


def quantize_rows(x: npt.NDArray[np.float32], *, scale: float, zero_point: int, dtype: str) -> npt.NDArray[Any]:
    """Return integer codes: round half away from zero of x / scale + zero_point, clipped to dtype."""
    raise NotImplementedError
