"""Weight sharing: every kernel holds few distinct values, each channel scaled by one number of its own.

A kernel of 16 values is what int8 can store as 16 codes. For that the channels of a kernel need one code book that
holds when each is scaled so that its largest weight becomes code 127: so the book always has -1, 0 and 1, its values
lie on the steps of int8, and every channel uses -1 or 1 at least once. Clusters of the weights themselves, without
the scales, would be torn apart by the BatchNormalization that is folded into the kernel.

Values are evenly spaced, the same ones in every kernel. As many values placed where the weights are dense would come
nearer to them, but would be used about equally often, which is what compresses worst: for the same error, evenly
spaced ones take fewer bits (Gish and Pierce 1968). On ResNet8 with half of its weights zero, 16 values: gzip takes
20% more for books that Lloyd's algorithm fits to each kernel, with the error 2 dB lower.
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
"""-1, 0, 1 and one more; an even number holds one value less, since as many lie above 0 as below."""
_SHARES = np.linspace(0.1, 1.0, 37)
"""Of a channel's largest weight, tried for its scale: clipping a few large weights brings the others nearer."""
_ROUNDS = 10
"""Of bettering scales; the error changes in its fourth digit after 5."""
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
        """Return the book of at most count values, with the scales that bring them nearest to the kernel's weights."""
        values = spaced(count)
        scales = fit_scales(_rows(kernel, kernel.values(), per_tensor=per_tensor), values)
        return cls._of(tf, kernel, values, scales, per_tensor=per_tensor)

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
        """Fit the scales to the latent weights as they are now, those that mask leaves out aside."""
        per_tensor = len(self.axes) == len(kernel.variable.shape)
        kept = kernel.values() if mask is None else kernel.values() * mask.numpy()
        scales = fit_scales(_rows(kernel, kept, per_tensor=per_tensor), self.values.numpy().astype(np.float64))
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


def _rows(kernel: Kernel, weights: npt.NDArray[np.float32], *, per_tensor: bool) -> Floats:
    rows = kernel.rows(weights).astype(np.float64)
    return rows.reshape(1, -1) if per_tensor else rows


def spaced(count: int) -> Floats:
    """Return at most count values from -1 to 1, ascending, evenly spaced up to the rounding to steps of 1/127."""
    half = (count - 1) // 2
    return np.asarray(np.rint(np.arange(-half, half + 1) / half * STEPS) / STEPS)


def fit_scales(rows: Floats, values: Floats) -> Floats:
    """Return for each channel the scale, > 0, with which values stand for its weights with least squared error.

    Shares of the largest weight are tried, and the best is bettered.

    Args:
        rows: weights, [channels, weights of a channel].
        values: the book, ascending.
    """
    largest = np.maximum(np.abs(rows).max(axis=1), _TINY)
    tried = np.array([_error(rows, values, share * largest) for share in _SHARES])
    scales: Floats = _SHARES[tried.argmin(axis=0)] * largest
    for _ in range(_ROUNDS):
        scales = _better_scales(rows, values, scales)
    return scales


def _assigned(rows: Floats, values: Floats, scales: Floats) -> npt.NDArray[np.intp]:
    middles = (values[1:] + values[:-1]) / 2
    return np.searchsorted(middles, rows / scales[:, None], side="right")


def _error(rows: Floats, values: Floats, scales: Floats) -> Floats:
    """Return the squared error of each channel, [channels]."""
    return np.asarray(((values[_assigned(rows, values, scales)] * scales[:, None] - rows) ** 2).sum(axis=1))


def _better_scales(rows: Floats, values: Floats, scales: Floats) -> Floats:
    """Return for each channel the scale that brings its values nearest to its weights."""
    chosen = values[_assigned(rows, values, scales)]
    below = (chosen**2).sum(axis=1)
    found = (chosen * rows).sum(axis=1) / np.maximum(below, _TINY)
    return np.where((below > 0) & (found > 0), found, scales)
