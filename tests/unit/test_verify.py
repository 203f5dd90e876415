"""Accuracy, parity and checks: on outputs made by hand, where every number is known."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.accuracy import OutputError
from edgecompile.backends.base import Compiled
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.metrics import Metric, load_metric
from edgecompile.recipe import GateSection
from edgecompile.report import Accuracy, Check, Finding, Parity, Sizes, Step
from edgecompile.target import Memory, Source, Target
from edgecompile.tflite.graph import Graph, Op, Quantization, Tensor
from edgecompile.verify import accuracy, check_gate, checks, parity, parity_rows, real_outputs, unchecked, verdict
from edgecompile.verify.scores import minus, told

HERE = Path(__file__).parent


def tensor(index: int, name: str, dtype: str, *, scale: float | None = None, zero_point: int = 0) -> Tensor:
    how = None
    if scale is not None:
        how = Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))
    return Tensor(index, name, (1, 3), (1, 3), dtype, how, None)


def graph(*tensors: Tensor, inputs: tuple[int, ...], outputs: tuple[int, ...], ops: tuple[Op, ...] = ()) -> Graph:
    return Graph(tensors, ops, inputs, outputs, (), 1, "", ())


FLOAT = graph(tensor(0, "x", "float32"), tensor(1, "y", "float32"), inputs=(0,), outputs=(1,))
INT8 = graph(
    tensor(0, "x", "int8", scale=1.0, zero_point=-128),
    tensor(1, "y", "int8", scale=1 / 256, zero_point=-128),
    inputs=(0,),
    outputs=(1,),
)


def dataset(labels: Any, **more: Any) -> Dataset:
    y = None if labels is None else np.asarray(labels)
    n = len(y) if y is not None else more.pop("n")
    return Dataset(inputs={"x": np.zeros((n, 2), np.float32)}, labels=y, source="val.npz", **more)


def measured(before: Any, after: Any, data: Dataset, metric: str | Metric = "top1", **more: Any) -> Accuracy:
    given: dict[str, Any] = {
        "float_outputs": {"y": np.asarray(before, np.float32)},
        "result_outputs": {"y": np.asarray(after, np.float32)},
        "float_graph": FLOAT,
        "result_graph": FLOAT,
        "data": data,
        "metric": load_metric(metric, base=HERE) if isinstance(metric, str) else metric,
        "kernels": "reference",
        "fidelity": "as on the device",
    }
    return accuracy(**{**given, **more})


def hot(*classes: int, n: int = 3, high: float = 1.0) -> np.ndarray:
    return np.eye(n, dtype=np.float32)[list(classes)] * np.float32(high)


# --- outputs -----------------------------------------------------------------------------------------------------


def test_real_outputs_follow_scale_and_zero_point() -> None:
    codes = np.array([[-128, 0, 127]], np.int8)
    real = real_outputs({"y": codes}, INT8)["y"]
    assert real.dtype == np.float32
    assert real.tolist() == [[0.0, 0.5, 255 / 256]]


def test_integers_without_quantization_are_numbers() -> None:
    plain = graph(tensor(0, "x", "float32"), tensor(1, "y", "int64"), inputs=(0,), outputs=(1,))
    assert real_outputs({"y": np.array([[7]], np.int64)}, plain)["y"].tolist() == [[7.0]]


def test_wide_codes_do_not_lose_bits() -> None:
    wide = graph(tensor(0, "x", "int16"), tensor(1, "y", "int16", scale=2.0**-15), inputs=(0,), outputs=(1,))
    real = real_outputs({"y": np.array([[-32768, 32767]], np.int16)}, wide)["y"]
    assert real.tolist() == [[-1.0, 32767 / 32768]]


# --- accuracy ----------------------------------------------------------------------------------------------------


def test_accuracy_counts_flips_and_keeps_exact_shares() -> None:
    labels = [0, 1, 2, 0]
    found = measured(hot(0, 1, 2, 1), hot(0, 2, 2, 0), dataset(labels, class_names=("cat", "dog", "owl")))
    assert found.unit == "fraction"
    assert (found.float_score.value, found.result_score.value, found.drop) == (0.75, 0.75, 0.0)
    assert found.flips is not None
    assert (found.flips.both_right, found.flips.lost, found.flips.gained, found.flips.p) == (2, 1, 1, 1.0)
    assert found.agreement == 0.5
    assert found.within_noise
    assert [(c.label, c.n, c.float_recall, c.result_recall) for c in found.per_class] == [
        ("cat", 2, 0.5, 1.0),
        ("dog", 1, 1.0, 0.0),
        ("owl", 1, 1.0, 1.0),
    ]
    assert [(s.row, s.label, s.float_says, s.result_says, s.loss) for s in found.worst] == [(1, "dog", "dog", "owl", 2)]
    assert found.worst_by == "lead of the right class over the others that was lost"
    assert (found.output, found.kernels, found.fidelity, found.counted) == (
        "y",
        "reference",
        "as on the device",
        "rows",
    )


def test_accuracy_dequantizes_the_result() -> None:
    codes = np.array([[127, -128, -128], [-128, 0, -1]], np.int8)
    found = measured(hot(0, 1), codes, dataset([0, 1]), result_outputs={"y": codes}, result_graph=INT8)
    assert found.result_score.value == 1
    assert found.outputs[0].max_abs == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 2), min_size=n, max_size=n)] * 3)))
def test_drop_is_the_difference_of_the_scores_to_the_last_bit_that_counts(case: tuple[list[int], ...]) -> None:
    labels, before, after = case
    found = measured(hot(*before), hot(*after), dataset(labels))
    n = len(labels)
    lost = sum(b == y for b, y in zip(before, labels, strict=True)) - sum(
        a == y for a, y in zip(after, labels, strict=True)
    )
    assert found.drop == lost / n
    assert found.drop_interval.low <= found.drop <= found.drop_interval.high
    back = measured(hot(*after), hot(*before), dataset(labels))
    assert back.drop == -found.drop
    assert back.within_noise == found.within_noise


def test_a_drop_of_exactly_the_limit_passes_and_one_row_more_does_not() -> None:
    labels = np.zeros(1000, int)
    before = hot(*([0] * 900 + [1] * 100))
    for lost, ok in ((10, True), (11, False)):
        after = hot(*([1] * lost + [0] * (900 - lost) + [1] * 100))
        drop = promised(accuracy=measured(before, after, dataset(labels)))["accuracy-drop"]
        assert drop.ok is ok, f"{lost} of 1,000 rows lost against a limit of 0.01"


@pytest.mark.parametrize(
    ("before", "after", "metric", "gate", "drop", "least"),
    [
        (0.0, 0.0100000004, "mae", GateSection(max_drop=0.01), False, None),
        (0.0, 0.0099999996, "mae", GateSection(max_drop=0.01), True, None),
        (0.7, 0.8, "mae", GateSection(max_drop=0.1), True, None),
        (0.8999996, 0.8899999, "users", GateSection(max_drop=0.01), True, None),
        (0.9000004, 0.8900001, "users", GateSection(max_drop=0.01), False, None),
        (0.5, 0.50000004, "mae", GateSection(max_drop=1, min=0.5), True, False),
        (0.5, 0.49999996, "mae", GateSection(max_drop=1, min=0.5), True, True),
        (0.9, 0.69999996, "users", GateSection(max_drop=1, min=0.7), True, False),
        (0.9, 0.7, "users", GateSection(max_drop=1, min=0.7), True, True),
        (0.9, 0.900000000000004, "mae", GateSection(max_drop=0, min=0.9), True, True),
    ],
)
def test_scores_are_told_so_that_they_keep_what_the_unrounded_ones_decide(
    before: float, after: float, metric: str, gate: GateSection, drop: bool, least: bool | None
) -> None:
    for digits_more in (1.0, 1e-3, 1e3):
        scaled = GateSection(
            max_drop=gate.max_drop * digits_more, min=None if gate.min is None else gate.min * digits_more
        )
        f, r = before * digits_more, after * digits_more
        up = metric != "mae"
        one, two = told(f, r, scaled, higher_is_better=up)
        assert abs(one - f) <= 5e-6 * abs(f)
        assert abs(two - r) <= 5e-6 * abs(r)
        lost = minus(one, two) if up else minus(two, one)
        assert (lost <= scaled.max_drop) is drop
        again = minus(one, told(one, r, scaled, higher_is_better=up)[1])  # as `verify` measures the bundle again
        assert ((again if up else -again) <= scaled.max_drop) is drop
        if scaled.min is not None:
            assert (two >= scaled.min if up else two <= scaled.min) is least


def test_a_miss_in_the_seventh_digit_is_a_miss_that_the_report_shows() -> None:
    """Float32 holds 0.01000001, which has 0.01 as its six digits."""
    data = dataset([0.0] * 8)
    worse = measured(np.zeros((8, 1)), np.full((8, 1), 0.01000001), data, "mae", gate=GateSection(max_drop=0.01))
    drop = promised(accuracy=worse)["accuracy-drop"]
    assert not drop.ok
    assert drop.actual == worse.drop == worse.result_score.value > drop.limit == 0.01
    kept = measured(np.zeros((8, 1)), np.full((8, 1), 0.01000001), data, "mae", gate=GateSection(max_drop=0.02))
    assert kept.drop == 0.01, "digits that decide nothing are not told"


@pytest.mark.parametrize("n", [1, 2, 5])
def test_all_right_all_wrong_and_few_rows(n: int) -> None:
    data = dataset([0] * n)
    right, wrong = hot(*[0] * n), hot(*[1] * n)
    for before, after, drop in ((right, right, 0), (right, wrong, 1), (wrong, right, -1), (wrong, wrong, 0)):
        found = measured(before, after, data)
        assert found.drop == drop
        for score in (found.float_score, found.result_score):
            assert 0 <= score.interval.low <= score.value <= score.interval.high <= 1
        assert len(found.per_class) == 1
    assert measured(right, wrong, data).within_noise, "five rows or fewer prove nothing"
    worse = measured(np.zeros((n, 1)), np.ones((n, 1)), dataset([0.0] * n), "mae")
    assert (worse.drop, worse.drop_interval.low, worse.drop_interval.high) == (1, 1, 1)
    assert worse.within_noise
    assert "more rows would settle it" in promised(accuracy=worse)["accuracy-drop"].detail


def test_ties_go_to_the_lower_class_in_both_models() -> None:
    flat = np.zeros((2, 3), np.float32)
    found = measured(flat, flat, dataset([0, 1]))
    assert (found.float_score.value, found.agreement, found.tied_rows) == (0.5, 1, 2)
    detail = promised(accuracy=found)["accuracy-drop"].detail
    assert detail.endswith("; 2 rows are ties, where the first class counts")


def test_losses_of_rows_do_not_tell_what_float_kernels_differ_in() -> None:
    """A keyword model's float outputs on two processors: 2e-5 apart on one row, whose loss is 1/40 of the largest."""
    labels = dataset([0, 0, 0])
    after = np.array([[0.5, 0.5], [0.75, 0.25], [0.8, 0.2]])
    one, other = (
        measured(np.array([[0.736, 0.264], [0.7528 + noise, 0.2472 - noise], [0.8000004, 0.2]]), after, labels).worst
        for noise in (0, 1e-5)
    )
    assert one == other
    assert [(s.row, s.loss) for s in one] == [(0, 0.472), (1, 0.006)]


