"""Write weights of TFLite's sparse format out in full.

The format (`SparsityParameters` of the TFLite schema) is that of TACO: the dimensions of a tensor are walked in
`traversal_order`, those of the tensor first and then those inside of blocks, and each is either dense, with every index
present, or compressed: `array_segments` says where the indices below each place of the dimension before begin and end
in `array_indices`. What is not listed is 0. LiteRT's kernels compute with some of these tensors; before all other ops
DENSIFY writes them out at every run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.tflite.edit import Model, text
from edgecompile.tflite.options import schema_names
from edgecompile.tflite.unused import drop_unused
from edgecompile.tflite.values import Array

_DENSE = 0
"""`DimensionType` DENSE; the other is SPARSE_CSR."""

_MOST_BYTES = (1 << 31) - 1
"""What a flatbuffer can hold."""

_BYTES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float64": 8, "int64": 8}

Places = npt.NDArray[np.int64]


def densify(model: Model) -> int:
    """Write every sparse constant of model out in full; return how many there were.

    A DENSIFY goes, and its output becomes the constant.

    Raises:
        ModelError: a sparse tensor is damaged, too large, or of a dtype without whole bytes.
    """
    done = 0
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.sparsity is not None:
                _write_out(model, tensor)
                done += 1
        if done:
            _drop_densify(model, subgraph)
    if done:
        drop_unused(model)
    return done


def _write_out(model: Model, tensor: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    dtype = schema_names("TensorType")[tensor.type].lower()
    data = model.buffers[tensor.buffer].data
    if data is None or dtype not in _BYTES:
        raise _fault(tensor, f"of {dtype} cannot be written out")
    items = np.asarray(data, np.uint8)
    if items.size % _BYTES[dtype]:
        raise _fault(tensor, "is damaged: its content does not end with a value")
    shape = tuple(int(size) for size in (tensor.shape if tensor.shape is not None else ()))
    if math.prod(shape) * _BYTES[dtype] > _MOST_BYTES:
        raise _fault(tensor, "holds more than a flatbuffer can")
    try:
        places = sparse_places(shape, tensor.sparsity)
    except (ValueError, IndexError, AttributeError) as error:
        raise _fault(tensor, f"is damaged: {error}") from None
    values = items.reshape(-1, _BYTES[dtype])
    if len(values) != len(places):
        raise _fault(tensor, f"is damaged: {len(places):,} places and {len(values):,} values")
    whole: Array = np.zeros((math.prod(shape), _BYTES[dtype]), np.uint8)
    whole[places] = values
    model.buffers.append(schema.BufferT(data=whole.reshape(-1)))  # another tensor may share the old one
    tensor.buffer, tensor.sparsity = len(model.buffers) - 1, None


def sparse_places(shape: tuple[int, ...], how: Any) -> Places:
    """Return where each stored value lies in the tensor, counted from its start in row-major order, [values].

    Args:
        shape: of the tensor.
        how: `SparsityParametersT` of the schema.

    Raises:
        ValueError: the parameters contradict each other or the shape.
    """
    order = [int(d) for d in how.traversalOrder]
    blocks = [] if how.blockMap is None else [int(d) for d in how.blockMap]
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocks))) or len(how.dimMetadata) != len(order):
        raise ValueError(f"its {rank} dimensions and {len(blocks)} of blocks are walked in the order {order}")
    if len(set(blocks)) < len(blocks) or not set(blocks) <= set(range(rank)):
        raise ValueError(f"its blocks lie in the dimensions {blocks}")
    levels = dict(zip(order, how.dimMetadata, strict=True))
    sizes = [int(levels[rank + at].denseSize) for at in range(len(blocks))]
    within = dict(zip(blocks, sizes, strict=True))
    if any(size < 1 or shape[d] % size for d, size in within.items()):
        raise ValueError(f"blocks of {sizes} do not divide {list(shape)}")
    extents = [shape[d] // within.get(d, 1) for d in range(rank)] + sizes
    steps = [math.prod(shape[d + 1 :]) * within.get(d, 1) for d in range(rank)]
    steps += [math.prod(shape[d + 1 :]) for d in blocks]
    places = np.zeros(1, np.int64)
    for dimension in order:
        parents, indices = _below(levels[dimension], len(places), extents[dimension], most=math.prod(shape))
        places = places[parents] + indices * steps[dimension]
    return places


def _below(level: Any, count: int, extent: int, *, most: int) -> tuple[Places, Places]:
    """Return for all entries of a dimension the place of the one before that each lies below, and its index."""
    if level.format == _DENSE:
        if level.denseSize != extent or count * extent > most:
            raise ValueError(f"a dimension of {extent} is said to have {level.denseSize}")
        return np.repeat(np.arange(count), extent), np.tile(np.arange(extent), count)
    segments = np.asarray(level.arraySegments.values, np.int64)
    indices = np.asarray(level.arrayIndices.values, np.int64)
    lengths = np.diff(segments)
    if len(lengths) != count or segments[0] != 0 or (lengths < 0).any() or segments[-1] != len(indices):
        raise ValueError(f"{len(indices)} indices in {len(lengths)} segments, where {count} are wanted")
    if ((indices < 0) | (indices >= extent)).any():
        raise ValueError(f"an index lies outside of {extent}")
    return np.repeat(np.arange(count), lengths), indices


def _drop_densify(model: Model, subgraph: Any) -> None:
    """Hand the constant that a DENSIFY reads on to its output, and drop the op."""
    kept = []
    for op in subgraph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = schema_names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name == "DENSIFY" and model.buffers[subgraph.tensors[op.inputs[0]].buffer].data is not None:
            subgraph.tensors[op.outputs[0]].buffer = subgraph.tensors[op.inputs[0]].buffer
        else:
            kept.append(op)
    subgraph.operators = kept


def _fault(tensor: Any, what: str) -> ModelError:
    hint = "export the model again, without sparse weights"
    return ModelError(f"the sparse tensor `{text(tensor.name)[:80]}` {what}", hint=hint)
