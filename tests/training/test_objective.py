"""What fine-tuning makes smaller, by what the output holds and what the labels are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import libraries

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError
from edgecompile.training.fit import full_batches, split_rows
from edgecompile.training.meaning import meaning_of
from edgecompile.training.objective import Objective, Wishes, choose

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def tf() -> Any:
    return libraries().tf


def objective(tf: Any, labels: Any, *outputs: np.ndarray, share: float = 1.0, **given: Any) -> Objective:
    """Return what is minimised for a model that gives outputs; rows are its first ones."""
    wishes = Wishes(
        **{"metric": None, "loss": None, "share": share, "temperature": 1.0, "output": 0, "base": Path(), **given}
    )
    return choose(tf, Dataset({"x": np.zeros((len(outputs[0]), 3), np.float32)}, labels), outputs, wishes, taught=True)


SIGNED = np.array([-2.0, -1.0, 1.0, 2.0], np.float32)
CLASSES = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)


@pytest.mark.parametrize(
    ("output", "metric", "meaning"),
    [
        (CLASSES, None, "probabilities"),
        (CLASSES.reshape(2, 1, 1, 2), "top1", "probabilities"),
        (CLASSES[:, :1], "top1", "probability"),
        (SIGNED.reshape(2, 2), "top1", "logits"),
        (SIGNED.reshape(2, 1, 1, 2), "top1", "logits"),
        (SIGNED.reshape(2, 2), "auc", "logits"),
        (SIGNED.reshape(1, 4), "auc", "values"),
        (SIGNED.reshape(4, 1), "top1", "logit"),
        (SIGNED.reshape(4, 1), "mae", "values"),
        (SIGNED.reshape(1, 2, 2), "top1", "values"),
    ],
)
def test_what_an_output_holds(output: np.ndarray, metric: str | None, meaning: str) -> None:
    assert meaning_of(output, metric) == meaning


@pytest.mark.parametrize("row", [(1,), (1, 1, 1)])
def test_a_single_logit_is_held_to_the_sign_that_its_label_asks_for(tf: Any, row: tuple[int, ...]) -> None:
    found = objective(tf, np.array([0, 1, 0, 1]), SIGNED.reshape(4, *row))
    assert found.error is not None
    logits = tf.Variable(np.float32([-3, -3, 3, 3]).reshape(4, *row))
    with tf.GradientTape() as tape:
        loss = found.error([logits], np.array([0, 1, 0, 1]))
    slopes = tape.gradient(loss, logits).numpy().ravel()
    assert float(loss) == pytest.approx(np.log1p(np.exp([-3, 3, 3, -3])).mean(), rel=1e-5)
    np.testing.assert_allclose(
        slopes * 4, [1 / (1 + np.e**3), -1 / (1 + np.e**-3), 1 / (1 + np.e**-3), -1 / (1 + np.e**3)], rtol=1e-4
    )


def test_the_distance_of_single_logits_is_least_where_they_agree(tf: Any) -> None:
    found = objective(tf, None, SIGNED.reshape(4, 1), metric="top1")
    assert found.distance is not None
    taught = tf.constant(SIGNED.reshape(4, 1))
    same = float(found.distance([taught], [taught]))
    assert all(float(found.distance([taught + by], [taught])) > same for by in (-0.1, 0.1))


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_labels_and_teacher_are_counted_in_one_unit(tf: Any, metric: str) -> None:
    prices = np.random.default_rng(0).normal(2e5, 1e4, (64, 1)).astype(np.float32)
    found = objective(tf, prices, prices, metric=metric, share=0.5)
    assert found.error is not None
    assert found.distance is not None
    off = tf.constant(prices + np.float32(1e4))
    assert float(found.error([off], prices)) == pytest.approx(1, rel=0.3)
    assert float(found.distance([off], [tf.constant(prices)])) == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize(
    ("labels", "given", "varied"),
    [
        (np.array([0, 1]), {}, True),
        (np.array([[0, 1], [1, 0]]), {"metric": "mae"}, False),
        (np.array([[0.1, 7], [0.3, 8]]), {}, False),
        (np.array([[0.1, 7], [0.3, 8]]), {"share": 0.0}, True),
        (np.array([0, 1]), {"loss": "tf_keras.losses:mean_squared_error"}, True),
        (np.array([0.5, 1]), {"loss": "tf_keras.losses:mean_squared_error"}, False),
        (None, {}, True),
    ],
)
def test_rows_may_be_varied_unless_labels_measure_what_moves(
    tf: Any, labels: Any, given: dict[str, Any], varied: bool
) -> None:
    assert objective(tf, labels, CLASSES, **given).varied == varied


def test_whole_numbers_beside_the_labelled_output_do_not_count(tf: Any) -> None:
    found = objective(tf, np.array([0, 1]), CLASSES, np.array([0, 1], np.int64), share=0.3)
    assert found.distance is not None
    outputs = [tf.constant(CLASSES), tf.constant([0, 1], tf.int64)]
    assert float(found.distance(outputs, [outputs[0], outputs[1] + 1])) == pytest.approx(0, abs=1e-6)


def test_the_metric_speaks_of_the_labelled_output_only(tf: Any) -> None:
    ages = np.array([[35.0], [60.0]], np.float32)
    found = objective(tf, np.array([0, 1]), CLASSES, ages, share=0.3)
    assert found.distance is not None
    outputs = [tf.constant(CLASSES), tf.constant(ages)]
    assert float(found.distance([outputs[0], outputs[1] + 12.5], outputs)) == pytest.approx(1, rel=0.01)


def test_an_output_that_training_cannot_move_is_refused(tf: Any) -> None:
    with pytest.raises(ConfigError, match=r"data.output: gives whole numbers, and training can move"):
        objective(tf, np.array([0, 1]), np.array([0, 1], np.int64))


def test_a_reconstruction_of_bytes_is_compared_as_numbers(tf: Any) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (8, 6)).astype(np.uint8)
    given = rows.astype(np.float32)
    wishes = Wishes(metric="auc", loss=None, share=1.0, temperature=1.0, output=0, base=Path())
    found = choose(tf, Dataset({"x": rows}, np.zeros(8, np.int64)), [given], wishes, taught=True)
    assert found.error is not None
    assert float(found.error([tf.constant(given)], tf.constant(rows))) == 0


# Rows that epochs are compared on


def test_held_out_rows_of_sorted_data_are_a_sample_of_all_of_it() -> None:
    _, held_out = split_rows(np.arange(1000), np.random.default_rng(0), batch=64)
    batches = full_batches(held_out, 64)
    assert len(held_out) == 100
    assert set(np.concatenate(batches)) == set(held_out)
    assert [len(batch) for batch in batches] == [64, 64]
    for batch in batches:
        assert len(set(batch // 100)) >= 8, "a batch holds rows of nearly every tenth of the data"


@pytest.mark.parametrize(("rows", "batch", "sizes"), [(0, 8, []), (3, 8, [8]), (16, 8, [8, 8]), (17, 8, [8, 8, 8])])
def test_batches_are_full(rows: int, batch: int, sizes: list[int]) -> None:
    found = full_batches(np.arange(rows), batch)
    assert [len(one) for one in found] == sizes
    assert {int(row) for one in found for row in one} == set(range(rows))
