"""Whether a float model does better than answers that do not look at the input: what is proven, and what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecompile import compare
from edgecompile.data.chance import guess, is_poor, lint_score
from edgecompile.data.dataset import Dataset
from edgecompile.metrics import METRICS
from edgecompile.report import Chance
from edgecompile.verify.chance import find_chance

RANDOM = np.random.default_rng(0)


def found(metric: str, output: np.ndarray, labels: np.ndarray | None, **data: np.ndarray) -> Chance:
    x = data.pop("x", np.zeros((len(output), 1), np.float32))
    rows = Dataset({"*": x}, labels=labels, **data)  # type: ignore[arg-type]
    chance = find_chance(output.astype(np.float32), rows, METRICS[metric], seed=0)
    assert chance is not None
    return chance


def answers(labels: np.ndarray, classes: int, *, right: float) -> np.ndarray:
    """Return scores [n, classes] that decide for the label on a share of rows, and by lot elsewhere."""
    hit = RANDOM.random(len(labels)) < right
    return np.eye(classes)[np.where(hit, labels, RANDOM.integers(0, classes, len(labels)))]


BALANCED = np.arange(600) % 10
RARE = (np.arange(600) % 20 == 0).astype(np.int64)


@pytest.mark.parametrize(
    ("labels", "output", "proven"),
    [
        (BALANCED, answers(BALANCED, 10, right=0.0), False),
        (BALANCED, answers(BALANCED, 10, right=0.2), True),
        (BALANCED[:30], answers(BALANCED[:30], 10, right=1.0), True),
        (BALANCED[:5], answers(BALANCED[:5], 10, right=1.0), False),
        (RARE, np.eye(2)[np.zeros(600, int)], False),
        (RARE, answers(RARE, 2, right=0.9), False),
        (RARE, np.eye(2)[RARE], True),
        (np.zeros(50, np.int64), np.eye(3)[np.zeros(50, int)], False),
    ],
    ids=("lot", "weak", "few-right", "too-few", "constant", "below-majority", "perfect-on-rare", "one-class"),
)
def test_top1_is_held_against_the_most_frequent_class(labels: np.ndarray, output: np.ndarray, proven: bool) -> None:
    chance = found("top1", output, labels)
    assert chance.guess == np.bincount(labels).max() / len(labels)
    assert chance.units == len(labels)
    assert chance.proven is proven


def test_top1_uses_the_pairs_of_rows() -> None:
    """96% against 95% is proven where the model has the frequent class right as well: only 6 of 600 rows differ."""
    output = np.eye(2)[np.where((RARE == 1) & (np.cumsum(RARE) <= 12), 1, 0)]
    chance = found("top1", output, RARE)
    assert chance.lead == compare.paired_interval(12, 0, 600)
    assert chance.proven


def test_top5_is_held_against_the_five_most_frequent_classes() -> None:
    labels = np.concatenate([np.repeat(np.arange(5), 30), np.arange(5, 20)])
    assert found("top5", np.tile(-np.arange(20.0), (len(labels), 1)), labels).proven is False
    perfect = found("top5", np.eye(20)[labels], labels)
    assert perfect.guess == pytest.approx(150 / 165)
    assert perfect.proven


@pytest.mark.parametrize("metric", ["macro_f1", "auc"])
def test_scores_that_weigh_classes_alike_are_held_against_guessing(metric: str) -> None:
    columns = 1 if metric == "auc" else 2
    noise = RANDOM.random((600, columns))
    assert found(metric, noise, RARE).proven is False
    seen = noise + 2.0 * np.eye(2)[RARE][:, -columns:]
    assert found(metric, seen, RARE).proven is True


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_errors_are_held_against_a_constant(metric: str) -> None:
    targets = RANDOM.normal(20, 5, 300)
    middle = np.median(targets) if metric == "mae" else targets.mean()
    constant = found(metric, np.full((300, 1), middle), targets)
    assert not constant.proven
    error = np.abs(targets - middle).mean() if metric == "mae" else targets.var()
    assert constant.guess == pytest.approx(error, rel=1e-5)
    assert not found(metric, targets[:, None] * 1000, targets).proven
    assert not found(metric, RANDOM.permutation(targets)[:, None], targets).proven
    assert found(metric, targets[:, None] + RANDOM.normal(0, 3, (300, 1)), targets).proven


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_an_autoencoder_is_held_against_the_mean_row(metric: str) -> None:
    x = RANDOM.normal(0, 1, (300, 8)).astype(np.float32)
    chance = found(metric, x * 0.5, None, x=x)
    power = METRICS_POWER[metric]
    assert chance.guess == pytest.approx((np.abs(x - x.mean(axis=0)) ** power).mean(), rel=1e-5)
    assert chance.proven
    assert not found(metric, np.tile(x.mean(axis=0), (300, 1)), None, x=x).proven
    assert not found(metric, x * 100, None, x=x).proven


METRICS_POWER = {"mae": 1, "mse": 2}


def test_groups_of_rows_count_once() -> None:
    """300 rows of 4 recordings are 4 units: nothing is proven on them."""
    labels = np.arange(300) % 3
    groups = np.arange(300) // 75
    chance = found("top1", np.eye(3)[labels], labels, groups=groups)
    assert (chance.units, chance.proven) == (4, False)
    assert found("top1", np.eye(3)[labels], labels, groups=np.arange(300) // 10).proven


def test_nothing_is_known_about_users_metrics() -> None:
    assert guess("mine:score", Dataset({"*": np.zeros((4, 1))}, labels=np.arange(4))) is None


@pytest.mark.parametrize(("lost", "gained", "limit"), [(9, 4, 0.01), (4, 3, 0.01), (30, 10, 0.04)])
def test_rows_that_settle_are_enough_and_not_many_more(lost: int, gained: int, limit: float) -> None:
    """With the same shares of flips on as many rows, the interval's end just reaches the limit, within a twentieth."""
    n = 400
    drop = (lost - gained) / n
    needed = compare.units_to_settle(drop, compare.paired_interval(lost, gained, n), limit, n)
    assert needed is not None
    assert needed > n
    times = needed / n
    there = compare.paired_interval(round(lost * times), round(gained * times), needed)
    end = there.low if drop > limit else there.high
    assert abs(end - limit) < 0.2 * abs(drop - limit)


