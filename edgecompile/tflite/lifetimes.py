"""Which buffers of a model live when, as TFLite Micro's memory planner sees it.

Source: tensorflow/lite/micro/micro_allocation_info.cc, `AllocationInfoBuilder`: scope 0 is the call, op i runs in scope
i + 1; inputs live from scope 0 to their last reader, outputs to the end, all else from writer to last reader. Sizes
are rounded up to 16 bytes (micro_arena_constants.h).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecompile.tflite.graph import Graph, Op, Tensor

ALIGNMENT = 16
"""Bytes; `MicroArenaBufferAlignment`."""

_ITEM_BITS = {"int4": 4, "bool": 8, "float16": 16, "bfloat16": 16, "complex64": 64, "resource": 32, "variant": 32}
_ORDERED = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE"})
"""Ops that act by more than their outputs: their order is part of what the model computes."""


@dataclass(frozen=True)
class Buffer:
    """Memory that one tensor, or several that share it, or an op's scratch, needs for a time."""

    size: int
    """Bytes, a multiple of 16."""
    first: int
    """First scope in which it is in use."""
    last: int
    """Last scope in which it is in use."""
    tensors: tuple[int, ...] = ()
    """Tensors that lie in it; empty: scratch of the op in scope `first`."""

    def meets(self, other: Buffer) -> bool:
        """Return whether both are in use at the same time."""
        return self.first <= other.last and other.first <= self.last


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's content on the device."""
    bits = _ITEM_BITS.get(tensor.dtype)
    if bits is None:
        digits = tensor.dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
        bits = int(digits) if digits.isdigit() else 32
    return -(-math.prod(tensor.shape) * bits // 8)


def aligned(size: int) -> int:
    """Return size rounded up to the planner's alignment, bytes."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def needs_memory(tensor: Tensor) -> bool:
    """Return whether the planner gives tensor a place: not content of the file, not state, not empty."""
    return not tensor.constant and not tensor.is_variable and tensor_bytes(tensor) > 0


def buffers(
    graph: Graph, *, order: Sequence[Op] | None = None, scratch: Mapping[int, Sequence[int]] | None = None
) -> tuple[Buffer, ...]:
    """Return the buffers of the main subgraph: tensors by number, then scratch by op.

    Args:
        graph: a model without control flow.
        order: in which its ops run; the file's when None.
        scratch: op index → bytes of each scratch buffer that its kernel asks for.
    """
    order = order or graph.ops
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys((*graph.inputs, *graph.outputs), 0)
    for scope, op in enumerate(order, 1):
        for i in op.outputs:
            first[i] = last[i] = scope
        for i in op.inputs:
            if i >= 0:
                last[i] = scope
    for i in graph.outputs:
        first.setdefault(i, 0)
        last[i] = len(order)
    found = [
        # A tensor that nothing uses still gets a place, at a time of its own.
        Buffer(aligned(tensor_bytes(t)), first.get(t.index, -1), last.get(t.index, -1), (t.index,))
        for t in graph.tensors
        if needs_memory(t)
    ]
    for scope, op in enumerate(order, 1):
        found += [Buffer(aligned(size), scope, scope) for size in (scratch or {}).get(op.index, ())]
    return tuple(found)


def peak(found: Sequence[Buffer]) -> int:
    """Return the most bytes in use in any scope: no plan needs less."""
    scopes = {b.first for b in found}
    return max((sum(b.size for b in found if b.first <= scope <= b.last) for scope in scopes), default=0)


def may_be_reordered(graph: Graph) -> bool:
    """Return whether only data decides the order of graph's ops."""
    return not graph.bodies and not any(op.name in _ORDERED for op in graph.ops)
