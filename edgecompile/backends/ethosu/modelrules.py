"""What Vela asks of a model as a whole, told before it runs; what it asks of single ops, it says itself.

Source: `vela --supported-ops-report` of ethos-u-vela 5.2.0, “Generic Constraints”.
"""

from __future__ import annotations

from edgecompile.backends.ethosu.placement import CUSTOM_OP
from edgecompile.backends.rules import ModelRule, activations
from edgecompile.tflite.graph import Graph, Tensor


def ethosu_compiled_once(graph: Graph) -> tuple[Tensor, ...]:
    """Vela compiles models that it has not compiled before."""
    return tuple(graph.tensors[i] for op in graph.ops if op.name == CUSTOM_OP for i in op.outputs)


def ethosu_constant_sizes(graph: Graph) -> tuple[Tensor, ...]:
    """Only the first dimension of tensors can be open for Vela, which compiles it as 1."""
    return tuple(t for t in activations(graph) if -1 in t.shape_signature[1:])


MODEL_RULES = (
    ModelRule(
        ethosu_compiled_once,
        severity="error",
        consequence="what runs on the NPU is fixed, for the NPU and the memory that it was compiled for",
        remedy="build from the int8 model that it came from",
    ),
    ModelRule(
        ethosu_constant_sizes,
        severity="warning",
        consequence="the ops that touch them stay on the CPU, or Vela refuses the model",
        remedy="give the size with `--shape`",
    ),
)
