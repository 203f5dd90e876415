"""Quantize: ops that quantizers give a wrong scale or none, and tensors that must share one."""

from __future__ import annotations

from pathlib import Path

import nets
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from test_quantize import DATA, quantize, reals, rows_for, sqnr_db

from edgecompile.data.dataset import Dataset
from edgecompile.tflite import engines, fidelity
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.values import Array

REDUCER = schema.ReducerOptionsT(keepDims=False)


def reduced(op: str, *before: str, size: int = 6) -> bytes:
    """A convolution, the named ops, a reduction over the image, and a dense layer."""
    net = nets.Net()
    x = net.conv(net.input("x", [1, size, size, 3]), 8, 3)
    for name in before:
        x = net.op(name, [x], net.shape(x), schema.LeakyReluOptionsT(alpha=0.2) if name == "LEAKY_RELU" else None)
    return net.done({"y": net.dense(net.op(op, [x, net.constant([1, 2])], [1, 8], REDUCER), 4)})


def embedded(source: Path, words: int = 11) -> bytes:
    """Return a recurrent model behind an embedding: its input becomes row numbers of a table."""
    model = read_model(source)
    main = model.subgraphs[0]
    (vectors,) = main.inputs
    steps, width = [int(d) for d in main.tensors[vectors].shape][1:]
    table = np.random.default_rng(0).normal(size=(words, width)).astype(np.float32)
    model.buffers.append(schema.BufferT(data=np.frombuffer(table.tobytes(), np.uint8)))
    main.tensors += [
        schema.TensorT(name=b"table", shape=list(table.shape), type=schema.TensorType.FLOAT32, hasRank=True),
        schema.TensorT(name=b"words", shape=[1, steps], type=schema.TensorType.INT32, hasRank=True),
    ]
    at = len(main.tensors) - 2
    main.tensors[at].buffer = len(model.buffers) - 1
    gather = schema.BuiltinOperator.GATHER
    model.operatorCodes.append(schema.OperatorCodeT(builtinCode=gather, deprecatedBuiltinCode=gather, version=1))
    main.operators.insert(
        0,
        schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=[at, at + 1],
            outputs=[int(vectors)],
            builtinOptions=schema.GatherOptionsT(axis=0),
            builtinOptionsType=schema.BuiltinOptions.GatherOptions,
        ),
    )
    main.inputs = np.asarray([at + 1], np.int32)
    model.signatureDefs = None
    return write_model(model)


# Scales of their own


@pytest.mark.parametrize(("op", "least_db"), [("SUM", 30), ("REDUCE_PROD", 20)])
def test_a_reduction_keeps_its_own_range_in_either_quantizer(op: str, least_db: float, tmp_path: Path) -> None:
    for name, before in (("litert", ()), ("runtime", ("LEAKY_RELU",))):
        source = nets.written(reduced(op, *before, size=2 if op == "REDUCE_PROD" else 6), tmp_path)
        rows = rows_for(read_graph(source))
        outcome = quantize(source, tmp_path / name, rows)
        assert outcome.facts["float_ops"] == 0
        wanted, found = (fidelity.real_outputs(p, rows, "builtin") for p in (source, outcome.artifact.path))
        assert fidelity.sqnr_db(wanted, found) > least_db


def test_a_sum_in_16_bits(tmp_path: Path) -> None:
    source = nets.written(reduced("SUM", "LEAKY_RELU"), tmp_path)
    outcome = quantize(source, tmp_path / "out", scheme="int16x8")
    assert (outcome.facts["engine"], outcome.facts["float_ops"]) == (engines.RUNTIME_NAME, 0)
    assert sqnr_db(source, outcome.artifact.path) > 40


