"""Arm Ethos-U NPUs: what Vela makes of a model, what it leaves to the CPU and why, and what that takes."""

from __future__ import annotations

from edgecompile.backends.ethosu.backend import Ethosu
from edgecompile.backends.ethosu.modelrules import MODEL_RULES

__all__ = ["MODEL_RULES", "Ethosu"]
