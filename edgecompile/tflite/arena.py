"""The arena that a model needs on a 32-bit device, from what TFLite Micro recorded on this 64-bit host.

The host's interpreter says how many structures of each kind a model needs. Their sizes on the device follow from
their declarations, which hold pointers and words of the machine: all are listed here with their source. What is not
listed is taken at the size it has on the host, which is never less. So the figure is an upper bound; on the measured
Cortex-M4 and M55 builds of two models it lies 0.2% to 0.8% above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgecompile.tflite import cmsis, esp_nn
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.lifetimes import ALIGNMENT, aligned
from edgecompile.tflite.tflm_trials import HostArena, OpTrial

Kernels = Literal["reference", "cmsis-dsp", "cmsis-mve", "esp-nn", "esp-nn-s3"]
"""The kernels of the device's build: TFLite Micro's own, CMSIS-NN's for cores with DSP or MVE instructions, or ESP-NN's
in C or for the ESP32-S3."""

_PER_PIECE: Mapping[str, tuple[int, int]] = {
    # TfLiteEvalTensor: pointer to data, pointer to dims, type (tensorflow/lite/c/common.h)
    "TfLiteEvalTensor data": (24, 12),
    # TfLiteTensor under TF_LITE_STATIC_MEMORY: quantization (type, pointer), data, dims, bytes, type, params (scale,
    # zero point), allocation type, is_variable (tensorflow/lite/c/common.h)
    "Persistent TfLiteTensor data": (64, 40),
    # NodeAndRegistration: TfLiteNode under TF_LITE_STATIC_MEMORY (six pointers, an int) and a pointer, see
    # tensorflow/lite/c/common.h and tensorflow/lite/micro/micro_allocator.h
    "NodeAndRegistration struct": (64, 32),
}
"""Kind → bytes of one on the host and on the device."""

_CORE: Mapping[str, tuple[int, int]] = {
    # two vtables, five pointers, a checksum, a count; recording: four counters (arena_allocator/)
    "allocator": (72 + 32, 36),
    # vtable, seven ints, four pointers and a flag (memory_planner/greedy_memory_planner.h)
    "memory planner": (72, 44),
    # vtable, five pointers, a flag, two sizes; recording: a pointer, seven records of three (micro_allocator.h)
    "model allocator": (72 + 8 + 7 * 24, 36),
    # a vtable and a pointer, see micro_allocator.cc
    "parameter allocator": (16, 8),
    # two pointers (micro_allocator.h)
    "subgraph": (16, 8),
}
"""Object → bytes on the host (where allocations are recorded) and on the device."""

_QUANTIZATION = (24, 12)
"""TfLiteAffineQuantization: two pointers, an int (tensorflow/lite/c/common.h): of each of the model's ends."""

_CONVOLUTION = (80, 64)
"""OpDataConv, aligned: four paddings, five ints, two pointers, three ints; the host's build has two more ints for
compressed weights (kernels/conv.h). CMSIS-NN's adds one int, within the alignment (kernels/cmsis_nn/conv.cc)."""

