"""Metrics against scikit-learn and by hand, and what they say when data and output do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from edgecompile.data.dataset import Dataset
from edgecompile.data.scores import auc
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError
from edgecompile.metrics import METRICS, check_name, default_metric, load_metric
from edgecompile.recipe import Preprocess

HERE = Path()


def data(labels: Any = None, *, x: Any = None, groups: Any = None, **more: Any) -> Dataset:
    n = len(labels) if labels is not None else len(x)
    rows = np.zeros((n, 3), np.uint8) if x is None else np.asarray(x)
    return Dataset(
        {"*": rows},
        None if labels is None else np.asarray(labels),
        None if groups is None else np.asarray(groups),
        source="val.npz",
        **more,
    )


def score(name: str, output: Any, rows: Dataset) -> float:
    return load_metric(name, base=HERE).score(np.asarray(output, np.float32), rows)


def failure(name: str, output: Any, rows: Dataset) -> str:
    with pytest.raises(EdgeCompileError) as caught:
        score(name, output, rows)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------- against scikit-learn

outputs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=40, deadline=None)
@given(outputs, st.integers(2, 60), st.integers(2, 9))
def test_shares_and_f1_equal_scikit_learn(rng: np.random.Generator, n: int, classes: int) -> None:
    output = np.round(rng.normal(size=(n, classes)), 1).astype(np.float32)
    labels = rng.integers(0, classes, n)
    assert score("top1", output, data(labels)) == pytest.approx(sk.accuracy_score(labels, output.argmax(1)))
    f1 = sk.f1_score(labels, output.argmax(1), average="macro", labels=np.union1d(labels, output.argmax(1)))
    assert score("macro_f1", output, data(labels)) == pytest.approx(f1)


@settings(max_examples=40, deadline=None)
@given(outputs, st.integers(2, 60), st.integers(1, 3))
def test_auc_equals_scikit_learn_with_ties(rng: np.random.Generator, n: int, digits: int) -> None:
    scores = np.round(rng.normal(size=n), digits - 1)
    labels = rng.integers(0, 2, n)
    labels[:2] = [0, 1]
    assert auc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores))


def test_auc_of_one_class_is_no_number() -> None:
    assert np.isnan(auc(np.arange(3.0), np.ones(3, np.int64)))


def test_top5_breaks_ties_as_argmax_does() -> None:
    output = np.array([[1, 1, 1, 1, 1, 1, 1], [7, 6, 5, 4, 3, 2, 1], [0, 0, 0, 0, 0, 9, 9]])
    metric = METRICS["top5"]
    for label, right in ((4, [True, True, False]), (5, [False, False, True]), (0, [True, True, True])):
        rows = data([label] * 3)
        found = metric.correct(output.astype(np.float32), rows)
        assert found is not None
        assert found.tolist() == right
    assert score("top5", output, data([4, 4, 4])) == pytest.approx(2 / 3)


def test_errors_are_means_over_values() -> None:
    target = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert score("mae", target + np.array([0.5, -1.5]), data(target)) == pytest.approx(1.0)
    assert score("mse", target + np.array([0.5, -1.5]), data(target)) == pytest.approx(1.25)
    assert score("mae", [[1.0], [4.0]], data([1, 2])) == pytest.approx(1.0)
    assert not METRICS["mae"].higher_is_better
    assert METRICS["auc"].higher_is_better


# ------------------------------------------------------------------------------------------------ outputs of all kinds


def test_a_single_column_is_a_probability_or_a_logit() -> None:
    metric = METRICS["top1"]
    assert metric.decide(np.array([[0.2], [0.5], [1.004]], np.float32)).tolist() == [0, 1, 1]  # type: ignore[union-attr]
    assert metric.decide(np.array([[-3.0], [0.3], [8.0]], np.float32)).tolist() == [0, 1, 1]  # type: ignore[union-attr]
    assert score("top1", [[0.2], [0.7]], data([0, 0])) == 0.5
    assert score("macro_f1", [[0.2], [0.7]], data([0, 1])) == 1.0


def test_axes_of_one_do_not_count() -> None:
    assert score("top1", np.eye(3).reshape(3, 1, 1, 3), data([0, 1, 1])) == pytest.approx(2 / 3)


def test_whole_numbers_stored_as_floats_are_classes() -> None:
    assert score("top1", np.eye(3), data([0.0, 1.0, 2.0])) == 1.0


def test_auc_of_columns_reads_the_last() -> None:
    output = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    assert score("auc", output, data([0, 1, 0, 1])) == 1.0
    assert score("auc", output[:, :1], data([0, 1, 0, 1])) == 0.0


def test_auc_of_an_autoencoder_reads_its_reconstruction_error() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 4, 4, 1), np.uint8)
    rows = data(np.arange(40) % 2, x=x, preprocess={"*": Preprocess(scale=(1 / 255,))})
    wanted = rows.batch("*")
    output = wanted + np.where(np.arange(40) % 2, 0.2, 0.1)[:, None, None, None]
    assert score("auc", output, rows) == 1.0
    assert score("auc", output.reshape(40, 1, 4, 4), rows) == 1.0
    assert score("mse", output, data(x=wanted)) == pytest.approx(0.025, rel=1e-4)


def test_groups_are_scored_by_their_mean() -> None:
    output = [[0.9], [0.1], [0.6], [0.5], [0.2], [0.1]]
    rows = data([1, 1, 1, 1, 0, 0], groups=[5, 5, 3, 3, 9, 9])
    metric = METRICS["auc"]
    assert metric.score(np.asarray(output, np.float32), rows) == 1.0
    bound = metric.bind(np.asarray(output, np.float32), rows)
    assert bound.n == 3
    assert bound.of(np.array([0, 2, 2])) == 1.0
    assert np.isnan(bound.of(np.array([0, 1])))
    assert score("auc", output, data([1, 1, 1, 1, 0, 0])) < 1.0


# --------------------------------------------------------------------------------------------------- what does not fit

CLASSES = np.eye(10, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "output", "rows", "said"),
    [
        ("top1", CLASSES, data(x=np.zeros((10, 3))), "top1 needs labels, and the data has none"),
        ("mae", CLASSES, data(x=np.zeros((10, 3))), "mae needs labels, and the data has none"),
        ("top1", CLASSES, data(np.arange(10) + 1), "takes labels 0 to 9, and there are labels up to 10 (row 9)"),
        ("top1", CLASSES, data(np.arange(10) + 1), "the labels seem to count from 1: subtract 1"),
        ("top1", CLASSES, data(np.arange(10) + 90), "10 rows (0, 1, 2, 3, 4, …)"),
        ("top1", CLASSES, data(np.linspace(0.1, 1, 10)), "needs one class number per row, and the labels are float64"),
        ("top1", np.zeros((10, 4, 4, 3)), data(np.arange(10)), "the output is 4×4×3 per row"),
        ("top5", CLASSES[:5, :5], data(np.arange(5)), "top5 of 5 classes is always 1"),
        ("auc", CLASSES, data(np.arange(10) % 2), "auc reads one score per row, and the output has 10"),
        ("auc", CLASSES[:, :1], data(np.arange(10)), "auc takes labels 0 to 1"),
        ("auc", CLASSES[:, :1], data(np.ones(10, int)), "auc needs labels 0 and 1, and all are 1"),
        (
            "auc",
            CLASSES[:, :1],
            data(np.arange(10) % 2, groups=np.arange(10) // 2),
            "5 of 5 hold both labels (first: group 0)",
        ),
        ("mae", CLASSES, data(np.arange(10)), "mae compares value by value: the output is 10 per row"),
        ("top1", np.full((10, 10), np.nan), data(np.arange(10)), "the model's output is NaN or Inf in 10 rows"),
    ],
)
def test_what_does_not_fit_is_explained(name: str, output: np.ndarray, rows: Dataset, said: str) -> None:
    assert said in failure(name, output, rows)


def test_labels_of_another_output_name_the_key_that_chooses_it() -> None:
    rows = data(np.arange(10) * 10)  # those of a head of 101 classes
    said = failure("top1", CLASSES, rows)
    assert "labels up to 90" in said
    assert '`[data] output = "NAME"`' in said
    both = data(np.arange(10) % 2)  # labels that either head takes are scored as they are
    assert 0 <= score("top1", CLASSES, both) <= 1


def test_rows_without_labels_are_told_where_they_help() -> None:
    assert "give them as --calibration instead of --data" in failure("top1", CLASSES, data(x=np.zeros((10, 1))))


def test_nan_outputs_are_the_models_fault() -> None:
    with pytest.raises(ModelError):
        score("mse", np.full((2, 1), np.inf), data([0.5, 0.5]))


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown metric `top_1`") as caught:
        check_name("top_1")
    assert caught.value.problems[0].hint == "did you mean `top1`? Or a function of yours: package.module:function"
    check_name("mine:score")


# --------------------------------------------------------------------------------------------------------- the default


@pytest.mark.parametrize(
    ("rows", "shape", "name"),
    [
        (data(np.arange(10)), (1, 10), "top1"),
        (data(np.arange(10) * 1.0), (1, 10), "top1"),
        (data(np.arange(10) % 2), (1, 1), "top1"),
        (data(np.arange(10)), (1, 1, 1, 10), "top1"),
        (data(np.arange(10)), (1, 1), "mae"),
        (data(np.linspace(0, 1, 10)), (1, 1), "mae"),
        (data(np.zeros((10, 4))), (1, 4), "mae"),
        (data(np.arange(10) % 2, x=np.zeros((10, 8))), (1, 8), "auc"),
        (data(x=np.zeros((10, 8))), (1, 8), "mse"),
        (data(np.arange(10) % 2, x=np.zeros((10, 2))), (1, 2), "top1"),
        (data(np.arange(10), x=np.zeros((10, 64))), (1, 64), "top1"),
    ],
)
def test_default_metric(rows: Dataset, shape: tuple[int, ...], name: str) -> None:
    assert default_metric(rows, shape) == name


def test_no_default_metric() -> None:
    with pytest.raises(ConfigError, match="needs labels, and the data has none"):
        default_metric(data(x=np.zeros((10, 3))), (1, 10))
    with pytest.raises(ConfigError, match="no metric fits an output of 8×8×2 and labels of 8×8 per row"):
        default_metric(data(np.zeros((10, 8, 8))), (1, 8, 8, 2))


# ---------------------------------------------------------------------------------------------------- users' metrics


@pytest.fixture
def users(tmp_path: Path) -> Any:
    """Write a user's module and load a metric from it."""

    def load(code: str, name: str = "score") -> Any:
        (tmp_path / "my_metric.py").write_text("import numpy as np\n" + code)
        return load_metric(f"my_metric:{name}", base=tmp_path)

    return load