def test_no_rows_is_an_error_that_names_the_data() -> None:
    with pytest.raises(ConfigError, match=r"data\.validation = val\.npz: there are no rows to measure on"):
        measured(np.zeros((0, 3)), np.zeros((0, 3)), dataset(np.zeros(0, int)))


def test_a_float_model_without_numbers_is_an_error() -> None:
    before = hot(0, 1, 2)
    before[1, 0] = np.nan
    with pytest.raises(
        ModelError, match=r"output `y`: the float model gives NaN or infinity on 1 of 3 rows, first on row 1"
    ):
        measured(before, hot(0, 1, 2), dataset([0, 1, 2]))


def test_rows_without_numbers_in_the_result_are_wrong_even_where_argmax_would_be_right() -> None:
    after = hot(0, 1, 2)
    after[0] = [np.nan, 0, 0]
    after[1] = [0, np.inf, 0]
    found = measured(hot(0, 1, 2), after, dataset([0, 1, 2]))
    assert found.nonfinite_rows == 2
    assert found.result_score.value == pytest.approx(1 / 3)
    assert found.agreement == pytest.approx(1 / 3)
    assert found.outputs[0].max_abs == 0, "the rows that have numbers do not differ"
    assert found.worst == ()
    check = promised(accuracy=found)["outputs-finite"]
    assert (check.ok, check.actual, check.detail) == (False, 2, "counted as wrong")
    assert check.remedy == 'numbers grow beyond the dtype: try quantize.scheme = "int16x8"'


