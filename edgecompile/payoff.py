"""Payoff: what passes that train made of a model, and what its target can use of that."""

from __future__ import annotations

from edgecompile.config import Frozen


class KernelInfo(Frozen):
    """What a kernel of a written `.tflite` holds."""

    layer: str
    """Name of the tensor that its op gives."""
    op: str
    dtype: str
    weights: int
    zeros: float
    """Share of the weights that are 0."""
    distinct: int
    """Different stored values."""


class Stage(Frozen):
    """The model after one step, read back from its `.tflite`."""

    name: str
    """`source`, or the pass that gave it."""
    parameters: int
    macs: int
    """Multiply-accumulate operations of one inference; zeros count like any weight."""
    zeros: float
    """Share of zeros in all kernels."""
    bytes: int
    gzip_bytes: int
    kernels: tuple[KernelInfo, ...]


class Payoff(Frozen):
    """What passes that train made of the model, step by step, and what the target can use of it."""

    stages: tuple[Stage, ...]
    runtime: str
    """What the target's runtime makes of zeros and of few values, in one sentence."""
