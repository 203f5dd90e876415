"""Convolutions, fully connected layers and pools with exact sums, laid out as TFLite lays them out.

Kernels are put on their grids once (`Kernel`), inputs at every run, in blocks of rows that stay in a processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.fixed.functions import activated
from edgecompile.tflite.fixed.grid import Array, Doubles, Floats, largest_of, on_grid, product_bits, sum_bits

Options = Mapping[str, Any]

_BLOCK_VALUES = 1 << 17
"""float64 values worked on at a time: 1 MiB."""


@dataclass(frozen=True)
class Kernel:
    """A kernel on its grid.

    Attributes:
        values: float64; a grid for each output channel.
        bits: of the inputs that it is multiplied with.
    """

    values: Doubles
    bits: int


def on_own_grid(weights: Array, *, terms: int, outputs: int | None) -> Kernel:
    """Return weights on their grids.

    Args:
        weights: float32.
        terms: products that are summed at most.
        outputs: the axis that counts output channels; None: one grid for all.
    """
    axes = None if outputs is None else tuple(a for a in range(weights.ndim) if a != outputs % weights.ndim)
    wide = weights.astype(np.float64)
    largest = np.abs(wide).max(axis=axes, keepdims=True, initial=0.0)
    bits = product_bits(terms)
    return Kernel(on_grid(wide, bits, largest=largest), bits)


@dataclass(frozen=True)
class Windows:
    """How a window goes over the spatial axes of an input, [n, *spatial, channels]."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    same: bool

    @classmethod
    def of(cls, options: Options, size: Sequence[int]) -> Windows:
        """Return the windows of an op with options, of size [height, width] or [depth, height, width]."""
        letters = "dhw"[-len(size) :]
        return cls(
            size=tuple(size),
            strides=tuple(options[f"stride_{a}"] for a in letters),
            dilations=tuple(options.get(f"dilation_{a}_factor", 1) for a in letters),
            same=options["padding"].name == "SAME",
        )

    def pads(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Return how many zeros go before and behind each spatial axis of these sizes."""
        found = []
        for have, k, stride, dilation in zip(sizes, self.size, self.strides, self.dilations, strict=True):
            reach = (k - 1) * dilation + 1
            total = max((-(-have // stride) - 1) * stride + reach - have, 0) if self.same else 0
            found.append((total // 2, total - total // 2))
        return found

    def padded(self, x: Array) -> Array:
        """Return x with its zeros around it."""
        pads = self.pads(x.shape[1:-1])
        return np.pad(x, [(0, 0), *pads, (0, 0)]) if any(map(any, pads)) else x

    def view(self, padded: Array) -> Array:
        """Return the windows of a padded input, without copying: [n, *positions, *size, channels]."""
        spatial = padded.shape[1:-1]
        triples = list(zip(spatial, self.size, self.strides, self.dilations, strict=True))
        positions = [(have - (k - 1) * dilation - 1) // stride + 1 for have, k, stride, dilation in triples]
        steps = padded.strides[1:-1]
        return np.lib.stride_tricks.as_strided(
            padded,
            (padded.shape[0], *positions, *self.size, padded.shape[-1]),
            (
                padded.strides[0],
                *(step * stride for step, stride in zip(steps, self.strides, strict=True)),
                *(step * dilation for step, dilation in zip(steps, self.dilations, strict=True)),
                padded.strides[-1],
            ),
            writeable=False,
        )


def convolution(
    x: Floats, kernel: Kernel, bias: Doubles, windows: Windows, *, options: Options, dtype: npt.DTypeLike
) -> Array:
    """Return a convolution.

    Args:
        x: [n, *spatial, channels].
        kernel: [outputs, *size, channels / groups].
        bias: [outputs].
        windows: of the kernel.
        options: of the op, for its fused activation.
        dtype: of the output.
    """
    single = not any(size > 1 for size in windows.size)  # then every value is seen once, and rounded where it is seen
    largest = largest_of(x)
    view = windows.view(windows.padded(x if single else on_grid(x, kernel.bits, largest=largest)))
    n, *positions = view.shape[: 1 + len(windows.size)]
    outputs, channels = len(kernel.values), kernel.values.shape[-1]
    groups = x.shape[-1] // channels
    matrices = kernel.values.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    terms, wide = matrices.shape[1:]
    made = np.empty((n, *positions, outputs), dtype)
    block = max(1, _BLOCK_VALUES // max(1, int(np.prod(positions[1:])) * max(terms, wide)))
    for image in range(n):
        for start in range(0, positions[0], block):
            rows = slice(start, start + block)
            for group, matrix in enumerate(matrices):
                seen = view[image, rows, ..., group * channels : (group + 1) * channels]
                if single:
                    seen = on_grid(seen, kernel.bits, largest=largest)
                found = seen.astype(np.float64).reshape(-1, terms) @ matrix
                to = slice(group * wide, (group + 1) * wide)
                found += bias[to]
                shape = (*seen.shape[: len(positions)], wide)
                made[image, rows, ..., to] = activated(found, options).reshape(shape)
    return made


def depthwise(
    x: Floats, kernel: Kernel, bias: Doubles, windows: Windows, *, options: Options, dtype: npt.DTypeLike
) -> Array:
    """Return a depthwise convolution of x, [n, h, w, channels], with a kernel of [kh, kw, channels, multiplier]."""
    padded = windows.padded(on_grid(x, kernel.bits))
    n, rows, columns = windows.view(padded).shape[:3]
    channels, multiplier = kernel.values.shape[2:]
    made = np.empty((n, rows, columns, channels, multiplier), dtype)
    (stride, _), (dilation, _), (height, _) = windows.strides, windows.dilations, windows.size
    block = max(1, _BLOCK_VALUES // (padded.shape[2] * padded.shape[3] * stride))
    for start in range(0, rows, block):
        end = min(start + block, rows)
        part = padded[:, start * stride : (end - 1) * stride + (height - 1) * dilation + 1].astype(np.float64)
        for m in range(multiplier):
            found = np.einsum("nhwijc,ijc->nhwc", windows.view(part), kernel.values[..., m])
            found += bias[m::multiplier]
            made[:, start:end, ..., m] = activated(found, options)
    return made.reshape(n, rows, columns, -1)


def transposed(x: Floats, kernel: Kernel, bias: Doubles, windows: Windows, shape: Sequence[int]) -> Doubles:
    """Return a transposed convolution: what each input pixel adds to a window of the output.

    Args:
        x: [n, h, w, channels].
        kernel: [outputs, kh, kw, channels].
        bias: [outputs].
        windows: of the convolution that this one transposes.
        shape: of the output.
    """
    n, rows, columns, channels = x.shape
    outputs, height, width, _ = kernel.values.shape
    down, across = windows.strides
    parts = on_grid(x, kernel.bits).astype(np.float64).reshape(-1, channels) @ kernel.values.reshape(-1, channels).T
    parts = parts.reshape(n, rows, columns, outputs, height, width)
    whole = np.zeros(
        (
            n,
            max((rows - 1) * down + height, shape[1] + height),
            max((columns - 1) * across + width, shape[2] + width),
            outputs,
        )
    )
    for i in range(height):
        for j in range(width):
            whole[:, i : i + rows * down : down, j : j + columns * across : across][:, :rows, :columns] += parts[
                ..., i, j
            ]
    top = max((rows - 1) * down + height - shape[1], 0) // 2
    left = max((columns - 1) * across + width - shape[2], 0) // 2
    return np.asarray(whole[:, top : top + shape[1], left : left + shape[2]] + bias)


def pooled(x: Array, windows: Windows) -> tuple[Doubles, Doubles]:
    """Return sums of x over windows, [n, *positions, channels], and how many values each has, padding not counted."""
    terms = int(np.prod(windows.size))
    bits = min(sum_bits(terms), 22 if x.dtype == np.float32 else 50)
    axes = tuple(range(1 + len(windows.size), 1 + 2 * len(windows.size)))
    sums = windows.view(windows.padded(on_grid(x, bits).astype(np.float64))).sum(axis=axes)
    ones = np.ones((1, *x.shape[1:-1], 1))
    return np.asarray(sums), np.asarray(windows.view(windows.padded(ones)).sum(axis=axes))


def dense(x: Floats, kernel: Kernel, bias: Doubles) -> Doubles:
    """Return x @ kernel.T + bias: [n, terms], [outputs, terms], [outputs]."""
    return np.asarray(on_grid(x, kernel.bits).astype(np.float64) @ kernel.values.T + bias)
