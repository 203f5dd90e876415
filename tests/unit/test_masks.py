"""Masks: how much goes, in which pattern, and that the largest stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecompile.training.masks import Floats, blocks, obeys_two_of_four, scattered, sparsity_at, two_of_four

INNER = 6


@st.composite
def kernels(draw: st.DrawFn) -> Floats:
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 4).map(lambda p: p * INNER)))
    return draw(arrays(np.float32, shape, elements=st.floats(-4, 4, width=32)))


@given(kernels(), st.floats(0.01, 0.99))
def test_scattered_removes_at_least_its_share_and_only_the_smallest(rows: Floats, sparsity: float) -> None:
    kept = scattered(rows, sparsity)
    gone = (~kept).sum()
    assert sparsity * rows.size <= gone < sparsity * rows.size + 1
    if gone and kept.any():
        assert np.abs(rows[~kept]).max() <= np.abs(rows[kept]).min()


@given(kernels(), st.floats(0.01, 0.99), st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_blocks_go_whole(rows: Floats, sparsity: float, shape: tuple[int, int]) -> None:
    kept = blocks(rows, sparsity, shape=shape, inner=INNER).reshape(len(rows), -1, INNER)
    assert (~kept).sum() >= sparsity * rows.size
    for top in range(0, len(rows), shape[0]):
        for left in range(0, INNER, shape[1]):
            block = kept[top : top + shape[0], :, left : left + shape[1]]
            assert (block.all(axis=(0, 2)) | ~block.any(axis=(0, 2))).all()


def test_the_smallest_block_goes_first() -> None:
    rows = np.float32([[1, 1, 3, 3], [1, 1, 3, 3], [2, 2, 4, 4], [2, 2, 4, 4]])
    kept = blocks(rows, 0.25, shape=(2, 2), inner=4)
    assert kept.tolist() == [[False, False, True, True]] * 2 + [[True] * 4] * 2


@given(kernels())
def test_two_of_four_keeps_the_two_largest_of_each_group(rows: Floats) -> None:
    kept = two_of_four(rows, inner=INNER)
    assert obeys_two_of_four(rows * kept, inner=INNER)
    groups = np.abs(rows).reshape(-1, INNER)[:, :4]
    chosen = kept.reshape(-1, INNER)[:, :4]
    assert (chosen.sum(axis=1) == 2).all()
    assert np.allclose((groups * chosen).sum(axis=1), np.sort(groups, axis=1)[:, 2:].sum(axis=1))
    assert (kept.reshape(-1, INNER)[:, 4:].sum(axis=1) == 1).all()


def test_three_of_four_are_a_breach() -> None:
    assert not obeys_two_of_four(np.float32([[1, 1, 1, 0]]), inner=4)
    assert obeys_two_of_four(np.float32([[1, 1, 0, 0, 1, 1, 0, 0]]), inner=8)


@pytest.mark.parametrize(
    ("share", "schedule", "expected"),
    [(0.0, "constant", 0.5), (0.0, "polynomial", 0.0), (0.25, "polynomial", 0.4375), (0.5, "polynomial", 0.5)],
)
def test_schedules(share: float, schedule: str, expected: float) -> None:
    assert sparsity_at(share, final=0.5, schedule=schedule, end=0.5) == pytest.approx(expected)  # type: ignore[arg-type]
