"""Constants that several ops share, told apart where their integer forms must differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecompile.tflite.edit import Model, make_names_unique, read_model, write_model
from edgecompile.tflite.rewrite import op_name
from edgecompile.tflite.unused import drop_unused

_BIAS_INPUT = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Op → the input that is its bias."""


def own_biases(path: Path) -> int:
    """Give each op of the main graph of the file at path a bias of its own, in place; return how many were copied.

    The integer form of a bias has the scale of the input times that of the weights. Layers that are called several
    times (shared towers, steps of a recurrent layer) share it, and LiteRT's own quantizer writes the form for one of
    the inputs: every other call computes with a bias of the wrong scale.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(path)
    main, taken, copies = model.subgraphs[0], set[int](), 0
    for op in main.operators:
        at = _BIAS_INPUT.get(op_name(model, op))
        if at is None or len(op.inputs) <= at or op.inputs[at] < 0:
            continue
        index = int(op.inputs[at])
        shared = main.tensors[index]
        if shared.buffer in taken and model.buffers[shared.buffer].data is not None:
            model.buffers.append(schema.BufferT(data=np.array(model.buffers[shared.buffer].data, np.uint8)))
            main.tensors.append(
                schema.TensorT(
                    name=shared.name,
                    shape=shared.shape,
                    shapeSignature=shared.shapeSignature,
                    type=shared.type,
                    buffer=len(model.buffers) - 1,
                    quantization=shared.quantization,
                    hasRank=shared.hasRank,
                )
            )
            inputs = np.array(op.inputs, np.int32)
            inputs[at] = len(main.tensors) - 1
            op.inputs, copies = inputs, copies + 1
        else:
            taken.add(shared.buffer)
    if copies:
        make_names_unique(model)
        path.write_bytes(write_model(model))
    return copies


def with_shared_biases(content: bytes) -> bytes:
    """Return a quantized model whose ops share biases again where their integer forms are equal."""
    model = read_model(content)
    _share_biases(model)
    drop_unused(model)
    return write_model(model)


def _share_biases(model: Model) -> None:
    main, known = model.subgraphs[0], dict[tuple[bytes, bytes], int]()
    for op in main.operators:
        at = _BIAS_INPUT.get(op_name(model, op))
        if at is None or len(op.inputs) <= at or op.inputs[at] < 0:
            continue
        index = int(op.inputs[at])
        tensor = main.tensors[index]
        data, how = model.buffers[tensor.buffer].data, tensor.quantization
        if data is None or how is None or how.scale is None:
            continue
        key = bytes(np.asarray(data, np.uint8)), np.asarray(how.scale, "<f4").tobytes()
        first = known.setdefault(key, index)
        if first != index:
            inputs = np.array(op.inputs, np.int32)
            inputs[at] = first
            op.inputs = inputs
