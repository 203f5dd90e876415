"""Weight sharing: every kernel holds few distinct values, each channel scaled by one number of its own.

A kernel of 16 values is what int8 can store as 16 codes. For that the channels of a kernel need one code book that
holds when each is scaled so that its largest weight becomes code 127: so the book always has -1, 0 and 1, its values
lie on the steps of int8, and every channel uses -1 or 1 at least once. Clusters of the weights themselves, without
the scales, would be torn apart by the BatchNormalization that is folded into the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.training.forms import Form, straight_through
from edgecompile.training.kernels import Kernel
from edgecompile.training.qat import STEPS

Floats = npt.NDArray[np.float64]

FEWEST = 4
"""-1, 0, 1 and one value that can be chosen."""
_ROUNDS = 30
"""Of Lloyd's algorithm; the error changes in its fourth digit after 20."""
_FIXED = (-1.0, 0.0, 1.0)
_TINY = 1e-12


@dataclass
class Book:
    """The values of one kernel: weight = value × scale of its channel.

    Attributes:
        values: tf.Variable [n], ascending, in steps of 1/127; always with -1, 0 and 1.
        scales: tf.Variable with the kernel's rank, 1 along the axes that a channel runs along, > 0.
        axes: the axes that a channel runs along; all of them where the kernel has one scale.
    """

    values: Any
    scales: Any
    axes: tuple[int, ...]

    @classmethod
    def fitted(cls, tf: Any, kernel: Kernel, count: int, *, per_tensor: bool) -> Book:
        """Return the book of at most count values that is nearest to the kernel's weights."""
        values, scales = fit_book(_rows(kernel, kernel.values(), per_tensor=per_tensor), count)
        return cls._of(tf, kernel, _padded(values, count), scales, per_tensor=per_tensor)

    @classmethod
    def found(cls, tf: Any, kernel: Kernel, count: int, *, per_tensor: bool) -> Book:
        """Return the book of a kernel that is clustered already."""
        rows = _rows(kernel, kernel.values(), per_tensor=per_tensor)
        scales = np.abs(rows).max(axis=1)
        codes = np.unique(np.rint(rows / np.maximum(scales, _TINY)[:, None] * STEPS))
        values = np.union1d(codes / STEPS, _FIXED)
        assert len(values) <= count, f"{kernel.name} holds {len(values)} values, its notes say {count}"
        return cls._of(tf, kernel, values, scales, per_tensor=per_tensor)

    @classmethod
    def _of(cls, tf: Any, kernel: Kernel, values: Floats, scales: Floats, *, per_tensor: bool) -> Book:
        axes = tuple(range(len(kernel.variable.shape))) if per_tensor else kernel.reduced()
        shape = [1 if axis in axes else size for axis, size in enumerate(kernel.variable.shape.as_list())]
        wide = np.maximum(scales, _TINY).reshape(shape).astype(np.float32)
        return cls(tf.Variable(values.astype(np.float32), trainable=False), tf.Variable(wide, trainable=False), axes)

    def refit(self, kernel: Kernel, mask: Any | None) -> None:
        """Fit values and scales to the latent weights as they are now, those that mask leaves out aside."""
        per_tensor = len(self.axes) == len(kernel.variable.shape)
        kept = kernel.values() if mask is None else kernel.values() * mask.numpy()
        count = int(self.values.shape[0])
        start = (self.values.numpy().astype(np.float64), self.scales.numpy().ravel().astype(np.float64))
        values, scales = fit_book(_rows(kernel, kept, per_tensor=per_tensor), count, start=start)
        self.values.assign(_padded(values, count).astype(np.float32))
        self.scales.assign(np.maximum(scales, _TINY).reshape(self.scales.shape).astype(np.float32))

    def form(self, tf: Any) -> Form:
        """Return the form of a kernel whose weights are those of the book that are nearest."""

        def form(latent: Any) -> Any:
            size = tf.abs(latent)
            share = latent / self.scales
            middles = (self.values[1:] + self.values[:-1]) / 2
            flat = tf.searchsorted(middles, tf.reshape(share, [-1]), side="right")
            nearest = tf.reshape(tf.gather(self.values, flat), tf.shape(latent))
            # The largest weight of a channel is 1 or -1, whatever is nearest: its scale is what int8 counts in.
            largest = size >= tf.reduce_max(size, axis=list(self.axes), keepdims=True)
            snapped = tf.where(largest, tf.sign(latent), nearest) * self.scales
            return straight_through(tf, latent, snapped)

        return form


def _padded(values: Floats, count: int) -> Floats:
    """Return values as count of them; the last one is repeated, which changes no weight."""
    return np.append(values, np.full(count - len(values), values[-1]))


def _rows(kernel: Kernel, weights: npt.NDArray[np.float32], *, per_tensor: bool) -> Floats:
    rows = kernel.rows(weights).astype(np.float64)
    return rows.reshape(1, -1) if per_tensor else rows


def fit_book(rows: Floats, count: int, *, start: tuple[Floats, Floats] | None = None) -> tuple[Floats, Floats]:
    """Return (values ascending [at most count], scales [channels]) that stand for rows with least squared error.

    Values and scales are bettered in turns; each turn can only make the error smaller, up to the rounding of values to
    steps of 1/127.

    Args:
        rows: weights, [channels, weights of a channel].
        count: of values, at least 4.
        start: values and scales to start from; by default quantiles, and the largest weight of each channel.
    """
    largest = np.abs(rows).max(axis=1)
    values, scales = start if start is not None else (_quantiles(rows, largest, count), np.maximum(largest, _TINY))
    scales = np.maximum(scales, _TINY)
    for _ in range(_ROUNDS):
        values = _better_values(rows, values, scales)
        scales = _better_scales(rows, values, scales)
    return np.union1d(np.rint(values * STEPS) / STEPS, _FIXED), scales


def _quantiles(rows: Floats, largest: Floats, count: int) -> Floats:
    """Return values so that about equally many weights lie at each; zeros and the ends have theirs already."""
    share = (rows / np.maximum(largest, _TINY)[:, None]).ravel()
    share = share[share != 0]
    free = count - len(_FIXED)
    if not share.size:
        return np.array(_FIXED)
    return np.union1d(np.quantile(share, (np.arange(free) + 0.5) / free), _FIXED)


def _assigned(rows: Floats, values: Floats, scales: Floats) -> npt.NDArray[np.intp]:
    middles = (values[1:] + values[:-1]) / 2
    return np.searchsorted(middles, rows / scales[:, None], side="right")


def _better_values(rows: Floats, values: Floats, scales: Floats) -> Floats:
    """Return for each value the mean of its weights, in units of their scales; the fixed ones stay."""
    which = _assigned(rows, values, scales)
    weight = np.broadcast_to((scales**2)[:, None], rows.shape)
    above = np.bincount(which.ravel(), (rows * scales[:, None]).ravel(), minlength=len(values))
    below = np.bincount(which.ravel(), weight.ravel(), minlength=len(values))
    fixed = np.isin(values, _FIXED)
    moved = np.where(fixed | (below == 0), values, np.clip(above / np.maximum(below, _TINY), -1, 1))
    return np.unique(moved)


def _better_scales(rows: Floats, values: Floats, scales: Floats) -> Floats:
    """Return for each channel the scale that brings its values nearest to its weights."""
    chosen = values[_assigned(rows, values, scales)]
    below = (chosen**2).sum(axis=1)
    found = (chosen * rows).sum(axis=1) / np.maximum(below, _TINY)
    return np.where((below > 0) & (found > 0), found, scales)
