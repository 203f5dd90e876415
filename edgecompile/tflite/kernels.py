"""What the kernels of a `.tflite` hold: how many weights, how many zeros, how many distinct values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgecompile.tflite.graph import Graph, Op, Tensor
from edgecompile.tflite.values import Array

_FLOATS = frozenset({"float16", "float32", "float64"})


@dataclass(frozen=True)
class KernelContent:
    """One kernel.

    Attributes:
        ops: the ops that read it; several where layers share it.
        layer: name of what the first of them gives: where the kernel belongs.
        dtype: of the stored weights.
        weights: how many there are.
        zeros: how many of them stand for 0.
        distinct: how many different stored values there are.
    """

    ops: tuple[Op, ...]
    layer: str
    dtype: str
    weights: int
    zeros: int
    distinct: int


def kernel_contents(graph: Graph) -> tuple[KernelContent, ...]:
    """Return the kernels of the main graph in the order of its ops, each stored one once.

    A kernel is a constant of two and more dimensions that has real values: what convolutions, fully connected and
    recurrent ops multiply by, and tables that are looked up.
    """
    found: dict[int, KernelContent] = {}
    for op in graph.ops:
        for i in op.inputs:
            tensor = graph.tensors[i] if i >= 0 else None
            if tensor is None or not _is_kernel(tensor):
                continue
            if (known := found.get(tensor.buffer)) is not None:
                found[tensor.buffer] = replace(known, ops=(*known.ops, op))
                continue
            assert tensor.data is not None, "a kernel has content"
            layer = graph.tensors[op.outputs[0]].name if op.outputs else ""
            zeros = int((tensor.data == _zero(tensor)).sum())
            distinct = len(np.unique(tensor.data))
            found[tensor.buffer] = KernelContent((op,), layer, tensor.dtype, tensor.data.size, zeros, distinct)
    return tuple(found.values())


def parameters(graph: Graph) -> int:
    """Return how many numbers with real values the main graph stores: kernels, biases and other constants of floats."""
    sizes = {t.buffer: t.data.size for t in graph.tensors if t.data is not None and _is_real(t)}
    return sum(sizes.values())


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.data is not None and len(tensor.shape) > 1 and _is_real(tensor)


def _is_real(tensor: Tensor) -> bool:
    """Whether a constant stands for real numbers, not for shapes or axes."""
    return tensor.dtype in _FLOATS or tensor.quantization is not None


def _zero(tensor: Tensor) -> Array | int:
    """Return the stored value that stands for 0: one for all, or one for each channel."""
    how = tensor.quantization
    if how is None or not how.zero_point.any():
        return 0
    shape = [1] * len(tensor.shape)
    if how.per_channel:
        shape[how.axis] = -1
    return how.zero_point.reshape(shape)
