"""Draft: a `.tflite` in which ops are being replaced by others that compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.tflite.edit import Model, read_model, text, write_model
from edgecompile.tflite.unused import drop_unused
from edgecompile.tflite.values import Array

LARGEST_OLD_CODE = 127
"""The field that op codes had until TensorFlow 2.4 holds a byte; larger codes put this there (TFLite schema)."""


class Draft:
    """Replaces ops of the main subgraph. Ops and tensors keep the numbers of the file until `finish`."""

    def __init__(self, source: Path | bytes) -> None:
        """Read the model.

        Raises:
            ModelError: source cannot be read.
        """
        self._model: Model = read_model(source)
        self._main = self._model.subgraphs[0]
        self._instead: dict[int, Sequence[Any]] = {}

    def activation(
        self,
        like: int,
        name: str,
        *,
        shape: Sequence[int] | None = None,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        """Add a tensor that is computed, and return its number.

        Args:
            like: the tensor whose dtype, shape and quantization it has, where nothing else is said.
            name: its name, behind that of like.
            shape: its shape; all of it is fixed.
            scale: of its codes, per tensor.
            zero_point: the code of 0.0.
        """
        from ai_edge_litert import schema_py_generated as schema

        pattern = self._main.tensors[like]
        tensor = schema.TensorT(
            name=f"{text(pattern.name)}/{name}".encode(),
            type=pattern.type,
            shape=[int(d) for d in (pattern.shape if shape is None else shape)],
            hasRank=True,
            quantization=pattern.quantization if scale is None else _quantization(scale, zero_point or 0, 0),
        )
        return self._add(tensor)

    def constant(
        self,
        name: str,
        values: Array,
        *,
        scale: npt.ArrayLike | None = None,
        zero_point: npt.ArrayLike = 0,
        axis: int = 0,
    ) -> int:
        """Add a constant and return its number.

        Args:
            name: its whole name.
            values: int8, uint8, int32 or float32, in its shape.
            scale: one, or one for each place along axis; None for numbers that mean themselves.
            zero_point: as many as scales; 0 by default.
            axis: the dimension that several scales belong to.
        """
        from ai_edge_litert import schema_py_generated as schema

        self._model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        return self._add(
            schema.TensorT(
                name=name.encode(),
                type=getattr(schema.TensorType, values.dtype.name.upper()),
                shape=list(values.shape),
                hasRank=True,
                buffer=len(self._model.buffers) - 1,
                quantization=None if scale is None else _quantization(scale, zero_point, axis),
            )
        )

    def reshape_tensor(self, index: int, shape: Sequence[int]) -> None:
        """Give a computed tensor another shape of as many elements."""
        tensor = self._main.tensors[index]
        tensor.shape, tensor.shapeSignature = [int(d) for d in shape], None

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], *, version: int, options: Any = None) -> Any:
        """Return a new op, for `replace`.

        Args:
            name: its schema name.
            inputs: numbers of tensors; -1 for one that is left out.
            outputs: numbers of tensors.
            version: of the op.
            options: its options table in the schema's object form (`MulOptionsT`).
        """
        from ai_edge_litert import schema_py_generated as schema

        kind = "NONE" if options is None else type(options).__name__.removesuffix("T")
        return schema.OperatorT(
            opcodeIndex=self._code(getattr(schema.BuiltinOperator, name), version),
            inputs=list(inputs),
            outputs=list(outputs),
            builtinOptionsType=getattr(schema.BuiltinOptions, kind),
            builtinOptions=options,
        )

    def again(self, index: int, *, inputs: Sequence[int], outputs: Sequence[int], version: int) -> Any:
        """Return op number index with other inputs, outputs and version, for `replace`; its options are shared."""
        from ai_edge_litert import schema_py_generated as schema

        old = self._main.operators[index]
        return schema.OperatorT(
            opcodeIndex=self._code(_number(self._model.operatorCodes[old.opcodeIndex]), version),
            inputs=list(inputs),
            outputs=list(outputs),
            builtinOptionsType=old.builtinOptionsType,
            builtinOptions=old.builtinOptions,
        )

    @property
    def replaced(self) -> frozenset[int]:
        """Numbers of the ops that are replaced so far."""
        return frozenset(self._instead)

    def options(self, index: int) -> Any:
        """Return the options table of op number index in the schema's object form; it may be written into."""
        return self._main.operators[index].builtinOptions

    def replace(self, index: int, ops: Sequence[Any]) -> None:
        """Put ops in the place of op number index; none take it out."""
        self._instead[index] = ops

    def finish(self) -> tuple[bytes, Mapping[int, range]]:
        """Return the new file, and for every op of the old one the numbers of the ops in its place.

        The draft is at its end.
        """
        ops: list[Any] = []
        place: dict[int, range] = {}
        for index, old in enumerate(self._main.operators):
            new = self._instead.get(index, (old,))
            place[index] = range(len(ops), len(ops) + len(new))
            ops.extend(new)
        self._main.operators = ops
        drop_unused(self._model)
        return write_model(self._model), place

    def _add(self, tensor: Any) -> int:
        self._main.tensors.append(tensor)
        return len(self._main.tensors) - 1

    def _code(self, number: int, version: int) -> int:
        from ai_edge_litert import schema_py_generated as schema

        codes = self._model.operatorCodes
        for at, code in enumerate(codes):
            if (_number(code), code.version) == (number, version):
                return at
        codes.append(
            schema.OperatorCodeT(
                builtinCode=number, deprecatedBuiltinCode=min(number, LARGEST_OLD_CODE), version=version
            )
        )
        return len(codes) - 1


def _number(code: Any) -> int:
    """Return which op a code means: files from before TensorFlow 2.4 have only the old field."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _quantization(scale: npt.ArrayLike, zero_point: npt.ArrayLike, axis: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return schema.QuantizationParametersT(scale=scales, zeroPoint=zero_points, quantizedDimension=axis)
