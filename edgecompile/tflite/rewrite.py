"""Rewrite models before they are quantized, into ones that give the same answers and quantize better."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import Model, read_model, text, write_model
from edgecompile.tflite.options import schema_names
from edgecompile.tflite.unused import drop_unused


def float_weights(model: Model) -> int:
    """Make every packed constant of model float32 again; return how many there were.

    For models that compute in float and store weights as int8 (dynamic range) or float16. Values stay what the
    kernels unpack them to. A DEQUANTIZE of a constant goes; its output becomes the constant.

    Raises:
        ModelError: weights of a form that numpy does not have (int4).
    """
    done = 0
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            values = _unpacked(model, tensor)
            if values is not None:
                store(model, tensor, values)
                done += 1
        _fold_dequantize(model, subgraph)
    return done


def _fold_dequantize(model: Model, subgraph: Any) -> None:
    """Hand the constant that a DEQUANTIZE reads on to its output, and drop the op."""
    kept = []
    moved = set()
    for op in subgraph.operators:
        source = int(op.inputs[0]) if len(op.inputs) else -1
        if op_name(model, op) == "DEQUANTIZE" and _content(model, subgraph.tensors[source]) is not None:
            target = subgraph.tensors[op.outputs[0]]
            target.buffer, target.quantization = subgraph.tensors[source].buffer, None
            moved.add(source)
        else:
            kept.append(op)
    subgraph.operators = kept
    for source in moved:
        if not _readers(subgraph, source):
            subgraph.tensors[source].buffer = 0  # quantizers change the content of a buffer for all its tensors


def _unpacked(model: Model, tensor: Any) -> npt.NDArray[np.float32] | None:
    """Return the float values of a packed constant; None for any other tensor."""
    content = _content(model, tensor)
    if content is None:
        return None
    dtype = schema_names("TensorType")[tensor.type].lower()
    if dtype == "float16":
        return content.view("<f2").astype(np.float32)
    how = tensor.quantization
    if how is None or how.scale is None or not len(how.scale) or dtype == "float32":
        return None
    if dtype not in ("int8", "uint8", "int16", "int32", "int64"):
        raise ModelError(
            f"its weights are stored as {dtype}, which cannot be unpacked",
            where=text(tensor.name),
            hint="build from the float model",
        )
    codes = content.view(np.dtype(dtype).newbyteorder("<")).reshape(tensor.shape).astype(np.float64)
    along = [1] * codes.ndim
    if len(how.scale) > 1:
        along[how.quantizedDimension] = -1
    zero = np.zeros(1) if how.zeroPoint is None else np.asarray(how.zeroPoint, np.float64)
    scale = np.asarray(how.scale, np.float64)
    return ((codes - zero.reshape(along)) * scale.reshape(along)).astype(np.float32)


def store(model: Model, tensor: Any, values: npt.NDArray[np.float32]) -> None:
    """Make tensor the float32 constant values, in a buffer of its own: others may share the old one."""
    from ai_edge_litert import schema_py_generated as schema

    tensor.buffer, tensor.type, tensor.quantization = (
        _added(model, values.astype("<f4")),
        schema.TensorType.FLOAT32,
        None,
    )


def with_constants(file: Path, values: Mapping[int, npt.NDArray[np.float32]]) -> bytes:
    """Return the model of file with other float32 constants in its main graph, by tensor number."""
    model = read_model(file)
    for index, content in values.items():
        store(model, model.subgraphs[0].tensors[index], content)
    drop_unused(model)  # what the constants were before; quantizers carry it along
    return write_model(model)


def _added(model: Model, values: npt.NDArray[Any]) -> int:
    """Return the number of a new buffer that holds values."""
    from ai_edge_litert import schema_py_generated as schema

    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    return len(model.buffers) - 1


def add_constant(model: Model, values: npt.NDArray[np.int32], name: bytes) -> int:
    """Return the number of a new constant of int32 in the main graph of model."""
    from ai_edge_litert import schema_py_generated as schema

    tensors = model.subgraphs[0].tensors
    tensors.append(
        schema.TensorT(
            name=name + b"_%d" % len(tensors),
            shape=list(values.shape),
            type=schema.TensorType.INT32,
            buffer=_added(model, values),
            hasRank=True,
        )
    )
    return len(tensors) - 1


def pool_as_mean(model: Model) -> int:
    """Replace every average over the whole image by a MEAN over height and width; return how many there were.

    Both compute the same. But the integer AVERAGE_POOL_2D must give its output the scale of its input, whose extremes
    an average never reaches (a fifth of them on ResNet8), while MEAN may have a scale of its own.
    """
    from ai_edge_litert import schema_py_generated as schema

    main = model.subgraphs[0]
    pools = [op for op in main.operators if op_name(model, op) == "AVERAGE_POOL_2D" and _global(main, op)]
    if not pools:
        return 0
    mean = schema.OperatorCodeT(
        builtinCode=schema.BuiltinOperator.MEAN, deprecatedBuiltinCode=schema.BuiltinOperator.MEAN, version=2
    )
    model.operatorCodes.append(mean)
    axes = schema.TensorT(
        name=b"pool_axes", shape=[2], type=schema.TensorType.INT32, buffer=_added(model, np.array([1, 2], "<i4"))
    )
    main.tensors.append(axes)
    for op in pools:
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.inputs = [int(op.inputs[0]), len(main.tensors) - 1]
        op.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
        op.builtinOptions = schema.ReducerOptionsT(keepDims=True)
    return len(pools)


def _global(main: Any, op: Any) -> bool:
    """Whether a pool averages all of its input, without padding or an activation behind it."""
    how = op.builtinOptions
    source, result = (main.tensors[int(i)] for i in (op.inputs[0], op.outputs[0]))
    shape, window = list(source.shape), [how.filterHeight, how.filterWidth]
    return shape[1:3] == window and list(result.shape[1:3]) == [1, 1] and how.fusedActivationFunction == 0


def fill_op_codes(model: Model) -> None:
    """Write op codes of files from before TensorFlow 2.4 to the field that newer readers look at.

    Codes were a single byte once. litert-quantizer reads the field that replaced it, and takes every op for an ADD
    where only the byte is set.
    """
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)


def strip_float_ends(model: Model) -> int:
    """Make the quantized tensors behind float inputs and before float outputs the ends; return how many changed.

    For integer models that TensorFlow's converter left with float32 inputs and outputs: a QUANTIZE that alone reads an
    input goes, and so does a DEQUANTIZE whose result nothing else reads. Signature names stay.
    """
    main = model.subgraphs[0]
    borders = {n: end for n, op in enumerate(main.operators) if (end := _end(model, main, op)) is not None}
    swaps = dict(borders.values())  # float tensor → integer tensor
    main.operators = [op for n, op in enumerate(main.operators) if n not in borders]
    main.inputs = np.asarray([swaps.get(int(i), int(i)) for i in main.inputs], np.int32)
    main.outputs = np.asarray([swaps.get(int(i), int(i)) for i in main.outputs], np.int32)
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = swaps.get(entry.tensorIndex, entry.tensorIndex)
    return len(swaps)


def _end(model: Model, main: Any, op: Any) -> tuple[int, int] | None:
    """Return the float and the integer tensor of a border op at an end of the graph; None for any other op."""
    name = op_name(model, op)
    if name not in ("QUANTIZE", "DEQUANTIZE"):
        return None
    source, result = int(op.inputs[0]), int(op.outputs[0])
    if name == "QUANTIZE":
        outside, inside, ends = source, result, main.inputs
        alone = _readers(main, source) == 1 and source not in main.outputs
    else:
        outside, inside, ends = result, source, main.outputs
        alone = _readers(main, result) == 0
    dtype = schema_names("TensorType")[main.tensors[outside].type]
    return (outside, inside) if outside in ends and alone and dtype == "FLOAT32" else None


def _readers(main: Any, tensor: int) -> int:
    return sum(tensor in op.inputs for op in main.operators)


def _content(model: Model, tensor: Any) -> npt.NDArray[np.uint8] | None:
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def op_name(model: Model, op: Any) -> str:
    """Return the schema's name of an operator of model; `CUSTOM` for every custom one."""
    code = model.operatorCodes[op.opcodeIndex]
    # Files have either of the two fields or both; see `fill_op_codes`.
    return schema_names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
