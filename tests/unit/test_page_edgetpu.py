"""What the page says of the Edge TPU: the figure and the reasons at the top, the strip of places."""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from bundle_support import plain_report
from flat_models import FlatModel

from edgecompile.backends.edgetpu.findings import mapping_findings, sections
from edgecompile.backends.edgetpu.planner import plan_mapping
from edgecompile.bundle.html import report_html
from edgecompile.bundle.page import page
from edgecompile.report import Report, TensorInfo
from edgecompile.tflite.graph import read_graph

X = TensorInfo(name="x", shape=(1, 8, 8, 4), dtype="int8", scale=0.1, zero_point=0)


def report_of(file: Path, model: FlatModel, end: int) -> Report:
    file.write_bytes(model.finish(end))
    plan = plan_mapping(read_graph(file))
    return plain_report([X], [X], backend=sections(plan), findings=mapping_findings(plan), headline=("pass: 1 B",))


def test_what_stays_behind_is_at_the_top_with_reason_and_remedy(tmp_path: Path) -> None:
    model = FlatModel()
    here = model.convolution(model.input((1, 8, 8, 4)), 4)
    there = model.tensor((1, 8, 8, 4))
    model.op("LEAKY_RELU", [here], [there], options=schema.LeakyReluOptionsT(alpha=0.1))
    report = report_of(tmp_path / "m.tflite", model, model.convolution(there, 4))
    found = page(report, None)
    (tile,) = [t for t in found.tiles if t.label == "On the Edge TPU"]
    assert (tile.value, tile.note, tile.how) == (
        "1 of 3 ops",
        "50.0% of the multiply-accumulates; 2 on the host's CPU",
        "modelled",
    )
    why, result = found.lines
    assert why.text == (
        f"On the CPU: LEAKY_RELU → t{there}, and with it 1 op behind it that the Edge TPU has (1 CONV_2D). "
        "The Edge TPU does not have this op: LEAKY_RELU"
    )
    assert "`edgetpu-fit`" in why.remedy
    assert result.kind == "result"
    assert found.edgetpu is not None
    assert [(run.left, run.width, run.on_tpu) for run in found.edgetpu.strip] == [
        ("0%", "33.333%", True),
        ("33.333%", "66.667%", False),
    ]
    assert [row[:2] for row in found.edgetpu.rows] == [("Edge TPU", "1"), ("CPU", "2")]
    text = report_html(report, None)
    assert text.index("On the CPU: LEAKY_RELU") < text.index("What was built") < text.index('class="cpu"')


def test_all_on_the_edge_tpu(tmp_path: Path) -> None:
    model = FlatModel()
    found = page(report_of(tmp_path / "m.tflite", model, model.convolution(model.input((1, 8, 8, 4)), 4)), None)
    assert found.edgetpu is not None
    assert found.edgetpu.sentence == "All ops are expected on the Edge TPU."
    assert len(found.lines) == 1


def test_other_devices_have_none_of_it() -> None:
    found = page(plain_report([X], [X]), None)
    assert found.edgetpu is None
    assert all(tile.label != "On the Edge TPU" for tile in found.tiles)
