"""How much memory TensorFlow Lite Micro needs for the tensors of a compiled model.

Vela places the tensors in the file itself (metadata `OfflineMemoryAllocation`), and TensorFlow Lite Micro keeps to
it. Vela's own figure leaves out what only the CPU touches: it is 0 for a model without an op on the NPU.

Source: TensorFlow Lite Micro, `micro_allocator.cc` and docs/memory_management.md, “Offline planned tensor
allocations”: int32 version, subgraph, count, then one offset a tensor, -1 where the interpreter places it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgecompile.tflite.graph import Graph, Tensor

_KEY = "OfflineMemoryAllocation"
_HEADER = 3
_LATER = -1
_BYTES = {"int4": 1, "bfloat16": 2, "string": 4, "resource": 4, "variant": 4}
"""Of an element, for dtypes that numpy has no form for: rounded up to what a 32-bit device keeps of it."""
_ALIGNMENT = 16
"""Bytes; the interpreter aligns every buffer of the arena so."""
FAST = "scratch_fast"
"""Vela's name for what lies in the NPU's own SRAM where the arena does not."""


@dataclass(frozen=True)
class Arena:
    """Bytes for tensors.

    Attributes:
        planned: end of the last tensor that Vela placed.
        left: bytes of the tensors that Vela leaves to the interpreter: an upper bound, as some may share their place.
        fast: of the NPU's own SRAM; 0 where the arena is in SRAM itself.
    """

    planned: int
    left: int
    fast: int

    @property
    def total(self) -> int:
        """Return the bytes of the whole arena, without the interpreter's own structures."""
        return self.planned + self.left


def count_arena(compiled: Graph) -> Arena:
    """Return what the tensors of the main subgraph of a compiled model take."""
    offsets = _offsets(compiled)
    needed = [t for t in compiled.tensors if not t.constant and 0 not in t.shape]
    placed = [(offsets[t.index], _size(t)) for t in needed if offsets[t.index] != _LATER]
    left = [_size(t) for t in needed if offsets[t.index] == _LATER]
    return Arena(
        planned=max((start + size for start, size in placed), default=0),
        left=sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in left),
        fast=max((_size(t) for t in compiled.tensors if t.name == FAST), default=0),
    )


def _offsets(graph: Graph) -> list[int]:
    content = graph.metadata.get(_KEY)
    values = [] if content is None else np.frombuffer(content.tobytes(), "<i4")[_HEADER:].tolist()
    return [*values, *[_LATER] * len(graph.tensors)][: len(graph.tensors)]


def _size(tensor: Tensor) -> int:
    width = _BYTES[tensor.dtype] if tensor.dtype in _BYTES else np.dtype(tensor.dtype).itemsize
    return math.prod(tensor.shape) * width
