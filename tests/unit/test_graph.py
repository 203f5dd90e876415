"""Reading `.tflite` files: what they hold, and that damaged ones end in an error."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecompile.errors import ModelError
from edgecompile.tflite import flat, graph, tables
from edgecompile.tflite.graph import Graph, read_graph, unique_names

DATA = Path(__file__).parent.parent / "data"
FIXTURES = sorted(DATA.glob("*.tflite"))
IMAGE, INT8, LSTM, LOOP, TWO = (
    DATA / f"{name}.tflite" for name in ("image_float", "image_int8", "lstm", "loop", "two_inputs")
)


def file_of(tmp_path: Path, model: schema.ModelT) -> Path:
    """Write model as it is, however wrong."""
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "made.tflite"
    path.write_bytes(builder.Output())
    return path


def model_of(path: Path) -> schema.ModelT:
    return schema.ModelT.InitFromPackedBuf(path.read_bytes())


def test_reads_ops_with_named_options() -> None:
    found = read_graph(IMAGE)
    assert [op.name for op in found.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    options = found.ops[0].options
    assert (options["stride_w"], options["stride_h"], options["dilation_w_factor"]) == (2, 2, 1)
    assert options["padding"].name == "SAME"
    assert options["fused_activation_function"] == schema.ActivationFunctionType.RELU6
    assert options["quantized_bias_type"] == "float32"
    assert found.ops[3].options == {"beta": 1.0}
    assert found.metadata.keys() >= {"min_runtime_version"}
    assert found.description == "MLIR Converted."


def test_constants_are_read_only_views_of_the_file() -> None:
    found = read_graph(IMAGE)
    kernel = found.tensors[found.ops[0].inputs[1]]
    assert kernel.data is not None
    assert kernel.shape == (3, 3, 3, 2)
    assert kernel.data.shape == (3, 3, 3, 2)
    assert kernel.dtype == "float32"
    assert kernel.constant
    assert not kernel.data.flags.writeable
    assert not kernel.data.flags.owndata
    assert kernel.raw is not None
    assert kernel.raw.nbytes == 4 * math.prod(kernel.shape)
    activation = found.tensors[found.inputs[0]]
    assert activation.data is None
    assert not activation.constant


def test_reads_quantization_per_tensor_and_per_channel() -> None:
    found = read_graph(INT8)
    conv = found.ops[0]
    image, kernel, bias = (found.tensors[i] for i in conv.inputs)
    assert (image.dtype, kernel.dtype, bias.dtype) == ("int8", "int8", "int32")
    assert image.quantization is not None
    assert kernel.quantization is not None
    assert image.quantization.scale.shape == (1,)
    assert image.quantization.scale.dtype == np.float32
    assert not image.quantization.per_channel
    assert kernel.quantization.scale.shape == (3,)
    assert kernel.quantization.zero_point.tolist() == [0, 0, 0]
    assert kernel.quantization.axis == 0
    assert kernel.quantization.per_channel
    assert read_graph(IMAGE).tensors[0].quantization is None


def test_names_come_from_the_signature_in_graph_order() -> None:
    found = read_graph(TWO)
    assert set(found.input_names()) == {"tokens", "numbers"}
    by_name = dict(zip(found.input_names(), found.inputs, strict=True))
    assert found.tensors[by_name["tokens"]].dtype == "int32"
    assert found.tensors[by_name["numbers"]].dtype == "float32"
    assert set(found.output_names()) == {"vector", "number"}


def test_names_come_from_tensors_without_a_signature(tmp_path: Path) -> None:
    model = model_of(TWO)
    model.signatureDefs = None
    main = model.subgraphs[0]
    main.outputs = [main.outputs[0], main.outputs[0], main.outputs[1]]
    for i in main.inputs:
        main.tensors[i].name = b""
    main.tensors[main.outputs[0]].name = b"out"
    main.tensors[main.outputs[2]].name = b"last"
    found = read_graph(file_of(tmp_path, model))
    assert found.signatures == ()
    assert found.input_names() == ("input_0", "input_1")
    assert found.output_names() == ("out", "out_1", "last")


def test_one_tensor_with_two_output_names_keeps_both(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    main = model.subgraphs[0]
    main.outputs = [main.outputs[0], main.outputs[0]]
    signature = model.signatureDefs[0]
    signature.outputs = [*signature.outputs, schema.TensorMapT(name=b"again", tensorIndex=main.outputs[0])]
    assert read_graph(file_of(tmp_path, model)).output_names() == ("classes", "again")


def test_producers_and_consumers() -> None:
    found = read_graph(IMAGE)
    conv, reshape = found.ops[:2]
    assert found.producers[conv.outputs[0]] is conv
    assert found.consumers[conv.outputs[0]] == (reshape,)
    assert found.inputs[0] not in found.producers


def test_open_dimensions() -> None:
    found = read_graph(DATA / "image_open_batch.tflite")
    image = found.tensors[found.inputs[0]]
    assert image.shape == (1, 6, 5, 2)
    assert image.shape_signature == (-1, 6, 5, 2)
    assert image.open
    assert not read_graph(IMAGE).tensors[0].open


def test_state_is_variable() -> None:
    found = read_graph(LSTM)
    lstm = found.ops[0]
    assert lstm.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert -1 in lstm.inputs
    assert sum(t.is_variable for t in found.tensors) == 2
    assert lstm.options["fused_activation_function"].name == "TANH"


def test_bodies_of_control_flow() -> None:
    found = read_graph(LOOP)
    assert found.subgraphs == 3
    assert len(found.bodies) == 2
    assert [op.name for op in found.ops] == ["WHILE"]
    assert found.ops[0].options == {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    assert {op.name for op in found.every_op()} >= {"WHILE", "MUL", "GREATER"}
    assert all(isinstance(body, Graph) and body.bodies == () for body in found.bodies)


def test_custom_ops_keep_their_name_and_options(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    code = model.operatorCodes[model.subgraphs[0].operators[3].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"my-op"
    op = model.subgraphs[0].operators[3]
    op.builtinOptions, op.builtinOptionsType = None, 0
    op.customOptions = np.frombuffer(b"abc", np.uint8)
    found = read_graph(file_of(tmp_path, model)).ops[3]
    assert (found.name, found.custom, found.options) == ("my-op", True, {})
    assert found.custom_options is not None
    assert bytes(found.custom_options) == b"abc"


def test_custom_op_without_a_name_and_unknown_op(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    codes = model.operatorCodes
    codes[0].builtinCode = codes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    codes[1].builtinCode, codes[1].deprecatedBuiltinCode = 9999, 127
    names = {op.name for op in read_graph(file_of(tmp_path, model)).ops}
    assert names >= {"CUSTOM", "UNKNOWN_9999"}


def test_content_outside_the_flatbuffer(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    kernel = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    buffer = model.buffers[kernel.buffer]
    content = bytes(buffer.data)
    inside = read_graph(IMAGE)
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, len(content)
    path = file_of(tmp_path, model)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(content)
    outside = read_graph(path)
    i = inside.ops[0].inputs[1]
    np.testing.assert_array_equal(outside.tensors[i].data, inside.tensors[i].data)

    buffer.size += 1
    path = file_of(tmp_path, model)
    with pytest.raises(ModelError, match="content at byte 1,048,576 of 217 bytes reaches beyond the end"):
        read_graph(path)


def test_custom_options_outside_the_flatbuffer(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    op = model.subgraphs[0].operators[3]
    op.largeCustomOptionsOffset, op.largeCustomOptionsSize = 1 << 20, 3
    path = file_of(tmp_path, model)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"xyz")
    found = read_graph(path).ops[3].custom_options
    assert found is not None
    assert bytes(found) == b"xyz"


def test_large_files_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "_MAPPED_ABOVE_BYTES", 1000)
    found = read_graph(IMAGE)
    kernel = found.tensors[found.ops[0].inputs[1]].data
    assert kernel is not None
    assert not kernel.flags.writeable
    np.testing.assert_array_equal(kernel, kernel)
    monkeypatch.undo()
    np.testing.assert_array_equal(kernel, read_graph(IMAGE).tensors[found.ops[0].inputs[1]].data)


def test_dtypes_that_numpy_has_no_form_for_keep_their_bytes(tmp_path: Path) -> None:
    model = model_of(INT8)
    main = model.subgraphs[0]
    dense = next(op for op in main.operators if len(op.inputs) == 3 and op is not main.operators[0])
    kernel = main.tensors[dense.inputs[1]]
    kernel.type = schema.TensorType.INT4
    buffer = model.buffers[kernel.buffer]
    buffer.data = buffer.data[: len(buffer.data) // 2]
    found = read_graph(file_of(tmp_path, model)).tensors[dense.inputs[1]]
    assert (found.dtype, found.data, found.constant) == ("int4", None, True)
    assert found.raw is not None
    assert found.raw.nbytes == math.prod(found.shape) // 2


def test_sparse_content_is_raw(tmp_path: Path) -> None:
    model = model_of(IMAGE)
    kernel = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    kernel.sparsity = schema.SparsityParametersT()
    buffer = model.buffers[kernel.buffer]
    buffer.data = buffer.data[:16]
    found = read_graph(file_of(tmp_path, model))
    tensor = found.tensors[found.ops[0].inputs[1]]
    assert tensor.sparse
    assert tensor.data is None
    assert tensor.constant
    assert tensor.raw is not None


def test_bias_with_the_kernels_axis_is_read_along_its_only_one(tmp_path: Path) -> None:
    model = model_of(INT8)
    main = model.subgraphs[0]
    bias = main.tensors[main.operators[0].inputs[2]]
    assert bias.quantization is not None
    bias.quantization.quantizedDimension = 3
    found = read_graph(file_of(tmp_path, model)).tensors[main.operators[0].inputs[2]]
    assert found.quantization is not None
    assert found.quantization.axis == 0


def test_missing_zero_points_are_zero(tmp_path: Path) -> None:
    model = model_of(INT8)
    model.subgraphs[0].tensors[0].quantization.zeroPoint = None
    found = read_graph(file_of(tmp_path, model)).tensors[0]
    assert found.quantization is not None
    assert found.quantization.zero_point.tolist() == [0]


def test_unique_names() -> None:
    assert unique_names(["a", "b", "a", "a_1", "a"]) == ("a", "b", "a_2", "a_1", "a_3")


def test_unique_names_of_a_hostile_file_take_no_time() -> None:
    assert unique_names(["a"] * 300_000)[-1] == "a_299999"


@given(st.lists(st.sampled_from(["a", "b", "a_1", "a_2", "b_1", ""]), max_size=8))
def test_unique_names_are_unique_and_keep_first(names: list[str]) -> None:
    made = unique_names(names)
    assert len(set(made)) == len(names)
    assert all(new == old for i, (new, old) in enumerate(zip(made, names, strict=True)) if old not in names[:i])


# --- refusals -----------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_graph(path)
    assert str(path) in caught.value.problems[0].where
    return str(caught.value)


def test_refuses_what_is_no_tflite_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.tflite")
    assert "a folder, not a file" in refused(tmp_path)
    assert "not a file" in refused(Path("/dev/null"))
    for content, says in (
        (b"", r"too short for a .tflite file (0 bytes)"),
        (b"\x1c\0\0\0TFL3", "too short for a .tflite file (8 bytes)"),
        (b"PK\x03\x04" + bytes(100), "a zip archive (a `.keras` file?)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file (`.h5`)"),
        (bytes(100), "not a .tflite file: bytes 4 to 8 are"),
    ):
        path = tmp_path / "x.tflite"
        path.write_bytes(content)
        assert says in refused(path)


def test_refuses_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "x.tflite"
    path.write_bytes(IMAGE.read_bytes())
    monkeypatch.setattr(Path, "open", denied)  # root may read everything
    assert "cannot be read: Permission denied" in refused(path)


def test_refuses_an_endless_root_offset(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"\xff\xff\xff\x7fTFL3" + bytes(8))
    assert "an offset points outside the file" in refused(path)


def test_refuses_a_model_without_a_graph(tmp_path: Path) -> None:
    assert "damaged .tflite file: it holds no graph" in refused(file_of(tmp_path, schema.ModelT(version=3)))


@pytest.mark.parametrize(
    ("at", "field", "value", "says"),
    [
        ("main", "inputs", [2], "is written, and is a constant"),
        ("op", "outputs", [2], "is written, and is a constant"),
        ("op", "opcodeIndex", 99, "operator 0 has code 99 of"),
        ("op", "inputs", [1000], "inputs name tensor 1000, and there are"),
        ("op", "outputs", [-1], "outputs name tensor -1, and there are"),
        ("main", "inputs", [-1], "inputs name tensor -1, and there are"),
        ("kernel", "buffer", 77, "a tensor has buffer 77 of"),
        ("kernel", "shape", [3, -3], "has the shape [3, -3]"),
        ("kernel", "shape", [65536] * 3, "has the shape [65536, 65536, 65536]"),
        ("kernel", "shape", [1] * 33, "has the shape [1, 1, 1"),
        ("kernel", "shape", [2, 2], "int8[2, 2] has 54 bytes of content"),
        ("quantization", "zeroPoint", np.zeros(2, np.int64), "has 3 scales and 2 zero points"),
        ("quantization", "quantizedDimension", 3, "has 3 scales along axis 3"),
        ("quantization", "quantizedDimension", 7, "has 3 scales along axis 7"),
        ("signature", "subgraphIndex", 5, "a signature names subgraph 5 of 1"),
        ("entry", "tensorIndex", 500, "signature entry `image` names tensor 500"),
        ("options", "padding", 9, "an operator has `padding` 9"),
    ],
)
def test_refuses_numbers_that_name_nothing(tmp_path: Path, at: str, field: str, value: object, says: str) -> None:
    model = model_of(INT8)
    main = model.subgraphs[0]
    op = main.operators[0]
    kernel, signature = main.tensors[op.inputs[1]], model.signatureDefs[0]
    tables_of = {
        "main": main,
        "op": op,
        "options": op.builtinOptions,
        "kernel": kernel,
        "quantization": kernel.quantization,
        "signature": signature,
        "entry": signature.inputs[0],
    }
    setattr(tables_of[at], field, value)
    assert says in refused(file_of(tmp_path, model))


def test_refuses_more_tables_than_any_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "_MAX_TABLES", 20)
    assert "more than 20 tables" in refused(IMAGE)


def test_refuses_parts_that_overlap_without_end(tmp_path: Path) -> None:
    """Many tensors share one long name: reading them all would take far more work than the file has bytes."""
    builder = Builder(1 << 20)
    name = builder.CreateString("n" * 100_000)
    tensors = []
    for _ in range(1000):
        schema.TensorStart(builder)
        schema.TensorAddName(builder, name)
        tensors.append(schema.TensorEnd(builder))
    schema.SubGraphStartTensorsVector(builder, len(tensors))
    for tensor in tensors:
        builder.PrependUOffsetTRelative(tensor)
    vector = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, vector)
    subgraph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(subgraph)
    vector = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, vector)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    path = tmp_path / "x.tflite"
    path.write_bytes(builder.Output())
    assert "its parts overlap without end" in refused(path)


def test_a_hole_in_place_of_a_table_is_damage() -> None:
    with pytest.raises(flat.DamageError, match="tensor 3 is missing"):
        flat.item(None, what="tensor 3")


@pytest.mark.parametrize("fixture", [INT8, LOOP, TWO], ids=lambda p: p.stem)
@given(data=st.data())
@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_model_errors_only(fixture: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(fixture.read_bytes())
    path = tmp_path / "damaged.tflite"
    if data.draw(st.booleans(), "truncate"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        places = st.integers(8, len(content) - 4)
        for at in data.draw(st.lists(places, min_size=1, max_size=8), "places"):
            content[at : at + 4] = data.draw(
                st.one_of(
                    st.integers(0, 31).map(lambda bit, at=at: _flipped(content[at : at + 4], bit)),
                    st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]),
                )
            )
    path.write_bytes(content)
    try:
        found = read_graph(path)
    except ModelError:
        return
    # What is read is consistent: whoever reads on need not check again.
    for one in (found, *found.bodies):
        everywhere = [i for op in one.ops for i in (*op.inputs, *op.outputs)]
        assert all(-1 <= i < len(one.tensors) for i in everywhere)
        assert all(t.data is None or t.data.shape == t.shape for t in one.tensors)
        assert len(set(one.input_names())) == len(one.inputs)


def _flipped(word: bytearray, bit: int) -> bytes:
    return (int.from_bytes(word, "little") ^ (1 << bit)).to_bytes(4, "little")


# --- real models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_every_fixture_reads(path: Path) -> None:
    assert read_graph(path).ops


def test_every_real_model_reads_and_quickly(edgecompile_data: Path) -> None:
    files = sorted(edgecompile_data.rglob("*.tflite"))
    assert len(files) > 60
    read_graph(files[0])
    for file in files:
        began = time.process_time()
        found = read_graph(file)
        # 29 ms for the largest of them (3.6 MB, 199 tensors) on the slowest machine seen; ten times that is a fault.
        assert time.process_time() - began < 0.3, file
        assert found.ops
        assert found.inputs
        assert found.outputs


def test_real_compiled_models_name_their_custom_op(edgecompile_data: Path) -> None:
    ops = read_graph(edgecompile_data / "edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite").ops
    assert [(op.name, op.custom) for op in ops] == [("edgetpu-custom-op", True)]
    assert ops[0].custom_options is not None
    assert ops[0].custom_options.nbytes > 100_000
    assert any(op.name == "ethos-u" for op in read_graph(edgecompile_data / "micro/person_detect_vela.tflite").ops)


def test_the_contract_of_the_module() -> None:
    assert set(graph.__all__) == {"Graph", "Op", "Quantization", "Signature", "Tensor", "read_graph", "unique_names"}
    assert tables.OpCode("X", 1, custom=False).name == "X"
