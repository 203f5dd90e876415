"""Rewrite float graphs into ops that more runtimes take, with the same values to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgecompile.tflite.edit import Model
from edgecompile.tflite.rewrite import add_constant, op_name
from edgecompile.tflite.unused import drop_unread, drop_unused, present

TFLM_MOST_INPUTS = 10
"""Inputs of a CONCATENATION on TFLite Micro. Source: kMaxInputNum in tensorflow/lite/micro/kernels/concatenation.cc."""


def lower(model: Model, *, tflm: bool) -> int:
    """Rewrite ops of the main graph of a float model in place; return how many.

    Repeats (SPLIT into slices of 1, each of them several times in a CONCATENATION: Keras' UpSampling1D, UpSampling2D
    of one axis and `repeat`) become RESIZE_NEAREST_NEIGHBOR. A SPLIT_V loses outputs of no elements that nothing reads.

    Args:
        model: of floats.
        tflm: write a CONCATENATION of more than `TFLM_MOST_INPUTS` inputs as several.
    """
    done = 0
    for op in list(model.subgraphs[0].operators):
        match op_name(model, op):
            case "SPLIT_V":
                done += _without_empty(model, op)
            case "CONCATENATION":
                done += _resized(model, op) or (tflm and _nested(model, op))
    if done:
        drop_unused(model)
    return done


def _without_empty(model: Model, op: Any) -> bool:
    """Drop the last outputs of a SPLIT_V while they are empty and unread; state sizes that were left to the runtime."""
    main = model.subgraphs[0]
    axis = _constant(model, main.tensors[op.inputs[2]])
    if axis is None:
        return False
    kept = [int(i) for i in op.outputs]
    while len(kept) > 1 and not math.prod(main.tensors[kept[-1]].shape) and not _readers(main, kept[-1]):
        kept.pop()
    if len(kept) == len(op.outputs):
        return False
    sizes = [main.tensors[i].shape[int(axis.reshape(-1)[0])] for i in kept]
    op.outputs = kept
    op.inputs = [int(op.inputs[0]), add_constant(model, np.array(sizes, "<i4"), b"split_sizes"), int(op.inputs[2])]
    op.builtinOptions.numSplits = len(kept)
    return True


def _resized(model: Model, op: Any) -> bool:
    """Write a CONCATENATION that repeats the slices of a SPLIT as RESIZE_NEAREST_NEIGHBOR."""
    from ai_edge_litert import schema_py_generated as schema

    main = model.subgraphs[0]
    inputs = present(op.inputs)
    makers = [o for o in main.operators if o.outputs is not None and inputs[0] in present(o.outputs)]
    if len(makers) != 1 or op_name(model, makers[0]) != "SPLIT" or op.builtinOptions.fusedActivationFunction:
        return False
    parts, source = present(makers[0].outputs), main.tensors[int(makers[0].inputs[1])]
    times, rest = divmod(len(inputs), len(parts))
    axis = op.builtinOptions.axis % len(source.shape)
    along = _constant(model, main.tensors[int(makers[0].inputs[0])])
    slices_of_one = len(parts) == source.shape[axis] and along is not None
    if rest or times < 2 or not slices_of_one or int(along.reshape(-1)[0]) % len(source.shape) != axis:
        return False
    if inputs != [i for i in parts for _ in range(times)]:
        return False
    shape = [int(n) for n in source.shape]
    count, outer, inner = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    floor = np.arange(count * times) * np.float32(count / (count * times))  # as kernels compute the place in float32
    centred = not np.array_equal(np.floor(floor.astype(np.float32)), np.arange(count * times) // times)
    read = _tensor(model, [outer, count, 1, inner], source.type, b"repeat/read")
    made = _tensor(model, [outer, count * times, 1, inner], source.type, b"repeat/resized")
    how = schema.ResizeNearestNeighborOptionsT(halfPixelCenters=centred)
    size = add_constant(model, np.array([count * times, 1], "<i4"), b"repeat/size")
    result = int(op.outputs[0])
    new = [
        _reshape(model, int(makers[0].inputs[1]), read),
        _op(model, "RESIZE_NEAREST_NEIGHBOR", [read, size], made, how),
        _reshape(model, made, result),
    ]
    place = next(n for n, other in enumerate(main.operators) if other is op)
    main.operators[place : place + 1] = new
    drop_unread(model, parts)
    return True


def _nested(model: Model, op: Any) -> bool:
    """Write a CONCATENATION of too many inputs as several, each of at most `TFLM_MOST_INPUTS`."""
    from ai_edge_litert import schema_py_generated as schema

    main, inputs = model.subgraphs[0], present(op.inputs)
    if len(inputs) <= TFLM_MOST_INPUTS:
        return False
    rank = len(main.tensors[inputs[0]].shape)
    axis = op.builtinOptions.axis % rank
    new: list[Any] = []
    while len(inputs) > TFLM_MOST_INPUTS:
        level = []
        for start in range(0, len(inputs), TFLM_MOST_INPUTS):
            group = inputs[start : start + TFLM_MOST_INPUTS]
            if len(group) == 1:
                level += group
                continue
            shape = [int(n) for n in main.tensors[group[0]].shape]
            shape[axis] = sum(int(main.tensors[i].shape[axis]) for i in group)
            made = _tensor(model, shape, main.tensors[group[0]].type, b"joined")
            how = schema.ConcatenationOptionsT(axis=axis)
            new.append(_op(model, "CONCATENATION", group, made, how))
            level.append(made)
        inputs = level
    op.inputs = inputs
    place = next(n for n, other in enumerate(main.operators) if other is op)
    main.operators[place:place] = new
    return True


def _reshape(model: Model, source: int, result: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    shape = [int(n) for n in model.subgraphs[0].tensors[result].shape]
    wanted = add_constant(model, np.array(shape, "<i4"), b"repeat/shape")
    how = schema.ReshapeOptionsT(newShape=shape)
    return _op(model, "RESHAPE", [source, wanted], result, how)


def _op(model: Model, name: str, inputs: list[int], output: int, how: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    number = getattr(schema.BuiltinOperator, name)
    known = [n for n, code in enumerate(model.operatorCodes) if code.builtinCode == number]
    if not known:
        version = 3 if name == "RESIZE_NEAREST_NEIGHBOR" else 1  # 3: half-pixel centres; 2: int8
        code = schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version)
        model.operatorCodes.append(code)
        known = [len(model.operatorCodes) - 1]
    kind = getattr(schema.BuiltinOptions, type(how).__name__.removesuffix("T"))
    return schema.OperatorT(
        opcodeIndex=known[0], inputs=inputs, outputs=[output], builtinOptionsType=kind, builtinOptions=how
    )


def _tensor(model: Model, shape: list[int], dtype: int, name: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    tensors = model.subgraphs[0].tensors
    tensors.append(schema.TensorT(name=name + b"_%d" % len(tensors), shape=shape, type=dtype, buffer=0, hasRank=True))
    return len(tensors) - 1


def _constant(model: Model, tensor: Any) -> Any:
    """Return the content of an int32 constant; None for other tensors."""
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    return None if data is None or not len(data) else np.asarray(data, np.uint8).view("<i4")


def _readers(main: Any, tensor: int) -> bool:
    return tensor in present(main.outputs) or any(tensor in present(op.inputs) for op in main.operators)
