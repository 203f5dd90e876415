"""Real `.tflite` files of a few 8-bit ops, written with the schema's object API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.tflite.edit import write_model


class FlatModel:
    """Collects tensors and ops; `finish` gives the bytes of a file."""

    def __init__(self, dtype: str = "int8") -> None:
        self.dtype = dtype
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.codes: list[Any] = []
        self.ops: list[Any] = []
        self.inputs: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        *,
        scale: Any = 0.05,
        zero_point: Any = 0,
        axis: int = 0,
        dtype: str = "",
        buffer: int = 0,
    ) -> int:
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
        self.tensors.append(
            schema.TensorT(
                name=f"t{len(self.tensors)}".encode(),
                shape=list(shape),
                type=getattr(schema.TensorType, (dtype or self.dtype).upper()),
                buffer=buffer,
                quantization=schema.QuantizationParametersT(
                    scale=scales, zeroPoint=zero_points, quantizedDimension=axis
                ),
            )
        )
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], **quantization: Any) -> int:
        self.inputs.append(self.tensor(shape, **quantization))
        return self.inputs[-1]

    def constant(self, values: Any, **quantization: Any) -> int:
        values = np.asarray(values)
        self.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        at = self.tensor(values.shape, dtype=values.dtype.name, buffer=len(self.buffers) - 1, **quantization)
        if not quantization:
            self.tensors[at].quantization = None
        return at

    def op(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], *, options: Any = None, version: int = 1
    ) -> int:
        number = getattr(schema.BuiltinOperator, name)
        self.codes.append(
            schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version)
        )
        kind = "NONE" if options is None else type(options).__name__.removesuffix("T")
        self.ops.append(
            schema.OperatorT(
                opcodeIndex=len(self.codes) - 1,
                inputs=list(inputs),
                outputs=list(outputs),
                builtinOptionsType=getattr(schema.BuiltinOptions, kind),
                builtinOptions=options,
            )
        )
        return outputs[0]

    def convolution(self, given: int, outputs: int, *, kernel: int = 1) -> int:
        """Add a convolution that keeps height and width, so that there is work to do."""
        shape = [int(d) for d in self.tensors[given].shape]
        dice = np.random.default_rng(len(self.ops))
        signed = self.dtype == "int8"
        weights = dice.integers(-127, 128, (outputs, kernel, kernel, shape[-1])).astype(np.int8)
        filters = (
            self.constant(weights, scale=[0.01] * outputs)
            if signed
            else self.constant((weights.astype(np.int16) + 128).astype(np.uint8), scale=0.01, zero_point=128)
        )
        scale = float(self.tensors[given].quantization.scale[0]) * 0.01
        bias = self.constant(
            dice.integers(-500, 500, outputs).astype(np.int32), scale=[scale] * (outputs if signed else 1)
        )
        made = self.tensor((*shape[:3], outputs), scale=0.05, zero_point=0 if signed else 128)
        options = schema.Conv2DOptionsT(padding=schema.Padding.SAME, strideH=1, strideW=1)
        return self.op("CONV_2D", [given, filters, bias], [made], options=options, version=3 if signed else 1)

    def finish(self, *outputs: int) -> bytes:
        graph = schema.SubGraphT(
            tensors=self.tensors, operators=self.ops, inputs=self.inputs, outputs=list(outputs), name=b"main"
        )
        return write_model(
            schema.ModelT(version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers, description=b"")
        )
