"""Quantize: every scheme on real files, what is refused, and what the written file holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecompile.artifact import Artifact, Kind
from edgecompile.config import parse
from edgecompile.data.dataset import Dataset
from edgecompile.data.split import split, thin
from edgecompile.errors import ConfigError, ModelError, PassError
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize import Quantize
from edgecompile.passes.quantize_check import ensure_written
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.tflite import engines
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import Graph, Tensor, read_graph
from edgecompile.tflite.numerics import FIXED_OUTPUTS
from edgecompile.tflite.runner import dequantize_rows, predict
from edgecompile.tflite.values import Array

DATA = Path(__file__).parent.parent / "data"


def rows_for(graph: Graph, n: int = 64, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for name, i in zip(graph.input_names(), graph.inputs, strict=True):
        shape = (n, *graph.tensors[i].shape[1:])
        floats = graph.tensors[i].dtype == "float32"
        inputs[name] = random.normal(size=shape).astype(np.float32) if floats else random.integers(0, 11, shape)
    return Dataset(inputs=inputs)


def quantize(source: Path, out: Path, rows: Dataset | None = None, **fields: Any) -> Outcome:
    out.mkdir(exist_ok=True)
    rows = rows_for(read_graph(source)) if rows is None else rows
    return Quantize(**fields).run(Artifact.of(source, Kind.TFLITE), Context(out=out, calibration=rows))


def reals(model: Path, rows: Dataset) -> dict[str, Array]:
    graph = read_graph(model)
    found = {}
    for (name, stored), i in zip(predict(model, rows, kernels="builtin").items(), graph.outputs, strict=True):
        how = graph.tensors[i].quantization
        found[name] = (
            stored
            if how is None
            else dequantize_rows(stored, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
        )
    return found


def sqnr_db(source: Path, result: Path) -> float:
    """Signal to noise of all outputs together, on rows that did not calibrate."""
    rows = rows_for(read_graph(source), seed=1)
    a, b = reals(source, rows), reals(result, rows)
    assert list(a) == list(b)
    noise = sum(float(((a[n] - b[n]) ** 2).sum()) for n in a)
    return 10 * np.log10(sum(float((a[n] ** 2).sum()) for n in a) / max(noise, 1e-20))


def dtypes(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
    inputs = dict(zip(graph.input_names(), (graph.tensors[i].dtype for i in graph.inputs), strict=True))
    return inputs, dict(zip(graph.output_names(), (graph.tensors[i].dtype for i in graph.outputs), strict=True))


def scale_of(tensor: Tensor) -> tuple[float, int]:
    assert tensor.quantization is not None
    assert len(tensor.quantization.scale) == 1
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])


@pytest.fixture
def residual(tmp_path: Path) -> Path:
    return nets.written(nets.residual(), tmp_path)


# Schemes


def test_int8_is_integer_throughout_and_keeps_names(residual: Path, tmp_path: Path) -> None:
    outcome = quantize(residual, tmp_path / "out")
    graph = read_graph(outcome.artifact.path)
    assert outcome.artifact.path.parent == tmp_path / "out"
    assert dtypes(graph) == ({"image": "int8"}, {"classes": "int8", "score": "int8"})
    assert {t.dtype for t in graph.tensors} <= {"int8", "int32"}
    assert outcome.findings == ()
    assert dict(outcome.facts) == {
        "scheme": "int8",
        "io": "same",
        "engine": engines.litert_quantizer_name(),
        "ranges": "percentile",
        "percentile": 99.99,
        "calibration_rows": 64,
        "pools_as_mean": 1,
        "corrected_biases": 6,
        "kernels": "xnnpack, builtin, reference",
        "ops": len(graph.ops),
        "float_ops": 0,
        "int8_weight_bytes": 8 * 9 * 3 + 8 * 9 * 8 + 9 * 8 + 4 * 8 + 5 * 12 + 12,
    }
    assert sqnr_db(residual, outcome.artifact.path) > 30


def test_the_file_carries_nothing_that_no_tensor_refers_to(residual: Path, tmp_path: Path) -> None:
    model = read_model(quantize(residual, tmp_path / "out").artifact.path)
    used = {t.buffer for t in model.subgraphs[0].tensors} | {m.buffer for m in model.metadata or []}
    carried = {i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data)}
    assert carried <= used
    assert {op.opcodeIndex for op in model.subgraphs[0].operators} == set(range(len(model.operatorCodes)))


def test_outputs_with_a_fixed_range_have_it_and_equal_scales_are_equal(residual: Path, tmp_path: Path) -> None:
    graph = read_graph(quantize(residual, tmp_path / "out").artifact.path)
    seen = set()
    for op in graph.ops:
        scales = [scale_of(graph.tensors[i]) for i in (op.inputs[0], op.outputs[0])]
        if op.name in FIXED_OUTPUTS:
            assert scales[1] == pytest.approx(FIXED_OUTPUTS[op.name])
            seen.add(op.name)
        if op.name in {"RESHAPE", "MAX_POOL_2D"}:
            assert scales[0] == scales[1], op.name
            seen.add(op.name)
        if op.name == "CONCATENATION":
            assert {scale_of(graph.tensors[i]) for i in op.inputs} == {scales[1]}
            seen.add(op.name)
    assert seen == {"SOFTMAX", "LOGISTIC", "RESHAPE", "MAX_POOL_2D", "CONCATENATION"}


@pytest.mark.parametrize("op", ["TANH", "L2_NORMALIZATION", "LOG_SOFTMAX"])
def test_other_fixed_ranges(op: str, tmp_path: Path) -> None:
    source = nets.written(nets.chain(op), tmp_path)
    graph = read_graph(quantize(source, tmp_path / "out").artifact.path)
    (found,) = (o for o in graph.ops if o.name == op)
    assert scale_of(graph.tensors[found.outputs[0]]) == pytest.approx(FIXED_OUTPUTS[op])


def test_float_ends_around_an_integer_model(residual: Path, tmp_path: Path) -> None:
    outcome = quantize(residual, tmp_path / "out", io="float32")
    graph = read_graph(outcome.artifact.path)
    assert dtypes(graph) == ({"image": "float32"}, {"classes": "float32", "score": "float32"})
    assert outcome.facts["float_ops"] == 0
    assert sqnr_db(residual, outcome.artifact.path) > 30


def test_int16x8_keeps_extremes_and_loses_less(residual: Path, tmp_path: Path) -> None:
    outcome = quantize(residual, tmp_path / "out", scheme="int16x8")
    assert dtypes(read_graph(outcome.artifact.path)) == ({"image": "int16"}, {"classes": "int16", "score": "int16"})
    assert outcome.facts["ranges"] == "minmax"
    assert outcome.facts["pools_as_mean"] == 0
    assert "percentile" not in outcome.facts
    assert sqnr_db(residual, outcome.artifact.path) > 40


@pytest.mark.parametrize(("scheme", "stored", "least_db"), [("float16", "float16", 60), ("dynamic", "int8", 35)])
def test_weights_alone(scheme: str, stored: str, least_db: float, residual: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    outcome = Quantize(scheme=scheme).run(Artifact.of(residual, Kind.TFLITE), Context(out=tmp_path / "out"))  # type: ignore[arg-type]
    graph = read_graph(outcome.artifact.path)
    assert set(dtypes(graph)[0].values()) == {"float32"}
    assert outcome.facts[f"{stored}_weight_bytes"]
    assert "float32_weight_bytes" not in outcome.facts
    assert outcome.artifact.path.stat().st_size < residual.stat().st_size
    assert sqnr_db(residual, outcome.artifact.path) > least_db


def test_float32_is_a_copy(residual: Path, tmp_path: Path) -> None:
    assert quantize(residual, tmp_path / "out", scheme="float32").artifact.path.read_bytes() == residual.read_bytes()


@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
def test_one_scale_for_a_dense_layer(scheme: str, residual: Path, tmp_path: Path) -> None:
    graphs = [
        read_graph(quantize(residual, tmp_path / str(each), scheme=scheme, dense_per_channel=each).artifact.path)
        for each in (True, False)
    ]
    kernels = [
        {
            len(how.scale)
            for op in g.ops
            if op.name == "FULLY_CONNECTED"
            if (how := g.tensors[op.inputs[1]].quantization)
        }
        for g in graphs
    ]
    assert kernels == [{5, 1}, {1}]


def test_inputs_that_are_no_reals_stay_as_they_are(tmp_path: Path) -> None:
    outcome = quantize(DATA / "two_inputs.tflite", tmp_path / "out")
    assert dtypes(read_graph(outcome.artifact.path)) == (
        {"tokens": "int32", "numbers": "int8"},
        {"vector": "int8", "number": "int8"},
    )
    assert sqnr_db(DATA / "two_inputs.tflite", outcome.artifact.path) > 15  # rows beyond the range that calibrated


def test_a_file_without_a_signature_and_with_equal_names(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 4, 4, 2])
    content = net.done({"y": net.conv(net.conv(x, 3, 3, "relu"), 2)}, signature=False)
    model = read_model(content)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"same"
    source = nets.written(write_model(model), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    graph = read_graph(outcome.artifact.path)
    assert (graph.input_names(), graph.output_names()) == (("same",), ("same",))
    assert sqnr_db(source, outcome.artifact.path) > 30


# Engines


@pytest.mark.parametrize("op", ["LEAKY_RELU", "PRELU", "MINIMUM", "RELU6"])
def test_ops_that_litert_quantizer_leaves_in_float_go_to_the_runtime_quantizer(op: str, tmp_path: Path) -> None:
    source = nets.written(nets.chain(op), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    assert outcome.facts["engine"] == engines.RUNTIME_NAME
    assert outcome.facts["float_ops"] == 0
    assert outcome.findings == ()
    assert sqnr_db(source, outcome.artifact.path) > 30


def test_an_op_without_an_integer_form_is_a_finding(tmp_path: Path) -> None:
    source = nets.written(nets.chain("SIN"), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    (finding,) = outcome.findings
    assert finding.rule == "op-float"
    assert finding.where == "op 2 SIN (sin1)"
    assert "computes in float32" in finding.what
    assert finding.consequence
    assert finding.remedy
    assert outcome.facts["float_ops"] == 1
    assert dtypes(read_graph(outcome.artifact.path)) == ({"x": "int8"}, {"y": "int8"})


def test_a_model_that_has_no_answer_to_zeros_is_tried_on_others(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 8])
    content = net.done({"y": net.op("DIV", [net.dense(x, 8), x], [1, 8], schema.DivOptionsT())})
    source = nets.written(content, tmp_path)
    rows = Dataset(inputs={"x": np.random.default_rng(0).uniform(1, 2, (64, 8)).astype(np.float32)})
    outcome = quantize(source, tmp_path / "out", rows)
    assert outcome.facts["float_ops"] == 0
    given, wanted = (reals(path, rows)["y"] for path in (outcome.artifact.path, source))
    assert np.abs(given - wanted).max() < 0.1


@pytest.mark.parametrize("fields", [{}, {"io": "float32"}, {"ranges": "mse"}])
def test_an_lstm_is_one_fused_integer_op(fields: dict[str, str], tmp_path: Path) -> None:
    outcome = quantize(DATA / "lstm.tflite", tmp_path / "out", **fields)
    graph = read_graph(outcome.artifact.path)
    (op,) = (op for op in graph.ops if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM")
    assert graph.tensors[op.inputs[0]].dtype == graph.tensors[op.outputs[0]].dtype == "int8"
    assert outcome.facts["float_ops"] == 0
    assert sqnr_db(DATA / "lstm.tflite", outcome.artifact.path) > 25


def test_an_lstm_has_no_int16_form_and_stays_float(tmp_path: Path) -> None:
    outcome = quantize(DATA / "lstm.tflite", tmp_path / "out", scheme="int16x8")
    assert [f.rule for f in outcome.findings] == ["op-float"]
    assert sqnr_db(DATA / "lstm.tflite", outcome.artifact.path) > 40


def test_a_loop_stays_float_within_an_integer_model(tmp_path: Path) -> None:
    outcome = quantize(DATA / "gru.tflite", tmp_path / "out")
    assert [f.what.split()[0] for f in outcome.findings] == ["WHILE"]
    assert "batch of 1" in outcome.findings[0].remedy
    graph = read_graph(outcome.artifact.path)
    assert {
        t.dtype for op in graph.ops if op.name == "FULLY_CONNECTED" for t in map(graph.tensors.__getitem__, op.inputs)
    } == {"int8", "int32"}
    assert sqnr_db(DATA / "gru.tflite", outcome.artifact.path) > 20


def test_a_model_without_any_integer_op_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no op could be made int8: DEQUANTIZE, QUANTIZE, WHILE"):
        quantize(DATA / "loop.tflite", tmp_path / "out")


def test_channels_that_are_dead_keep_their_biases(tmp_path: Path) -> None:
    net = nets.Net()
    kernel, bias = net.weights(6, 3, 3, 3), net.weights(6)
    kernel[2], bias[2], kernel[3], bias[3] = 0, 5, kernel[3] * 1e-8, -3
    y = net.conv(net.input("x", [1, 6, 6, 3]), 6, 3, weights=kernel, bias=bias)
    source = nets.written(net.done({"y": y}), tmp_path)
    for scheme in ("int8", "int16x8"):
        outcome = quantize(source, tmp_path / scheme, scheme=scheme)
        assert outcome.facts["engine"] == engines.RUNTIME_NAME  # litert-quantizer saturates them, and says nothing
        assert sqnr_db(source, outcome.artifact.path) > 30


def test_a_quantizer_that_crashes_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing.py").write_text("import os\nos.abort()\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(engines, "_RUNTIME_MODULE", "crashing")
    source = nets.written(nets.chain("LEAKY_RELU"), tmp_path)
    with pytest.raises(engines.RefusedError, match="its process was ended by SIGABRT"):
        engines.runtime_quantizer(
            source, {}, engines.Settings(), rows=rows_for(read_graph(source)), log=tmp_path / "log"
        )
    outcome = quantize(source, tmp_path / "out")
    assert outcome.facts["engine"] == engines.litert_quantizer_name()
    assert [f.rule for f in outcome.findings] == ["op-float"]


def test_refusals_come_in_the_words_of_the_quantizers(tmp_path: Path) -> None:
    source = nets.written(nets.residual(), tmp_path)
    with pytest.raises(engines.RefusedError, match="RuntimeError: Model quantization statistics values"):
        engines.litert_quantizer(source, {}, engines.Settings())
    with pytest.raises(engines.RefusedError, match="Max and min for dynamic tensors should be recorded"):
        engines.runtime_quantizer(
            source, {}, engines.Settings(), rows=rows_for(read_graph(source)), log=tmp_path / "log"
        )


def test_when_no_quantizer_takes_the_model_both_reasons_are_given(
    residual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> bytes:
        raise engines.RefusedError("not this one")

    for engine in ("litert_quantizer", "runtime_quantizer", "litert_weights"):
        monkeypatch.setattr(engines, engine, refuse)
    with pytest.raises(PassError, match=r"no quantizer takes the model: litert-quantizer .*: not this one; litert run"):
        quantize(residual, tmp_path / "out")
    with pytest.raises(PassError, match="litert-quantizer does not take the model: not this one"):
        quantize(residual, tmp_path / "out", scheme="dynamic")


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Of both engines, and nothing is printed."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom test_quantize import nets, quantize\n"
        "out = Path(sys.argv[1])\nout.mkdir()\n"
        "for name, content in (('a', nets.residual()), ('b', nets.chain('LEAKY_RELU'))):\n"
        "    quantize(nets.written(content, out, name), out / ('q' + name))\n"
    )
    here = Path(__file__).parent
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parent.parent), str(here.parent), str(here)]),
        "PYTHONHASHSEED": "random",
    }
    made = []
    for name in ("one", "two"):
        said = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name)], env=env, capture_output=True, text=True, check=True
        )
        noise = [line for line in said.stderr.splitlines() if "XNNPACK delegate" not in line]  # LiteRT's own
        assert said.stdout == ""
        assert noise == []
        made.append([(tmp_path / name / q / "model.tflite").read_bytes() for q in ("qa", "qb")])
    assert made[0] == made[1]


# Better than the float graph as it comes


def test_a_global_pool_gets_a_scale_of_its_own(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.conv(net.input("x", [1, 8, 8, 3]), 8, 3, "relu")
    source = nets.written(net.done({"y": net.dense(net.flat(net.pool(x, "AVERAGE", (8, 8))), 4)}), tmp_path)
    found = {}
    for on in (True, False):
        outcome = quantize(source, tmp_path / str(on), pool_as_mean=on)
        assert outcome.facts["pools_as_mean"] == on
        assert {op.name for op in read_graph(outcome.artifact.path).ops} & {"MEAN", "AVERAGE_POOL_2D"} == (
            {"MEAN"} if on else {"AVERAGE_POOL_2D"}
        )
        found[on] = sqnr_db(source, outcome.artifact.path)
    assert found[True] > found[False] + 3


def test_biases_take_the_mean_error_of_weights_back(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 8, 8, 8])
    source = nets.written(net.done({"y": net.conv(net.conv(x, 16, 3, "relu"), 8, 3)}), tmp_path)
    rows = rows_for(read_graph(source))
    shifted = Dataset(inputs={"x": rows.inputs["x"] + np.float32(3)})
    errors = {}
    for on in (True, False):
        outcome = quantize(source, tmp_path / str(on), shifted, scheme="int16x8", bias_correction=on)
        assert outcome.facts["corrected_biases"] == 2 * on
        difference = reals(source, shifted)["y"] - reals(outcome.artifact.path, shifted)["y"]
        errors[on] = float(np.abs(difference.mean(axis=(0, 1, 2))).max())
    assert errors[True] < errors[False] / 3


# Models that are quantized already


def test_an_integer_model_is_kept_as_it_is(tmp_path: Path) -> None:
    outcome = quantize(DATA / "image_int8.tflite", tmp_path / "out")
    assert outcome.artifact.path.read_bytes() == (DATA / "image_int8.tflite").read_bytes()
    assert outcome.facts["already_quantized"] is True
    assert "float_ends_removed" not in outcome.facts


def test_float_ends_come_off_an_integer_model(tmp_path: Path) -> None:
    source = DATA / "image_int8_float_io.tflite"
    outcome = quantize(source, tmp_path / "out")
    graph = read_graph(outcome.artifact.path)
    assert set(dtypes(graph)[0].values()) | set(dtypes(graph)[1].values()) == {"int8"}
    assert outcome.facts["float_ends_removed"] == 2
    assert (graph.input_names(), graph.output_names()) == (
        read_graph(source).input_names(),
        read_graph(source).output_names(),
    )
    rows = rows_for(read_graph(source))
    for name, values in reals(source, rows).items():
        np.testing.assert_array_equal(values, reals(outcome.artifact.path, rows)[name])


def test_float_ends_stay_on_an_integer_model_where_asked_for(tmp_path: Path) -> None:
    source = DATA / "image_int8_float_io.tflite"
    assert quantize(source, tmp_path / "out", io="float32").artifact.path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scheme": "int16x8"}, "the model is quantized to int8 already, and int16x8 cannot be made of it"),
        ({"scheme": "float16"}, "the model is quantized to int8 already, and float16 cannot be made of it"),
        ({"scheme": "float32"}, "the model is quantized to int8 already, and float32 cannot be made of it"),
        (
            {"io": "float32"},
            "quantized already, with int8 for `image`, and float32 was asked for\n  → leave out --float-io",
        ),
    ],
)
def test_an_integer_model_becomes_nothing_else(fields: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        quantize(DATA / "image_int8.tflite", tmp_path / "out", **fields)


@pytest.mark.parametrize(("given", "recipe"), [("int8", "int8"), ("int16x8", "int16x8")])
def test_an_integer_model_names_the_recipe_that_keeps_it(
    given: str, recipe: str, residual: Path, tmp_path: Path
) -> None:
    made = quantize(residual, tmp_path / "made", scheme=given).artifact.path
    with pytest.raises(ModelError, match=f"build with --recipe {recipe}, which keeps it as it is"):
        quantize(made, tmp_path / "other", scheme="float16")
    assert quantize(made, tmp_path / "kept", scheme=recipe).artifact.path.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("scheme", ["dynamic", "float16"])
def test_small_weights_are_unpacked_first(scheme: str, residual: Path, tmp_path: Path) -> None:
    packed = quantize(residual, tmp_path / "packed", scheme=scheme).artifact.path
    outcome = quantize(packed, tmp_path / "out")
    assert outcome.facts["unpacked_weights"] == 6
    assert outcome.facts["float_ops"] == 0
    assert sqnr_db(residual, outcome.artifact.path) > 30
    again = quantize(packed, tmp_path / "float", scheme="float32").artifact.path
    assert {t.dtype for t in read_graph(again).tensors} == {"float32", "int32"}
    assert sqnr_db(packed, again) > (35 if scheme == "dynamic" else 100)


def test_op_codes_of_old_files(residual: Path, tmp_path: Path) -> None:
    model = read_model(residual)
    for code in model.operatorCodes:
        code.builtinCode = 0
    old = nets.written(write_model(model), tmp_path, "old.tflite")
    made = [quantize(source, tmp_path / source.stem).artifact.path.read_bytes() for source in (residual, old)]
    assert made[0] == made[1]


# What is refused, and what is said


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_without_calibration_data(scheme: str, residual: Path, tmp_path: Path) -> None:
    with pytest.raises(PassError, match=f"{scheme} needs calibration data .*\n.*--data or --calibration"):
        Quantize(scheme=scheme).run(Artifact.of(residual, Kind.TFLITE), Context(out=tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_activations_that_are_not_finite_name_their_tensor(bad: float, residual: Path, tmp_path: Path) -> None:
    rows = rows_for(read_graph(residual))
    rows.inputs["image"][3, 0, 0, 0] = bad
    with pytest.raises(PassError, match=r"quantize: tensor `image` is NaN or infinite on a calibration row"):
        quantize(residual, tmp_path / "out", rows)


def test_activations_that_are_always_zero(tmp_path: Path) -> None:
    net = nets.Net()
    dead = net.conv(net.input("x", [1, 4, 4, 2]), 3, 1, "relu", bias=np.full(3, -1e3, np.float32))
    source = nets.written(net.done({"y": net.conv(dead, 2)}), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    (finding,) = outcome.findings
    assert (finding.rule, finding.where) == ("range-zero", "conv_2d0")
    assert sqnr_db(source, outcome.artifact.path) > 40


def test_weights_beyond_float16(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.input("x", [1, 4, 4, 2])
    source = nets.written(net.done({"y": net.conv(x, 2, weights=np.full((2, 1, 1, 2), 1e5, np.float32))}), tmp_path)
    with np.errstate(over="ignore"), pytest.raises(PassError, match="weights beyond 65,504, the largest float16"):
        quantize(source, tmp_path / "out", scheme="float16")


@pytest.mark.parametrize("scheme", ["dynamic", "float16"])
def test_a_model_without_weights(scheme: str, tmp_path: Path) -> None:
    net = nets.Net()
    source = nets.written(net.done({"y": net.softmax(net.input("x", [1, 4]))}), tmp_path)
    with pytest.raises(PassError, match="no weight could be stored as"):
        quantize(source, tmp_path / "out", scheme=scheme)


def test_errors_name_the_users_file(tmp_path: Path) -> None:
    model = read_model(nets.chain("ELU"))
    model.operatorCodes[1] = schema.OperatorCodeT(builtinCode=32, deprecatedBuiltinCode=32, customCode=b"Mine")
    source = nets.written(write_model(model), tmp_path)
    with pytest.raises(ModelError, match=r"source\.tflite: LiteRT has no custom op `Mine`"):
        quantize(source, tmp_path / "out", Dataset(inputs={"x": np.zeros((2, 6, 6, 3), np.float32)}))


def test_what_was_written_is_compared_with_what_was_asked_for(tmp_path: Path) -> None:
    image, two = read_graph(DATA / "image_float.tflite"), read_graph(DATA / "two_inputs.tflite")
    with pytest.raises(PassError, match=r"the file has inputs \('image',\).*the model has \('numbers', 'tokens'\)"):
        ensure_written(image, two, scheme="int8", io="same")
    with pytest.raises(PassError, match="`image` is float32, and int8 was asked for"):
        ensure_written(image, image, scheme="int8", io="same")


def test_a_scale_of_zero_is_refused(tmp_path: Path) -> None:
    model = read_model(DATA / "image_int8.tflite")
    for tensor in model.subgraphs[0].tensors:
        if (
            tensor.quantization is not None
            and tensor.quantization.scale is not None
            and len(tensor.quantization.scale) > 1
        ):
            tensor.quantization.scale = np.zeros_like(tensor.quantization.scale)
    graph = read_graph(nets.written(write_model(model), tmp_path))
    with pytest.raises(PassError, match="came out wrong: its scale is 0 or not finite"):
        ensure_written(graph, graph, scheme="int8", io="same")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scheme": "float16", "ranges": "mse"}, "`ranges` has no meaning with scheme float16"),
        ({"scheme": "dynamic", "percentile": 99}, "`percentile` has no meaning unless ranges = percentile"),
        ({"ranges": "minmax", "percentile": 99}, "`percentile` has no meaning unless ranges = percentile"),
        ({"percentile": 49}, "greater than or equal to 50"),
        ({"scheme": "int4"}, "must be 'int8'"),
    ],
)
def test_fields_that_mean_nothing(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(Quantize, fields, where="recipe")


def test_fields_survive_being_stored() -> None:
    for step in (Quantize(), Quantize(scheme="float16"), Quantize(ranges="mse"), Quantize(scheme="int16x8")):
        assert Quantize.model_validate(step.model_dump(mode="json")) == step


# Real models


def top1(outputs: dict[str, Array], labels: Array) -> float:
    (found,) = outputs.values()
    return float((found.argmax(axis=1) == labels).mean())


@pytest.mark.slow
def test_resnet8_loses_at_most_a_fifth_of_a_point(edgecompile_data: Path, tmp_path: Path) -> None:
    stored = [np.load(edgecompile_data / "ic" / f"cifar10_{part}.npz") for part in ("train_5000", "test_3000")]
    train, test = (Dataset(inputs={"*": s["x"]}, labels=s["y"].ravel()) for s in stored)
    source = edgecompile_data / "ic" / "pretrainedResnet.tflite"
    outcome = quantize(source, tmp_path / "out", thin(train, rows=200, seed=0)[0])
    assert test.labels is not None
    before = top1(dict(predict(source, test, kernels="xnnpack")), test.labels)
    for kernels in ("builtin", "xnnpack"):
        after = top1(dict(predict(outcome.artifact.path, test, kernels=kernels)), test.labels)
        assert before - after <= 0.002, kernels


@pytest.mark.slow
def test_keyword_spotting_keeps_ninety(edgecompile_data: Path, tmp_path: Path) -> None:
    stored = np.load(edgecompile_data / "kws" / "kws01_mfcc_int8_1000.npz")
    how = Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83))
    clips = Dataset(inputs={"*": stored["x"]}, labels=stored["y"].ravel(), preprocess={"*": how})
    calibration, rest, _ = split(clips, rows=200, seed=0)
    source = edgecompile_data / "kws" / "kws_ref_model_float32.tflite"
    outcome = quantize(source, tmp_path / "out", calibration)
    assert outcome.facts["unpacked_weights"] == 5  # the reference's "float" file stores its convolutions as int8
    for part in (rest, clips):
        assert part.labels is not None
        assert top1(dict(predict(outcome.artifact.path, part, kernels="builtin")), part.labels) >= 0.9
