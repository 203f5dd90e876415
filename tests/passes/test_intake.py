"""Intake: what a user's .tflite must stand before anything else is done with it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ConfigError, ModelError
from edgecompile.passes.base import Context
from edgecompile.passes.intake import Intake
from edgecompile.recipe import ModelSection
from edgecompile.tflite import tflm
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph

DATA = Path(__file__).parents[1] / "data"


def _run(path: Path, out: Path, **section: object) -> tuple[Path, dict[str, object]]:
    out.mkdir(exist_ok=True)
    ctx = Context(out=out, model=ModelSection.model_validate(section), log=out.parent / "log")
    outcome = Intake().run(Artifact.of(path, Kind.TFLITE), ctx)
    return outcome.artifact.path, dict(outcome.facts)


def test_a_whole_file_keeps_its_bytes(edgecompile_data: Path, tmp_path: Path) -> None:
    source = edgecompile_data / "kws" / "kws_ref_model_float32.tflite"
    ready, facts = _run(source, tmp_path / "out")
    graph = read_graph(ready)
    assert "builtin" in str(facts["kernels"])
    assert graph.tensors[graph.inputs[0]].shape == (1, 49, 10, 1)
    assert graph.signatures


def test_an_open_batch_becomes_the_batch_of_the_build(edgecompile_data: Path, tmp_path: Path) -> None:
    source = edgecompile_data / "ic" / "pretrainedResnet.tflite"
    assert -1 in read_graph(source).tensors[0].shape_signature
    for batch in (1, 4):
        ready, facts = _run(source, tmp_path / f"out{batch}", batch=batch)
        graph = read_graph(ready)
        assert graph.tensors[graph.inputs[0]].shape_signature == (batch, 32, 32, 3)
        assert graph.tensors[graph.outputs[0]].shape_signature == (batch, 10)
        assert facts["signature"] == "added"
        assert facts["unchanged"] is False


def test_shapes_are_checked_against_the_model(edgecompile_data: Path, tmp_path: Path) -> None:
    source = edgecompile_data / "ic" / "pretrainedResnet.tflite"
    with pytest.raises(ConfigError, match=r"cannot take the shape 1×64×64×3"):
        _run(source, tmp_path / "a", shape={"*": [1, 64, 64, 3]})
    with pytest.raises(ConfigError, match=r"no input `image`"):
        _run(source, tmp_path / "b", shape={"image": [1, 32, 32, 3]})


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"batch": 2}, "has a fixed batch of 1, and 2 was asked for"),
        ({"signature": "encode"}, "no signature `encode`"),
        ({"signature": "decode"}, "`decode` is not the file's first graph"),
        ({}, "no signature `serving_default`\n  → known: decode, first"),
    ],
)
def test_what_would_be_left_undone_is_refused(section: dict[str, object], told: str, tmp_path: Path) -> None:
    """A recipe's batch or signature that the file does not have must not be passed over."""
    model = read_model(DATA / "image_float.tflite")
    if section.keys() != {"batch"}:
        second = copy.deepcopy(model.signatureDefs[0])
        second.subgraphIndex, second.signatureKey = 1, b"decode"
        model.signatureDefs[0].signatureKey = b"first"
        model.signatureDefs.append(second)
        model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))
    (tmp_path / "m.tflite").write_bytes(write_model(model))
    with pytest.raises(ConfigError) as error:
        _run(tmp_path / "m.tflite", tmp_path / "out", **section)
    assert told in str(error.value)
    if "signature" in section:
        _run(tmp_path / "m.tflite", tmp_path / "again", signature="first")


def test_a_damaged_file_and_one_for_another_interpreter_are_refused(edgecompile_data: Path, tmp_path: Path) -> None:
    content = (edgecompile_data / "ic" / "pretrainedResnet.tflite").read_bytes()
    (tmp_path / "half.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError):
        _run(tmp_path / "half.tflite", tmp_path / "a")


def test_scales_along_an_axis_that_is_not_there_are_mended(edgecompile_data: Path, tmp_path: Path) -> None:
    """TFLite Micro's person detection gives biases the axis of their filters, which LiteRT refuses."""
    source = edgecompile_data / "micro" / "person_detect.tflite"
    ready, facts = _run(source, tmp_path / "out")
    assert facts["mended_axes"] == 14  # its depthwise layers
    assert facts["kernels"] == "xnnpack, builtin, reference"
    for tensor in read_graph(ready).tensors:
        if tensor.quantization is not None and tensor.quantization.per_channel:
            assert tensor.shape[tensor.quantization.axis] == len(tensor.quantization.scale)


def _on_tflm(path: Path, out: Path, **section: object) -> dict[str, object]:
    out.mkdir(exist_ok=True)
    ctx = Context(out=out, model=ModelSection.model_validate(section), log=out.parent / "log")
    return dict(Intake(tflm=True).run(Artifact.of(path, Kind.TFLITE), ctx).facts)


needs_tflm = pytest.mark.skipif(not tflm.installed(), reason="TFLite Micro's interpreter is not installed")


@needs_tflm
@pytest.mark.parametrize("name", ["keyword_scrambled_8bit", "audio_preprocessor_int8"])
def test_what_tflite_micro_alone_runs_is_for_its_targets(name: str, edgecompile_data: Path, tmp_path: Path) -> None:
    source = edgecompile_data / "micro" / f"{name}.tflite"
    with pytest.raises(ModelError, match="LiteRT has no ") as refused:
        _run(source, tmp_path / "a")
    assert str(tmp_path) not in str(refused.value), "the user's file is named, not the copy"
    assert _on_tflm(source, tmp_path / "b")["kernels"] == "tflm"


@needs_tflm
def test_what_nobody_runs_is_refused_with_every_reason(edgecompile_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="already compiled for an Ethos-U"):
        _on_tflm(edgecompile_data / "micro" / "person_detect_vela.tflite", tmp_path / "a")
    model = read_model(edgecompile_data / "micro" / "keyword_scrambled_8bit.tflite")
    code = next(c for c in model.operatorCodes if max(c.builtinCode, c.deprecatedBuiltinCode) == 25)  # SOFTMAX
    code.builtinCode = code.deprecatedBuiltinCode = 69  # TILE
    (tmp_path / "both.tflite").write_bytes(write_model(model))
    with pytest.raises(ModelError) as refused:
        _on_tflm(tmp_path / "both.tflite", tmp_path / "b")
    said = [problem.what for problem in refused.value.problems]
    assert said[0].startswith("LiteRT has no SVDF")
    assert said[1] == "TFLite Micro refuses the model: it has no op TILE"


def test_equal_files_give_equal_bytes(edgecompile_data: Path, tmp_path: Path) -> None:
    source = edgecompile_data / "ic" / "pretrainedResnet.tflite"
    first, _ = _run(source, tmp_path / "a")
    second, _ = _run(source, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert write_model(read_model(first)) == write_model(read_model(second))
