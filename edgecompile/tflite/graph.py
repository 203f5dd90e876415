"""Graph: a TFLite flatbuffer as frozen values.

The file is read with the schema that the LiteRT wheel ships. Reading does not run the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quantization:
    """How stored integers stand for reals: real = scale * (stored - zero_point), per tensor or along axis."""

    scale: npt.NDArray[np.float32]
    """[1] or [channels]."""
    zero_point: npt.NDArray[np.int64]
    """[1] or [channels], as many as scales."""
    axis: int = 0
    """Only of meaning with more than one scale; then within the tensor's rank."""

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a scale of its own."""
        return len(self.scale) > 1


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
    """Constant content, shaped, a read-only view into the file; None for activations, for sparse content and for
    dtypes that numpy has no form for."""
    is_variable: bool = False
    """State that an op keeps from one run to the next."""
    raw: npt.NDArray[np.uint8] | None = None
    """Constant content as it is stored, [bytes]; None for activations."""
    buffer: int = 0
    """Number of the file's buffer; constants with equal numbers share their content."""
    sparse: bool = False
    """The stored content is compressed by the format's own sparsity encoding."""

    @property
    def constant(self) -> bool:
        """Whether the file holds the content."""
        return self.data is not None or self.raw is not None

    @property
    def open(self) -> bool:
        """Whether a dimension has no size yet."""
        return -1 in self.shape_signature


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
    """Fields of the builtin options, snake_case; empty where there are none. `padding` is `SAME` or `VALID`,
    `fused_activation_function` is `NONE`, `RELU`, `RELU6` …, fields that end in `_type` hold dtypes as in `Tensor`
    (`in_data_type`: `int8`), `weights_format`, `kernel_type` and `mode` hold schema names; the rest are numbers and
    tuples of them. A damaged file may give an op another op's options: use `get`."""
    custom: bool = False
    custom_options: npt.NDArray[np.uint8] | None = None
    """What a custom op was given, [bytes], in a form only it knows."""


@dataclass(frozen=True)
class Signature:
    """Names for inputs and outputs."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a model; `bodies` are the others."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    subgraphs: int
    """How many subgraphs the file has (control flow adds some)."""
    description: str
    metadata: Mapping[str, Array]
    """Name → content of the metadata buffers, [bytes]."""
    name: str = ""
    bodies: tuple[Graph, ...] = field(default=(), repr=False)
    """Subgraphs 1, 2 …: what loops and branches run, and further signatures. Empty in a body."""

    def input_names(self) -> tuple[str, ...]:
        """Return the names users give data by: of the first signature, else of the tensors; graph order, unique."""
        return self._names(self.inputs, self.signatures[0].inputs if self.signatures else {}, "input")

    def output_names(self) -> tuple[str, ...]:
        """Return names of outputs, in graph order, unique."""
        return self._names(self.outputs, self.signatures[0].outputs if self.signatures else {}, "output")

    def _names(self, indices: tuple[int, ...], signature: Mapping[str, int], role: str) -> tuple[str, ...]:
        given: dict[int, list[str]] = {}
        for name, i in signature.items():
            given.setdefault(i, []).append(name)
        # One tensor may be two outputs: each takes the next of its names.
        names = [given[i].pop(0) if given.get(i) else self.tensors[i].name for i in indices]
        return unique_names([name or f"{role}_{at}" for at, name in enumerate(names)])

    def every_op(self) -> Iterator[Op]:
        """Yield the ops of this subgraph, then those of the bodies."""
        yield from self.ops
        for body in self.bodies:
            yield from body.ops

    @cached_property
    def producers(self) -> dict[int, Op]:
        """Tensor index → the op that writes it."""
        return {i: op for op in self.ops for i in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[Op, ...]]:
        """Tensor index → the ops that read it."""
        found: dict[int, list[Op]] = {}
        for op in self.ops:
            for i in dict.fromkeys(i for i in op.inputs if i >= 0):
                found.setdefault(i, []).append(op)
        return {i: tuple(ops) for i, ops in found.items()}


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with `_1`, `_2` … behind those that came before; no name that was unique changes."""
    taken = set(names)
    seen: set[str] = set()
    made = []
    for name in names:
        new, n = name, 0
        while new in seen or (n > 0 and new in taken):
            n += 1
            new = f"{name}_{n}"
        seen.add(new)
        made.append(new)
    return tuple(made)


def read_graph(path: Path) -> Graph:
    """Return the graph of the file at path.

    Raises:
        ModelError: not a TFLite flatbuffer, or damaged.
    """
    from edgecompile.tflite import reader

    return reader.read(path)
