"""Scales of kernels with few values, as int8 files hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from nets import Net, written

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.short_scales import BITS, short


@given(st.floats(1e-30, 1e30))
def test_a_short_scale_is_near_and_short(value: float) -> None:
    (found,) = short(np.array([value]))
    assert abs(found / value - 1) <= 2.0**-BITS
    mantissa, _ = np.frexp(found)
    assert mantissa * 2**BITS == round(mantissa * 2**BITS)
    assert np.float32(127 * found) / np.float32(127) == np.float32(found) == found, "float32 holds it, times 127 too"


def quantized(net: Net, folder: Path) -> Graph:
    rows = Dataset({"*": np.random.default_rng(0).normal(size=(16, 6, 6, 8)).astype(np.float32)})
    source = Artifact.of(written(net.done({"y": len(net.graph.tensors) - 1}), folder), Kind.TFLITE)
    return read_graph(Quantize().run(source, Context(out=folder, calibration=rows)).artifact.path)


def low_bits(graph: Graph) -> list[int]:
    """Return for each kernel what its scales have beyond BITS significant bits; 0 is nothing."""
    kernels = [graph.tensors[op.inputs[1]] for op in graph.ops]
    found = [np.asarray(k.quantization.scale, np.float32) for k in kernels if k.quantization is not None]
    return [int(np.bitwise_or.reduce(scale.view(np.uint32)) & ((1 << (24 - BITS)) - 1)) for scale in found]


def test_kernels_of_few_values_alone_get_short_scales(tmp_path: Path) -> None:
    net = Net()
    codes = net.random.integers(-7, 8, (16, 3, 3, 8)) * 18
    codes[:, 0, 0, 0] = 126
    clustered = codes / 126 * net.random.uniform(0.1, 1, (16, 1, 1, 1))
    x = net.conv(net.input("x", [1, 6, 6, 8]), 16, weights=clustered.astype(np.float32))
    net.conv(x, 8)
    graph = quantized(net, tmp_path)
    few, many = low_bits(graph)
    assert few == 0
    assert many != 0
    kernel = graph.tensors[graph.ops[0].inputs[1]]
    assert kernel.data is not None
    assert kernel.quantization is not None
    assert np.abs(kernel.data.astype(int) - np.rint(codes / 126 * 127)).max() == 0, "the codes stay what they are"
    scales = np.asarray(kernel.quantization.scale)
    assert np.allclose(kernel.data * scales[:, None, None, None], clustered, atol=0, rtol=2.0**-BITS + 0.03)