_ESP_NN_OPS = {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX"}
_HANDLE = 4
"""ScratchBufferHandle: a pointer (micro/micro_context.h)."""
_PLANNING_PER_SCRATCH = 24 + 12 + 40
"""While the plan is made: AllocationInfo, ScratchBufferRequest, and the planner's own five arrays."""


@dataclass(frozen=True)
class DeviceArena:
    """The arena on a 32-bit device.

    Attributes:
        kernels: that run there.
        head_bytes: activations and scratch buffers, as planned.
        structures: kind → bytes of what lives as long as the model.
        planning_bytes: what making the plan needs at least, on top of structures; matters for tiny models only.
    """

    kernels: Kernels
    head_bytes: int
    structures: Mapping[str, int]
    planning_bytes: int

    @property
    def tail_bytes(self) -> int:
        """Bytes of all structures."""
        return sum(self.structures.values())

    @property
    def arena_bytes(self) -> int:
        """Bytes to set aside, a multiple of 16."""
        return aligned(self.tail_bytes + max(self.head_bytes, self.planning_bytes))


_DYNAMIC = {"Persistent TfLiteTensor data": 24, "NodeAndRegistration struct": 12}
"""What a structure takes more on a 32-bit device without TF_LITE_STATIC_MEMORY: of TfLiteTensor 64 bytes for 40, of
TfLiteNode 40 for 28 (tensorflow/lite/core/c/common.h)."""


def dynamic_bytes(host: HostArena) -> int:
    """Return what the arena takes more where TFLite Micro is built without TF_LITE_STATIC_MEMORY."""
    return aligned(sum(each * host.kinds[kind][2] for kind, each in _DYNAMIC.items() if kind in host.kinds)) + ALIGNMENT


def kernel_scratch(graph: Graph, trials: Sequence[OpTrial], kernels: Kernels) -> dict[int, tuple[int, ...]]:
    """Return op index → bytes of scratch: what reference kernels were seen to need, or CMSIS-NN's or ESP-NN's own."""
    own: dict[int, tuple[int, ...]] = {
        trial.index: (trial.scratch_bytes,) for trial in trials if trial.subgraph == 0 and trial.scratch_bytes
    }
    if kernels == "reference":
        return own
    if kernels in {"esp-nn", "esp-nn-s3"}:
        return own | esp_nn.scratch(graph, "s3" if kernels == "esp-nn-s3" else "generic")
    return own | cmsis.scratch(graph, "mve" if kernels == "cmsis-mve" else "dsp")


def device_arena(
    graph: Graph, host: HostArena, trials: Sequence[OpTrial], *, head_bytes: int, kernels: Kernels
) -> DeviceArena:
    """Return the arena of a model on a 32-bit device.

    Args:
        graph: the model.
        host: what the interpreter recorded of it here.
        trials: what it recorded of each op alone.
        head_bytes: the plan of activations and scratch for these kernels.
        kernels: that run on the device.
    """
    ends = len(graph.inputs) + len(graph.outputs)
    structures: dict[str, int] = {}
    recorded = 0
    for kind, (used, _, count) in host.kinds.items():
        recorded += used
        if kind in _PER_PIECE:
            structures[kind] = count * _PER_PIECE[kind][1]
        elif kind == "Persistent TfLiteTensor quantization data":
            structures[kind] = max(0, used - ends * (_QUANTIZATION[0] - _QUANTIZATION[1]))
        elif kind == "Persistent buffer data":
            convolutions = sum(t.name in {"CONV_2D", "DEPTHWISE_CONV_2D"} for t in trials)
            structures[kind] = max(0, used - convolutions * (_CONVOLUTION[0] - _CONVOLUTION[1]))
        else:
            structures[kind] = used
    core = sum(there for _, there in _CORE.values())
    structures["interpreter core"] = core
    rest = host.tail_bytes - recorded - sum(here for here, _ in _CORE.values())
    structures["op parameters and alignment"] = max(0, rest)
    buffers = sum(map(len, kernel_scratch(graph, trials, kernels).values()))
    structures["scratch handles"] = buffers * _HANDLE
    if kernels.startswith("esp-nn"):
        # An index of the scratch buffer more (kernels/esp_nn/{conv,depthwise_conv,softmax}.cc), aligned.
        structures["ESP-NN op data"] = 16 * sum(op.name in _ESP_NN_OPS for op in graph.ops)
    elif kernels != "reference":
        structures["CMSIS-NN op data"] = _cmsis_op_data(graph)
    # Where nothing but the plan's own making sets the host's arena, that is an upper bound for the device.
    planning = (
        host.arena_bytes - host.tail_bytes if host.arena_bytes > aligned(host.head_bytes + host.tail_bytes) else 0
    )
    return DeviceArena(kernels, head_bytes, structures, planning + buffers * _PLANNING_PER_SCRATCH)


def _cmsis_op_data(graph: Graph) -> int:
    """Return what CMSIS-NN's kernels keep beyond the reference kernels: indices, and weight sums of dense layers.

    Source: kernels/cmsis_nn/{fully_connected,add,pooling,softmax}.cc: up to four more words per op, and on MVE one
    int32 per output of FULLY_CONNECTED (`kernel_sums`).
    """
    total = 0
    for op in graph.ops:
        if op.name == "FULLY_CONNECTED":
            total += 16 + aligned(4 * graph.tensors[op.outputs[0]].shape[-1])
        elif op.name in {"AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "MUL", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM"}:
            total += 16
    return total