def test_a_result_without_any_numbers_still_gets_a_share() -> None:
    found = measured(hot(0, 1), np.full((2, 3), np.nan), dataset([0, 1]))
    assert (found.result_score.value, found.nonfinite_rows, found.outputs) == (0, 2, ())


def test_regression_leaves_out_rows_without_numbers() -> None:
    after = np.array([[1.0], [np.inf], [3.5]])
    found = measured([[1.0], [2.0], [3.0]], after, dataset([1.0, 9.0, 3.0]), "mae")
    assert (found.float_score.value, found.result_score.value, found.float_score.n) == (0, 0.25, 2)
    assert promised(accuracy=found)["outputs-finite"].detail == "left out of both scores"
    with pytest.raises(ModelError, match="the result gives NaN or infinity on every row"):
        measured([[1.0]], [[np.nan]], dataset([1.0]), "mae")


def test_less_is_better_for_errors() -> None:
    found = measured([[1.0], [2.0]], [[1.2], [2.0]], dataset([1.0, 2.0]), "mae")
    assert not found.higher_is_better
    assert found.drop == pytest.approx(0.1)
    assert (found.unit, found.agreement, found.flips, found.per_class) == ("metric", None, None, ())
    assert [(s.row, s.label, s.float_says, s.result_says) for s in found.worst] == [(0, "1", "1", "1.2")]
    assert found.worst_by == "rise of the mean absolute error"
    gate = GateSection(max_drop=0.05, min=0.2)
    found_checks = promised(accuracy=found, gate=gate)
    assert (found_checks["accuracy-drop"].ok, found_checks["accuracy-drop"].unit) == (False, "metric")
    least = found_checks["accuracy-min"]
    assert (least.ok, least.relation, least.limit) == (True, "at most", 0.2)


def test_values_are_subtracted_as_decimals_so_that_the_limit_itself_passes() -> None:
    found = measured([[0.0]], [[1.5]], dataset([0.7]), "mae")
    assert (found.float_score.value, found.result_score.value) == (0.7, 0.8)
    assert 0.8 - 0.7 > 0.1
    assert found.drop == 0.1
    assert promised(accuracy=found, gate=GateSection(max_drop=0.1))["accuracy-drop"].ok


def test_auc_is_resampled_and_its_noise_told() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    score = (labels + rng.normal(0, 1, 300))[:, None].astype(np.float32)
    noisy = (score + rng.normal(0, 0.02, score.shape)).astype(np.float32)
    found = measured(score, noisy, dataset(labels), "auc")
    assert found.result_score.interval.method == "bootstrap percentile, 1000 resamples of rows"
    assert found.result_score.interval.low < found.result_score.value < found.result_score.interval.high
    assert found.within_noise
    assert found.drop_interval.high - found.drop_interval.low < 0.2 * (
        found.result_score.interval.high - found.result_score.interval.low
    ), "pairs tell more than two scores apart"
    ruined = measured(score, rng.normal(0, 1, score.shape), dataset(labels), "auc")
    assert not ruined.within_noise
    assert measured(score, noisy, dataset(labels), "auc") == found, "same seed, same report"
    assert measured(score, noisy, dataset(labels), "auc", seed=1).result_score.value == found.result_score.value


def test_auc_of_one_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match="auc needs labels 0 and 1, and all are 1"):
        measured([[0.1], [0.2]], [[0.1], [0.2]], dataset([1, 1]), "auc")


def test_auc_of_two_rows_survives_resamples_of_one_class() -> None:
    found = measured([[0.1], [0.9]], [[0.9], [0.1]], dataset([0, 1]), "auc")
    assert (found.float_score.value, found.result_score.value, found.drop) == (1, 0, 1)


def test_groups_are_counted_as_groups() -> None:
    groups = np.repeat([5, 1, 9, 7], 25)
    labels = np.repeat([0, 1, 0, 1], 25)
    rng = np.random.default_rng(0)
    score = (labels + rng.normal(0, 1, 100))[:, None]
    found = measured(score, score, dataset(labels, groups=groups), "auc")
    assert (found.counted, found.result_score.n) == ("groups", 4)
    assert (found.drop, found.drop_interval.low, found.drop_interval.high) == (0, 0, 0)


