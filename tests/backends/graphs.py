"""Graphs of a few ops, written out by hand, to ask rules about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecompile.tflite.graph import Graph, Op, Quantization, Tensor


class Builder:
    """Collects tensors and ops; `graph` gives the finished value."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        *,
        data: Any = None,
        name: str = "",
        open_shape: Sequence[int] | None = None,
        channels: int = 1,
    ) -> int:
        index = len(self.tensors)
        scales = np.full(channels, 0.5, np.float32)
        quantized = Quantization(scales, np.zeros(channels, np.int64)) if dtype in {"int8", "uint8", "int16"} else None
        self.tensors.append(
            Tensor(
                index=index,
                name=name or f"t{index}",
                shape=tuple(shape),
                shape_signature=tuple(shape if open_shape is None else open_shape),
                dtype=dtype,
                quantization=quantized,
                data=None if data is None else np.asarray(data),
                raw=None if data is None else np.frombuffer(np.asarray(data).tobytes(), np.uint8),
            )
        )
        return index

    def weights(self, *shape: int, dtype: str = "int8") -> int:
        return self.tensor(shape, dtype, data=np.zeros(shape, np.float32 if dtype.startswith("float") else np.int8))

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> int:
        self.ops.append(Op(len(self.ops), name, 1, tuple(inputs), tuple(outputs), options))
        return outputs[0]

    def graph(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        return Graph(
            tensors=tuple(self.tensors),
            ops=tuple(self.ops),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            signatures=(),
            subgraphs=1,
            description="",
            metadata=(),
        )


COMPUTED = object()
"""In place of a constant's content: another op computes it."""
ABSENT = object()
"""In place of a constant's content: the optional input is not given."""


def one(
    name: str,
    given: Sequence[int] = (1, 8, 8, 4),
    made: Sequence[int] = (1, 8, 8, 4),
    *,
    dtype: str = "int8",
    made_dtype: str = "",
    extra: Sequence[Any] = (),
    outputs: int = 1,
    channels: int = 1,
    version: int = 1,
    **options: Any,
) -> tuple[Graph, Op]:
    """Return a graph of one op, and the op.

    Args:
        name: of the op.
        given, made: shapes of its first input and of its outputs.
        dtype, made_dtype: of both; the same by default.
        extra: further inputs: a shape (weights), a list (an int32 constant), COMPUTED or ABSENT.
        outputs: how many.
        channels: how many scales the first input has.
        version: of the op.
        options: of the op.
    """
    build = Builder()
    first = build.tensor(given, dtype, channels=channels)
    inputs, computed = [first], [first]
    for item in extra:
        if item is ABSENT:
            inputs.append(-1)
        elif item is COMPUTED:
            inputs.append(build.tensor((4,), dtype))
            computed.append(inputs[-1])
        elif isinstance(item, tuple):
            inputs.append(build.weights(*item, dtype=dtype))
        else:
            inputs.append(build.tensor(np.shape(item), "int32", data=np.asarray(item, np.int32)))
    results = [build.tensor(made, made_dtype or dtype) for _ in range(outputs)]
    build.op(name, inputs, results, **options)
    build.ops[0] = replace(build.ops[0], version=version)
    graph = build.graph(computed, results)
    return graph, graph.ops[0]
