"""Graph: a TFLite flatbuffer as frozen values.

The file is read with the schema that the LiteRT wheel ships. Reading does not run the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quantization:
    """How stored integers stand for reals: real = scale * (stored - zero_point), per tensor or along axis."""

    scale: npt.NDArray[np.float32]
    """[1] or [channels]."""
    zero_point: npt.NDArray[np.int64]
    """[1] or [channels]."""
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph."""

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    """Like shape, with -1 where the size is open."""
    dtype: str
    """`float32`, `int8`, `int32` … (numpy names; `string`, `resource`, `variant`, `int4` where numpy has none)."""
    quantization: Quantization | None
    data: Array | None
    """Constant content, shaped; None for activations and for dtypes that numpy has no form for."""
    is_variable: bool = False

    @property
    def constant(self) -> bool:
        """Whether the file holds the content."""
        return self.data is not None


@dataclass(frozen=True)
class Op:
    """One operator."""

    index: int
    name: str
    """Schema name: `CONV_2D`; a custom op: its own name."""
    version: int
    inputs: tuple[int, ...]
    """Tensor indices; -1 marks an optional input that is absent."""
    outputs: tuple[int, ...]
    options: dict[str, Any]
    """Fields of the builtin options, snake_case; empty where there are none."""
    custom: bool = False


@dataclass(frozen=True)
class Signature:
    """Names for inputs and outputs."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a model, and the names of the others."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    subgraphs: int
    """How many subgraphs the file has (control flow adds some)."""
    description: str
    metadata: tuple[str, ...]
    """Names of metadata buffers."""

    def input_names(self) -> tuple[str, ...]:
        """Return the names users give data by: of the first signature, else of the tensors, in graph order."""
        return self._names(self.inputs, {i: n for s in self.signatures[:1] for n, i in s.inputs.items()})

    def output_names(self) -> tuple[str, ...]:
        """Return names of outputs, in graph order."""
        return self._names(self.outputs, {i: n for s in self.signatures[:1] for n, i in s.outputs.items()})

    def _names(self, indices: tuple[int, ...], named: dict[int, str]) -> tuple[str, ...]:
        return tuple(named.get(i, self.tensors[i].name) for i in indices)

    @cached_property
    def producers(self) -> dict[int, Op]:
        """Tensor index → the op that writes it."""
        return {i: op for op in self.ops for i in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[Op, ...]]:
        """Tensor index → the ops that read it."""
        found: dict[int, tuple[Op, ...]] = {}
        for op in self.ops:
            for i in dict.fromkeys(i for i in op.inputs if i >= 0):
                found[i] = (*found.get(i, ()), op)
        return found


def read_graph(path: Path) -> Graph:
    """Return the graph of the file at path.

    Raises:
        ModelError: not a TFLite flatbuffer, or damaged.
    """
    raise ModelError("not built yet", where=str(path))
