"""A rewritten model holds nothing that its rewriting has put other constants in the place of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import Net, written

from edgecompile.artifact import Artifact, Kind
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import Quantize
from edgecompile.target import Scheme
from edgecompile.tflite.edit import buffers_named, read_model, write_model


def quantized(source: Path, scheme: Scheme, out: Path) -> Path:
    out.mkdir()
    made = Quantize(scheme=scheme).run(Artifact.of(source, Kind.TFLITE), Context(out=out, log=out.parent / "log"))
    return made.artifact.path


def floats(folder: Path) -> Path:
    net = Net()
    x = net.conv(net.input("x", [1, 8, 8, 3]), 64, 3, "relu")
    return written(net.done({"y": net.dense(net.flat(net.conv(x, 64, 3)), 8)}), folder)


@pytest.mark.parametrize(("given", "scheme"), [("float16", "float16"), ("float16", "float32"), ("dynamic", "float16")])
def test_a_given_model_of_packed_weights_becomes_as_large_as_one_made_of_floats(
    tmp_path: Path, given: Scheme, scheme: Scheme
) -> None:
    source = floats(tmp_path)
    made = quantized(quantized(source, given, tmp_path / "given"), scheme, tmp_path / "made")
    of_floats = quantized(source, scheme, tmp_path / "direct")
    assert made.stat().st_size == pytest.approx(of_floats.stat().st_size, rel=0.01)
    model = read_model(made)
    held = {i for i, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data)}
    assert held <= buffers_named(model)


def test_what_nothing_names_is_not_written_and_buffers_keep_their_numbers(tmp_path: Path) -> None:
    """Also in models of several subgraphs, and beside metadata."""
    model = read_model(floats(tmp_path))
    whole = len(write_model(model))
    model.subgraphs.append(schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[], name=b"body"))
    model.buffers += [schema.BufferT(data=np.zeros(5000, np.uint8)), schema.BufferT(data=np.ones(10, np.uint8))]
    model.metadata = [schema.MetadataT(name=b"note", buffer=len(model.buffers) - 1)]
    content = write_model(model)
    assert len(content) < whole + 500
    assert len(model.buffers[-2].data) == 5000  # the model in hand is not changed
    again = read_model(content)
    assert again.buffers[again.metadata[0].buffer].data.tolist() == [1] * 10
    assert again.buffers[-2].data is None
