"""Preprocessing: from stored values to what the float model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.recipe import Preprocess


@np.errstate(
    over="ignore", invalid="ignore"
)  # values beyond float32 become Inf, which the linter reports with their rows
def apply(how: Preprocess, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows as float32 after resize, dequantize, `x * scale + offset`, `(x - mean) / std`.

    Args:
        how: the steps; per-channel numbers run along the last axis.
        rows: [n, ...], any numeric dtype; [n, height, width, channels] where `resize` is set.

    Returns:
        float32 [n, ...]; the input itself when nothing is to be done and it is float32 already.
    """
    x: npt.NDArray[np.float32]
    if how.resize is not None and tuple(rows.shape[1:3]) != how.resize:
        x = resize(rows, how.resize)
    else:
        x = rows.astype(np.float32, copy=False)
    if how.quantized is not None:
        x = (x - np.float32(how.quantized.zero_point)) * np.float32(how.quantized.scale)
    if how.scale != (1.0,) or how.offset != (0.0,):
        x = x * np.asarray(how.scale, np.float32) + np.asarray(how.offset, np.float32)
    if how.mean != (0.0,) or how.std != (1.0,):
        x = np.divide(x - np.asarray(how.mean, np.float32), np.asarray(how.std, np.float32), dtype=np.float32)
    return x


def resize(x: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return images bilinearly resized with half-pixel centres and no antialiasing, as `tf.image.resize` does.

    Args:
        x: [n, height, width, ...], any numeric dtype.
        size: (height, width) in pixels.
    """
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = x.shape[axis]
        centre = (np.arange(wanted) + 0.5) * have / wanted - 0.5
        low = np.clip(np.floor(centre).astype(np.intp), 0, have - 1)
        high = np.minimum(low + 1, have - 1)
        share = np.clip(centre - low, 0.0, 1.0).astype(np.float32)
        share = share.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share  # uint8 x: float32 from here on
    return x.astype(np.float32, copy=False)
