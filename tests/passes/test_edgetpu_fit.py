"""The pass edgetpu-fit: what it writes, and what it says about it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.edgetpu_fit import EdgetpuFit
from edgecompile.tflite.edit import add_signature, read_model, write_model
from edgecompile.tflite.graph import read_graph

DATA = Path(__file__).parent.parent / "data"


def run(model: Path, tmp_path: Path, *, rows: Dataset | None = None) -> Outcome:
    out = tmp_path / "out"
    out.mkdir()
    return EdgetpuFit().run(Artifact.of(model, Kind.TFLITE), Context(out=out, calibration=rows))


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A model with an op that the Edge TPU lacks between two that it has."""
    model = FlatModel()
    here = model.convolution(model.input((1, 8, 8, 4)), 4)
    there = model.tensor((1, 8, 8, 4), scale=0.04, zero_point=-90)
    model.op("LEAKY_RELU", [here], [there], options=schema.LeakyReluOptionsT(alpha=0.2))
    written = read_model(model.finish(model.convolution(there, 4)))
    add_signature(written)
    file = tmp_path / "leaky.tflite"
    file.write_bytes(write_model(written))
    return file


def test_rewrites_are_counted_compared_and_told(leaky: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 8, 8, 4)).astype(np.float32)
    found = run(leaky, tmp_path, rows=Dataset(inputs={"*": x}))
    facts = dict(found.facts)
    difference = facts.pop("largest_output_difference_codes")
    assert isinstance(difference, float)
    assert difference <= 2
    assert facts == {
        "rewrites": 1,
        "ops_before": 3,
        "ops_on_edge_tpu_before": 1,
        "share_of_macs_on_edge_tpu_before": 0.5,
        "ops_after": 3,
        "ops_on_edge_tpu_after": 3,
        "share_of_macs_on_edge_tpu_after": 1.0,
        "rows_compared": 8,
    }
    (told,) = found.findings
    assert (told.severity, told.rule) == ("info", "edgetpu-fit-leaky-relu")
    assert re.fullmatch(
        r"LEAKY_RELU becomes PRELU with the same slope in every channel: 1 op, largest difference (none|1 code)",
        told.what,
    )
    assert told.where.startswith("LEAKY_RELU → ")
    before, after = read_graph(leaky), read_graph(found.artifact.path)
    assert (after.input_names(), after.output_names()) == (before.input_names(), before.output_names())
    assert after.signatures[0].key == before.signatures[0].key
    assert found.artifact.path.parent == tmp_path / "out"


def test_without_calibration_rows_the_whole_is_not_compared(leaky: Path, tmp_path: Path) -> None:
    facts = run(leaky, tmp_path).facts
    assert facts["rewrites"] == 1
    assert "largest_output_difference_codes" not in facts


def test_a_model_that_needs_nothing_keeps_its_bytes(tmp_path: Path, edgecompile_data: Path) -> None:
    source = edgecompile_data / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
    found = run(source, tmp_path)
    assert found.artifact.path.read_bytes() == source.read_bytes()
    assert found.facts["rewrites"] == 0
    assert found.findings == ()


def test_equal_inputs_give_equal_bytes(leaky: Path, tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        results.append(run(leaky, tmp_path / name).artifact.sha256)
    assert results[0] == results[1]


def test_a_float_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="the model computes in float32, and the Edge TPU in int8") as caught:
        run(DATA / "image_float.tflite", tmp_path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.hint) == ("edgetpu-fit", "put `quantize` before it")


def test_a_rewrite_that_changes_too_much_is_told_and_not_made(tmp_path: Path) -> None:
    """An output that has only values just below 0, in steps too small for the rewrite."""
    model = FlatModel()
    given = model.input((1, 8, 8, 4), scale=0.03)
    made = model.tensor((1, 8, 8, 4), scale=0.0005, zero_point=127)
    source = tmp_path / "model.tflite"
    source.write_bytes(model.finish(model.op("HARD_SWISH", [given], [made])))
    found = run(source, tmp_path)
    assert found.artifact.path.read_bytes() == source.read_bytes()
    (told,) = found.findings
    assert (told.severity, told.rule) == ("warning", "edgetpu-fit-hard-swish")
    assert "not done for 1 op, largest difference" in told.what
    assert told.where == "HARD_SWISH → t1"
