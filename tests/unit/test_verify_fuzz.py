"""Accuracy under whatever a model can give: NaN, infinity, ties, huge and tiny values, groups, few rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.config import canonical_json
from edgecompile.data.dataset import Dataset
from edgecompile.errors import EdgeCompileError
from edgecompile.metrics import METRICS, load_metric
from edgecompile.recipe import GateSection
from edgecompile.report import Accuracy, Sizes, Step
from edgecompile.target import Source, Target
from edgecompile.tflite.graph import Graph, Tensor
from edgecompile.verify import VERDICTS, accuracy, checks, headline, verdict

CLASSES = 6
FINITE = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 1e-30, 3e38, -3e38, 0.1, 0.9])
ANY = st.one_of(FINITE, st.sampled_from([math.nan, math.inf, -math.inf]))
SIZES = Sizes(source_bytes=1, float_bytes=1, result_bytes=1, result_gzip_bytes=1)
TARGET = Target(
    name="t",
    title="T",
    summary="",
    backend="litert",
    recipe="int8",
    schemes=("int8", "float32"),
    sources=(Source(what="x", document="x"),),
)


def graph(width: int) -> Graph:
    tensors = tuple(Tensor(i, n, (1, width), (1, width), "float32", None, None) for i, n in enumerate("xy"))
    return Graph(tensors, (), (0,), (1,), (), 1, "", ())


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    metric = draw(st.sampled_from(sorted(METRICS)))
    n = draw(st.integers(1, 12))
    width = CLASSES if metric in ("top1", "top5", "macro_f1") else 1
    classes = {"auc": 2, "mae": 0, "mse": 0}.get(metric, CLASSES)
    label = st.integers(0, classes - 1) if classes else st.floats(-1e3, 1e3)

    def outputs(values: st.SearchStrategy[float]) -> np.ndarray:
        flat = draw(st.lists(values, min_size=n * width, max_size=n * width))
        return np.array(flat, np.float32).reshape(n, width)

    return {
        "metric": metric,
        "before": outputs(FINITE),
        "after": outputs(ANY if draw(st.booleans()) else FINITE),
        "labels": np.array(draw(st.lists(label, min_size=n, max_size=n))),
        "groups": np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))) if draw(st.booleans()) else None,
    }


def measured(case: dict[str, Any]) -> Accuracy:
    before, after = case["before"], case["after"]
    data = Dataset(
        inputs={"x": np.zeros((len(before), 2), np.float32)},
        labels=case["labels"],
        groups=case["groups"],
        source="val.npz",
    )
    return accuracy(
        float_outputs={"y": before},
        result_outputs={"y": after},
        float_graph=graph(before.shape[1]),
        result_graph=graph(after.shape[1]),
        data=data,
        metric=load_metric(case["metric"], base=Path()),
        kernels="reference",
        fidelity="",
    )


@settings(max_examples=60, deadline=None)
@given(cases())
def test_whatever_comes_out_is_a_whole_report_or_an_error_that_says_why(case: dict[str, Any]) -> None:
    try:
        found = measured(case)
    except EdgeCompileError:
        return  # a metric may refuse (one class, mixed groups), and a result without any numbers has no value
    for score in (found.float_score, found.result_score):
        assert score.interval.low <= score.value <= score.interval.high
    assert found.drop_interval.low <= found.drop <= found.drop_interval.high
    assert found.nonfinite_rows == int((~np.isfinite(case["after"]).all(axis=1)).sum())
    assert all(sample.loss > 0 or found.flips for sample in found.worst)
    assert len({sample.row for sample in found.worst}) == len(found.worst)
    if found.flips is not None and not found.flips.lost + found.flips.gained and found.unit == "fraction":
        assert found.drop == 0
        assert found.within_noise
    if found.drop_interval.low <= 0 <= found.drop_interval.high and found.unit == "metric":
        assert found.within_noise
    promised = checks(
        gate=GateSection(),
        target=TARGET,
        graph=graph(1),
        sizes=SIZES,
        steps=(Step(name="quantize", fields={"scheme": "int8", "io": "float32"}),),
        findings=(),
        accuracy=found,
    )
    lines = headline(checks=promised, accuracy=found, sizes=SIZES)
    assert lines[-1].startswith(VERDICTS[verdict(promised)].lower())
    assert not any("nan" in line or "inf" in line.replace("infinity", "") for line in lines)
    assert Accuracy.model_validate_json(canonical_json(found)) == found


def test_the_largest_numbers_do_not_overflow_in_a_reconstruction() -> None:
    x = np.full((8, 4), 3e38, np.float32)
    data = Dataset(inputs={"x": x}, source="val.npz")
    found = accuracy(
        float_outputs={"y": x},
        result_outputs={"y": -x},
        float_graph=graph(4),
        result_graph=graph(4),
        data=data,
        metric=load_metric("mae", base=Path()),
        kernels="reference",
        fidelity="",
    )
    assert found.worst[0].loss == pytest.approx(6e38)
    assert found.drop == pytest.approx(6e38)


@settings(max_examples=20, deadline=None)
@given(cases())
def test_a_model_never_differs_from_itself(case: dict[str, Any]) -> None:
    case["after"] = case["before"]
    try:
        found = measured(case)
    except EdgeCompileError:
        return
    assert (found.drop, found.within_noise, found.worst, found.nonfinite_rows) == (0, True, (), 0)
    assert found.float_score == found.result_score
    assert found.agreement in (None, 1)
    assert found.outputs[0].max_abs == 0
    assert found.outputs[0].sqnr_db is None


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_swapping_the_models_turns_the_drop_around(metric: str) -> None:
    rng = np.random.default_rng(0)
    width = CLASSES if metric in ("top1", "top5", "macro_f1") else 1
    case = {
        "metric": metric,
        "before": rng.random((40, width)).astype(np.float32),
        "after": rng.random((40, width)).astype(np.float32),
        "labels": rng.integers(0, 2, 40),
        "groups": None,
    }
    one = measured(case)
    two = measured({**case, "before": case["after"], "after": case["before"]})
    assert two.drop == -one.drop
    assert two.drop_interval.low == pytest.approx(-one.drop_interval.high, abs=1e-12)
    assert two.float_score == one.result_score
    assert two.within_noise == one.within_noise
