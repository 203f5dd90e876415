"""Cross-layer equalization: the float model stays, ranges even out, and only what may be scaled is."""

from __future__ import annotations

from pathlib import Path

import nets
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite import rewrite
from edgecompile.tflite.equalize import equalized, pairs
from edgecompile.tflite.fidelity import real_outputs, sqnr_db
from edgecompile.tflite.graph import read_graph

RELU = schema.FullyConnectedOptionsT(fusedActivationFunction=1)
TANH = schema.FullyConnectedOptionsT(fusedActivationFunction=4)


def chain(*, uneven: float = 2.0, between: str = "", last: object = RELU) -> bytes:
    """Three dense layers whose weights differ from output to output by powers of e."""
    net = nets.Net()
    x = net.input("x", [1, 24])
    for options in (RELU, last):
        scale = np.exp(net.random.normal(0, uneven, 32)).astype(np.float32)
        weights = net.weights(32, net.shape(x)[1]) * scale[:, None]
        x = net.op(
            "FULLY_CONNECTED", [x, net.constant(weights), net.constant(net.weights(32) * scale)], [1, 32], options
        )
        if between == "LEAKY_RELU":
            x = net.op(between, [x], net.shape(x), schema.LeakyReluOptionsT(alpha=0.1))
        elif between:
            x = net.op(between, [x], net.shape(x))
    return net.done({"y": net.dense(x, 4)})


def rows(n: int = 128) -> Dataset:
    return Dataset(inputs={"x": np.random.default_rng(1).normal(size=(n, 24)).astype(np.float32)})


def ratio(graph_of: Path) -> float:
    """Return how many times the smallest output of the first kernel goes into the largest."""
    graph = read_graph(graph_of)
    kernel = graph.tensors[graph.ops[0].inputs[1]].data
    assert kernel is not None
    largest = np.abs(kernel).max(axis=1)
    return float(largest.max() / largest.min())


def test_an_equalized_model_computes_the_same_and_its_ranges_even_out(tmp_path: Path) -> None:
    for between in ("", "LEAKY_RELU"):
        source = nets.written(chain(between=between), tmp_path)
        graph = read_graph(source)
        found = pairs(graph)
        assert len(found) == 2
        changed = nets.written(
            rewrite.with_constants(source, equalized(graph, found, power=1.0)), tmp_path, "even.tflite"
        )
        wanted, given = (real_outputs(path, rows(), "builtin") for path in (source, changed))
        assert sqnr_db(wanted, given) > 100
        assert ratio(changed) < ratio(source) / 3


def test_what_does_not_pass_a_factor_through_is_left(tmp_path: Path) -> None:
    assert len(pairs(read_graph(nets.written(chain(between="TANH"), tmp_path)))) == 0
    assert len(pairs(read_graph(nets.written(chain(last=TANH), tmp_path)))) == 1
    net = nets.Net()  # read twice
    x = net.dense(net.input("x", [1, 24]), 32)
    source = nets.written(net.done({"y": net.dense(x, 4), "z": net.dense(x, 3)}), tmp_path)
    assert pairs(read_graph(source)) == ()
    net = nets.Net()  # clustered
    few = np.random.default_rng(0).choice([-0.5, 0.25, 1.0], (32, 24)).astype(np.float32)
    source = nets.written(net.done({"y": net.dense(net.dense(net.input("x", [1, 24]), 32, weights=few), 4)}), tmp_path)
    assert pairs(read_graph(source)) == ()


def test_dense_layers_of_one_scale_come_nearer_to_float(tmp_path: Path) -> None:
    source = nets.written(chain(), tmp_path)
    found = {}
    for name, fields in (("plain", {"equalize": False}), ("even", {}), ("each", {"dense_per_channel": True})):
        out = tmp_path / name
        out.mkdir()
        step = Quantize(**{"dense_per_channel": False, **fields})
        made = step.run(Artifact.of(source, Kind.TFLITE), Context(out=out, calibration=rows()))
        found[name] = sqnr_db(*(real_outputs(p, rows(), "builtin") for p in (source, made.artifact.path)))
        assert made.facts.get("equalized_layers") == (3 if name == "even" else None)
    assert found["even"] > found["plain"] + 1
