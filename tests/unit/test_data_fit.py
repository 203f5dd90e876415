"""Whether data fits a model's inputs, and what is adapted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.lint import fits
from edgecompile.errors import ConfigError
from edgecompile.recipe import Preprocess


def rows(*shape: int, dtype: Any = np.float32, **more: Any) -> Dataset:
    return Dataset({"*": np.zeros((5, *shape), dtype)}, source="val.npz", **more)


def said(data: Dataset, inputs: dict[str, tuple[int, ...]]) -> str:
    with pytest.raises(ConfigError) as caught:
        fits(data, inputs, role="validation")
    return str(caught.value)


def test_the_only_input_gets_the_models_name() -> None:
    data, findings = fits(rows(8, 8, 1), {"image": (1, 8, 8, 1)}, role="validation")
    assert tuple(data.inputs) == ("image",)
    assert findings == ()


def test_a_dataset_that_fits_is_given_back_as_it_is() -> None:
    data = Dataset({"image": np.zeros((5, 4))})
    assert fits(data, {"image": (1, 4)}, role="train")[0] is data


def test_preprocessing_under_the_models_name_is_used() -> None:
    data = rows(4, preprocess={"*": Preprocess(), "image": Preprocess(offset=(3.0,))})
    data, _ = fits(data, {"image": (1, 4)}, role="validation")
    assert data.batch("image").max() == 3.0


def test_an_array_of_another_name_is_taken_and_that_is_said() -> None:
    data = Dataset({"images": np.zeros((5, 4))}, preprocess={"images": Preprocess(offset=(2.0,)), "*": Preprocess()})
    data, (finding,) = fits(data, {"input_1": (1, 4)}, role="calibration")
    assert data.batch("input_1").max() == 2.0
    assert (finding.severity, finding.rule) == ("info", "data-adapted")
    assert finding.what == "`images` is taken for the model's only input, `input_1`"


@pytest.mark.parametrize(
    ("given", "wanted", "expected", "note"),
    [
        ((28, 28), (1, 28, 28, 1), (28, 28, 1), "rows 28×28 got a last axis of 1"),
        ((28, 28, 1), (1, 28, 28), (28, 28), "rows 28×28×1 lost their last axis of 1"),
        ((), (1, 1), (1,), "rows scalar got a last axis of 1"),
        ((8, 8, 1), (1, 8, 8, 3), (8, 8, 3), "grey images were repeated to three channels"),
    ],
)
def test_what_leaves_no_choice_is_adapted_and_said(
    given: tuple[int, ...], wanted: tuple[int, ...], expected: tuple[int, ...], note: str
) -> None:
    data, (finding,) = fits(rows(*given, dtype=np.uint8), {"x": wanted}, role="validation")
    assert data.batch("x").shape == (5, *expected)
    assert note in finding.what


def test_open_dimensions_take_any_size() -> None:
    data, findings = fits(rows(12, 40), {"x": (1, -1, 40)}, role="validation")
    assert data.batch("x").shape == (5, 12, 40)
    assert findings == ()


def test_resize_counts() -> None:
    data = rows(8, 6, 3, preprocess={"*": Preprocess(resize=(4, 4))})
    assert fits(data, {"x": (1, 4, 4, 3)}, role="validation")[0].batch("x").shape == (5, 4, 4, 3)


@pytest.mark.parametrize(
    ("given", "wanted", "hint"),
    [
        ((3, 32, 32), (1, 32, 32, 3), "channels come first here: np.transpose(x, (0, 2, 3, 1))"),
        ((28, 28, 3), (1, 32, 32, 3), "set `resize = [32, 32]` below [data.preprocess]"),
        ((32, 32, 3), (1, 32, 32, 1), "convert them before"),
        ((64,), (1, 8, 8, 1), "x.reshape(-1, 8, 8, 1)"),
        ((7,), (1, 8, 8, 1), "is this the data that the model was trained on?"),
    ],
)
def test_other_shapes_are_refused_with_both_shapes(given: tuple[int, ...], wanted: tuple[int, ...], hint: str) -> None:
    text = said(rows(*given), {"image": wanted})
    assert "validation data val.npz: `image` takes rows of" in text
    assert hint in text


def test_names_are_compared_all_at_once() -> None:
    data = Dataset({"imgae": np.zeros((5, 4)), "extra": np.zeros((5, 4))}, source="val.npz")
    text = said(data, {"image": (1, 4), "mask": (1, 4)})
    for part in ("`imgae` is no input", "did you mean `image`?", "`extra` is no", "`mask` of the model is missing"):
        assert part in text


def test_unnamed_rows_do_not_fit_several_inputs() -> None:
    assert "the rows have no name, and the model has 2 inputs: `a`, `b`" in said(rows(4), {"a": (1, 4), "b": (1, 4)})


def test_shapes_and_preprocessing_are_reported_together() -> None:
    how = {"b": Preprocess(mean=(1.0, 2.0)), "c": Preprocess()}
    data = Dataset({"a": np.zeros((5, 3)), "b": np.zeros((5, 4))}, source="val.npz", preprocess=how)
    text = said(data, {"a": (1, 4), "b": (1, 4)})
    assert "`data.inputs` has `c`, which is no input of the model" in text
    assert "`a` takes rows of 4, and the data has rows of 3" in text
    assert "`mean` has 2 numbers, and the last axis of `b` has 4" in text
