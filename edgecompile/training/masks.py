"""Which weights of a kernel are removed: magnitude, scattered, in blocks, or two of every four.

Everything works on rows, [channels, weights of a channel], in the order in which TFLite stores a channel: position
after position, the input channels of one position side by side.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Schedule = Literal["polynomial", "constant"]

_POWER = 3
"""Of the polynomial schedule: most is removed early, while there is time to recover (Zhu and Gupta 2017)."""


def sparsity_at(share: float, *, final: float, schedule: Schedule, end: float) -> float:
    """Return the sparsity in [0, final] after a share of the training, in [0, 1].

    Args:
        share: of the steps that have been taken.
        final: sparsity at the end.
        schedule: `polynomial` rises from 0; `constant` is final from the first step on.
        end: share of the steps after which final is reached.
    """
    if schedule == "constant" or share >= end:
        return final
    return final * (1 - (1 - share / end) ** _POWER)


def scattered(rows: Floats, sparsity: float) -> Mask:
    """Return which weights stay: all but the smallest; at least sparsity of them go."""
    return _largest(np.abs(rows), math.ceil(rows.size * sparsity))


def blocks(rows: Floats, sparsity: float, *, shape: tuple[int, int], inner: int) -> Mask:
    """Return which weights stay: whole blocks go, those with the smallest mean magnitude.

    Args:
        rows: the weights.
        sparsity: least share of weights to remove; edges of a kernel that fill no block count as smaller blocks.
        shape: of a block: output channels × input channels.
        inner: input channels of a position.
    """
    channels, positions = len(rows), rows.shape[1] // inner
    high, wide = shape
    padded = np.full((-(-channels // high) * high, positions, -(-inner // wide) * wide), np.nan, np.float32)
    padded[:channels, :, :inner] = np.abs(rows).reshape(channels, positions, inner)
    cut = padded.reshape(-1, high, positions, padded.shape[2] // wide, wide)
    sizes = np.isfinite(cut).sum(axis=(1, 4))
    means = np.nansum(cut, axis=(1, 4)) / np.maximum(sizes, 1)
    order = np.argsort(means, axis=None, kind="stable")
    gone = np.cumsum(sizes.ravel()[order]) - sizes.ravel()[order] < rows.size * sparsity
    kept = np.ones(means.size, bool)
    kept[order[gone]] = False
    spread = np.broadcast_to(kept.reshape(means.shape)[:, None, :, :, None], cut.shape)
    return np.ascontiguousarray(spread.reshape(padded.shape)[:channels, :, :inner].reshape(rows.shape))


def two_of_four(rows: Floats, *, inner: int) -> Mask:
    """Return which weights stay: of every four input channels side by side the two largest.

    Groups start at the first channel of a position. A last group of three keeps two, of two or one keeps one.
    """
    channels, positions = len(rows), rows.shape[1] // inner
    size = np.abs(rows).reshape(channels, positions, inner)
    kept = np.zeros(size.shape, bool)
    for start in range(0, inner, 4):
        group = size[:, :, start : start + 4]
        most = (group.shape[2] + 1) // 2
        best = np.argsort(-group, axis=2, kind="stable")[:, :, :most]
        np.put_along_axis(kept[:, :, start : start + 4], best, values=True, axis=2)
    return kept.reshape(rows.shape)


def obeys_two_of_four(rows: Floats, *, inner: int) -> bool:
    """Whether no group of four input channels side by side holds more than two weights that are not 0."""
    nonzero = (rows != 0).reshape(len(rows), -1, inner)
    whole = nonzero[:, :, : inner // 4 * 4].reshape(len(rows), nonzero.shape[1], -1, 4)
    return bool((whole.sum(axis=3) <= 2).all())


def _largest(size: Floats, removed: int) -> Mask:
    """Return a mask of size that leaves out the smallest ones, as many as removed; of equal ones the first."""
    kept = np.ones(size.size, bool)
    kept[np.argsort(size, axis=None, kind="stable")[:removed]] = False
    return kept.reshape(size.shape)
