"""Code books: few values, on the steps of int8, near the weights, and reachable by every channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.training.clusters import Floats, fit_scales, spaced


def nearest(rows: Floats, values: Floats, scales: Floats) -> Floats:
    return values[np.abs(rows[:, :, None] / scales[:, None, None] - values).argmin(axis=2)] * scales[:, None]


@pytest.mark.parametrize("count", range(4, 129))
def test_a_book_holds_at_most_its_values_and_the_fixed_ones(count: int) -> None:
    values = spaced(count)
    assert count - 1 <= len(set(values)) <= count
    assert {-1.0, 0.0, 1.0} <= set(values)
    np.testing.assert_allclose(values * 127, np.rint(values * 127), atol=1e-9)
    assert np.ptp(np.diff(values)) <= 1 / 127 + 1e-9, "evenly spaced, but for rounding"


def test_more_values_are_nearer_and_channels_keep_scales_of_their_own() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 200)) * np.logspace(-3, 1, 8)[:, None]
    errors = []
    for count in (4, 8, 16, 32):
        values = spaced(count)
        scales = fit_scales(rows, values)
        errors.append(float((((nearest(rows, values, scales) - rows) / rows.std(axis=1)[:, None]) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    # A uniform quantizer of 15 or 16 levels with the best step: 0.0115 of a normal's variance for 16 (Max 1960).
    assert errors[2] < 0.014


@given(st.integers(0, 2**32 - 1), st.integers(4, 20))
def test_no_scale_nearby_is_better(seed: int, count: int) -> None:
    rows = np.random.default_rng(seed).standard_t(3, size=(3, 50))
    values = spaced(count)
    scales = fit_scales(rows, values)

    def error(factor: float) -> Floats:
        return ((nearest(rows, values, scales * factor) - rows) ** 2).sum(axis=1)

    whole = np.abs(rows).max(axis=1)
    assert (scales > 0).all()
    assert (error(1.0) <= ((nearest(rows, values, whole) - rows) ** 2).sum(axis=1) + 1e-9).all()
    assert (error(1.0) <= 1.05 * np.minimum(error(0.5), error(2.0)) + 1e-9).all(), "tried shares are 2.5% apart"


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.array([[0.0, 0.0], [1.0, -1.0]])])
def test_channels_of_zeros_are_no_trouble(rows: Floats) -> None:
    values = spaced(6)
    np.testing.assert_allclose(nearest(rows, values, fit_scales(rows, values)), rows, atol=1e-6)
