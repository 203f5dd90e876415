"""TFLite Micro's own memory planner, step by step, so that its result is known without a device.

Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc, `CalculateOffsetsIfNeeded`.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.tflite.lifetimes import Buffer


def greedy(buffers: Sequence[Buffer], fixed: Sequence[int | None] | None = None) -> list[int]:
    """Return the offset in bytes that TFLite Micro gives each buffer.

    Args:
        buffers: in the order that they are added in: tensors by number, then scratch.
        fixed: for each buffer an offset that the model's metadata states, or None; None: all are free.
    """
    given = list(fixed) if fixed is not None else [None] * len(buffers)
    stated = [i for i, offset in enumerate(given) if offset is not None]
    # Free buffers are filled in from the end, then sorted by size; the sort keeps the order of equal ones.
    free = sorted((i for i in reversed(range(len(buffers))) if given[i] is None), key=lambda i: -buffers[i].size)
    offsets = [0] * len(buffers)
    placed: list[int] = []  # by offset; of equal ones the later placed comes later
    for i in (*stated, *free):
        stated_offset = given[i]
        offsets[i] = _first_gap(buffers, offsets, placed, i) if stated_offset is None else stated_offset
        at = len(placed)
        while at and offsets[placed[at - 1]] > offsets[i]:
            at -= 1
        placed.insert(at, i)
    return offsets


def _first_gap(buffers: Sequence[Buffer], offsets: Sequence[int], placed: Sequence[int], wanted: int) -> int:
    """Return the lowest gap, between buffers in use at the same time, that buffer number wanted fits in."""
    candidate = 0
    for other in placed:
        if not buffers[other].meets(buffers[wanted]):
            continue
        if offsets[other] - candidate >= buffers[wanted].size:
            break
        candidate = max(candidate, offsets[other] + buffers[other].size)
    return candidate


def height(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    """Return the bytes that a plan takes."""
    return max((offset + b.size for offset, b in zip(offsets, buffers, strict=True)), default=0)
