"""The split of validation rows into calibration and validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.data.dataset import Dataset
from edgecompile.data.split import split, thin
from edgecompile.errors import ConfigError


def dataset(labels: np.ndarray | None = None, *, n: int = 0, groups: np.ndarray | None = None) -> Dataset:
    n = n or len(labels if labels is not None else groups)  # type: ignore[arg-type]
    return Dataset({"*": np.arange(n)[:, None]}, labels, groups, source="val.npz")


def rows(data: Dataset) -> list[int]:
    return [int(row) for row in data.inputs["*"][:, 0]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=120),
    st.integers(1, 80),
    st.integers(0, 3),
)
def test_parts_are_disjoint_complete_and_hold_every_class(labels: list[int], wanted: int, seed: int) -> None:
    numbers = np.array(labels)
    calibration, validation, sentence = split(dataset(numbers), rows=wanted, seed=seed)
    n = len(labels)
    assert sorted(rows(calibration) + rows(validation)) == list(range(n))
    assert rows(calibration) == sorted(rows(calibration))
    assert rows(validation) == sorted(rows(validation))
    assert 1 <= len(calibration) <= min(wanted, n // 2)
    assert f"{len(calibration)} of {n} validation rows" in sentence
    classes, counts = np.unique(numbers, return_counts=True)
    for c, count in zip(classes, counts, strict=True):
        if count >= 2 and min(wanted, n // 2) >= len(classes):
            assert c in numbers[rows(calibration)]
            assert c in numbers[rows(validation)]


def test_classes_are_drawn_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    calibration, _, sentence = split(dataset(labels), rows=200, seed=0)
    assert np.bincount(labels[rows(calibration)]).tolist() == [140, 50, 10]
    assert sentence == (
        "200 of 1,000 validation rows, drawn at random in proportion to the classes (seed 0), calibrate; "
        "accuracy is measured on the other 800"
    )


def test_more_classes_than_rows() -> None:
    calibration, _, sentence = split(dataset(np.arange(100) // 2), rows=10, seed=0)
    assert len(calibration) == 10
    assert "in proportion" in sentence


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    data = dataset(np.arange(400) % 10)
    first, again, other = (rows(split(data, rows=50, seed=s)[0]) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("labels", [None, np.linspace(0.1, 1, 40), np.zeros((40, 2))])
def test_without_class_numbers_rows_are_drawn_at_random(labels: np.ndarray | None) -> None:
    calibration, validation, sentence = split(dataset(labels, n=40), rows=200, seed=0)
    assert (len(calibration), len(validation)) == (20, 20)
    assert "drawn at random (seed 0)" in sentence


def test_whole_numbers_stored_as_floats_are_classes() -> None:
    assert "in proportion" in split(dataset(np.arange(40) % 4 * 1.0), rows=8, seed=0)[2]


def test_classes_of_one_row_each_are_drawn_at_random() -> None:
    calibration, _, sentence = split(dataset(np.arange(10)), rows=4, seed=0)
    assert len(calibration) == 4
    assert "drawn at random (seed 0)" in sentence


def test_groups_stay_whole() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    data = dataset(np.arange(210) % 2, groups=groups)
    calibration, validation, sentence = split(data, rows=60, seed=3)
    assert calibration.groups is not None
    assert validation.groups is not None
    assert not set(calibration.groups) & set(validation.groups)
    assert 0 < len(calibration) <= 60
    assert f"{len(set(calibration.groups))} whole groups drawn at random" in sentence


def test_one_group_calibrates_even_when_it_is_over_the_limit() -> None:
    calibration, _, sentence = split(dataset(groups=np.repeat([7, 8], [30, 20])), rows=5, seed=0)
    assert len(calibration) == 20
    assert "1 whole group drawn" in sentence


def test_too_little_to_split() -> None:
    with pytest.raises(ConfigError, match="one row cannot both calibrate and validate"):
        split(dataset(n=1), rows=200, seed=0)
    with pytest.raises(ConfigError, match="all rows are of one group"):
        split(dataset(groups=np.zeros(9, int)), rows=200, seed=0)


def test_thin_keeps_what_fits_and_draws_the_rest_by_class() -> None:
    labels = np.repeat([0, 1], [90, 10])
    same, sentence = thin(dataset(labels), rows=100, seed=0)
    assert len(same) == 100
    assert sentence == "all 100 calibration rows are used"
    some, sentence = thin(dataset(labels), rows=20, seed=0)
    assert np.bincount(labels[rows(some)]).tolist() == [18, 2]
    assert sentence.startswith("20 of 100 calibration rows, drawn at random in proportion to the classes (seed 0)")
    few, _ = thin(dataset(n=50), rows=20, seed=0)
    assert len(set(rows(few))) == 20