@pytest.mark.parametrize("metric", ["top1", "macro_f1"])
def test_rows_that_depend_on_each_other_widen_every_interval(metric: str) -> None:
    rng = np.random.default_rng(0)
    windows, recordings = 20, 60
    labels = np.repeat(rng.integers(0, 3, recordings), windows)
    before = hot(*labels)
    ruined = np.repeat(rng.random(recordings) < 0.1, windows)
    after = np.where(ruined[:, None], hot(*((labels + 1) % 3)), before)
    alone = measured(before, after, dataset(labels), metric)
    together = measured(before, after, dataset(labels, groups=np.repeat(np.arange(recordings), windows)), metric)
    assert together.drop == alone.drop
    assert together.result_score.value == alone.result_score.value
    assert together.result_score.n == alone.result_score.n == windows * recordings
    assert together.result_score.interval.method == "bootstrap percentile, 1000 resamples of groups"
    for wide, narrow in (
        (together.drop_interval, alone.drop_interval),
        (together.result_score.interval, alone.result_score.interval),
    ):
        assert wide.high - wide.low > 3 * (narrow.high - narrow.low), "20 windows of a recording say as much as one"


def test_one_group_settles_nothing() -> None:
    n = 200
    found = measured(hot(*[0] * n), hot(*[0] * n), dataset([0] * n, groups=np.zeros(n, int)))
    assert found.independent == 1
    assert promised(accuracy=found)["accuracy-drop"].detail.endswith("more rows would settle it")


def test_macro_f1_has_decisions_and_a_bootstrap() -> None:
    found = measured(hot(0, 1, 2, 0), hot(0, 1, 1, 0), dataset([0, 1, 2, 0]), "macro_f1")
    assert found.flips is not None
    assert (found.flips.lost, found.unit) == (1, "metric")
    assert found.float_score.value == 1
    assert found.result_score.interval.method.startswith("bootstrap percentile")


def test_a_users_metric_may_refuse_resamples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picky.py").write_text(
        "import numpy as np\n"
        "def spread(outputs, labels):\n"
        "    if len(np.unique(labels)) < 2:\n"
        "        raise ValueError('one class only')\n"
        "    return float(outputs[labels == 1].mean() - outputs[labels == 0].mean())\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = load_metric("picky:spread", base=tmp_path)
    found = measured([[0.0], [1.0], [1.0]], [[0.0], [1.0], [0.8]], dataset([0, 1, 1]), metric)
    assert found.drop == pytest.approx(0.1)
    assert found.result_score.interval.method == "bootstrap percentile, 200 resamples of rows"


def test_a_metric_that_is_not_a_number_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_metric.py").write_text("def score(outputs, labels):\n    return float('nan')\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = load_metric("broken_metric:score", base=tmp_path)
    with pytest.raises(ConfigError, match="broken_metric:score: the metric is nan on these rows"):
        measured([[0.0]], [[0.0]], dataset([0]), metric)


def test_outputs_that_are_no_decisions_are_told_by_distance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 8)).astype(np.float32)
    after = x.copy()
    after[2] += 1
    data = Dataset(inputs={"x": x}, labels=np.array([0, 0, 1, 1]), source="val.npz")
    found = measured(x, after, data, "auc")
    assert [(s.row, s.label, s.float_says) for s in found.worst] == [(2, "1", "")]
    assert found.worst[0].loss == pytest.approx(1)
    assert found.worst_by == "root mean square distance from the float model's output"


def test_a_single_column_loses_toward_the_other_side() -> None:
    found = measured([[0.9], [0.1]], [[0.2], [0.3]], dataset([1, 0]))
    assert [(s.row, round(s.loss, 4)) for s in found.worst] == [(0, 0.7), (1, 0.2)]
    assert found.worst_by == "move of the output away from the right class"


TWO = graph(
    tensor(0, "x", "float32"), tensor(1, "class", "float32"), tensor(2, "box", "float32"), inputs=(0,), outputs=(1, 2)
)


def two(before: Mapping[str, Any], after: Mapping[str, Any], **more: Any) -> Accuracy:
    return measured(
        0, 0, dataset([0, 1]), float_outputs=before, result_outputs=after, float_graph=TWO, result_graph=TWO, **more
    )


def test_several_outputs_pair_by_name_and_the_metric_reads_the_named_one() -> None:
    box = np.zeros((2, 4), np.float32)
    before, after = {"class": hot(0, 1), "box": box}, {"box": box + 1, "class": hot(0, 1)}
    found = two(before, after)
    assert found.output == "class"
    assert [(o.output, o.max_abs, o.sqnr_db) for o in found.outputs] == [("class", 0, None), ("box", 1, None)]
    assert two(before, after, output="class") == found
    with pytest.raises(ConfigError, match=r"data\.output: unknown output `clas`\n  → did you mean `class`\?"):
        two(before, after, output="clas")


def test_outputs_that_do_not_fit_are_errors() -> None:
    other = graph(tensor(0, "x", "float32"), tensor(1, "a", "float32"), inputs=(0,), outputs=(1,))
    with pytest.raises(ModelError, match="outputs: the float model gives class, box; the result gives a"):
        measured(
            0,
            0,
            dataset([0, 1]),
            float_outputs={"class": hot(0, 1), "box": hot(0, 1)},
            float_graph=TWO,
            result_outputs={"a": hot(0, 1)},
            result_graph=other,
        )
    with pytest.raises(
        ModelError, match=r"output `y`: the float model gives \[2, 3\], the result \[2, 4\], for 2 rows"
    ):
        measured(hot(0, 1), hot(0, 1, n=4), dataset([0, 1]))
    with pytest.raises(ModelError, match=r"the float model gives \[2, 3\], the result \[2, 3\], for 3 rows of data"):
        measured(hot(0, 1), hot(0, 1), dataset([0, 1, 2]))


def test_single_outputs_pair_whatever_their_names() -> None:
    other = graph(tensor(0, "x", "float32"), tensor(1, "Identity", "float32"), inputs=(0,), outputs=(1,))
    found = measured(hot(0, 1), 0, dataset([0, 1]), result_outputs={"Identity": hot(0, 1)}, result_graph=other)
    assert (found.output, found.agreement) == ("y", 1)


def test_ten_thousand_rows_take_little_time() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 10_000)
    before = rng.normal(size=(10_000, 10)).astype(np.float32)
    after = before + rng.normal(0, 0.1, before.shape).astype(np.float32)
    data = dataset(labels)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        measured(before, after, data)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.3, f"{min(took):.3f} s"