def test_elu_becomes_int8(tmp_path: Path) -> None:
    source = nets.written(nets.chain("ELU", "RELU", "LEAKY_RELU"), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    graph = read_graph(outcome.artifact.path)
    assert [op.name for op in graph.ops] == ["CONV_2D", "ELU", "RELU", "LEAKY_RELU", "CONV_2D"]
    (elu,) = (op for op in graph.ops if op.name == "ELU")
    assert {graph.tensors[i].dtype for i in (*elu.inputs, *elu.outputs)} == {"int8"}
    assert elu.version == 1
    assert sqnr_db(source, outcome.artifact.path) > 30


def test_a_recurrent_layer_behind_an_embedding_becomes_int8(tmp_path: Path) -> None:
    source = nets.written(embedded(DATA / "lstm.tflite"), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    graph = read_graph(outcome.artifact.path)
    assert (outcome.facts["float_ops"], outcome.findings) == (0, ())
    assert [graph.tensors[i].dtype for i in graph.inputs] == ["int32"]
    assert sqnr_db(source, outcome.artifact.path) > 25


def test_of_two_files_the_one_that_computes_right_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = nets.written(reduced("SUM", "LEAKY_RELU"), tmp_path)
    made = engines.runtime_quantizer

    def narrow(model: Path, ranges: dict[str, engines.Range], *args: object, **named: object) -> bytes:
        ranges = {n: engines.Range(r.low / 50, r.high / 50) for n, r in ranges.items()}
        return made(model, ranges, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "runtime_quantizer", narrow)
    outcome = quantize(source, tmp_path / "out")
    assert outcome.facts["engine"] == engines.litert_quantizer_name()
    assert [f.rule for f in outcome.findings] == ["op-float", "kernels-differ"]  # SUM on reference kernels
    assert sqnr_db(source, outcome.artifact.path) > 30


# One scale for several tensors


def test_a_maximum_gets_the_range_of_what_it_picks(tmp_path: Path) -> None:
    source = nets.written(reduced("REDUCE_MAX", size=24), tmp_path)
    rows = rows_for(read_graph(source), n=200)
    outcome = quantize(source, tmp_path / "out", rows)
    graph = read_graph(outcome.artifact.path)
    (op,) = (op for op in graph.ops if op.name == "REDUCE_MAX")
    codes = graph.tensors[op.outputs[0]].quantization
    assert codes is not None
    largest = (127 - int(codes.zero_point[0])) * float(codes.scale[0])
    assert largest == pytest.approx(reference_maximum(source, rows), rel=0.02)


def reference_maximum(source: Path, rows: Dataset) -> float:
    """Return the largest value that the reduction gives on rows."""
    model = read_model(source)
    main = model.subgraphs[0]
    main.outputs, model.signatureDefs = [int(main.operators[-2].outputs[0])], None
    path = source.with_name("until_maximum.tflite")
    path.write_bytes(write_model(model))
    return float(next(iter(reals(path, rows).values())).max())


def test_a_single_number_beside_an_image_is_not_clipped(tmp_path: Path) -> None:
    net = nets.Net()
    image, number = net.input("image", [1, 16, 16, 3]), net.input("number", [1, 2])
    many = net.flat(net.conv(image, 64, 3, "relu"))
    one = net.dense(number, 1, weights=np.array([[8, 9]], np.float32))
    size = net.shape(many)[1] + 1
    joined = net.op("CONCATENATION", [many, one], [1, size], schema.ConcatenationOptionsT(axis=1))
    weights: Array = net.weights(2, size, scale=0.01)
    weights[:, -1] = 0.5
    source = nets.written(net.done({"y": net.dense(joined, 2, weights=weights)}), tmp_path)
    outcome = quantize(source, tmp_path / "out")
    assert sqnr_db(source, outcome.artifact.path) > 15  # below 3 where the number is clipped


def test_an_output_is_not_clipped_by_the_tensor_that_it_shares_a_scale_with(tmp_path: Path) -> None:
    net = nets.Net()
    source = nets.written(net.done({"y": net.flat(net.conv(net.input("x", [1, 40, 40, 3]), 4, 3))}), tmp_path)
    rows = rows_for(read_graph(source), n=64)
    outcome = quantize(source, tmp_path / "out", rows)
    wanted, found = (reals(path, rows)["y"] for path in (source, outcome.artifact.path))
    assert np.abs(wanted - found).max() < 2 * np.ptp(wanted) / 255