def test_no_number_of_rows_tells_a_drop_from_itself() -> None:
    assert compare.units_to_settle(0.01, compare.paired_interval(4, 0, 400), 0.01, 400) is None
    assert math.isfinite(compare.units_to_settle(0.02, compare.paired_interval(8, 0, 400), 0.01, 400) or math.inf)


@pytest.mark.parametrize(
    ("metric", "guess", "poor", "good"),
    [("top1", 0.1, 0.54, 0.56), ("auc", 0.5, 0.74, 0.76), ("mae", 2.0, 1.1, 0.9)],
)
def test_a_score_is_poor_less_than_halfway_from_guess_to_perfect(
    metric: str, guess: float, poor: float, good: float
) -> None:
    assert is_poor(metric, poor, guess)
    assert not is_poor(metric, good, guess)


def test_a_poor_score_beyond_chance_names_the_preprocessing_that_does_far_better() -> None:
    pixels = RANDOM.integers(0, 256, (600, 2, 2, 3)).astype(np.uint8)
    chance = found("top1", answers(BALANCED, 10, right=0.2), BALANCED, x=pixels)
    rows = Dataset({"*": pixels}, labels=BALANCED)
    assert chance.proven
    assert lint_score("top1", 0.288, rows, chance=chance) == ()
    assert lint_score("top1", 0.288, rows, chance=chance, tried={"scale = 0.00392157 (0..1)": 0.3}) == ()
    (told,) = lint_score("top1", 0.288, rows, chance=chance, tried={"scale = 0.00392157 (0..1)": 0.87})
    assert (told.rule, told.severity) == ("score-preprocessing", "warning")
    assert told.remedy == "below [data.preprocess] set scale = 0.00392157 (0..1): some rows then score 0.87"