# --- parity ------------------------------------------------------------------------------------------------------


def parity_file(folder: Path, outputs: Mapping[str, Any]) -> Path:
    file = folder / "parity.npz"
    rows = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.savez(file, **{"input:x": rows, **{f"output:{k}": np.asarray(v, np.float32) for k, v in outputs.items()}})
    return file


def test_parity_is_judged_by_the_size_of_the_outputs(tmp_path: Path) -> None:
    file = parity_file(tmp_path, {"y": [[1000.0, 0, 0], [0, 0, 0]]})
    near = parity(file, {"y": np.array([[1000.05, 0, 0], [0, 0, 0]], np.float32)}, graph=FLOAT, reference="tf_keras")
    assert near.tolerance == pytest.approx(0.1)
    assert near.max_abs == near.tolerance  # 0.05 is more than a tenth of it
    assert near.reason == "float32 sums in another order: 0.0001 of the largest output (1000), at least 0.0001"
    assert promised(parity=near)["conversion-parity"].ok
    far = parity(file, {"y": np.array([[1000.2, 0, 0], [0, 0, 0]], np.float32)}, graph=FLOAT, reference="tf_keras")
    check = promised(parity=far)["conversion-parity"]
    assert not check.ok
    assert check.remedy.startswith("the conversion changed what the model computes")


def test_parity_has_a_floor_for_small_outputs(tmp_path: Path) -> None:
    file = parity_file(tmp_path, {"y": [[1e-3, 0, 0], [0, 0, 0]]})
    found = parity(file, {"y": np.array([[1.05e-3, 0, 0], [0, 0, 0]], np.float32)}, graph=FLOAT, reference="keras 3")
    assert (found.tolerance, found.rows, found.output) == (1e-4, 2, "y")
    assert found.max_abs <= found.tolerance


def test_parity_reports_the_output_that_is_worst_for_its_size(tmp_path: Path) -> None:
    file = parity_file(tmp_path, {"class": hot(0, 1), "box": hot(0, 1, n=4, high=1e4)})
    outputs = {"class": hot(0, 1) + np.float32(5e-5), "box": hot(0, 1, n=4, high=1e4) + np.float32(0.01)}
    found = parity(file, outputs, graph=TWO, reference="saved model")
    assert found.output == "class"


def test_parity_rows_are_ready_for_the_runner(tmp_path: Path) -> None:
    rows = parity_rows(parity_file(tmp_path, {"y": hot(0, 1)}))
    assert list(rows.inputs) == ["x"]
    assert np.array_equal(rows.batch("x"), np.arange(4, dtype=np.float32).reshape(2, 2))


def test_parity_of_nan_is_an_error_unless_both_give_it(tmp_path: Path) -> None:
    nan = np.full((2, 3), np.nan, np.float32)
    file = parity_file(tmp_path, {"y": hot(0, 1)})
    with pytest.raises(ModelError, match=r"only one of tf_keras and the float \.tflite gives numbers on row 0"):
        parity(file, {"y": nan}, graph=FLOAT, reference="tf_keras")
    assert parity(parity_file(tmp_path, {"y": nan}), {"y": nan}, graph=FLOAT, reference="tf_keras").max_abs <= 1e-5


@pytest.mark.parametrize(("apart", "told"), [(0.0, 1e-5), (9e-6, 1e-5), (1.1e-5, 1e-4), (9e-5, 1e-4)])
def test_parity_within_its_tolerance_is_told_as_a_share_of_it(tmp_path: Path, apart: float, told: float) -> None:
    file = parity_file(tmp_path, {"y": hot(0, 1, high=0.5)})
    found = parity(file, {"y": hot(0, 1, high=0.5) + np.float32(apart)}, graph=FLOAT, reference="tf_keras")
    assert (found.max_abs, found.tolerance) == (told, 1e-4)


def test_rounding_lets_nothing_through_beyond_the_limit_of_parity(tmp_path: Path) -> None:
    file = parity_file(tmp_path, {"y": [[12345.7, 0, 0]]})  # its limit is told as 1.235
    found = parity(file, {"y": np.array([[12345.7, 1.2348, 0]], np.float32)}, graph=FLOAT, reference="tf_keras")
    assert found.tolerance == 1.235
    assert not promised(parity=found)["conversion-parity"].ok


# --- checks ------------------------------------------------------------------------------------------------------

SIZES = Sizes(source_bytes=320_000, float_bytes=318_144, result_bytes=98_496, result_gzip_bytes=80_000)


def target(**more: Any) -> Target:
    given: dict[str, Any] = {
        "name": "coral",
        "title": "Coral",
        "summary": "",
        "backend": "edgetpu",
        "recipe": "int8",
        "schemes": ("int8", "int16x8"),
        "sources": (Source(what="x", document="x"),),
    }
    return Target(**{**given, **more})


def quantize(**fields: Any) -> Step:
    ranges = {"int8": "mse", "int16x8": "minmax"}.get(fields.get("scheme", "int8"))
    facts = {"ranges": fields.get("ranges", ranges)} if ranges else {}
    return Step(name="quantize", fields={"scheme": "int8", "io": "same", "ranges": None, **fields}, facts=facts)


def promised(**more: Any) -> dict[str, Check]:
    given: dict[str, Any] = {
        "gate": GateSection(),
        "target": target(),
        "graph": INT8,
        "sizes": SIZES,
        "steps": (Step(name="convert"), quantize()),
        "findings": (),
        "calibration_rows": 50,
    }
    return {check.name: check for check in checks(**{**given, **more})}


def good(**more: Any) -> Accuracy:
    return measured(hot(0, 1), hot(0, 1), dataset([0, 1]), **more)


def error(output: str) -> OutputError:
    return good().outputs[0].model_copy(update={"output": output})


def worse(n: int = 100) -> Accuracy:
    return measured(hot(*[0] * n), hot(*[0] * (n - 10), *[1] * 10), dataset([0] * n))


