"""Google Coral Edge TPU: what its compiler will do with a model, why, and running it."""

from __future__ import annotations

from edgecompile.backends.edgetpu.backend import NOT_COMPILED, Edgetpu
from edgecompile.backends.edgetpu.compiler import find_compiler
from edgecompile.backends.edgetpu.modelrules import MODEL_RULES

__all__ = ["MODEL_RULES", "NOT_COMPILED", "Edgetpu", "find_compiler"]
