"""How much memory TensorFlow Lite Micro needs for a compiled model, beside the file itself.

Vela places the tensors in the file (metadata `OfflineMemoryAllocation`), and TensorFlow Lite Micro keeps to it. Vela's
own figure leaves out what only the CPU touches: it is 0 for a model without an op on the NPU.

Sources: TensorFlow Lite Micro, docs/memory_management.md, “Offline planned tensor allocations”: int32 version,
subgraph, count, then one offset a tensor, -1 where the interpreter places it; sizes of structures on 32 bits from
lite/c/common.h, micro/micro_allocator.h and micro/kernels/ethos_u/ethosu.cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgecompile.backends.ethosu.placement import CUSTOM_OP, Placement
from edgecompile.tflite import cmsis
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.lifetimes import ALIGNMENT, aligned, needs_memory, tensor_bytes
from edgecompile.tflite.tflm_trials import OpTrial

FAST = "scratch_fast"
"""Vela's name for what lies in the NPU's own SRAM where the arena does not."""

LEAST_STRUCTURES = 2048
"""“At least 2 KiB” on top of the tensors, says Arm's ML embedded evaluation kit, “Memory considerations”."""

_KEY = "OfflineMemoryAllocation"
_HEADER = 3
_LATER = -1

_PER_TENSOR = 12
"""TfLiteEvalTensor: two pointers and a type."""
_PER_OP = 32
"""NodeAndRegistration: seven pointers and an int."""
_PER_END = 40 + 12 + 2 * 8
"""TfLiteTensor of an input or output, its TfLiteAffineQuantization, and two arrays of one element."""
_CORE = 36 + 44 + 36 + 8 + 8
"""Allocator, memory planner, model allocator, parameter allocator, subgraph."""
_PER_NPU_OP = 12
"""OpData: three ints."""
_PER_NPU_TENSOR = (8, 4)
"""While an NPU op runs: a 64-bit address and a size for each of its tensors, in two scratch buffers."""
_HANDLE = 4
"""ScratchBufferHandle: a pointer."""


@dataclass(frozen=True)
class Arena:
    """Bytes of memory, beside the file.

    Attributes:
        planned: end of the last tensor that Vela placed.
        left: of the tensors that Vela leaves to the interpreter: an upper bound, as some may share their place.
        scratch: of what a kernel needs while it runs: the most that one asks for.
        structures: of what the interpreter keeps.
        fast: of the NPU's own SRAM; 0 where the arena is in SRAM itself.
    """

    planned: int
    left: int
    scratch: int
    structures: int
    fast: int

    @property
    def tensors(self) -> int:
        """Return the bytes of tensors and scratch buffers."""
        return self.planned + self.left + self.scratch

    @property
    def total(self) -> int:
        """Return the bytes to set aside."""
        return aligned(self.tensors + self.structures)


def count_arena(compiled: Graph, placement: Placement, trials: Mapping[int, OpTrial] | None) -> Arena:
    """Return what a compiled model takes on a 32-bit device.

    Args:
        compiled: what Vela wrote.
        placement: where the ops of the source run.
        trials: what the interpreter needs for an op of the source, by its index; None: not known.
    """
    offsets = _offsets(compiled)
    needed = [t for t in compiled.tensors if needs_memory(t)]
    state = [t for t in compiled.tensors if t.is_variable]
    placed = [(offsets[t.index], tensor_bytes(t)) for t in needed if offsets[t.index] != _LATER]
    left = [tensor_bytes(t) for t in needed if offsets[t.index] == _LATER]
    on_cpu = [trial for part in placement.left if (trial := (trials or {}).get(part.op.index)) is not None]
    npu = [op for op in compiled.ops if op.name == CUSTOM_OP]
    return Arena(
        planned=max((start + size for start, size in placed), default=0),
        left=sum(aligned(size) for size in left) + sum(aligned(tensor_bytes(t)) for t in state),
        scratch=max([0, *_cpu_scratch(placement, on_cpu), *(_npu_scratch(op) for op in npu)]),
        structures=max(LEAST_STRUCTURES, _structures(compiled, npu, on_cpu)),
        fast=max((tensor_bytes(t) for t in compiled.tensors if t.name == FAST), default=0),
    )


def _cpu_scratch(placement: Placement, on_cpu: Iterable[OpTrial]) -> Iterable[int]:
    """Yield what each op on the CPU asks for: its reference kernel, or CMSIS-NN's for MVE, as Corstone's cores have."""
    own = cmsis.scratch(placement.graph, "mve")
    return (aligned(max(trial.scratch_bytes, *own.get(trial.index, (0,)))) for trial in on_cpu)


def _npu_scratch(op: Op) -> int:
    return sum(aligned(size * len(op.inputs + op.outputs)) for size in _PER_NPU_TENSOR)


def _structures(compiled: Graph, npu: list[Op], on_cpu: list[OpTrial]) -> int:
    ends = len(compiled.inputs) + len(compiled.outputs)
    return (
        _CORE
        + _PER_TENSOR * len(compiled.tensors)
        + _PER_OP * len(compiled.ops)
        + _PER_END * ends
        + len(npu) * (aligned(_PER_NPU_OP) + len(_PER_NPU_TENSOR) * _HANDLE)
        # Alone on the 64-bit host: more than on the device. Every piece may be moved up to the alignment.
        + sum(trial.persistent_bytes + ALIGNMENT * trial.persistent_count + _HANDLE for trial in on_cpu)
    )


def _offsets(graph: Graph) -> list[int]:
    content = graph.metadata.get(_KEY)
    values = [] if content is None else np.frombuffer(content.tobytes(), "<i4")[_HEADER:].tolist()
    return [*values, *[_LATER] * len(graph.tensors)][: len(graph.tensors)]
