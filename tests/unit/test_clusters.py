"""Code books: few values, on the steps of int8, near the weights, and reachable by every channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.training.clusters import Floats, fit_book


def nearest(rows: Floats, values: Floats, scales: Floats) -> Floats:
    return values[np.abs(rows[:, :, None] / scales[:, None, None] - values).argmin(axis=2)] * scales[:, None]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40), st.integers(4, 20))
def test_a_book_holds_at_most_its_values_and_the_fixed_ones(seed: int, channels: int, size: int, count: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(channels, size)) * np.logspace(-2, 1, channels)[:, None]
    values, scales = fit_book(rows, count)
    assert len(values) <= count
    assert {-1.0, 0.0, 1.0} <= set(values)
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(values * 127, np.rint(values * 127), atol=1e-9)
    assert (scales > 0).all()


def test_more_values_are_nearer_and_channels_keep_scales_of_their_own() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 200)) * np.logspace(-3, 1, 8)[:, None]
    errors = []
    for count in (4, 8, 16, 32):
        values, scales = fit_book(rows, count)
        errors.append(float((((nearest(rows, values, scales) - rows) / rows.std(axis=1)[:, None]) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    # A uniform 4-bit quantizer with clipping is at 0.0115 of a normal's variance (Max 1960: 16 levels, 0.0095 at best).
    assert errors[2] < 0.02


def test_few_distinct_weights_are_kept_exactly() -> None:
    codes = np.array([-127, -50, 0, 31, 127]) / 127
    rows = codes[np.random.default_rng(1).integers(0, 5, (4, 60))] * np.array([[0.1], [1], [3], [7]])
    rows[:, 0] = np.array([0.1, 1, 3, 7])
    values, scales = fit_book(rows, 8)
    np.testing.assert_allclose(nearest(rows, values, scales), rows, rtol=1e-6)


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.array([[0.0, 0.0], [1.0, -1.0]])])
def test_channels_of_zeros_are_no_trouble(rows: Floats) -> None:
    values, scales = fit_book(rows, 6)
    np.testing.assert_allclose(nearest(rows, values, scales), rows, atol=1e-6)
