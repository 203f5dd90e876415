"""Every lint rule: what breaks it is found, what keeps it is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.lint import candidates, lint, lint_score
from edgecompile.data.load import load_dataset
from edgecompile.data.split import split
from edgecompile.recipe import DataSection, Preprocess
from edgecompile.report import Finding

N = 200


def data(x: Any = None, labels: Any = None, *, n: int = N, seed: int = 0, **more: Any) -> Dataset:
    """Distinct noise images of 0..255 with ten classes in turn, unless given otherwise."""
    if x is None:
        x = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), np.uint8)
    labels = np.arange(len(x)) % 10 if labels is None else np.asarray(labels)
    return Dataset({"*": x}, labels, source=f"{seed}.npz", **more)


def rules(calibration: Dataset | None, validation: Dataset | None, **section: Any) -> dict[str, Finding]:
    return {f.rule: f for f in lint(calibration, validation, section=DataSection(**section))}


def test_good_data_gives_no_finding() -> None:
    assert rules(data(seed=1), data()) == {}
    assert rules(None, data()) == {}
    assert rules(data(), None) == {}
    assert rules(None, None) == {}


def test_nan_stops_the_build_and_names_rows() -> None:
    x = np.random.default_rng(0).normal(size=(N, 8))
    x[3, 1], x[9, 2], x[11, 0] = np.nan, -np.inf, 1e300
    found = rules(None, data(x))
    assert found["data-nan"].severity == "error"
    assert found["data-nan"].what == "values are NaN or Inf (as float32) in rows 3, 9, 11 of 200"
    assert found["data-nan"].where == "validation data 0.npz"


def test_constant_inputs() -> None:
    noise = np.random.default_rng(0).normal(size=(N, 8))
    assert rules(data(np.ones((N, 8))), None)["data-constant"].severity == "error"
    both = Dataset({"state": np.ones((N, 8)), "x": noise}, np.arange(N) % 10)
    assert rules(both, None)["data-constant"].severity == "warning"
    assert "`state`: all 200 rows are equal" in rules(both, None)["data-constant"].what


def test_values_that_are_scaled_twice() -> None:
    x = np.random.default_rng(0).random((N, 8))
    assert "data-scaled-twice" not in rules(None, data(x))
    found = rules(None, data(x, preprocess={"*": Preprocess(scale=(1 / 255,))}))
    assert "leave `scale` out" in found["data-scaled-twice"].remedy


def test_mean_and_std_of_another_scale() -> None:
    how = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    found = rules(None, data(preprocess={"*": how}))
    assert "set `scale = 0.00392157` as well" in found["data-scaled-twice"].remedy
    assert rules(None, data(preprocess={"*": how.model_copy(update={"scale": (1 / 255,)})})) == {}


def test_too_few_rows() -> None:
    found = rules(data(n=30, seed=1), data(n=50))
    assert found["data-calibration-few"].what.startswith("only 30 rows to calibrate on")
    assert "±8 points" in found["data-validation-few"].what
    targets = rules(None, data(n=50, labels=np.linspace(0.1, 2, 50)))
    assert targets["data-validation-few"].what == "only 50 rows to measure accuracy on"
    assert rules(data(n=1), None)["data-calibration-few"].what.startswith("only 1 row to calibrate on")


def test_classes_without_rows() -> None:
    names = tuple(f"c{i}" for i in range(17))
    found = rules(None, data(class_names=names))["data-class-unmeasured"]
    assert found.what == "no rows of c10, c11, c12, c13, c14 and 2 more"


def test_classes_missing_from_calibration() -> None:
    calibration = data(labels=np.arange(N) % 8, seed=1)
    found = rules(calibration, data(class_names=tuple("abcdefghij")))["data-class-missing"]
    assert found.what == "no calibration rows of `i`, `j`"
    assert rules(data(labels=np.linspace(0.1, 1, N), seed=1), data()) == {}


def test_imbalance_matters_to_a_share_of_rows_only() -> None:
    labels = np.repeat([0, 1], [180, 20])
    found = rules(None, data(labels=labels))["data-imbalance"]
    assert found.what == "classes have 20 to 180 rows: always answering class 0 is right on 90%"
    assert "data-imbalance" not in rules(None, data(labels=labels), metric="macro_f1")
    assert "data-imbalance" not in rules(None, data(labels=np.linspace(0.1, 1, N)))


def test_labels_that_are_no_class_numbers_take_no_memory() -> None:
    labels = np.where(np.arange(N) % 10, 3, 10**14)
    assert "always answering class 3 is right on 90%" in rules(None, data(labels=labels))["data-imbalance"].what


def test_overlap_is_found_in_raw_and_in_preprocessed_rows() -> None:
    validation = data()
    calibration = Dataset({"*": np.concatenate([data(seed=1).inputs["*"][:100], validation.inputs["*"][:50]])})
    found = rules(calibration, validation)["data-overlap"]
    assert found.severity == "warning"
    assert found.what.startswith("50 of 150 calibration rows are validation rows too (50 rows (100, 101, 102")
    floats = Dataset({"*": calibration.inputs["*"].astype(np.float32)})
    assert rules(floats, validation)["data-overlap"].what == found.what
    assert "data-overlap" not in rules(Dataset({"other": calibration.inputs["*"]}), validation)


def test_training_rows_are_held_against_validation_rows_too() -> None:
    def trained(train: Dataset, validation: Dataset) -> dict[str, Finding]:
        return {f.rule: f for f in lint(None, validation, train=train, section=DataSection())}

    assert trained(data(seed=1), data()) == {}
    same = trained(data(), data())  # one file for both: not two parts of it
    assert same["data-overlap"].severity == "warning"
    assert same["data-overlap"].what.startswith("200 of 200 training rows are validation rows too")
    assert same["data-overlap"].where == "training data 0.npz"
    assert "the model was trained on" in same["data-overlap"].consequence
    small = data(data(seed=1).inputs["*"] / 255.0, np.arange(N) % 9)
    found = trained(small, data())
    assert found["data-scales-differ"].what.startswith("training values span")
    assert found["data-class-missing"].what == "no training rows of class 9"
    assert trained(data(n=99, seed=1), data())["data-training-few"].what == "only 99 rows to train on"


def test_parts_of_one_source_share_rows_only_where_rows_repeat() -> None:
    x = np.random.default_rng(0).integers(0, 256, (N, 8), np.uint8)
    x[1::20] = x[0]
    calibration, validation, _ = split(data(x, np.zeros(N, int)), rows=100, seed=0)
    assert rules(calibration, validation)["data-overlap"].severity == "info"
    assert rules(data(x), data(x))["data-overlap"].severity == "warning"


def test_repeated_and_contradicting_rows() -> None:
    x = np.random.default_rng(0).integers(0, 256, (N, 8), np.uint8)
    x[7] = x[3]
    labels = np.arange(N) % 10
    labels[7] = labels[3]
    found = rules(None, data(x, labels))
    assert found["data-duplicates"].severity == "info"
    assert found["data-duplicates"].what == "1 of 200 rows repeat an earlier one (row 7)"
    assert "data-contradiction" not in found
    labels[7] = labels[3] + 1
    x[20:30] = x[10]
    found = rules(None, data(x, labels))
    assert found["data-duplicates"].severity == "warning"
    assert "equal to an earlier row, with another label" in found["data-contradiction"].what


def test_calibration_of_another_scale() -> None:
    x = np.random.default_rng(0).random((N, 8))
    found = rules(data(x, seed=1), data(x * 255))["data-scales-differ"]
    assert "calibration values span" in found.what
    assert "data-scales-differ" not in rules(data(x * 2, seed=1), data(x))
    assert "data-scales-differ" not in rules(Dataset({"a": x}), data(x * 255))
    assert "data-scales-differ" not in rules(data(np.full((N, 8), np.nan), seed=1), data(x))


def test_constant_columns_of_a_table() -> None:
    rng = np.random.default_rng(0)
    calibration, validation = rng.normal(size=(N, 4)), rng.normal(size=(N, 4))
    calibration[:, 1] = 3.0
    calibration[:, 2] = validation[:, 2] = 5.0
    found = rules(data(calibration, seed=1), data(validation))
    assert "columns 1 are constant in calibration and vary in validation" in found["data-feature-uncalibrated"].what
    assert "columns 2 are constant in all rows" in found["data-feature-constant"].what


def test_errors_come_first() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    x[0, 0] = np.nan
    severities = [f.severity for f in lint(data(x), data(x), section=DataSection())]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert severities[0] == "error"


@pytest.mark.parametrize("folder", ["ic", "mnist"])
def test_real_sets_are_clean(edgecompile_data: Path, folder: str) -> None:
    names = {
        "ic": ("ic/cifar10_train_5000.npz", "ic/cifar10_test_3000.npz"),
        "mnist": ("mnist/mnist_train_12000.npz", "mnist/mnist_test_3000.npz"),
    }
    calibration, validation = (load_dataset(n, DataSection(), base=edgecompile_data) for n in names[folder])
    assert lint(calibration, validation, section=DataSection()) == ()


# ------------------------------------------------------------------------------------------------------------- chance


@pytest.mark.parametrize(
    ("metric", "score", "labels", "near"),
    [
        ("top1", 0.11, np.arange(N) % 10, True),
        ("top1", 0.6, np.arange(N) % 10, False),
        ("top1", 0.91, np.repeat([0, 1], [180, 20]), True),
        ("top1", 0.97, np.repeat([0, 1], [180, 20]), False),
        ("top5", 0.52, np.arange(N) % 10, True),
        ("top5", 0.9, np.arange(N) % 10, False),
        ("macro_f1", 0.1, np.arange(N) % 10, True),
        ("auc", 0.52, np.arange(N) % 2, True),
        ("auc", 0.9, np.arange(N) % 2, False),
        ("mae", 2.49, np.arange(N) % 10 * 1.0, True),
        ("mae", 0.9, np.arange(N) % 10 * 1.0, False),
        ("mse", 8.25, np.arange(N) % 10 * 1.0, True),
        ("mine:score", 0.0, np.arange(N) % 10, False),
        ("top1", 0.1, np.linspace(0.1, 1, N), False),
    ],
)
def test_scores_near_chance(metric: str, score: float, labels: np.ndarray, near: bool) -> None:
    found = lint_score(metric, score, data(labels=labels))
    assert [f.rule for f in found] == (["score-near-chance"] if near else [])


def test_mse_without_labels_says_nothing() -> None:
    assert lint_score("mse", 1e9, Dataset({"*": np.zeros((5, 3))})) == ()


def test_what_near_chance_says() -> None:
    (found,) = lint_score("top1", 0.102, data(class_names=tuple("abcdefghij")))
    assert found.what == (
        "the float model scores 0.102 (top1), and always answering `a` gives 0.1: is the preprocessing right?"
    )
    for option in ("scale = 0.00392157 (0..1)", "scale = 0.00784314, offset = -1 (-1..1)", "mean = [0.485"):
        assert option in found.remedy
    assert "no scale" not in found.remedy


def test_what_was_tried_is_the_remedy() -> None:
    tried = {"scale = 0.00392157 (0..1)": 0.91, "scale = 0.00784314, offset = -1 (-1..1)": 0.4}
    (found,) = lint_score("top1", 0.1, data(), tried=tried)
    assert found.remedy == "below [data.preprocess] set scale = 0.00392157 (0..1): some rows then score 0.91"
    (found,) = lint_score("top1", 0.1, data(), tried=dict.fromkeys(tried, 0.12))
    assert found.remedy.startswith("see that class numbers are in the order")
    (found,) = lint_score("mae", 9.0, data(labels=np.arange(N) * 0.1), tried={"a": 1.0, "b": 0.5})
    assert "set b: some rows then score 0.5" in found.remedy
    (found,) = lint_score("mae", 9.0, data(labels=np.arange(N) * 0.1))
    assert "targets have the scale" in found.remedy


def test_stored_integers_may_be_quantized() -> None:
    x = np.random.default_rng(0).integers(-128, 128, (N, 8), np.int8)
    (found,) = lint_score("top1", 0.1, data(x))
    assert "set `quantized = { scale = …, zero_point = … }`" in found.remedy


def test_an_inverted_auc() -> None:
    (found,) = lint_score("auc", 0.1, data(labels=np.arange(N) % 2))
    assert found.rule == "score-inverted"
    assert "swap the labels" in found.remedy


def test_candidates_fit_the_stored_values_and_leave_out_what_is_set() -> None:
    assert [text.partition(" (")[0] for text, _ in candidates(data())] == [
        "scale = 0.00392157",
        "scale = 0.00784314, offset = -1",
        "scale = 0.00392157, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]",
    ]
    scaled = data(preprocess={"*": Preprocess(scale=(1 / 255,), resize=(2, 2))})
    texts = dict(candidates(scaled))
    assert "no scale (0..255)" in texts
    assert "scale = 0.00392157 (0..1)" not in texts
    assert texts["no scale (0..255)"].batch("*").shape == (N, 2, 2, 3)
    x = np.random.default_rng(0).random((N, 8))
    assert [text for text, _ in candidates(data(x))] == ["scale = 255 (0..255)", "scale = 2, offset = -1 (-1..1)"]
    assert [text for text, _ in candidates(data(x * 2 - 1))] == [
        "scale = 0.5, offset = 0.5 (0..1)",
        "scale = 127.5, offset = 127.5 (0..255)",
    ]
    assert candidates(data(x * 1000 - 7)) == ()
    assert candidates(Dataset({"a": x, "b": x})) == ()
    assert candidates(data(x * np.nan)) == ()


def test_every_rule_is_in_the_documentation() -> None:
    root = Path(__file__).parents[2]
    sources = "".join(file.read_text("utf-8") for file in (root / "edgecompile" / "data").glob("*.py"))
    rules = set(re.findall(r'"((?:data|input|score)-[a-z-]+)"', sources))
    listed = set(re.findall(r"`((?:data|input|score)-[a-z-]+)`", (root / "docs" / "data.md").read_text("utf-8")))
    assert rules == listed


def test_findings_name_no_folder_of_the_machine() -> None:
    few = replace(data(n=20), source="/home/ann/sets/val.npz")
    found = [*lint(few, few, section=DataSection()), *lint_score("top1", 0.1, few)]
    assert {"data-calibration-few", "data-validation-few", "score-near-chance"} <= {f.rule for f in found}
    assert {f.where.split("data ")[1] for f in found} == {"val.npz"}
