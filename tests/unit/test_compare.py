"""Paired statistics: against scipy, against their definitions, and at their edges."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from edgecompile import compare

counts = st.integers(0, 5000)
reals = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_lies_in_the_unit_interval_and_holds_the_estimate(case: tuple[int, int]) -> None:
    right, n = case
    interval = compare.wilson(right, n)
    assert 0 <= interval.low <= right / n <= interval.high <= 1
    assert interval.low < interval.high


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(case: tuple[int, int]) -> None:
    ours = compare.wilson(*case)
    theirs = stats.binomtest(*case).proportion_ci(0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def test_wilson_at_the_edges() -> None:
    assert (compare.wilson(0, 0).low, compare.wilson(0, 0).high) == (0, 1)
    one = compare.wilson(1, 1)
    assert (one.low, one.high) == (pytest.approx(0.2065, abs=1e-4), 1)
    assert compare.wilson(0, 10).low == 0
    assert compare.wilson(10, 10).high == 1
    assert compare.wilson(3, 4).method == "Wilson score"


@given(counts, counts)
def test_mcnemar_is_symmetric_and_a_probability(lost: int, gained: int) -> None:
    p = compare.mcnemar_exact(lost, gained)
    assert p == compare.mcnemar_exact(gained, lost)
    assert 0 <= p <= 1


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test(lost: int, gained: int) -> None:
    expected = stats.binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert compare.mcnemar_exact(lost, gained) == pytest.approx(expected, rel=1e-8, abs=1e-299)  # scipy gives 0 below


@pytest.mark.parametrize(("lost", "gained"), [(1_000_000, 1_000_500), (2_000_000, 1_990_000), (500_000, 500_001)])
def test_mcnemar_of_large_counts_is_right_and_quick(lost: int, gained: int) -> None:
    began = time.perf_counter()
    p = compare.mcnemar_exact(lost, gained)
    assert time.perf_counter() - began < 0.2
    assert p == pytest.approx(stats.binomtest(lost, lost + gained, 0.5).pvalue, rel=1e-6)


def test_mcnemar_at_the_edges() -> None:
    assert compare.mcnemar_exact(0, 0) == 1
    assert compare.mcnemar_exact(1, 0) == 1
    assert compare.mcnemar_exact(6, 0) == pytest.approx(2 / 64)
    assert compare.mcnemar_exact(100_000, 0) == 0


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_paired_interval_holds_the_drop(case: tuple[int, int, int]) -> None:
    lost, gained, n = case
    gained = min(gained, n - lost)
    interval = compare.paired_interval(lost, gained, n)
    assert -1 <= interval.low <= (lost - gained) / n <= interval.high <= 1
    mirrored = compare.paired_interval(gained, lost, n)
    assert mirrored.low == pytest.approx(-interval.high, abs=1e-15)


@pytest.mark.parametrize(("n", "lose", "gain"), [(100, 0.05, 0.03), (1000, 0.02, 0.02), (3000, 0.03, 0.01)])
def test_paired_interval_covers_the_true_drop_about_95_times_in_100(n: int, lose: float, gain: float) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(n, [lose, gain, 1 - lose - gain], size=4000)
    held = [(i := compare.paired_interval(int(a), int(b), n)).low <= lose - gain <= i.high for a, b, _ in drawn]
    assert 0.935 <= np.mean(held) <= 0.985


bools = arrays(bool, st.integers(1, 200))


@given(bools.flatmap(lambda a: st.tuples(st.just(a), arrays(bool, len(a)))))
def test_flips_count_every_row_once(pair: tuple[compare.Bools, compare.Bools]) -> None:
    before, after = pair
    found = compare.flips(before, after)
    assert found.both_right + found.both_wrong + found.lost + found.gained == len(before)
    assert (found.lost - found.gained) == int(before.sum()) - int(after.sum())
    assert found.p == pytest.approx(compare.mcnemar_exact(found.lost, found.gained), rel=1e-5)


def test_flips_of_all_right_and_all_wrong() -> None:
    yes, no = np.ones(5, bool), np.zeros(5, bool)
    assert compare.flips(yes, yes).model_dump() == {"both_right": 5, "both_wrong": 0, "lost": 0, "gained": 0, "p": 1.0}
    assert compare.flips(yes, no).lost == 5
    assert compare.flips(no, yes).gained == 5
    assert compare.flips(no[:0], yes[:0]).p == 1


def test_agreement_wants_the_whole_row_and_numbers() -> None:
    a = np.array([[1, 2], [3, 4], [5, 6], [7, 8]])
    b = np.array([[1, 2], [3, 0], [5, 6], [7, 8]])
    assert compare.agreement(a, b, finite=np.array([True, True, True, False])) == 0.5
    assert compare.agreement(a[:, 0], b[:, 0], finite=np.ones(4, bool)) == 1


def test_per_class_leaves_out_classes_without_rows_and_names_the_rest() -> None:
    labels = np.array([0, 2, 2, 9], np.uint8)
    before, after = np.array([1, 1, 1, 0], bool), np.array([0, 1, 0, 0], bool)
    rows = compare.per_class(before, after, labels, ("cat", "dog", "ship"))
    assert [(r.label, r.n, r.float_recall, r.result_recall) for r in rows] == [
        ("cat", 1, 1.0, 0.0),
        ("ship", 2, 1.0, 0.5),
        ("9", 1, 0.0, 0.0),
    ]


def test_class_name_never_counts_from_the_end() -> None:
    assert compare.class_name(-1, ("cat", "dog")) == "-1"


pairs = st.tuples(st.integers(1, 20), st.integers(1, 7)).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=reals), arrays(np.float32, shape, elements=reals))
)


@given(pairs)
def test_output_error_follows_its_definitions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    f, r = (x.astype(np.float64) for x in pair)
    found = compare.output_error("out", *pair)
    assert found.max_abs == pytest.approx(np.abs(f - r).max(), rel=5.1e-3)
    assert -1 <= found.cosine <= 1
    signal, noise = float((f**2).sum()), float(((f - r) ** 2).sum())
    if signal == 0 or noise == 0:
        assert found.sqnr_db is None
    else:
        assert found.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=0.0501)


@given(arrays(np.float32, (5, 4), elements=reals))
def test_an_output_differs_in_nothing_from_itself(x: np.ndarray) -> None:
    found = compare.output_error("out", x, x)
    assert found.sqnr_db is None
    assert found.max_abs == 0
    assert found.cosine == pytest.approx(1)


def test_cosine_of_zero_rows() -> None:
    zero, one = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert compare.output_error("x", zero, zero).cosine == 1
    assert compare.output_error("x", zero, one).cosine == 0
    assert compare.output_error("x", one, zero).cosine == 0
    assert compare.output_error("x", one, -one).cosine == -1


def test_output_error_holds_the_largest_float32_and_no_rows() -> None:
    top = np.full((2, 3), np.finfo(np.float32).max)
    found = compare.output_error("x", top, -top)
    assert found.cosine == pytest.approx(-1)
    assert found.sqnr_db == -6.0
    none = compare.output_error("x", top[:0], top[:0])
    assert (none.cosine, none.sqnr_db, none.max_abs) == (1, None, 0)


@given(st.floats(1e-30, 1e30), st.integers(1, 6))
def test_significant_digits_are_as_near_as_they_can_be(value: float, digits: int) -> None:
    found = compare.significant(value, digits)
    assert abs(found - value) <= value * 10.0 ** (1 - digits) * 0.500001
    assert len(repr(f"{found:.15g}").strip("'").partition("e")[0].replace(".", "").strip("0")) <= digits
    assert compare.significant(-value, digits) == -found


def test_last_bits_do_not_reach_what_is_told_of_outputs() -> None:
    rng = np.random.default_rng(0)
    f = rng.normal(size=(200, 10)).astype(np.float32)
    r = (np.round(f * 20) / 20).astype(np.float32)
    moved = f * (1 + rng.integers(-2, 3, f.shape) * np.float32(2**-23))
    assert compare.output_error("y", f, r) == compare.output_error("y", moved, r)


def test_sums_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    f, r = rng.normal(size=(2, 50, 3, 4)).astype(np.float32)
    whole = compare.row_sums(f, r)
    monkeypatch.setattr(compare, "BLOCK_ELEMENTS", 30)
    parts = compare.row_sums(f, r)
    assert all(np.array_equal(getattr(whole, k), getattr(parts, k)) for k in ("dot", "f2", "r2", "d2", "max_abs"))


def test_most_wrong_takes_flips_first_then_loss_then_the_earlier_row() -> None:
    loss = np.array([0.1, 0.9, 0.0, 0.5, 0.5, -1.0, 0.2])
    first = np.array([0, 0, 0, 0, 0, 0, 1], bool)
    assert compare.most_wrong(loss, first, limit=5).tolist() == [6, 1, 3, 4, 0]
    assert compare.most_wrong(loss, first, limit=2).tolist() == [6, 1]
    assert compare.most_wrong(np.zeros(3), np.zeros(3, bool), limit=5).tolist() == []


@pytest.mark.parametrize(("n", "expected"), [(1, 1000), (5000, 1000), (10_000, 500), (1_000_000, 200)])
def test_resamples_fall_with_the_rows(n: int, expected: int) -> None:
    assert compare.resamples_for(n) == expected


def test_bootstrap_of_a_mean_is_seeded_and_near_the_normal_interval() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(5, 2, 400)
    first = compare.bootstrap(lambda units: (float(x[units].mean()),), 400, seed=7, resamples=1000)
    again = compare.bootstrap(lambda units: (float(x[units].mean()),), 400, seed=7, resamples=1000)
    other = compare.bootstrap(lambda units: (float(x[units].mean()),), 400, seed=8, resamples=1000)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (1000, 1)
    interval = compare.percentile_interval(first[:, 0], float(x.mean()))
    half = 1.96 * x.std() / 20
    assert interval.low == pytest.approx(x.mean() - half, abs=0.05)
    assert interval.high == pytest.approx(x.mean() + half, abs=0.05)
    assert interval.method == "bootstrap percentile, 1000 resamples of rows"


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(0, 2**32))
def test_every_resample_draws_n_units(n: int, seed: int) -> None:
    drawn = compare.bootstrap(lambda units: (len(units), units.min(), units.max()), n, seed=seed, resamples=50)
    assert (drawn[:, 0] == n).all()
    assert (drawn[:, 1] >= 0).all()
    assert (drawn[:, 2] < n).all()


def test_clusters_are_drawn_whole() -> None:
    clusters = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    drawn = compare.bootstrap(
        lambda units: tuple(np.bincount(units, minlength=6)), 6, seed=0, resamples=100, clusters=clusters
    )
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 4] == drawn[:, 5]).all()
    assert (drawn[:, [0, 3, 4]].sum(axis=1) == 3).all()


def test_ties_are_rows_without_a_single_winner() -> None:
    assert compare.ties(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])) == 2
    assert compare.ties(np.array([[0.5], [0.5]])) == 0
    assert compare.ties(np.zeros((0, 3))) == 0


def test_percentile_interval_of_one_unit_of_nothing_scored_and_of_a_biased_metric() -> None:
    nothing = compare.percentile_interval(np.array([np.nan, np.inf]), 0.5)
    assert (nothing.low, nothing.high) == (0.5, 0.5)
    some = compare.percentile_interval(np.array([np.nan, 1.0, 3.0]), 2.0)
    assert 1 <= some.low < 2 < some.high <= 3
    biased = compare.percentile_interval(np.array([1.0, 1.0]), 2.0)
    assert (biased.low, biased.high) == (1, 2)


def test_bootstrap_of_ten_thousand_rows_takes_little_time() -> None:
    x = np.random.default_rng(0).random(10_000)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        compare.bootstrap(
            lambda units: (float(x[units].mean()),), 10_000, seed=0, resamples=compare.resamples_for(10_000)
        )
        took.append(time.perf_counter() - began)
    assert min(took) < 1, f"{min(took):.2f} s: about 0.07 s on a free core"
