"""Fixing open dimensions of `.tflite` files: same answers, no open sizes, no shape arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError
from edgecompile.tflite import shapes as shapes_module
from edgecompile.tflite.edit import Model, read_model, write_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.runner import predict
from edgecompile.tflite.shapes import fix_shapes

DATA = Path(__file__).parent.parent / "data"
IMAGE, OPEN, RESHAPE, TIME, LOOP = (
    DATA / f"{name}.tflite"
    for name in ("image_float", "image_open_batch", "reshape_open_batch", "series_open_time", "loop_open_batch")
)


def fixed(tmp_path: Path, path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[Path, Graph]:
    made = tmp_path / "fixed.tflite"
    made.write_bytes(fix_shapes(path, shapes))
    return made, read_graph(made)


def open_sizes(graph: Graph) -> list[str]:
    return [t.name for one in (graph, *graph.bodies) for t in one.tensors if t.open]


@pytest.mark.parametrize(
    ("path", "shapes", "row"),
    [
        (OPEN, {}, (6, 5, 2)),
        (OPEN, {"image": (4, 6, 5, 2)}, (6, 5, 2)),
        (RESHAPE, {}, (6,)),
        (RESHAPE, {"x": (3, 6)}, (6,)),
        (TIME, {"series": (1, 7, 3)}, (7, 3)),
        (LOOP, {"x": (1, 4)}, (4,)),
    ],
)
def test_answers_stay(tmp_path: Path, path: Path, shapes: dict[str, tuple[int, ...]], row: tuple[int, ...]) -> None:
    made, graph = fixed(tmp_path, path, shapes)
    assert open_sizes(read_graph(path))
    assert open_sizes(graph) == []
    assert graph.input_names() == read_graph(path).input_names()
    wanted = next(iter(shapes.values()), (1, *row))
    assert graph.tensors[graph.inputs[0]].shape == wanted
    rows = Dataset({"*": np.random.default_rng(1).normal(size=(6, *row)).astype(np.float32)})
    for name, x in predict(path, rows, kernels="reference").items():
        np.testing.assert_array_equal(predict(made, rows, kernels="reference")[name], x)


def test_sizes_of_loops_are_fixed_inside(tmp_path: Path) -> None:
    _, graph = fixed(tmp_path, LOOP, {"x": (3, 4)})
    assert {t.shape for body in graph.bodies for t in body.tensors if len(t.shape) == 2} == {(3, 4)}


def test_shape_arithmetic_becomes_constants(tmp_path: Path) -> None:
    _, graph = fixed(tmp_path, RESHAPE, {"x": (2, 6)})
    assert "SHAPE" in {op.name for op in read_graph(RESHAPE).ops}
    assert [op.name for op in graph.ops] == ["RESHAPE", "RESHAPE", "FULLY_CONNECTED", "RESHAPE", "ADD"]
    new_shape = graph.tensors[graph.ops[0].inputs[1]]
    assert new_shape.data is not None
    assert new_shape.data.tolist() == [2, 3, 2]
    assert new_shape.dtype == "int32"


def test_outputs_are_never_folded(tmp_path: Path) -> None:
    model: Model = read_model(RESHAPE)
    main = model.subgraphs[0]
    shape_op = main.operators[0]
    main.outputs = np.array([main.outputs[0], shape_op.outputs[0]], np.int32)
    model.signatureDefs = None
    path = tmp_path / "two.tflite"
    path.write_bytes(write_model(model))
    _, graph = fixed(tmp_path, path, {})
    assert graph.ops[0].name == "SHAPE"
    assert not graph.tensors[graph.outputs[1]].constant


def test_a_file_with_nothing_open_is_returned_as_it_is() -> None:
    assert fix_shapes(IMAGE, {}) == IMAGE.read_bytes()
    assert fix_shapes(IMAGE, {"image": (1, 6, 5, 2)}) == IMAGE.read_bytes()


def test_other_kernels_can_be_asked_for(tmp_path: Path) -> None:
    assert fix_shapes(OPEN, {}, kernels="reference") == fix_shapes(OPEN, {})


def test_integers_without_scale_are_run_on_zeros(tmp_path: Path) -> None:
    model: Model = read_model(DATA / "two_inputs.tflite")
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = tensor.shape if tensor.shape is None or not len(tensor.shape) else tensor.shape.copy()
    for i in model.subgraphs[0].inputs:
        model.subgraphs[0].tensors[i].shapeSignature[0] = -1
    path = tmp_path / "open.tflite"
    path.write_bytes(write_model(model))
    assert open_sizes(fixed(tmp_path, path, {})[1]) == []


def test_int8_inputs_are_run_on_codes(tmp_path: Path) -> None:
    model: Model = read_model(DATA / "image_int8.tflite")
    image = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    image.shapeSignature = np.array([-1, 6, 5, 2], np.int32)
    path = tmp_path / "open.tflite"
    path.write_bytes(write_model(model))
    assert open_sizes(fixed(tmp_path, path, {})[1]) == []


def test_what_does_not_fit_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        fix_shapes(TIME, {"serie": (1, 2, 3)})
    text = str(caught.value)
    assert "--shape: the model has no input `serie`" in text
    assert "did you mean `series`?" in text
    assert "input `series`: takes ?×?×3, and an edge device needs every size fixed" in text
    assert "--shape series=…" in text
    with pytest.raises(ConfigError, match="cannot take the shape 1×7×4: the model has \\?×\\?×3"):
        fix_shapes(TIME, {"series": (1, 7, 4)})


def test_inputs_that_cannot_be_run(tmp_path: Path) -> None:
    model: Model = read_model(OPEN)
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.STRING
    path = tmp_path / "text.tflite"
    path.write_bytes(write_model(model))
    with pytest.raises(ModelError, match="input `image` holds string"):
        fix_shapes(path, {})


def test_other_answers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: Model, graph: Graph, run: object) -> None:
        main = model.subgraphs[0]
        bias = main.tensors[main.operators[0].inputs[2]].buffer
        model.buffers[bias].data = model.buffers[bias].data[::-1]

    monkeypatch.setattr(shapes_module, "_fold_shape_arithmetic", wrong)
    with pytest.raises(ModelError, match="gives other answers once its shapes are fixed"):
        fix_shapes(OPEN, {})


def test_shapes_that_the_interior_cannot_take(tmp_path: Path) -> None:
    model: Model = read_model(OPEN)
    main = model.subgraphs[0]
    shape = main.tensors[main.operators[1].inputs[1]]
    model.buffers[shape.buffer].data = np.frombuffer(np.array([1, 27], "<i4").tobytes(), np.uint8)
    path = tmp_path / "x.tflite"
    path.write_bytes(write_model(model))
    with pytest.raises(ModelError, match=r"op 1 `RESHAPE`: LiteRT's builtin kernels refuse the model"):
        fix_shapes(path, {"image": (2, 6, 5, 2)})


def test_a_run_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shapes_module, "_sample", lambda tensor, shape: np.full(shape, 99, tensor.dtype))
    model: Model = read_model(DATA / "two_inputs.tflite")
    for i in model.subgraphs[0].inputs:
        tensor = model.subgraphs[0].tensors[i]
        tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    path = tmp_path / "open.tflite"
    path.write_bytes(write_model(model))
    with pytest.raises(ModelError, match="LiteRT cannot run the model with its shapes fixed: gather index out of"):
        fix_shapes(path, {})


def test_real_models_lose_their_open_batch(edgecompile_data: Path, tmp_path: Path) -> None:
    for name in (
        "ic/pretrainedResnet_quant",
        "kws/kws_ref_model_float32",
        "edgetpu/dense_256",
        "micro/hello_world_int8",
    ):
        path = edgecompile_data / f"{name}.tflite"
        assert open_sizes(read_graph(path))
        assert open_sizes(fixed(tmp_path, path, {})[1]) == []