def test_without_data_there_is_no_accuracy_check_and_it_is_said() -> None:
    assert set(promised()) == {"io-dtypes", "float-ops", "target-rules"}
    assert unchecked(target=target(), accuracy=None, parity=None, compiled=None) == (
        "Accuracy was not measured: no validation data was given.",
        "Conversion was not checked: the source is a .tflite, so nothing was converted.",
        "The size of the model was not checked: the target sets no limit.",
    )


def test_what_was_checked_is_not_listed_as_unchecked(tmp_path: Path) -> None:
    same = parity(parity_file(tmp_path, {"y": hot(0, 1)}), {"y": hot(0, 1)}, graph=FLOAT, reference="tf_keras")
    roomy = target(memory=Memory(flash_bytes=1_000_000))
    incomplete = Compiled(files={}, model="", status="not compiled", complete=False)
    assert unchecked(target=roomy, accuracy=good(), parity=same, compiled=None) == ()
    assert unchecked(target=roomy, accuracy=good(), parity=same, compiled=incomplete) == (
        "What the target's own compiler says is not known: it was not run.",
    )


def test_outputs_that_nothing_scores_are_listed_as_unchecked() -> None:
    two = good().model_copy(update={"output": "parity", "outputs": (error("parity"), error("digit"))})
    three = two.model_copy(update={"output": "digit", "outputs": (*two.outputs, error("box"))})
    roomy = target(memory=Memory(flash_bytes=1_000_000))
    for measured_once, said in ((two, "of `digit` was"), (three, "of `parity`, `box` was")):
        (sentence,) = unchecked(target=roomy, accuracy=measured_once, parity=None, compiled=None)[:1]
        assert said in sentence
        assert f"the labels are those of `{measured_once.output}`" in sentence
        assert '`[data] output = "NAME"`' in sentence


def test_a_missed_drop_says_what_was_not_tried_yet() -> None:
    drop = promised(accuracy=worse(), passes=("convert", "qat", "quantize"))["accuracy-drop"]
    assert not drop.ok
    assert (drop.actual, drop.limit, drop.unit) == (0.1, 0.01, "points")
    assert drop.remedy == (
        'try quantize.ranges = "minmax" or "percentile", more calibration rows (have 50), '
        'quantize.scheme = "int16x8" or the qat pass'
    )
    assert "100.00% → 90.00%" in drop.detail
    assert "on 100 rows with reference kernels" in drop.detail


@pytest.mark.parametrize(
    ("fields", "more", "remedy"),
    [
        (
            {"ranges": "minmax"},
            {"calibration_rows": 1000},
            'try quantize.ranges = "percentile" or "mse" or quantize.scheme = "int16x8"',
        ),
        ({"scheme": "int16x8"}, {"calibration_rows": 1000}, 'try quantize.ranges = "percentile" or "mse"'),
        ({"scheme": "dynamic"}, {}, ""),
        ({"scheme": "dynamic"}, {"target": target(schemes=("dynamic", "float16"))}, 'try quantize.scheme = "float16"'),
        (None, {}, ""),
    ],
)
def test_remedies_follow_scheme_target_and_rows(
    fields: dict[str, Any] | None, more: dict[str, Any], remedy: str
) -> None:
    steps = () if fields is None else (quantize(**fields),)
    found = promised(accuracy=worse(), steps=steps, graph=FLOAT, passes=("qat",), **more)
    assert found["accuracy-drop"].remedy == remedy


def test_qat_is_not_suggested_for_a_tflite_source() -> None:
    remedy = promised(accuracy=worse(), steps=(quantize(),), passes=("qat",))["accuracy-drop"].remedy
    assert "qat" not in remedy


def test_what_training_did_already_is_not_suggested_again() -> None:
    rounded = quantize().model_copy(update={"facts": {"ranges": "mse", "learned_ranges": 9}})
    steps = (Step(name="prune"), Step(name="cluster"), Step(name="qat"), Step(name="convert"), rounded)
    remedy = promised(accuracy=worse(), steps=steps, passes=("qat",))["accuracy-drop"].remedy
    assert remedy == 'try asking less of prune and cluster, more training rows or quantize.scheme = "int16x8"'
    steps = (Step(name="channels"), Step(name="convert"), quantize())
    remedy = promised(accuracy=worse(), steps=steps, passes=("qat",), calibration_rows=1000)["accuracy-drop"].remedy
    assert remedy == (
        'try asking less of channels, more training rows, quantize.ranges = "minmax" or "percentile", '
        'quantize.scheme = "int16x8" or the qat pass'
    )


def test_few_rows_do_not_settle_a_gate() -> None:
    few = promised(accuracy=good())["accuracy-drop"]
    assert few.ok
    assert few.detail.endswith("more rows would settle it")
    n = 20_000
    many = promised(accuracy=measured(hot(*[0] * n), hot(*[0] * n), dataset([0] * n)))["accuracy-drop"]
    assert "settle" not in many.detail


def test_min_blames_the_float_model_when_it_is_below_already() -> None:
    gate = GateSection(max_drop=1, min=0.95)
    least = promised(accuracy=worse(), gate=gate)["accuracy-min"]
    assert (least.ok, least.actual, least.relation) == (False, 0.9, "at least")
    assert least.remedy.startswith("try quantize.ranges")
    half = measured(hot(0, 1), hot(0, 1), dataset([0, 0]))
    least = promised(accuracy=half, gate=gate)["accuracy-min"]
    assert least.remedy == (
        "the float model itself gives 50.00%: train it further, or see whether data.preprocess is right"
    )
    assert "accuracy-min" not in promised(accuracy=worse())


