"""What users meet: a segmentation head, the tail of a pose model, hard swish. What stays behind is explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel
from keras_files import libraries, save

import edgecompile
from edgecompile.backends.edgetpu import Edgetpu
from edgecompile.backends.edgetpu.findings import sections
from edgecompile.backends.edgetpu.fit.apply import fit
from edgecompile.backends.edgetpu.planner import plan_mapping
from edgecompile.report import Finding
from edgecompile.target import load_target
from edgecompile.tflite.graph import Graph, read_graph


def explained(graph: Graph) -> tuple[Finding, ...]:
    """Return the findings about graph, checked: each op on the CPU has a rule, or names the op that it waits for."""
    findings = Edgetpu().check(graph, load_target("coral"))
    plan = plan_mapping(graph)
    rows = sections(plan)["edgetpu_on_cpu"]
    assert len(rows) == len(plan.placements) - len(plan.on_tpu)
    assert all(row["layer"] and row["why"] and row["status"] for row in rows)
    told = {f.rule for f in findings}
    assert {row["rule"] for row in rows if row["rule"]} <= told
    assert all(f.remedy and f.consequence for f in findings if f.severity == "warning")
    return findings


def test_deeplab(edgecompile_data: Path) -> None:
    source = edgecompile_data / "edgetpu" / "deeplabv3_mnv2_pascal_quant.tflite"
    resize, arg_max = [f for f in explained(read_graph(source)) if f.severity == "warning"]
    assert resize.rule == "edgetpu-resize-size"
    assert resize.where == "RESIZE_BILINEAR → ResizeBilinear, RESIZE_BILINEAR → ResizeBilinear_2"
    assert resize.consequence.startswith("runs on the host's CPU, and so do 5 ops behind it that the Edge TPU has")
    assert (arg_max.rule, arg_max.where) == ("edgetpu-8-bit", "ARG_MAX → ArgMax")
    assert arg_max.remedy == "give the scores and take the largest in the application"
    found = fit(source.read_bytes())
    assert (len(found.before.on_tpu), len(found.before.placements)) == (64, 72)
    assert (len(found.after.on_tpu), len(found.after.placements)) == (75, 77)
    left = [f.rule for f in explained(found.after.graph) if f.severity == "warning"]
    assert left == ["edgetpu-resize-size", "edgetpu-8-bit"]


def pose_model() -> bytes:
    """Return a backbone with two heads, and a tail that picks the best place of each of 5 joints, as MoveNet does."""
    model = FlatModel()
    here = model.input((1, 24, 24, 3))
    for channels in (8, 16, 16):
        here = model.convolution(here, channels, kernel=3)
        there = model.tensor((1, 24, 24, channels), zero_point=-100)
        here = model.op("LEAKY_RELU", [here], [there], options=schema.LeakyReluOptionsT(alpha=0.1))
    heat, offsets = model.convolution(here, 5), model.convolution(here, 10)
    flat = model.tensor((1, 576, 5))
    shape = model.constant(np.array([1, 576, 5], np.int32))
    model.op("RESHAPE", [heat, shape], [flat], options=schema.ReshapeOptionsT(newShape=[1, 576, 5]))
    best = model.tensor((1, 5), dtype="int32")
    options = schema.ArgMaxOptionsT(outputType=schema.TensorType.INT32)
    model.op("ARG_MAX", [flat, model.constant(np.array(1, np.int32))], [best], options=options, version=2)
    rows = model.tensor((1, 5), dtype="int32")
    model.op("FLOOR_DIV", [best, model.constant(np.array(24, np.int32))], [rows], options=schema.FloorDivOptionsT())
    return model.finish(rows, offsets)


def test_the_tail_of_a_pose_model(tmp_path: Path) -> None:
    """Without rewrites all behind the first activation runs on the CPU; with them only what works on places."""
    content = pose_model()
    found = fit(content)
    assert found.before.share_of_macs is not None
    assert found.before.share_of_macs < 0.1
    assert found.after.share_of_macs == 1.0
    warnings = [f for f in explained(found.before.graph) if f.severity == "warning"]
    assert [f.rule for f in warnings] == ["edgetpu-op", "edgetpu-8-bit"]
    assert "`edgetpu-fit`" in warnings[0].remedy
    (tail,) = [f for f in explained(found.after.graph) if f.severity == "warning"]
    assert tail.what.startswith("The Edge TPU computes 8-bit tensors: ARG_MAX with int32 1×5; FLOOR_DIV with int32 1×5")
    left = [p.op.name for p in found.after.placements if p.subgraph is None]
    assert left == ["ARG_MAX", "FLOOR_DIV"]


@pytest.mark.tf
@pytest.mark.slow
def test_mobilenet_v3(tmp_path: Path) -> None:
    model = libraries().keras.applications.MobileNetV3Small(
        weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None
    )
    save(model, tmp_path / "net.keras")
    dice = np.random.default_rng(0)
    x = dice.uniform(0, 255, (24, 96, 96, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=dice.integers(0, 10, 24))
    report = edgecompile.build(
        tmp_path / "net.keras", target="coral", data=tmp_path / "data.npz", out=tmp_path / "out", max_drop=1
    )
    (step,) = [s for s in report.steps if "rewrites" in s.facts]
    assert (
        step.facts["rewrites"] == step.facts["ops_after"] // 2 - step.facts["ops_before"] // 2
    )  # two ops more for each
    assert step.facts["share_of_macs_on_edge_tpu_before"] < 0.1
    assert step.facts["share_of_macs_on_edge_tpu_after"] == 1.0
    assert step.facts["ops_on_edge_tpu_after"] == step.facts["ops_after"]
    (told,) = [f for f in report.findings if f.rule == "edgetpu-fit-hard-swish"]
    assert told.severity == "info"
    explained(read_graph(next((tmp_path / "out").glob("*/net.tflite"))))
