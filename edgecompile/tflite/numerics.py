"""What a `.tflite` computes in: which ops still work on floats, how weights are stored, and whether scales hold."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from edgecompile.tflite.graph import Graph, Op, Tensor

Form = Literal["float32", "float32 with packed weights", "int8", "uint8", "int16"]

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_INTEGERS: tuple[Literal["int8", "uint8", "int16"], ...] = ("int8", "uint8", "int16")
BORDERS = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Ops between the float and the integer parts of a model; they belong to neither."""

_BIASES = frozenset({"int32", "int64"})
_LARGEST_BIAS = np.iinfo(np.int32).max
"""Both quantizers keep biases within int32, also where int16x8 stores them as int64."""

FIXED_OUTPUTS = {
    "SOFTMAX": (1 / 256, -128),
    "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "L2_NORMALIZATION": (1 / 128, 0),
    "LOG_SOFTMAX": (16 / 256, 127),
}
"""Op → scale and zero point that its int8 output must have: TFLite 8-bit quantization spec, "Int8 quantized operator
specifications". Kernels are written for these numbers."""


def form(graph: Graph) -> Form:
    """Return what the activations of graph are stored as, by the majority of op outputs that are quantized.

    A model without any float (signal processing in plain integers) has nothing to quantize, and counts as int8.
    """
    written = [graph.tensors[i] for op in graph.ops for i in op.outputs]
    counts = Counter(t.dtype for t in written if t.quantization is not None and t.dtype in _INTEGERS)
    if counts:
        return max(_INTEGERS, key=lambda dtype: counts[dtype])
    if not any(t.dtype in _FLOATS for t in graph.tensors):
        return "int8"
    return "float32 with packed weights" if any(_packed(t) for t in graph.tensors) else "float32"


def _packed(tensor: Tensor) -> bool:
    """Whether a constant is a float weight in a smaller form."""
    return tensor.constant and (
        tensor.dtype == "float16" or (tensor.quantization is not None and tensor.dtype not in _FLOATS)
    )


def float_ops(graph: Graph) -> tuple[Op, ...]:
    """Return the ops of the main graph that read or write floats, borders to integers left out."""
    return tuple(op for op in graph.ops if op.name not in BORDERS and _touches_floats(graph, op))


def _touches_floats(graph: Graph, op: Op) -> bool:
    return any(i >= 0 and graph.tensors[i].dtype in _FLOATS for i in (*op.inputs, *op.outputs))


def unsound(graph: Graph) -> dict[str, str]:
    """Return name → fault of the tensors whose quantization does not stand for their values.

    A channel whose weights are near 0 gets a scale near 0, and a bias counts steps of that scale times the input's: a
    large bias then exceeds what an int32 holds.
    """
    found = {}
    for tensor in graph.tensors:
        how, data = tensor.quantization, tensor.data
        if how is None:
            continue
        if not (np.isfinite(how.scale) & (how.scale > 0)).all():
            found[tensor.name] = "its scale is 0 or not finite"
        elif tensor.dtype in _BIASES and data is not None and (np.abs(data.astype(np.int64)) >= _LARGEST_BIAS).any():
            found[tensor.name] = "its scale cannot express a bias as large as the model's"
    return found


def weight_bytes(graph: Graph) -> dict[str, int]:
    """Return dtype → bytes of constants of more than one dimension, each buffer counted once: kernels and tables."""
    buffers = {
        (number, t.buffer): (t.dtype, t.raw.nbytes)
        for number, one in enumerate((graph, *graph.bodies))
        for t in one.tensors
        if t.raw is not None and len(t.shape) > 1 and (t.quantization is not None or t.dtype in _FLOATS)
    }
    unique = {buffer: held for (_, buffer), held in buffers.items()}
    found: Counter[str] = Counter()
    for dtype, size in unique.values():
        found[dtype] += size
    return dict(sorted(found.items()))


def describe(graph: Graph, op: Op) -> str:
    """Return an op as findings name it: `op 5 ELU (model/elu/Elu)`; the name is that of its first output."""
    layer = graph.tensors[op.outputs[0]].name.split(";")[0] if op.outputs else ""
    return f"op {op.index} {op.name} ({layer})" if layer else f"op {op.index} {op.name}"
