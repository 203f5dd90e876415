"""The ops that TFLite Micro has; Ethos-U targets, whose Cortex-M runs it too, share the list."""

from __future__ import annotations

from edgecompile.backends.tflm_ops import ADD_METHODS, INT8_REGISTRATIONS, resolver

__all__ = ["ADD_METHODS", "INT8_REGISTRATIONS", "resolver"]
