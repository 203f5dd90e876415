"""TFLite Micro on the host: rows, single ops, the smallest arena. Skipped where its wheel is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from uint8_ops import ON_NPU

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, ToolError
from edgecompile.tflite import tflm
from edgecompile.tflite.arena import device_arena, kernel_scratch
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.memory_plan import plan_memory
from edgecompile.tflite.runner import predict
from edgecompile.tflite.tflm_trials import smallest_arena, try_ops

DATA = Path(__file__).parent.parent / "data"
needs_tflm = pytest.mark.skipif(
    not tflm.installed(), reason="TFLite Micro's interpreter is not installed: pip install edgecompile[micro]"
)


def rows_for(path: Path, n: int = 7) -> Dataset:
    graph = read_graph(path)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    return Dataset({"*": np.random.default_rng(0).uniform(-1, 1, (n, *shape)).astype(np.float32)})


@needs_tflm
@pytest.mark.parametrize("name", ["image_float.tflite", "image_int8.tflite", "image_batch4.tflite", "lstm.tflite"])
def test_rows_come_out_as_on_the_reference_kernels(name: str) -> None:
    rows = rows_for(DATA / name)
    (ours,) = predict(DATA / name, rows, kernels="tflm").values()
    (theirs,) = predict(DATA / name, rows, kernels="reference").values()
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), atol=2 if ours.dtype == np.int8 else 1e-5)


@needs_tflm
def test_what_it_prints_stays_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    smallest_arena(DATA / "image_int8.tflite")
    try_ops(DATA / "image_int8.tflite")
    assert capfd.readouterr() == ("", "")


@needs_tflm
def test_an_op_that_it_does_not_have_is_named(tmp_path: Path) -> None:
    model = read_model(DATA / "image_int8.tflite")
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode = 69, 69  # TILE
    path = tmp_path / "tile.tflite"
    path.write_bytes(write_model(model))
    trials = try_ops(path)
    bad = [t for t in trials if t.refused]
    assert bad
    assert all((t.refused, t.registered) == ("it has no op TILE", False) for t in bad)
    assert all(t.registered for t in trials if not t.refused)
    with pytest.raises(ModelError, match="TFLite Micro refuses the model: it has no op TILE"):
        predict(path, rows_for(path), kernels="tflm")
    with pytest.raises(ModelError, match="it has no op TILE"):
        smallest_arena(path)


@needs_tflm
def test_a_refused_dtype_comes_with_its_reason() -> None:
    trials = {t.name: t for t in try_ops(DATA / "image_int8_float_io.tflite")}
    assert not any(t.refused for t in trials.values())


@needs_tflm
@pytest.mark.parametrize("op", ["DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_kernels_that_refuse_uint8_only_when_they_run_are_found(op: str, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(ON_NPU[op]())
    *_, trial = try_ops(tmp_path / "net.tflite")
    assert trial.name == op
    assert trial.refused.startswith("Input type UINT8 (3) not supported.")
    assert trial.registered


@needs_tflm
def test_open_sizes_and_rows_that_cannot_be_told_apart_are_refused() -> None:
    path = DATA / "series_open_time.tflite"
    rows = Dataset({"*": np.zeros((2, 9, *read_graph(path).tensors[read_graph(path).inputs[0]].shape[2:]), np.float32)})
    with pytest.raises(ModelError, match="cannot resize") as caught:
        predict(path, rows, kernels="tflm")
    assert "--shape" in caught.value.problems[0].hint


@needs_tflm
def test_the_planner_is_known_step_by_step() -> None:
    for name in ("image_int8.tflite", "lstm.tflite", "two_inputs.tflite"):
        graph, trials = read_graph(DATA / name), try_ops(DATA / name)
        plan = plan_memory(graph, scratch=kernel_scratch(graph, trials, "reference"))
        assert plan.greedy == smallest_arena(DATA / name).head_bytes, name


def test_without_the_wheel_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflm, "find_spec", lambda name: None)
    with pytest.raises(ToolError) as caught:
        predict(DATA / "image_int8.tflite", rows_for(DATA / "image_int8.tflite"), kernels="tflm")
    assert caught.value.problems[0].hint == 'pip install "edgecompile[micro]"'


def test_reasons_lose_paths_and_summaries() -> None:
    said = (
        "tensorflow/lite/micro/kernels/add_common.cc:90 input2 != nullptr was not true.\n"
        "Node ADD (number 0) failed to prepare with status 1\nTFLM failed to allocate tensors"
    )
    assert tflm.reason(said) == "input2 != nullptr was not true."
    assert tflm.reason("\nTFLM failed to allocate tensors") == "no reason given"
    assert tflm.reason("Failed to get registration from op code CUSTOM\n") == "it has no such custom op"


@needs_tflm
@pytest.mark.parametrize("model", ["ic/pretrainedResnet_quant.tflite", "kws/kws_ref_model.tflite"])
def test_the_device_figure_is_never_under_and_at_most_a_percent_over(edgecompile_data: Path, model: str) -> None:
    path = edgecompile_data / model
    graph, host, trials = read_graph(path), smallest_arena(path), try_ops(path)
    configs = json.loads((edgecompile_data / "micro" / "cortex_m_baseline.json").read_text("utf-8"))["configs"]
    seen = 0
    for name, config in configs.items():
        kernels = "reference" if "-ref-" in name else "cmsis-mve" if name.startswith("m55") else "cmsis-dsp"
        plan = plan_memory(graph, scratch=kernel_scratch(graph, trials, kernels))
        found = device_arena(graph, host, trials, head_bytes=plan.greedy, kernels=kernels)
        for build in config["models"][path.parent.name].values():
            assert 0 <= found.arena_bytes / build["ram"]["arena_min"] - 1 <= 0.01, name
            seen += 1
    assert seen >= 10