@pytest.mark.parametrize(
    ("fields", "model", "wrong"),
    [
        ({}, INT8, 0),
        ({}, FLOAT, 2),
        ({"io": "float32"}, FLOAT, 0),
        ({"io": "float32"}, INT8, 2),
        ({"scheme": "float16"}, FLOAT, 0),
        ({"scheme": "int16x8"}, INT8, 2),
    ],
)
def test_dtypes_are_those_of_the_recipe(fields: dict[str, Any], model: Graph, wrong: int) -> None:
    check = promised(graph=model, steps=(quantize(**fields),))["io-dtypes"]
    assert check.actual == wrong
    assert check.ok is (wrong == 0)
    if wrong:
        assert "`x` is" in check.detail
        assert check.remedy


def test_dtypes_of_ids_and_masks_are_left_alone() -> None:
    ids = graph(tensor(0, "ids", "int32"), tensor(1, "y", "int8", scale=1.0), inputs=(0,), outputs=(1,))
    assert promised(graph=ids)["io-dtypes"].ok


def test_a_tflite_of_the_users_owes_what_the_target_wants() -> None:
    eight = graph(tensor(0, "x", "uint8", scale=1.0), tensor(1, "y", "int8", scale=1.0), inputs=(0,), outputs=(1,))
    assert promised(graph=eight, steps=(), target=target(io="int8"))["io-dtypes"].ok
    assert not promised(graph=FLOAT, steps=(), target=target(io="int8"))["io-dtypes"].ok
    assert promised(graph=FLOAT, steps=(), target=target(io="float32"))["io-dtypes"].ok
    assert "io-dtypes" not in promised(graph=FLOAT, steps=())


def test_a_model_that_came_in_integers_keeps_its_ends() -> None:
    mixed = graph(tensor(0, "x", "int16", scale=1.0), tensor(1, "y", "int8", scale=1.0), inputs=(0,), outputs=(1,))
    came = quantize().model_copy(update={"facts": {"already_quantized": True}})
    assert promised(graph=mixed, steps=(came,))["io-dtypes"].ok
    assert not promised(graph=mixed, steps=(quantize(),))["io-dtypes"].ok
    assert not promised(graph=mixed, steps=(came,), target=target(io="int8"))["io-dtypes"].ok


