"""Rewriting `.tflite` files: nothing is lost, content is aligned, equal models give equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import builder as flatbuffers

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import Model, add_signature, make_names_unique, read_model, text, write_model
from edgecompile.tflite.graph import Graph, read_graph

DATA = Path(__file__).parent.parent / "data"
FIXTURES = sorted(DATA.glob("*.tflite"))
IMAGE, TWO = DATA / "image_float.tflite", DATA / "two_inputs.tflite"


def graph_of(tmp_path: Path, model: Model) -> Graph:
    path = tmp_path / "made.tflite"
    path.write_bytes(write_model(model))
    return read_graph(path)


def facts(graph: Graph) -> list[object]:
    """Everything that the graph says, as values that compare."""
    found: list[object] = [graph.inputs, graph.outputs, graph.signatures, graph.description, graph.name]
    for one in (graph, *graph.bodies):
        found += [op.__dict__ | {"custom_options": _bytes(op.custom_options)} for op in one.ops]
        for t in one.tensors:
            how = t.quantization
            found.append(
                (t.name, t.shape, t.shape_signature, t.dtype, t.is_variable, t.buffer, t.sparse, _bytes(t.raw))
            )
            found.append(None if how is None else (how.scale.tolist(), how.zero_point.tolist(), how.axis))
    return [*found, {name: _bytes(x) for name, x in graph.metadata.items()}]


def _bytes(x: np.typing.NDArray[np.uint8] | None) -> bytes | None:
    return None if x is None else x.tobytes()


def content_offsets(file: bytes) -> list[int]:
    root = schema.Model.GetRootAs(file)
    buffers = (root.Buffers(i) for i in range(root.BuffersLength()))
    return [b._tab.Vector(b._tab.Offset(4)) for b in buffers if not b.DataIsNone()]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_nothing_is_lost(path: Path, tmp_path: Path) -> None:
    assert facts(graph_of(tmp_path, read_model(path))) == facts(read_graph(path))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_equal_models_give_equal_bytes(path: Path) -> None:
    once = write_model(read_model(path))
    assert once[4:8] == b"TFL3"
    assert write_model(read_model(path)) == once
    assert write_model(read_model(once)) == once


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_content_is_aligned(path: Path) -> None:
    offsets = content_offsets(write_model(read_model(path)))
    assert offsets
    assert all(offset % 16 == 0 for offset in offsets)


def test_lists_become_aligned_content_too(tmp_path: Path) -> None:
    model = read_model(IMAGE)
    for buffer in model.buffers:
        buffer.data = None if buffer.data is None else buffer.data.tolist()
    assert write_model(model) == write_model(read_model(IMAGE))


def test_arrays_cannot_be_changed_in_place() -> None:
    buffer = next(b for b in read_model(IMAGE).buffers if b.data is not None)
    with pytest.raises(ValueError, match="read-only"):
        buffer.data[0] = 1


def test_content_outside_the_flatbuffer_comes_inside(tmp_path: Path) -> None:
    plain = read_model(IMAGE)
    model = read_model(IMAGE)
    main = model.subgraphs[0]
    number = main.tensors[main.operators[0].inputs[1]].buffer
    content = model.buffers[number].data.tobytes()
    model.buffers[number] = schema.BufferT(offset=1 << 20, size=len(content))
    op = main.operators[3]
    op.largeCustomOptionsOffset, op.largeCustomOptionsSize = 1 << 20, 4
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "outside.tflite"
    path.write_bytes(bytes(builder.Output()).ljust(1 << 20, b"\0") + content)

    inside = read_model(path)
    assert inside.buffers[number].data.tobytes() == plain.buffers[number].data.tobytes()
    assert inside.buffers[number].offset == inside.buffers[number].size == 0
    op = inside.subgraphs[0].operators[3]
    assert op.customOptions.tobytes() == content[:4]
    assert op.largeCustomOptionsOffset == op.largeCustomOptionsSize == 0


def test_a_signature_is_added_where_there_is_none(tmp_path: Path) -> None:
    model = read_model(TWO)
    assert not add_signature(model)
    model.signatureDefs = None
    unsigned = graph_of(tmp_path, model)
    assert add_signature(model, key="main")
    signed = graph_of(tmp_path, model)
    assert unsigned.signatures == ()
    assert signed.signatures[0].key == "main"
    assert signed.input_names() == unsigned.input_names()
    assert signed.output_names() == unsigned.output_names()
    assert tuple(signed.signatures[0].inputs.values()) == signed.inputs


def test_an_added_signature_serves_litert(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = read_model(IMAGE)
    model.signatureDefs = []
    model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].name = b""
    add_signature(model)
    run = Interpreter(model_content=write_model(model)).get_signature_runner("serving_default")
    (name,) = run.get_input_details()
    assert run(**{name: np.zeros((1, 6, 5, 2), np.float32)}).keys() == {"output_0"}


def test_names_become_unique_and_signatures_keep_theirs(tmp_path: Path) -> None:
    model = read_model(DATA / "loop.tflite")
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            tensor.name = b"same"
    model.subgraphs[0].tensors[0].name = None
    changed = make_names_unique(model)
    found = graph_of(tmp_path, model)
    names = [t.name for one in (found, *found.bodies) for t in one.tensors]
    assert len(set(names)) == len(names)
    assert names[:3] == ["tensor", "same", "same_1"]
    assert changed["same_1"] == "same"
    assert changed["tensor"] == ""
    assert "same" not in changed
    assert found.input_names() == ("x",)
    assert make_names_unique(read_model(IMAGE)) == {}


def test_text_of_names() -> None:
    assert (text(b"a"), text("b"), text(None), text(b"\xff")) == ("a", "b", "", "�")


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="bytes 4 to 8 are not b'TFL3'"):
        read_model(b"0123456789abcdef")
    with pytest.raises(ModelError, match="an offset points outside the file"):
        read_model(b"\xff\xff\xff\x7fTFL3")
    with pytest.raises(ModelError, match="no such file"):
        read_model(tmp_path / "none.tflite")


def test_more_than_a_flatbuffer_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatbuffers.Builder, "MAX_BUFFER_SIZE", 1 << 16)
    model = read_model(IMAGE)
    model.buffers[0].data = np.zeros(1 << 17, np.uint8)
    with pytest.raises(ModelError, match=r"exceeds the 2 GB that a \.tflite file can hold"):
        write_model(model)


def test_real_models_survive(edgecompile_data: Path, tmp_path: Path) -> None:
    files = sorted(edgecompile_data.rglob("*.tflite"))
    for path in files:
        model = read_model(path)
        made = write_model(model)
        assert all(offset % 16 == 0 for offset in content_offsets(made)), path
        assert facts(graph_of(tmp_path, model)) == facts(read_graph(path)), path
