"""The backend for TFLite Micro: what it refuses, what it makes, and what it says of budgets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.micro import Micro
from edgecompile.backends.micro.ops import ADD_METHODS
from edgecompile.backends.micro.options import MicroOptions
from edgecompile.errors import ModelError
from edgecompile.target import Memory, Target, load_target
from edgecompile.tflite import tflm
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.tflm_trials import try_ops

DATA = Path(__file__).parent.parent / "data"
INT8 = DATA / "image_int8.tflite"
needs_tflm = pytest.mark.skipif(
    not tflm.installed(), reason="TFLite Micro's interpreter is not installed: pip install edgecompile[micro]"
)


def board(**memory: int) -> Target:
    return load_target("nucleo-l4r5zi").model_copy(update={"memory": Memory(**memory)})


def with_op(code: int, path: Path, *, dtype: int | None = None) -> Path:
    """Write INT8 with the builtin operator of its first op changed."""
    model = read_model(INT8)
    used = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
    used.builtinCode, used.deprecatedBuiltinCode = code, min(code, 127)
    path.write_bytes(write_model(model))
    return path


@needs_tflm
def test_the_table_of_ops_is_that_of_the_interpreter(tmp_path: Path) -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorCodeT, OperatorT

    skipped = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    codes = {n: c for n, c in vars(BuiltinOperator).items() if isinstance(c, int) and n not in skipped}
    model = read_model(INT8)
    main = model.subgraphs[0]
    first, ops = main.operators[0], []
    model.operatorCodes = []
    for number, code in enumerate(codes.values()):
        entry, op = OperatorCodeT(), OperatorT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        model.operatorCodes.append(entry)
        op.opcodeIndex, op.inputs, op.outputs = number, first.inputs, first.outputs
        ops.append(op)
    main.operators = ops
    path = tmp_path / "all.tflite"
    path.write_bytes(write_model(model))
    assert {name for name, trial in zip(codes, try_ops(path), strict=True) if trial.registered} == set(ADD_METHODS)


@needs_tflm
def test_a_bundle_has_the_file_for_the_device_and_the_one_for_people(tmp_path: Path) -> None:
    compiled = Micro().compile(Artifact.of(INT8, Kind.TFLITE), load_target("nucleo-l4r5zi"), name="m", out=tmp_path)
    assert compiled.model == "m_micro.tflite"
    assert compiled.files["m.tflite"] == INT8
    device = compiled.files["m_micro.tflite"]
    assert device.stat().st_size < INT8.stat().st_size
    assert compiled.runs is not None
    assert (compiled.runs.model, compiled.runs.kernels) == (device, "tflm")
    memory = compiled.extra["memory"]
    assert memory["plan"]["bound_bytes"] <= memory["plan"]["bytes"] <= memory["plan"]["greedy_bytes"]
    assert memory["arena_bytes"] <= memory["host_arena_bytes"] + 2048
    assert sum(memory["structures"].values()) + memory["plan"]["bytes"] <= memory["arena_bytes"]
    names = {t.name for t in read_graph(INT8).tensors}
    assert {n for b in memory["plan"]["buffers"] for n in b["tensors"]} <= names | {"scratch"}
    assert [(c.name, c.ok) for c in compiled.checks] == [("arena", True), ("model-size", True)]


@needs_tflm
def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    artifact, target = Artifact.of(INT8, Kind.TFLITE), load_target("nucleo-l4r5zi")
    made = [Micro().compile(artifact, target, name="m", out=tmp_path / n).files["m_micro.tflite"] for n in "ab"]
    assert made[0].read_bytes() == made[1].read_bytes()


@needs_tflm
def test_too_little_memory_says_by_how_much_and_who_would_fit(tmp_path: Path) -> None:
    target = board(sram_bytes=4096, reserved_sram_bytes=2496, flash_bytes=1024)
    compiled = Micro().compile(Artifact.of(INT8, Kind.TFLITE), target, name="m", out=tmp_path)
    for check in compiled.checks:
        assert not check.ok
        assert f"{check.actual - check.limit:,.0f} bytes too much" in check.remedy
        assert "targets that would fit: arduino-nano-33-ble, " in check.remedy
        assert "channels" in check.remedy


@needs_tflm
def test_a_float_model_is_told_to_be_quantized(tmp_path: Path) -> None:
    source = Artifact.of(DATA / "image_float.tflite", Kind.TFLITE)
    compiled = Micro().compile(source, board(sram_bytes=1024, flash_bytes=1024), name="m", out=tmp_path)
    assert all("quantize to int8" in check.remedy for check in compiled.checks)


@needs_tflm
def test_every_refused_op_is_reported_with_layer_reason_and_remedy(tmp_path: Path) -> None:
    path = with_op(69, tmp_path / "tile.tflite")  # TILE
    with pytest.raises(ModelError) as caught:
        Micro().compile(Artifact.of(path, Kind.TFLITE), load_target("nucleo-l4r5zi"), name="m", out=tmp_path / "out")
    graph = read_graph(path)
    tiles = [op for op in graph.ops if op.name == "TILE"]
    assert len(caught.value.problems) == len(tiles)
    for op, problem in zip(tiles, caught.value.problems, strict=True):
        assert problem.what == "TFLite Micro refuses TILE: it has no op TILE"
        assert problem.where == f"tile.tflite, op {op.index} → {graph.tensors[op.outputs[0]].name}"
        assert "CONCATENATION" in problem.hint


def test_an_unknown_op_is_a_finding_without_running_anything(tmp_path: Path) -> None:
    graph = read_graph(with_op(69, tmp_path / "tile.tflite"))
    (finding,) = Micro().check(graph, load_target("nucleo-l4r5zi"))
    assert (finding.severity, finding.rule, finding.what) == ("error", "tflm-no-op", "TFLite Micro has no op TILE")
    assert finding.remedy
    assert Micro().check(read_graph(INT8), load_target("nucleo-l4r5zi")) == ()


@needs_tflm
def test_uint8_and_hybrid_models_are_told_what_to_do(edgecompile_data: Path, tmp_path: Path) -> None:
    for name, hint in (("split_concat", "int8"), ("mobilenet_v1_0.25_128_quant", "int8")):
        source = Artifact.of(edgecompile_data / "edgetpu" / f"{name}.tflite", Kind.TFLITE)
        with pytest.raises(ModelError) as caught:
            Micro().compile(source, load_target("nucleo-l4r5zi"), name="m", out=tmp_path / name)
        assert all(hint in problem.hint for problem in caught.value.problems)


@needs_tflm
def test_a_model_with_loops_is_left_to_the_runtimes_own_plan(tmp_path: Path) -> None:
    source = Artifact.of(DATA / "loop.tflite", Kind.TFLITE)
    compiled = Micro().compile(source, load_target("nucleo-l4r5zi"), name="m", out=tmp_path)
    plan = compiled.extra["memory"]["plan"]
    assert (plan["bound_bytes"], plan["written"], plan["buffers"]) == (None, False, [])


@needs_tflm
@pytest.mark.slow
def test_planned_and_unplanned_answer_alike_on_a_thousand_inputs(edgecompile_data: Path, tmp_path: Path) -> None:
    from edgecompile.backends.micro.lower import lower, random_rows
    from edgecompile.data.dataset import Dataset
    from edgecompile.tflite.runner import predict

    path = edgecompile_data / "kws" / "kws_ref_model.tflite"
    lowered = lower(path, MicroOptions(kernels="cmsis-dsp"), out=tmp_path / "m.tflite")
    rows = random_rows(lowered.graph, 1000)
    (before,) = predict(path, rows, kernels="tflm").values()
    renamed = Dataset({"*": next(iter(rows.inputs.values()))}, preprocess={"*": next(iter(rows.preprocess.values()))})
    (after,) = predict(lowered.path, renamed, kernels="tflm").values()
    np.testing.assert_array_equal(before, after)


def clustered(path: Path, out: Path, values: int) -> Path:
    """Write the int8 model at path with the weights of each kernel moved to so many values."""
    model, graph = read_model(path), read_graph(path)
    for op in graph.ops:
        if op.name not in {"CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"}:
            continue
        tensor = graph.tensors[op.inputs[1]]
        assert tensor.quantization is not None
        assert tensor.data is not None
        shape = [1] * tensor.data.ndim
        shape[tensor.quantization.axis] = -1
        scale = tensor.quantization.scale.reshape(shape)
        real = tensor.data * scale
        centres = np.quantile(real, np.linspace(0, 1, values))
        near = centres[np.abs(real[..., None] - centres).argmin(axis=-1)]
        codes = np.clip(np.round(near / scale), -127, 127).astype(np.int8)
        model.buffers[tensor.buffer].data = codes.view(np.uint8).ravel()
    out.write_bytes(write_model(model))
    return out


@needs_tflm
def test_few_values_become_tables_where_that_saves_flash(edgecompile_data: Path, tmp_path: Path) -> None:
    from edgecompile.backends.micro.lower import lower

    source = clustered(edgecompile_data / "ic" / "pretrainedResnet_quant.tflite", tmp_path / "c.tflite", 16)
    plain = lower(source, MicroOptions(kernels="cmsis-dsp"), out=tmp_path / "plain.tflite")
    tabled = lower(source, MicroOptions(kernels="cmsis-dsp", look_up_tables=True), out=tmp_path / "tabled.tflite")
    assert "TFLM_DECODE" in {op.name for op in read_graph(tabled.path).ops}
    assert tabled.device_bytes <= 0.76 * plain.device_bytes
    assert tabled.device_bytes <= 0.76 * source.stat().st_size
    target = load_target("nucleo-l4r5zi")
    compiled = Micro().compile(Artifact.of(source, Kind.TFLITE), target, name="m", out=tmp_path / "out")
    assert [f.rule for f in compiled.findings] == ["tflm-few-values"]
    asked = target.model_copy(update={"options": {**target.options, "look_up_tables": True}})
    compiled = Micro().compile(Artifact.of(source, Kind.TFLITE), asked, name="m", out=tmp_path / "asked")
    assert compiled.findings == ()
    assert len(compiled.extra["memory"]["look_up_tables"]) >= 4
    assert compiled.firmware is not None
    assert ("AddDecode", "") in compiled.firmware.resolver


@needs_tflm
def test_files_with_op_codes_of_old_become_tables_too(edgecompile_data: Path, tmp_path: Path) -> None:
    """The compressor looks at the newer field of op codes alone, where such a file has none."""
    from edgecompile.backends.micro.lower import lower
    from edgecompile.tflite.lighter import few_values, with_weights

    source = edgecompile_data / "kws" / "kws_ref_model.tflite"
    assert not any(code.builtinCode for code in read_model(source).operatorCodes)
    lighter = tmp_path / "lighter.tflite"
    lighter.write_bytes(with_weights(source, few_values))
    tabled = lower(lighter, MicroOptions(kernels="reference", look_up_tables=True), out=tmp_path / "m.tflite")
    names = [op.name for op in read_graph(tabled.path).ops]
    assert [n for n in names if n != "TFLM_DECODE"] == [op.name for op in read_graph(source).ops]
    assert names.count("TFLM_DECODE") == len(tabled.tables) >= 4


@needs_tflm
def test_what_would_fit_is_tried_with_its_bytes(edgecompile_data: Path, tmp_path: Path) -> None:
    """The advice on flash holds: the model with few values, built with look-up tables, is as large as it says."""
    from edgecompile.backends.micro.lower import lower
    from edgecompile.tflite.lighter import few_values, with_weights

    source = edgecompile_data / "ic" / "pretrainedResnet_quant.tflite"
    target = board(sram_bytes=49_152, flash_bytes=65_536)
    arena, flash = Micro().compile(Artifact.of(source, Kind.TFLITE), target, name="m", out=tmp_path / "a").checks
    lighter = tmp_path / "lighter.tflite"
    lighter.write_bytes(with_weights(source, few_values))
    options = MicroOptions(kernels="cmsis-dsp", look_up_tables=True)
    tabled = lower(lighter, options, out=tmp_path / "b" / "m.tflite")
    said = f"16 values per kernel (pass `cluster`) with --option look_up_tables=true: {tabled.device_bytes:,} bytes"
    assert f"{said} (tried; arena {tabled.arena.arena_bytes:,}), fits" in flash.remedy
    assert "fewer channels: pass `channels` with bytes = 65536, 77% of what the model takes now" in flash.remedy
    assert "the plan peaks at op " in arena.remedy
    assert "it fits when 8" in arena.remedy


@needs_tflm
def test_options_that_are_off_are_named_first(tmp_path: Path) -> None:
    target = board(sram_bytes=1024, flash_bytes=1024)
    off = {"plan": False, "pack": False, "in_place": False}
    target = target.model_copy(update={"options": {**target.options, **off}})
    arena, flash = Micro().compile(Artifact.of(INT8, Kind.TFLITE), target, name="m", out=tmp_path).checks
    assert "too much; --option plan=true; --option in_place=true; " in arena.remedy
    assert "too much; --option pack=true; " in flash.remedy
