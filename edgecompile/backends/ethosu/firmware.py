"""What the C sources of a bundle are made of: arena, resolver, and where things lie.

Sections are those of the linker scripts of Arm's ML embedded evaluation kit for Corstone (mps3-sse-300.ld,
mps4-sse-320.ld): only the internal SRAM, the BRAM and the DDR are within the NPU's reach, so an arena that the compiler
puts into tightly coupled memory does not work.
"""

from __future__ import annotations

from edgecompile.backends.base import Firmware, Runnable
from edgecompile.backends.ethosu.lower import Lowered
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.tflm_ops import resolver
from edgecompile.errors import ModelError
from edgecompile.report import Finding
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.state import state_of
from edgecompile.tflite.tflm import revision

_ARENA_IN_SRAM = ".bss.NoInit.activation_buf_sram"
_ARENA_IN_DRAM = ".bss.NoInit.activation_buf_dram"
_MODEL = "nn_model"

_KERNELS = "Ethos-U and, on the CPU, CMSIS-NN"
_TFLM = (
    "What TFLite Micro's reference kernels answer with the model before Vela. Arm tests that the NPU's operators equal "
    "TensorFlow Lite's reference kernels bit for bit (README of Vela 3.10)."
)
_LITERT = "What LiteRT's reference kernels answer with the model before Vela; the device may differ by a code or two."


def firmware(lowered: Lowered, options: EthosuOptions, stand_in: Runnable) -> Firmware | None:
    """Return what the C sources are made of; None where the CPU's ops are not all ops of TFLite Micro."""
    try:
        methods = resolver(read_graph(lowered.made.model))
    except ModelError:
        return None  # `no_sources` tells the user
    state = state_of(read_graph(lowered.made.model))
    return Firmware(
        arena_bytes=lowered.arena.total,
        cmsis_nn=True,
        resources=len(state.resources),
        stateful=bool(state),
        stream=state.stream,
        revision=revision() if stand_in.kernels == "tflm" else "",
        kernels=_KERNELS,
        resolver=methods,
        arena_section=_ARENA_IN_DRAM if options.dedicated else _ARENA_IN_SRAM,
        model_section=_MODEL,
        npu_cache_bytes=lowered.arena.fast,
        golden=_TFLM if stand_in.kernels == "tflm" else _LITERT,
    )


def no_sources(lowered: Lowered) -> Finding:
    """Return why there are no C sources in the bundle."""
    names = ", ".join(dict.fromkeys(left.op.name for left in lowered.placement.left))
    return Finding(
        severity="info",
        rule="ethosu-no-sources",
        what=f"No C sources were written: TFLite Micro's resolver has no method for each op on the CPU ({names})",
        consequence="the application must add the missing ops itself",
        remedy="end the model before such an op, or build it into TFLite Micro and add it with AddCustom",
    )
