"""Small int8 `.tflite` files written op by op: chains of ops without weights, for compilers to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.tflite.edit import write_model

DTYPES = {"int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32, "float32": schema.TensorType.FLOAT32}


@dataclass(frozen=True)
class Link:
    """One op of a chain: it takes what the one before makes, and perhaps an int32 constant."""

    op: str
    made: Sequence[int]
    options: Any = None
    constant: Sequence[int] | None = None
    dtype: str = "int8"
    name: str | None = None
    """Of what it makes; `layer1`, `layer2` … by default."""


def resize(made: Sequence[int], **more: Any) -> Link:
    """Return a bilinear resize to made [1, h, w, c]."""
    return Link("RESIZE_BILINEAR", made, schema.ResizeBilinearOptionsT(), made[1:3], **more)


def chain(*links: Link, given: Sequence[int] = (1, 8, 8, 4)) -> bytes:
    """Return a model that runs links one after the other on an int8 input called `input` of shape given."""
    model = schema.ModelT(version=3, description=b"made by a test", buffers=[schema.BufferT()], operatorCodes=[])
    main = schema.SubGraphT(name=b"main", tensors=[], operators=[], inputs=[0])
    model.subgraphs = [main]

    def tensor(name: str, shape: Sequence[int], dtype: str, data: Any = None) -> int:
        buffer = 0
        if data is not None:
            model.buffers.append(schema.BufferT(data=np.frombuffer(np.asarray(data, np.int32).tobytes(), np.uint8)))
            buffer = len(model.buffers) - 1
        how = None
        if dtype == "int8":
            how = schema.QuantizationParametersT(scale=np.float32([0.5]), zeroPoint=np.int64([0]))
        made = schema.TensorT(name=name.encode(), shape=np.int32(shape), type=DTYPES[dtype], buffer=buffer)
        made.quantization = how
        main.tensors.append(made)
        return len(main.tensors) - 1

    last = tensor("input", given, "int8")
    for number, link in enumerate(links, 1):
        inputs = [last]
        if link.constant is not None:
            inputs.append(tensor(f"constant{number}", [len(link.constant)], "int32", link.constant))
        code = getattr(schema.BuiltinOperator, link.op)
        model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1)
        )
        last = tensor(f"layer{number}" if link.name is None else link.name, link.made, link.dtype)
        op = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1, inputs=inputs, outputs=[last])
        if link.options is not None:
            op.builtinOptions = link.options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(link.options).__name__.removesuffix("T"))
        main.operators.append(op)
    main.outputs = [last]
    return write_model(model)


CUT = chain(
    Link("RELU", (1, 8, 8, 4)),
    resize((1, 24, 24, 4)),
    Link("MAX_POOL_2D", (1, 12, 12, 4), schema.Pool2DOptionsT(strideH=2, strideW=2, filterHeight=2, filterWidth=2)),
)
"""Grown three times in the middle, which no Ethos-U does: NPU, CPU, NPU."""

DEPTH = chain(
    Link("SPACE_TO_DEPTH", (1, 4, 4, 16), schema.SpaceToDepthOptionsT(blockSize=2)), Link("RELU", (1, 4, 4, 16))
)
"""Begins with an op that no Ethos-U has."""

GATHERED = chain(
    Link("RELU", (1, 8, 8, 4)), Link("GATHER", (2, 8, 8, 4), schema.GatherOptionsT(axis=0), constant=(0, 0))
)
"""Ends with an op that Ethos-U85 has and the others do not."""
