"""Ranges: histograms count exactly and in any order, and each method gives what its formula says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecompile.errors import PassError
from edgecompile.tflite.ranges import HALF, Histogram, Range, Recorder, minmax, mse, percentile
from edgecompile.tflite.values import Array

FLOATS = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32)).map(
    lambda values: np.where(np.abs(values) < 1e-30, np.float32(0), values)  # quotients of smaller ones underflow
)


def seen(*parts: Array) -> Histogram:
    histogram = Histogram()
    for part in parts:
        assert histogram.add(np.asarray(part, np.float32))
    return histogram


def rounding_error(values: Array, found: Range, steps: int = 255) -> float:
    """Summed squared error of values in steps of an integer type, computed value by value."""
    step = (found.high - found.low) / steps
    zero = np.round(-found.low / step)
    codes = np.clip(np.round(values / step) + zero, 0, steps)
    return float((((codes - zero) * step - values) ** 2).sum())


@given(FLOATS)
def test_extremes_are_exact_and_hold_zero(values: Array) -> None:
    histogram = seen(values)
    assert (histogram.low, histogram.high, histogram.count) == (values.min(), values.max(), values.size)
    assert minmax(histogram) == (min(values.min(), 0), max(values.max(), 0))


@given(FLOATS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_counts_depend_on_neither_order_nor_parts(values: Array, parts: int, random: object) -> None:
    whole = seen(values)
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    apart = seen(*np.array_split(shuffled, parts))
    assert (apart.width, apart.zeros) == (whole.width, whole.zeros)
    np.testing.assert_array_equal(apart.counts, whole.counts)
    assert whole.counts.sum() == values.size


@given(FLOATS)
def test_every_value_lies_in_its_bin(values: Array) -> None:
    histogram = seen(values)
    if histogram.width == 0:
        assert not values.any()
        return
    edges = (np.arange(2 * HALF + 1) - HALF) * histogram.width
    expected, _ = np.histogram(values.astype(np.float64), edges)
    np.testing.assert_array_equal(histogram.counts, expected)
    assert np.abs(values).max() >= HALF / 2 * histogram.width or histogram.width <= 2.0**-100


def test_denormal_and_huge_values_have_bins() -> None:
    for values in ([1e-44, -1e-44], [3e38, -3e38], [1e-44, 3e38], [0.0]):
        assert seen(np.array(values)).counts.sum() == len(values)


@given(FLOATS, st.floats(50, 100))
def test_percentile_keeps_what_it_promises_within_the_extremes(values: Array, percent: float) -> None:
    found = percentile(seen(values), percent=percent)
    assert min(values.min(), 0) <= found.low <= 0 <= found.high <= max(values.max(), 0)
    telling = values[values != 0]
    outside = ((telling < found.low) | (telling > found.high)).sum()
    assert outside <= (1 - percent / 100) * telling.size + 1e-6


def test_percentile_clips_half_on_each_side_and_all_on_one() -> None:
    values = np.concatenate([np.linspace(-1, 1, 10_000), [50, 60, -70, -80]])
    assert percentile(seen(values), percent=99.95) == pytest.approx((-1, 1), abs=0.05)
    assert percentile(seen(np.abs(values)), percent=99.95) == pytest.approx((0, 1), abs=0.05)
    assert percentile(seen(values), percent=100) == (-80, 60)


def test_percentile_does_not_count_zeros() -> None:
    """A tensor that is 0 nearly everywhere keeps the few values that it has."""
    values = np.zeros(1_000_000)
    values[:50] = np.arange(1, 51)
    assert percentile(seen(values), percent=99.9) == (0, 50)


def test_percentile_of_few_values_clips_none() -> None:
    assert percentile(seen(np.array([1.0, 2.0, 1000.0])), percent=99) == (0, 1000)


@given(hnp.arrays(np.float32, st.integers(50, 400), elements=st.floats(-100, 100, width=32)))
def test_mse_is_within_the_extremes_and_no_worse_than_they_are(values: Array) -> None:
    histogram = seen(values)
    found, widest = mse(histogram, steps=255), minmax(histogram)
    assert widest.low <= found.low <= 0 <= found.high <= widest.high
    if widest.low < widest.high:
        model = widest.high - widest.low
        slack = values.size * (model / 255) ** 2 / 4 + 1e-9  # the model's s²/12 is a mean; s²/4 is the worst
        assert rounding_error(values, found) <= rounding_error(values, widest) + slack


def test_mse_finds_the_best_bound_of_a_long_tail() -> None:
    values = np.abs(np.random.default_rng(0).standard_t(4, 200_000)).astype(np.float32)
    found = mse(seen(values), steps=255)
    best = min(rounding_error(values, Range(0, float(values.max() * share))) for share in np.linspace(0.02, 1, 99))
    assert rounding_error(values, found) <= best * 1.02
    assert found.high < values.max() * 0.9


def test_more_steps_clip_less() -> None:
    histogram = seen(np.random.default_rng(0).standard_t(4, 100_000).astype(np.float32))
    assert mse(histogram, steps=255).high < mse(histogram, steps=65_535).high <= histogram.high


def test_recorder_names_the_tensor_that_is_not_finite() -> None:
    recorder = Recorder(where="quantize")
    recorder(0, "fine", np.ones((2, 3), np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(PassError, match="quantize: tensor `bad` is NaN or infinite") as caught:
            recorder(1, "bad", np.array([0, bad], np.float32))
        assert "preprocessing" in caught.value.problems[0].hint


def test_recorder_gives_no_empty_range_and_clips_no_exact_tensor() -> None:
    recorder = Recorder(where="quantize")
    tail = np.concatenate([np.full(100_000, 1), [1000]]).astype(np.float32)
    for name in ("clipped", "exact"):
        recorder(0, name, tail)
    recorder(1, "dead", np.zeros(5, np.float32))
    recorder(2, "nothing", np.zeros((0, 3), np.float32))
    for method in ("percentile", "mse"):
        found = recorder.ranges(method, percent=99.9, steps=255, exact={"exact"})  # type: ignore[arg-type]
        assert found["exact"] == (0, 1000)
        assert found["dead"] == (0, 1)
        assert found["nothing"] == (0, 1)
    assert recorder.ranges("percentile", percent=99.9, steps=255)["clipped"].high < 2
    assert recorder.ranges("minmax", percent=99.9, steps=255)["clipped"] == (0, 1000)
    assert recorder.unused() == ("dead",)


def test_recorder_keeps_means_along_the_last_axis() -> None:
    recorder = Recorder(where="quantize", widths={"x": 3, "odd": 4})
    values = np.random.default_rng(0).normal(size=(10, 2, 3)).astype(np.float32)
    recorder(0, "x", values[:4])
    recorder(0, "x", values[4:])
    recorder(1, "odd", values)
    recorder(2, "y", values)
    assert list(recorder.means()) == ["x", "odd"]
    np.testing.assert_allclose(recorder.means()["x"], values.mean(axis=(0, 1)), rtol=1e-5)


def test_recorder_keeps_means_of_even_and_odd_rows_however_many_came_at_once() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    found = []
    for cuts in ((), (3, 4, 8)):
        recorder = Recorder(where="quantize", widths={"x": 3, "one": 3})
        for part in np.split(values, cuts):
            recorder(0, "x", part)
        recorder(1, "one", values[:1])
        assert list(recorder.half_means()) == ["x"]
        found.append(recorder.half_means()["x"])
    np.testing.assert_allclose(found[0], [values[::2].mean(axis=(0, 1)), values[1::2].mean(axis=(0, 1))], rtol=1e-5)
    np.testing.assert_allclose(*found, rtol=1e-5)
