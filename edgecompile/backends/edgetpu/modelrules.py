"""What the Edge TPU compiler asks of a model as a whole; `oprules` has what the chip asks of single ops.

Source: Coral, “TensorFlow models on the Edge TPU” (https://coral.ai/docs/edgetpu/models-intro/), model requirements.
"""

from __future__ import annotations

from edgecompile.backends.edgetpu.oprules import EIGHT_BIT
from edgecompile.backends.rules import ModelRule, activations
from edgecompile.tflite.graph import Graph, Tensor


def _inner(graph: Graph) -> tuple[Tensor, ...]:
    """Return what is computed or given, but not the float side of a float input or output.

    The state of an LSTM, which the chip keeps in 16 bits, does not count either.
    """
    doors = {i for op in graph.ops if op.name == "QUANTIZE" for i in op.inputs}
    doors |= {i for op in graph.ops if op.name == "DEQUANTIZE" for i in op.outputs}
    ends = {*graph.inputs, *graph.outputs}
    seen = (t for t in activations(graph) if t.index not in doors or t.index not in ends)
    return tuple(t for t in seen if not t.is_variable)


def edgetpu_quantized(graph: Graph) -> tuple[Tensor, ...]:
    """The Edge TPU takes only models whose tensors are 8-bit quantized."""
    inner = _inner(graph)
    return () if any(t.dtype in EIGHT_BIT for t in inner) else inner


def edgetpu_integer_io(graph: Graph) -> tuple[Tensor, ...]:
    """The Edge TPU takes and gives 8-bit tensors."""
    inner = {t.index for t in _inner(graph)}
    ends = (graph.tensors[i] for i in dict.fromkeys((*graph.inputs, *graph.outputs)))
    return tuple(t for t in ends if t.index not in inner and t.dtype not in EIGHT_BIT)


def edgetpu_constant_sizes(graph: Graph) -> tuple[Tensor, ...]:
    """Tensor sizes must be constant for the Edge TPU; an open batch is compiled as 1."""
    return tuple(t for t in activations(graph) if -1 in t.shape_signature[1:])


MODEL_RULES = (
    ModelRule(
        edgetpu_quantized,
        severity="error",
        consequence="edgetpu_compiler refuses the model",
        remedy="use `--recipe int8`",
    ),
    ModelRule(
        edgetpu_integer_io,
        severity="info",
        consequence="the host's CPU quantizes or dequantizes them at every inference",
        remedy="build without `--float-io`",
    ),
    ModelRule(
        edgetpu_constant_sizes,
        severity="error",
        consequence="edgetpu_compiler refuses the model, or leaves the ops that touch them to the host's CPU",
        remedy="give the size with `--shape`",
    ),
)
