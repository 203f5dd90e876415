"""Flips and shifts: what they do, and that the model decides whether they are used."""

from __future__ import annotations

import numpy as np

from edgecompile.training.augment import Augment, Rows, choose, is_image, shifted

IMAGES = np.random.default_rng(0).random((64, 16, 16, 3)).astype(np.float32)


def by_brightness(rows: Rows) -> np.ndarray:
    return (rows["x"].mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)


def by_left_half(rows: Rows) -> np.ndarray:
    x = rows["x"].mean(axis=(1, 3))
    return (x[:, :8].mean(axis=1) > x[:, 8:].mean(axis=1)).astype(np.int64)


def test_a_model_that_minds_flips_is_not_trained_with_them() -> None:
    assert choose({"x": IMAGES}, by_left_half, flip=None, shift=False) == Augment(flip=False, shift=0)
    assert choose({"x": IMAGES}, by_brightness, flip=None, shift=False).flip


def test_the_user_decides_where_they_say_so() -> None:
    assert choose({"x": IMAGES}, by_left_half, flip=True, shift=True) == Augment(flip=True, shift=2)
    assert choose({"x": IMAGES}, by_brightness, flip=False, shift=False) == Augment()


def test_what_decides_nothing_or_is_no_image_is_left_alone() -> None:
    assert choose({"x": IMAGES}, lambda rows: None, flip=None, shift=None) == Augment()
    assert choose({"x": IMAGES[:, :, 0]}, by_brightness, flip=True, shift=True) == Augment()
    assert not is_image((49, 10))
    assert not is_image((4, 4, 3))
    assert not is_image((32, 32, 64))


def test_a_shift_repeats_the_edge() -> None:
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    down = shifted(image, np.array([[2, 0]]))[0, :, :, 0]
    np.testing.assert_array_equal(down[:3], np.repeat(image[0, :1, :, 0], 3, axis=0))
    right = shifted(image, np.array([[0, -1]]))[0, :, :, 0]
    np.testing.assert_array_equal(right[:, :-1], image[0, :, 1:, 0])
    np.testing.assert_array_equal(right[:, -1], image[0, :, -1, 0])


def test_rows_vary_and_other_inputs_do_not() -> None:
    rows = {"x": IMAGES, "length": np.arange(64)}
    made = Augment(flip=True, shift=2)(rows, np.random.default_rng(1))
    again = Augment(flip=True, shift=2)(rows, np.random.default_rng(1))
    np.testing.assert_array_equal(made["x"], again["x"])
    assert made["length"] is rows["length"]
    assert not np.array_equal(made["x"], IMAGES)
    assert set(np.unique(made["x"])) <= set(np.unique(IMAGES))
