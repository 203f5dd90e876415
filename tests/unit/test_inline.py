"""Constants lie inside the flatbuffer, wherever a file comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import builder as flatbuffers
from nets import Net, written

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Context
from edgecompile.passes.intake import Intake
from edgecompile.passes.pack import Pack
from edgecompile.passes.quantize import Quantize
from edgecompile.target import Scheme
from edgecompile.tflite import engines
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.inline import ensure_inline, inline, outside_bytes
from edgecompile.tflite.ranges import Range
from edgecompile.tflite.runner import predict

SCHEMES: tuple[Scheme, ...] = ("int8", "int16x8", "float16", "dynamic", "float32")


def dense(units: int) -> bytes:
    """A model of two dense layers; the first has 512 × units weights."""
    net = Net()
    hidden = net.dense(net.input("x", [1, 512]), units)
    return net.done({"y": net.dense(hidden, 4)})


def with_everything_outside(content: bytes) -> bytes:
    """Return the model with the content of every buffer, and options of its first op, behind the flatbuffer."""
    model = read_model(content)
    behind = b""
    start = 1 << 16
    for buffer in model.buffers[1:]:
        if buffer.data is None:
            continue
        data = bytes(buffer.data)
        buffer.data, buffer.offset, buffer.size = None, start + len(behind), len(data)
        behind += data + bytes(-len(data) % 16)
    op = model.subgraphs[0].operators[0]
    op.largeCustomOptionsOffset, op.largeCustomOptionsSize = start, 4
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    head = bytes(builder.Output())
    assert len(head) <= start
    return head.ljust(start, b"\0") + behind


def rows(count: int = 8) -> Dataset:
    return Dataset(inputs={"x": np.random.default_rng(0).normal(size=(count, 512)).astype(np.float32)})


def test_a_file_without_content_outside_keeps_its_bytes() -> None:
    content = dense(8)
    assert outside_bytes(content) == 0
    assert inline(content) == content


def test_content_and_custom_options_come_inside(tmp_path: Path) -> None:
    content = dense(8)
    moved = with_everything_outside(content)
    assert outside_bytes(moved) > 512 * 8 * 4
    inside = inline(moved)
    assert outside_bytes(inside) == 0
    options = read_graph(written(inside, tmp_path)).ops[0].custom_options
    assert options is not None
    assert options.nbytes == 4
    before, after = read_model(content), read_model(inside)
    assert [None if b.data is None else bytes(b.data) for b in before.buffers] == [
        None if b.data is None else bytes(b.data) for b in after.buffers
    ]


def test_a_file_beyond_what_a_flatbuffer_reaches_is_refused_with_its_size(tmp_path: Path) -> None:
    moved = with_everything_outside(dense(8))
    path = tmp_path / "huge.tflite"
    with pytest.raises(ModelError, match=r"behind the flatbuffer, which reaches 65,536 B") as caught:
        inline(moved, path=path, limit=1 << 16)
    assert caught.value.problems[0].where == str(path)
    assert "split the model" in caught.value.problems[0].hint


def test_content_beyond_the_end_is_damage() -> None:
    moved = with_everything_outside(dense(8))
    with pytest.raises(ModelError, match="damaged"):
        inline(moved[: 1 << 16])


def test_what_is_written_is_checked(tmp_path: Path) -> None:
    ensure_inline(written(dense(8), tmp_path), where="quantize")
    moved = written(with_everything_outside(dense(8)), tmp_path)
    with pytest.raises(PassError, match="behind the flatbuffer") as caught:
        ensure_inline(moved, where="quantize")
    assert caught.value.problems[0].where == "quantize"


def test_the_quantizers_file_comes_inside(tmp_path: Path) -> None:
    """litert-quantizer 0.11 writes constants outside from 256 KiB on."""
    source = written(dense(1024), tmp_path)
    ranges = {t.name: Range(-4.0, 4.0) for t in read_graph(source).tensors if not t.constant}
    assert outside_bytes(engines.litert_quantizer(source, ranges, engines.Settings())) == 0
    for to in ("int8", "float16"):
        assert outside_bytes(engines.litert_weights(source, to=to)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_writes_its_constants_inside(tmp_path: Path, scheme: Scheme) -> None:
    source = written(dense(1024), tmp_path)
    for folder in ("out", "packed"):
        (tmp_path / folder).mkdir()
    ctx = Context(out=tmp_path / "out", calibration=rows(32), log=tmp_path / "log")
    made = Quantize(scheme=scheme).run(Artifact.of(source, Kind.TFLITE), ctx).artifact
    assert outside_bytes(made.path.read_bytes()) == 0
    smaller = Pack().run(made, Context(out=tmp_path / "packed", log=tmp_path / "log")).artifact
    assert outside_bytes(smaller.path.read_bytes()) == 0


def test_a_float_model_with_constants_outside_is_taken_with_them_inside(tmp_path: Path) -> None:
    plain = written(dense(16), tmp_path, "plain.tflite")
    given = written(with_everything_outside(plain.read_bytes()), tmp_path, "given.tflite")
    (tmp_path / "taken").mkdir()
    ctx = Context(out=tmp_path / "taken", log=tmp_path / "log")
    taken = Intake().run(Artifact.of(given, Kind.TFLITE), ctx).artifact
    assert outside_bytes(taken.path.read_bytes()) == 0
    np.testing.assert_array_equal(
        predict(taken.path, rows(), kernels="builtin")["y"], predict(plain, rows(), kernels="builtin")["y"]
    )


def test_an_integer_model_with_constants_outside_is_kept_with_them_inside(tmp_path: Path) -> None:
    source = written(dense(16), tmp_path)
    (tmp_path / "int8").mkdir()
    ctx = Context(out=tmp_path / "int8", calibration=rows(32), log=tmp_path / "log")
    made = Quantize().run(Artifact.of(source, Kind.TFLITE), ctx).artifact.path
    given = written(with_everything_outside(made.read_bytes()), tmp_path, "given.tflite")
    for folder in ("taken", "kept"):
        (tmp_path / folder).mkdir()
    taken = Intake().run(Artifact.of(given, Kind.TFLITE), Context(out=tmp_path / "taken", log=tmp_path / "log"))
    kept = Quantize().run(taken.artifact, Context(out=tmp_path / "kept", log=tmp_path / "log")).artifact.path
    assert outside_bytes(kept.read_bytes()) == 0
    np.testing.assert_array_equal(
        predict(kept, rows(), kernels="reference")["y"], predict(made, rows(), kernels="reference")["y"]
    )


def test_a_table_with_a_hole_is_damage() -> None:
    model = read_model(dense(8))
    weights = model.subgraphs[0].tensors[1]
    model.buffers[weights.buffer] = schema.BufferT(offset=1 << 40, size=1 << 40)
    with pytest.raises(ModelError, match="damaged"):
        inline(write_model(model))


def test_constants_in_other_files_are_refused_by_the_names_of_these(tmp_path: Path) -> None:
    model = read_model(dense(8))
    weights = model.subgraphs[0].tensors[1]
    model.externalBufferGroups = [schema.ExternalBufferGroupT(name=b"weights.bin")]
    model.externalBuffers = [schema.ExternalBufferT(id=1, group=0, offset=0, length=512 * 8 * 4)]
    weights.buffer, weights.externalBuffer = 0, 1
    with pytest.raises(ModelError, match=r"lie in other files: weights\.bin"):
        inline(write_model(model), path=tmp_path / "m.tflite")
