"""Payoff: what passes that train made of a model, and what its target can use of that."""

from __future__ import annotations

from collections.abc import Collection

from edgecompile.config import Frozen


class KernelInfo(Frozen):
    """What a kernel of a written `.tflite` holds."""

    layer: str
    """Name of the tensor that its op gives."""
    op: str
    dtype: str
    weights: int
    macs: int
    """Multiply-accumulate operations of one inference that its weights take part in; zeros count like any weight."""
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
    """What the target's runtime can use of that, in one sentence for each thing that was won."""


def runtime_note(names: Collection[str], weights_note: str) -> str:
    """Return what a target's runtime can use of what passes won.

    Args:
        names: of the stages.
        weights_note: what the runtime makes of zeros and of few values.
    """
    passes = {name.partition(" ")[0] for name in names}
    told = [_CHANNELS] if "channels" in passes else []
    told += [weights_note] if passes & {"prune", "cluster"} else []
    return " ".join(told) or _NOTHING


_CHANNELS = "Removed channels are gone: from the file, from the memory and from what this runtime computes."
_NOTHING = "Nothing here makes the model smaller or faster: these passes are for accuracy."