def test_a_users_metric_gets_outputs_and_labels(users: Any) -> None:
    metric = users("def score(outputs, labels):\n    return np.abs(outputs[:, 0] - labels).max()\n")
    assert metric.score(np.array([[1.0], [5.0]], np.float32), data([1, 3])) == 2.0
    assert metric.higher_is_better
    assert metric.correct(np.zeros((2, 1), np.float32), data([1, 3])) is None
    assert metric.decide(np.zeros((2, 1), np.float32)) is None


def test_a_users_metric_gets_inputs_and_groups_by_name(users: Any) -> None:
    metric = users(
        "def score(outputs, labels, *, inputs, groups=None):\n"
        "    assert inputs.dtype == np.float32\n"
        "    return sum((outputs - inputs)[groups == g].mean() for g in np.unique(groups)) / len(np.unique(groups))\n"
        "score.higher_is_better = False\n"
    )
    assert not metric.higher_is_better
    rows = data(x=np.zeros((4, 1), np.uint8), groups=[7, 7, 7, 2])
    output = np.array([[1.0], [1.0], [1.0], [3.0]], np.float32)
    assert metric.score(output, rows) == 2.0
    bound = metric.bind(output, rows)
    assert bound.n == 2
    assert bound.of(np.array([0, 0, 1])) == pytest.approx(7 / 3)


