"""Drafts: ops are replaced, and what nothing refers to any more is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.tflite.draft import Draft
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph

DATA = Path(__file__).parent.parent / "data"


def test_a_draft_without_changes_is_the_same_graph(tmp_path: Path) -> None:
    for name in ("image_int8", "two_inputs", "loop"):
        source = DATA / f"{name}.tflite"
        content, place = Draft(source).finish()
        (tmp_path / "new.tflite").write_bytes(content)
        before, after = read_graph(source), read_graph(tmp_path / "new.tflite")
        assert [op.name for op in after.ops] == [op.name for op in before.ops]
        assert after.input_names() == before.input_names()
        assert after.output_names() == before.output_names()
        assert dict(place) == {i: range(i, i + 1) for i in range(len(before.ops))}


def test_an_op_becomes_two_and_its_constants_go(tmp_path: Path) -> None:
    """The convolution's weights stay in no buffer once nothing reads them; names of inputs and outputs stay right."""
    source = DATA / "image_int8.tflite"
    graph = read_graph(source)
    first = graph.ops[0]
    draft = Draft(source)
    between = draft.activation(first.outputs[0], "between")
    fill = draft.constant("fill", np.zeros(graph.tensors[first.outputs[0]].shape, np.int8), scale=0.5, zero_point=3)
    add = draft.op("ADD", [fill, fill], [between], version=2, options=schema.AddOptionsT())
    draft.replace(0, (add, draft.op("RELU", [between], first.outputs, version=2)))
    assert draft.replaced == frozenset({0})
    content, place = draft.finish()
    (tmp_path / "new.tflite").write_bytes(content)
    new = read_graph(tmp_path / "new.tflite")
    assert [op.name for op in new.ops][:2] == ["ADD", "RELU"]
    assert (place[0], place[1]) == (range(2), range(2, 3))
    assert new.tensors[new.ops[0].outputs[0]].name == f"{graph.tensors[first.outputs[0]].name}/between"
    weights = graph.tensors[first.inputs[1]].name
    assert weights not in {t.name for t in new.tensors}
    stored = new.tensors[new.ops[0].inputs[0]]
    assert stored.quantization is not None
    assert (stored.quantization.scale[0], stored.quantization.zero_point[0]) == (0.5, 3)
    assert new.output_names() == graph.output_names()
    assert new.signatures[0].outputs == dict(zip(new.output_names(), new.outputs, strict=True))


def test_metadata_keep_their_content(tmp_path: Path) -> None:
    model = read_model(DATA / "image_int8.tflite")
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"nothing refers to it", np.uint8)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"a note", np.uint8)))
    model.metadata = [schema.MetadataT(name=b"note", buffer=len(model.buffers) - 1)]
    model.metadataBuffer = [len(model.buffers) - 1]
    content, _ = Draft(write_model(model)).finish()
    (tmp_path / "new.tflite").write_bytes(content)
    assert bytes(read_graph(tmp_path / "new.tflite").metadata["note"]) == b"a note"
    assert b"nothing refers to it" not in content
    assert b"a note" in bytes(read_model(content).buffers[int(read_model(content).metadataBuffer[0])].data)
