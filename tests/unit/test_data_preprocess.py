"""Preprocessing and the dataset itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.data.dataset import Dataset
from edgecompile.data.preprocess import apply, resize
from edgecompile.recipe import Preprocess, Quantized

X = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), np.uint8)


def test_nothing_to_do_gives_float32_rows() -> None:
    x = X.astype(np.float32)
    assert apply(Preprocess(), x) is x
    assert apply(Preprocess(), X).dtype == np.float32


def test_steps_come_in_the_documented_order() -> None:
    how = Preprocess(
        quantized=Quantized(scale=0.5, zero_point=10),
        scale=(2.0,),
        offset=(1.0,),
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
    )
    wanted = (((X.astype(np.float64) - 10) * 0.5) * 2 + 1 - [1, 2, 3]) / [4, 5, 6]
    found = apply(how, X)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "how",
    [Preprocess(), Preprocess(scale=(0.1,)), Preprocess(std=(2.0, 3.0, 4.0)), Preprocess(resize=(2, 2))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float16, np.float64, bool])
def test_every_stored_dtype_becomes_float32(how: Preprocess, dtype: type) -> None:
    assert apply(how, X.astype(dtype)).dtype == np.float32


def test_resize_keeps_constant_images_and_averages_halves() -> None:
    assert (resize(np.full((2, 5, 7, 1), 9, np.uint8), (3, 11)) == 9).all()
    image = np.array([[0, 10], [20, 30]], np.uint8)[None, :, :, None]
    assert resize(image, (1, 1)).item() == 15.0
    assert resize(image, (2, 4))[0, :, :, 0].tolist() == [[0, 2.5, 7.5, 10], [20, 22.5, 27.5, 30]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_resize_stays_within_the_values_and_is_itself_on_equal_sizes(height: int, width: int) -> None:
    found = resize(X, (height, width))
    assert found.shape == (7, height, width, 3)
    assert X.min() <= found.min()
    assert found.max() <= X.max()
    assert np.array_equal(resize(X, X.shape[1:3]), X.astype(np.float32))


def test_take_renamed_and_digest() -> None:
    data = Dataset({"*": X}, np.arange(7), np.arange(7) // 2, ("a",), {"*": Preprocess()}, "d.npz")
    some = data.take(np.array([4, 2]))
    assert np.array_equal(some.inputs["*"], X[[4, 2]])
    assert some.labels is not None
    assert some.labels.tolist() == [4, 2]
    assert data.renamed(("image",)).sha256() != data.sha256()
    assert tuple(data.renamed(("image",)).inputs) == ("image",)
    assert data.renamed(("a", "b")) is data
    same = Dataset({"*": X.copy()}, np.arange(7), np.arange(7) // 2, (), {"*": Preprocess()}, "other.npz")
    assert same.sha256() == data.sha256()
    for changed in (
        Dataset({"*": X[::-1]}, data.labels, data.groups, (), data.preprocess),
        Dataset({"*": X}, np.arange(7)[::-1], data.groups, (), data.preprocess),
        Dataset({"*": X}, data.labels, None, (), data.preprocess),
        Dataset({"*": X}, data.labels, data.groups, (), {"*": Preprocess(scale=(2.0,))}),
        Dataset({"*": X.astype(np.int16)}, data.labels, data.groups, (), data.preprocess),
    ):
        assert changed.sha256() != data.sha256()


def test_values_beyond_float32_become_inf_without_a_warning() -> None:
    assert np.isinf(apply(Preprocess(), np.array([[1e300]]))).all()


def test_rows_without_a_name_use_the_only_named_preprocessing() -> None:
    data = Dataset({"*": X}, preprocess={"*": Preprocess(), "image": Preprocess(scale=(0.5,))})
    assert data.how("*").scale == (0.5,)
    assert data.how("image").scale == (0.5,)
    assert Dataset({"*": X}, preprocess={"a": Preprocess(scale=(2.0,)), "b": Preprocess()}).how("*") == Preprocess()
