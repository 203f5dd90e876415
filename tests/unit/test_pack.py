"""Packing: fewer bytes, the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.passes.base import Context
from edgecompile.passes.pack import Pack
from edgecompile.tflite.edit import read_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.pack import Runtime, least_bytes, pack_model, strip, write_packed
from edgecompile.tflite.runner import predict

DATA = Path(__file__).parent.parent / "data"
FILES = sorted(p.name for p in DATA.glob("*.tflite"))


@pytest.mark.parametrize("name", FILES)
def test_a_packed_file_is_smaller_and_computes_the_same(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    out.write_bytes(pack_model(read_model(DATA / name)))
    before, after = read_graph(DATA / name), read_graph(out)
    assert out.stat().st_size < (DATA / name).stat().st_size
    assert [op.name for op in before.every_op()] == [op.name for op in after.every_op()]
    assert not any(t.name for t in after.tensors)
    assert not after.signatures
    assert pack_model(read_model(out)) == out.read_bytes(), "packing again changes nothing"


@pytest.mark.parametrize("kernels", ["reference", "builtin", "xnnpack"])
@pytest.mark.parametrize("name", ["image_int8.tflite", "image_float.tflite", "lstm.tflite"])
def test_outputs_are_equal_on_every_kernel_set(name: str, kernels: str, tmp_path: Path) -> None:
    out = tmp_path / name
    out.write_bytes(pack_model(read_model(DATA / name)))
    graph = read_graph(DATA / name)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    rows = Dataset({"*": np.random.default_rng(0).uniform(-1, 1, (20, *shape)).astype(np.float32)})
    (before,) = predict(DATA / name, rows, kernels=kernels).values()  # type: ignore[arg-type]
    (after,) = predict(out, rows, kernels=kernels).values()  # type: ignore[arg-type]
    np.testing.assert_array_equal(before, after)


def test_equal_content_is_one_buffer_and_equal_vectors_are_stored_once() -> None:
    model = read_model(DATA / "image_int8.tflite")
    strip(model)
    contents = [None if b.data is None else bytes(b.data) for b in model.buffers]
    assert len(set(contents)) == len(contents)
    once = len(write_packed(model))
    twin = read_model(DATA / "image_int8.tflite")
    strip(twin)
    twin.subgraphs[0].tensors[0].quantization.scale = np.array(twin.subgraphs[0].tensors[0].quantization.scale)
    assert len(write_packed(twin)) == once


def test_content_stays_aligned() -> None:
    content = pack_model(read_model(DATA / "image_int8.tflite"))
    for buffer in read_model(content).buffers:
        if buffer.data is not None and len(buffer.data):
            at = content.index(bytes(buffer.data))
            if len(buffer.data) > 16:
                assert at % 16 == 0


def test_the_pass_keeps_the_debuggable_twin(tmp_path: Path) -> None:
    source = DATA / "image_int8.tflite"
    outcome = Pack().run(Artifact.of(source, Kind.TFLITE), Context(out=tmp_path))
    assert outcome.extras["debug"].read_bytes() == source.read_bytes()
    assert outcome.facts["bytes_after"] == outcome.artifact.path.stat().st_size
    assert 0 < float(outcome.facts["share"]) < 1


def test_a_packed_model_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = pack_model(read_model(DATA / "image_float.tflite"))
    monkeypatch.setattr("edgecompile.passes.pack.pack_model", lambda model, runtime: other)
    with pytest.raises(PassError, match="not the same model"):
        Pack().run(Artifact.of(DATA / "image_int8.tflite", Kind.TFLITE), Context(out=tmp_path))


@pytest.mark.parametrize(
    ("name", "limit"), [("kws/kws_ref_model.tflite", 36_000), ("ic/pretrainedResnet_quant.tflite", 88_000)]
)
def test_reference_models_pack_into_their_limit(edgecompile_data: Path, name: str, limit: int) -> None:
    assert len(pack_model(read_model(edgecompile_data / name))) <= limit
    assert len(pack_model(read_model(edgecompile_data / name), runtime="tflm")) <= limit


@pytest.mark.parametrize("runtime", ["any", "tflm"])
@pytest.mark.parametrize(
    "name", ["kws/kws_ref_model.tflite", "ic/pretrainedResnet_quant.tflite", "micro/person_detect"]
)
def test_little_is_left_beside_what_no_file_can_do_without(edgecompile_data: Path, name: str, runtime: Runtime) -> None:
    """At most 100 bytes per tensor and its share of buffers and ops: a table, its shape, its place in two lists."""
    model = read_model((edgecompile_data / name).with_suffix(".tflite"))
    content = pack_model(model, runtime=runtime)
    tensors = len(model.subgraphs[0].tensors)
    assert least_bytes(model) < len(content) <= least_bytes(model) + 100 * tensors
    constants = sum(len(b.data) for b in model.buffers if b.data is not None)
    assert (
        constants
        < least_bytes(model)
        < constants
        + 16 * sum(len(t.quantization.scale) for t in model.subgraphs[0].tensors if t.quantization is not None)
    )
