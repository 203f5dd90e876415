"""Whether the clusters of a model are in the `.tflite` that was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgecompile.errors import PassError
from edgecompile.tflite.graph import Graph
from edgecompile.training.kernels import Kernel
from edgecompile.training.qat import STEPS
from edgecompile.training.stored import Notes

Array = npt.NDArray[np.float32]

_CHANNELS_FIRST = frozenset({"CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""Ops whose kernels have their output channels in front; those of others have them last."""


def ensure_clusters(graph: Graph, found: Sequence[Kernel], notes: Notes) -> None:
    """Raise PassError unless a float file holds a kernel of few values for every clustered kernel of its model.

    The converter gives constants names of its own: as many of a size must hold few values as there are kernels of it.

    Args:
        graph: the file.
        found: all kernels of the model.
        notes: those of the model: which kernels are clustered, and how.
    """
    groups: dict[tuple[int, bool, int], list[Kernel]] = {}
    for kernel in found:
        if kernel.name in notes.clusters:
            key = (kernel.values().size, kernel.name in notes.per_tensor, notes.clusters[kernel.name])
            groups.setdefault(key, []).append(kernel)
    constants = list(_constants(graph)) if groups else []
    for (size, single, most), kernels in groups.items():
        counts = sorted(_codes(rows.reshape(1, -1) if single else rows) for rows in constants if rows.size == size)
        # Kernels of the same content are one constant.
        wanted = len({kernel.values().tobytes() for kernel in kernels})
        if sum(count <= most for count in counts) < wanted:
            more = [str(count) for count in counts if count > most]
            raise PassError(
                f"the file holds {' and '.join(more) or 'no'} distinct values where {most} were asked for",
                where=f"cluster: {', '.join(kernel.name for kernel in kernels)}",
                hint="the converter multiplied something into the kernel; name it in `skip` of `cluster`",
            )


def _constants(graph: Graph) -> Iterator[Array]:
    """Yield each float constant that can be a kernel as [channels, weights of a channel]."""
    for part in (graph, *graph.bodies):
        readers = {i: op.name for op in part.ops for i in op.inputs if i >= 0}
        for i, name in readers.items():
            data = part.tensors[i].data
            if data is not None and data.dtype == np.float32 and data.ndim >= 2:
                front = data if name in _CHANNELS_FIRST else np.moveaxis(data, -1, 0)
                yield front.reshape(len(front), -1)


def _codes(rows: Array) -> int:
    """Return how many codes rows hold when the largest weight of each becomes the largest code."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    return len(np.unique(np.rint(rows / np.where(largest > 0, largest, 1) * STEPS)))