def test_a_users_metric_gets_several_inputs_as_a_dict(users: Any) -> None:
    metric = users("def score(outputs, labels, inputs):\n    return inputs['b'].sum() + (labels is None)\n")
    rows = Dataset({"a": np.zeros((2, 1)), "b": np.ones((2, 3))})
    assert metric.score(np.zeros((2, 1), np.float32), rows) == 7.0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def score(outputs):\n    return 1\n", "takes (outputs)"),
        ("def score(outputs, labels, masks):\n    return 1\n", "takes (outputs, labels, masks)"),
        ("def score(outputs, labels):\n    return '0.5'\n", "returned the text '0.5'"),
        ("def score(outputs, labels):\n    return np.ones(3)\n", "returned ndarray"),
        ("def score(outputs, labels):\n    return float('nan')\n", "the metric is nan"),
        ("def score(outputs, labels):\n    return 1\nscore.higher_is_better = 'no'\n", "`higher_is_better` is 'no'"),
        (
            "def score(outputs, labels):\n    raise KeyError('f')\n",
            "my_metric.py:3: `my_metric:score` raised KeyError: 'f'",
        ),
        ("def other(outputs, labels):\n    return 1\n", "`score` does not exist in `my_metric`"),
        ("score = 3\n", "`score` is not a function in `my_metric`"),
    ],
)
def test_what_is_wrong_with_a_users_metric(users: Any, code: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        users(code).score(np.zeros((2, 1), np.float32), data([0, 1]))
    assert said in str(caught.value)


def test_any_positional_arguments_will_do(users: Any) -> None:
    assert users("def score(*both):\n    return len(both)\n").score(np.zeros((2, 1), np.float32), data([0, 1])) == 2
