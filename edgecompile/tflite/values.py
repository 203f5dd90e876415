"""Tensors, operators and signatures of a TFLite flatbuffer, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Of meaning only with more than one scale; then it is within the tensor's rank."""

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
    """Fields of the builtin options, snake_case; empty where there are none. Numbers, texts and tuples of numbers;
    enumerations (`padding`, `fused_activation_function` …) are `IntEnum` members, which equal the schema's numbers and
    have its names (`.name` is `SAME`, `RELU6`); dtypes (`in_data_type` …) are named as in `Tensor.dtype`. A damaged
    file may give an op another op's options: use `get`."""
    custom: bool = False
    custom_options: npt.NDArray[np.uint8] | None = None
    """What a custom op was given, [bytes], in a form only it knows."""


@dataclass(frozen=True)
class Signature:
    """Names for inputs and outputs."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
