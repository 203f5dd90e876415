"""Which ops of a model the compiler put on the Edge TPU."""

from __future__ import annotations

from edgecompile.backends import recovery
from edgecompile.backends.recovery import Recovered
from edgecompile.tflite.graph import Graph

__all__ = ["CUSTOM_OP", "Recovered", "recover"]

CUSTOM_OP = "edgetpu-custom-op"


def recover(source: Graph, compiled: Graph) -> Recovered:
    """Return what became of the ops of source in compiled."""
    return recovery.recover(source, compiled, custom_op=CUSTOM_OP)
