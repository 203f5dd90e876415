"""Flips and shifts of training images, where the model does not mind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = Mapping[str, npt.NDArray[Any]]

SHIFT = 1 / 8
"""Largest shift as a share of the edge: 4 of 32 pixels, what training recipes for CIFAR-10 pad by (He et al. 2015)."""
_CHANNELS = (1, 3, 4)
_MIN_EDGE = 8
"""Smaller inputs of rank 4 are seldom pictures, and a shift by a pixel takes a good part of them away."""
_KEPT = 0.85
"""Share of rows whose decision must survive; CIFAR-10 photos flipped: 0.9 and more, handwritten digits flipped: 0.5."""


@dataclass(frozen=True)
class Augment:
    """How rows are varied.

    Attributes:
        flip: left and right are swapped in half of the rows.
        shift: largest shift in pixels, up, down, left and right; edges are repeated.
    """

    flip: bool = False
    shift: int = 0

    def __call__(self, rows: Rows, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Return rows, input name → [n, height, width, channels], varied; other inputs are left as they are."""
        return {name: self._one(x, rng) if is_image(x.shape[1:]) else x for name, x in rows.items()}

    def _one(self, images: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        if self.flip:
            swapped = rng.random(len(images)) < 0.5
            images = np.where(swapped[:, None, None, None], images[:, :, ::-1], images)
        if self.shift:
            images = shifted(images, rng.integers(-self.shift, self.shift + 1, (len(images), 2)))
        return images


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether rows of shape [height, width, channels] may be pictures."""
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[:2]) >= _MIN_EDGE


def shifted(images: npt.NDArray[Any], by: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return images [n, height, width, channels] shifted by [n, 2] pixels (down, right); edges are repeated."""
    n, height, width = images.shape[:3]
    down = np.clip(np.arange(height) - by[:, :1], 0, height - 1)
    right = np.clip(np.arange(width) - by[:, 1:], 0, width - 1)
    return np.asarray(images[np.arange(n)[:, None, None], down[:, :, None], right[:, None, :]])


def choose(
    rows: Rows, decide: Callable[[Rows], npt.NDArray[np.int64] | None], *, flip: bool | None, shift: bool | None
) -> Augment:
    """Return the variations that a model keeps its decisions under, tried on rows.

    Args:
        rows: input name → some rows, [n, ...].
        decide: rows → the class [n] that the model decides for; None where it does not decide.
        flip: whether to flip; None: what is tried decides.
        shift: whether to shift; None: what is tried decides.
    """
    images = {name: x for name, x in rows.items() if is_image(x.shape[1:])}
    if not images:
        return Augment()
    edge = min(min(x.shape[1:3]) for x in images.values())
    most = max(1, int(edge * SHIFT))

    def kept(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> bool:
        before = decide(rows)
        after = decide({name: change(x) if name in images else x for name, x in rows.items()})
        return before is not None and after is not None and bool((before == after).mean() >= _KEPT)

    half = max(1, most // 2)
    moved = np.array([[half, -half]])
    by_flip = kept(lambda x: x[:, :, ::-1]) if flip is None else flip
    by_shift = kept(lambda x: shifted(x, np.repeat(moved, len(x), axis=0))) if shift is None else shift
    return Augment(by_flip, most if by_shift else 0)
