"""Ranges that a float `.tflite` brings with it, and ops in it that nobody reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import Net, written

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.edit import read_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.learned import learned_ranges
from edgecompile.tflite.unused import drop_dead_ops


def ranged(net: Net, ranges: Mapping[int, tuple[float, float]]) -> None:
    for index, (low, high) in ranges.items():
        how = schema.QuantizationParametersT()
        how.min, how.max = np.asarray([low], np.float32), np.asarray([high], np.float32)
        net.graph.tensors[index].quantization = how


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
def test_a_range_holds_for_all_that_has_one_scale(kind: str, tmp_path: Path) -> None:
    net = Net()
    conv = net.conv(net.input("x", [1, 4, 4, 3]), 8)
    flat = net.flat(net.pool(conv, kind, (2, 2)))
    dense = net.dense(flat, 4)
    ranged(net, {flat: (-1.0, 3.0)})
    found = learned_ranges(written(net.done({"y": dense}), tmp_path))
    names = [net.graph.tensors[i].name.decode() for i in (conv, flat)]
    assert all(found[name] == (-1.0, 3.0) for name in names)
    assert len(found) == 3, "of the convolution, the pool and the reshape"
    ranged(net, {conv: (-2.0, 5.0), flat: (-1.0, 3.0)})
    found = learned_ranges(written(net.done({"y": dense}), tmp_path, "two.tflite"))
    assert [found[name] for name in names] == [(-2.0, 5.0), (-1.0, 3.0)], "what was learned stays"


@pytest.mark.parametrize("bounds", [(1.0, 2.0), (0.0, 0.0), (-np.inf, 1.0)])
def test_a_range_that_is_none(tmp_path: Path, bounds: tuple[float, float]) -> None:
    net = Net()
    conv = net.conv(net.input("x", [1, 4, 4, 3]), 8)
    ranged(net, {conv: bounds})
    with pytest.raises(ModelError, match="its range is"):
        learned_ranges(written(net.done({"y": conv}), tmp_path))


def dead() -> bytes:
    """A convolution, and two ops behind it of which nobody reads the second."""
    net = Net()
    conv = net.conv(net.input("x", [1, 4, 4, 3]), 8)
    net.add(net.add(conv, net.constant(np.ones(8))), net.constant(np.full(8, 2.0)))
    return net.done({"y": net.dense(net.flat(conv), 4)})


def test_ops_that_nobody_reads_are_left_out(tmp_path: Path) -> None:
    model = read_model(dead())
    assert drop_dead_ops(model) == 2
    assert [op.opcodeIndex for op in model.subgraphs[0].operators] == [0, 1, 2]
    assert len(model.operatorCodes) == 3
    assert drop_dead_ops(model) == 0
    names = {t.name for t in model.subgraphs[0].tensors}
    assert len(names) == len(read_model(dead()).subgraphs[0].tensors) - 4, "two results and two constants"


def test_a_model_with_such_ops_is_quantized(tmp_path: Path) -> None:
    rows = Dataset({"*": np.random.default_rng(0).normal(size=(16, 4, 4, 3)).astype(np.float32)})
    source = Artifact.of(written(dead(), tmp_path), Kind.TFLITE)
    made = Quantize().run(source, Context(out=tmp_path, calibration=rows)).artifact.path
    assert [op.name for op in read_graph(made).ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