def op(index: int, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Op:
    return Op(index, name, 1, inputs, outputs, {})


def test_float_ops_count_computation_and_not_the_doors() -> None:
    tensors = (
        tensor(0, "x", "float32"),
        tensor(1, "q", "int8", scale=1.0),
        tensor(2, "c", "int8", scale=1.0),
        tensor(3, "y", "float32"),
    )
    doors = (op(0, "QUANTIZE", (0,), (1,)), op(1, "CONV_2D", (1, -1), (2,)), op(2, "DEQUANTIZE", (2,), (3,)))
    clean = graph(*tensors, inputs=(0,), outputs=(3,), ops=doors)
    check = promised(graph=clean, steps=(quantize(io="float32"),))["float-ops"]
    assert (check.ok, check.detail) == (True, "none of 3")
    inner = (*doors[:2], op(2, "DEQUANTIZE", (2,), (4,)), op(3, "ERF", (4,), (3,)))
    mixed = graph(*tensors, tensor(4, "f", "float32"), inputs=(0,), outputs=(3,), ops=inner)
    check = promised(graph=mixed, steps=(quantize(io="float32"),))["float-ops"]
    assert (check.ok, check.actual, check.detail) == (
        False,
        2,
        "Coral computes in integers only: DEQUANTIZE (op 2), ERF (op 3)",
    )
    assert check.remedy == "these have no integer form: replace them in the model, or run them in the application"
    assert "float-ops" not in promised(graph=mixed, target=target(schemes=("int8", "float32")))


def test_float_parts_of_a_quantized_model_that_was_given_are_told_and_not_counted() -> None:
    tensors = (
        tensor(0, "x", "int8", scale=1.0),
        tensor(1, "c", "int8", scale=1.0),
        tensor(2, "f", "float32"),
        tensor(3, "y", "float32"),
    )
    ops = (op(0, "CONV_2D", (0, -1), (1,)), op(1, "DEQUANTIZE", (1,), (2,)), op(2, "SQRT", (2,), (3,)))
    decoding = graph(*tensors, inputs=(0,), outputs=(3,), ops=ops)
    came = quantize().model_copy(update={"facts": {"already_quantized": True}})
    found = promised(graph=decoding, steps=(came,))
    told = "none of 3; on the CPU, in float as the model has them: DEQUANTIZE (op 1), SQRT (op 2)"
    assert (found["float-ops"].ok, found["float-ops"].detail) == (True, told)
    assert found["float-ops"].title == "ops that compute in float where integers are due"
    assert (found["io-dtypes"].ok, found["io-dtypes"].detail) == (
        True,
        "none of 2; float by the op behind or before them: `y`",
    )
    ours = promised(graph=decoding, steps=(quantize(),))
    assert (ours["float-ops"].actual, ours["io-dtypes"].actual) == (2, 1)
    asked = came.model_copy(update={"fields": quantize(io="float32").fields})
    assert promised(graph=decoding, steps=(asked,))["io-dtypes"].ok
    assert not promised(graph=decoding, steps=(came,), target=target(io="int8"))["io-dtypes"].ok
    door = graph(*tensors[:3], inputs=(0,), outputs=(2,), ops=ops[:2])
    assert not promised(graph=door, steps=(came,))["io-dtypes"].ok


@pytest.mark.parametrize("name", ["FULLY_CONNECTED", "WHILE", "BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM"])
def test_layers_in_float_count_in_a_model_that_was_given(name: str) -> None:
    shape = (1, 4)
    tensors = (
        tensor(0, "x", "int8", scale=1.0),
        Tensor(1, "f", shape, shape, "float32", None, None),
        Tensor(2, "w", (4, 4), (4, 4), "float32", None, np.zeros((4, 4), np.float32)),
        Tensor(3, "y", shape, shape, "float32", None, None),
    )
    ops = (op(0, "DEQUANTIZE", (0,), (1,)), op(1, name, (1, 2), (3,)))
    came = quantize().model_copy(update={"facts": {"already_quantized": True}})
    check = promised(graph=graph(*tensors, inputs=(0,), outputs=(3,), ops=ops), steps=(came,))["float-ops"]
    assert check.detail == f"Coral computes in integers only: DEQUANTIZE (op 0), {name} (op 1)"
    assert not check.ok


def test_float_constants_are_not_computation() -> None:
    constant = Tensor(1, "w", (1,), (1,), "float32", None, np.zeros(1, np.float32))
    model = graph(
        tensor(0, "x", "int8", scale=1.0),
        constant,
        tensor(2, "y", "int8", scale=1.0),
        inputs=(0,),
        outputs=(2,),
        ops=(op(0, "CUSTOM", (0, 1), (2,)),),
    )
    assert promised(graph=model)["float-ops"].ok


def test_a_float_tflite_for_an_integer_target_is_told_to_use_a_recipe() -> None:
    model = graph(
        tensor(0, "x", "float32"),
        tensor(1, "y", "float32"),
        inputs=(0,),
        outputs=(1,),
        ops=(op(0, "RELU", (0,), (1,)),) * 7,
    )
    check = promised(graph=model, steps=())["float-ops"]
    assert check.remedy == "build from the float model with an int8 recipe"
    assert check.detail.endswith(", …")


def test_errors_of_the_backend_are_broken_rules() -> None:
    findings = (
        Finding(severity="error", rule="r", what="Tensor sizes must be constant", remedy="give `--shape`"),
        Finding(severity="warning", rule="w", what="slow"),
    )
    check = promised(findings=findings)["target-rules"]
    assert (check.ok, check.actual, check.detail, check.remedy) == (
        False,
        1,
        "Tensor sizes must be constant",
        "give `--shape`",
    )
    assert promised()["target-rules"].ok


@pytest.mark.parametrize(
    ("memory", "limit", "detail"),
    [
        ({"flash_bytes": 98_496}, 98_496, "98,496 B (96.2 KiB) of flash"),
        (
            {"flash_bytes": 100_000, "reserved_flash_bytes": 1_505},
            98_495,
            "100,000 B (97.7 KiB) of flash, 1,505 B (1.5 KiB) of it reserved",
        ),
        ({"flash_bytes": 200_000, "model_bytes_max": 98_495}, 98_495, "largest model file that the deployment takes"),
        ({"flash_bytes": 50_000, "model_bytes_max": 98_495}, 50_000, "50,000 B (48.8 KiB) of flash"),
    ],
)
def test_size_is_held_against_the_tighter_limit(memory: dict[str, int], limit: int, detail: str) -> None:
    check = promised(target=target(memory=Memory(**memory)))["model-size"]
    assert (check.limit, check.detail) == (limit, detail)
    assert check.ok is (limit >= 98_496)
    assert check.remedy == ("" if check.ok else "weights are 8 bits already: take fewer or narrower layers")


def test_size_suggests_eight_bits_where_they_were_not_tried() -> None:
    small = target(schemes=("int8", "float16"), memory=Memory(model_bytes_max=10))
    assert (
        promised(target=small, steps=(quantize(scheme="float16"),))["model-size"].remedy
        == 'try quantize.scheme = "int8"'
    )
    assert promised(target=small, steps=())["model-size"].remedy == 'try quantize.scheme = "int8"'


def test_a_gate_in_percent_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        promised(accuracy=good(), gate=GateSection(max_drop=1.5, min=85))
    assert str(caught.value) == (
        "gate.max_drop: is 1.5, and top1 is a share between 0 and 1\n  → write 0.015\n"
        "gate.min: is 85, and top1 is a share between 0 and 1\n  → write 0.85"
    )
    with pytest.raises(ConfigError, match="auc is a share between 0 and 1"):
        check_gate(GateSection(max_drop=5), metric="auc")
    check_gate(GateSection(max_drop=5, min=20), metric="mae")
    check_gate(GateSection(max_drop=5, min=20), metric="mine:metric")
    check_gate(GateSection(max_drop=1, min=1), metric="top1")


@pytest.mark.parametrize(("gate", "told"), [(GateSection(), True), (GateSection(max_drop=0.01), False)])
def test_the_default_limit_is_told_to_be_arbitrary_for_errors(gate: GateSection, told: bool) -> None:
    found = measured([[100.0]], [[101.0]], dataset([100.0]), "mae")
    remedy = promised(accuracy=found, gate=gate)["accuracy-drop"].remedy
    reminder = "; 0.01 is the default limit, in units of mae: set gate.max_drop (--max-drop)"
    assert remedy.endswith(reminder) is told
    assert "default limit" not in promised(accuracy=worse(), gate=gate)["accuracy-drop"].remedy


def test_a_source_that_is_quantized_already_is_not_called_a_float_model() -> None:
    check = promised(accuracy=good(reference="source model"))["accuracy-drop"]
    assert check.title == "drop of top1 against the source model"


def test_the_backends_own_checks_count() -> None:
    arena = Check(name="arena", title="arena", actual=2, limit=1, relation="at most", unit="bytes", how="estimated")
    found = promised(compiled=Compiled(files={}, model="", checks=(arena,)))
    assert found["arena"] is arena
    assert verdict(tuple(found.values())) == "fail"
    assert verdict(tuple(promised().values())) == "pass"


def test_every_check_says_how() -> None:
    every = promised(
        accuracy=worse(),
        gate=GateSection(min=0.5),
        parity=Parity(reference="tf_keras", rows=1, max_abs=0, tolerance=1),
        target=target(memory=Memory(flash_bytes=10)),
    )
    assert len(every) == 9
    assert {check.how for name, check in every.items() if name != "above-chance"} == {"measured"}
    assert every["above-chance"].how == "estimated"
    assert all(check.title for check in every.values())
    assert all(bool(check.remedy) is (not check.ok) for check in every.values()), "what is missed has a remedy"
