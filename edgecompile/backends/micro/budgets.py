"""SRAM and flash against the target: by how much a model misses, and what would fit."""

from __future__ import annotations

from edgecompile.backends.micro.lower import Lowered
from edgecompile.report import Check
from edgecompile.target import Memory, Target, load_target, target_files
from edgecompile.tflite.arena import Kernels
from edgecompile.units import show_bytes

_WORST_MARGIN = "never under and at most 0.8% over six measured builds"


def budget_checks(lowered: Lowered, target: Target, kernels: Kernels) -> tuple[Check, ...]:
    """Return the checks of arena and file against what target leaves for them; none where it sets no limit."""
    memory, found = target.memory, []
    if memory.sram_bytes is not None:
        limit = memory.sram_bytes - memory.reserved_sram_bytes
        missing = lowered.arena.arena_bytes - limit
        found.append(
            Check(
                name="arena",
                title="memory for the tensor arena",
                actual=lowered.arena.arena_bytes,
                limit=limit,
                relation="at most",
                unit="bytes",
                how="estimated",
                detail=f"{kernels} kernels, 32-bit; smallest that works here, {lowered.host.arena_bytes:,} bytes, "
                f"with the device's sizes of structures ({_WORST_MARGIN}); {show_bytes(memory.sram_bytes)} of SRAM, "
                f"{show_bytes(memory.reserved_sram_bytes)} reserved",
                remedy="" if missing <= 0 else _sram_remedy(lowered, target, missing),
            )
        )
    if memory.flash_bytes is not None:
        limit = memory.flash_bytes - memory.reserved_flash_bytes
        missing = lowered.device_bytes - limit
        found.append(
            Check(
                name="model-size",
                title="size of the model on the device",
                actual=lowered.device_bytes,
                limit=limit,
                relation="at most",
                unit="bytes",
                how="measured",
                detail=f"given {show_bytes(lowered.given_bytes)}; {show_bytes(memory.flash_bytes)} of flash, "
                f"{show_bytes(memory.reserved_flash_bytes)} reserved for code and application",
                remedy="" if missing <= 0 else _flash_remedy(lowered, target, missing),
            )
        )
    return tuple(found)


def _sram_remedy(lowered: Lowered, target: Target, missing: int) -> str:
    advice = [f"{missing:,} bytes too much"]
    if _is_float(lowered):
        advice.append('quantize to int8: recipe "int8" takes a quarter of the memory')
    else:
        advice.append("smaller inputs or fewer channels in the first layers, where the plan peaks")
    return "; ".join((*advice, _who_fits(lowered, target)))


def _flash_remedy(lowered: Lowered, target: Target, missing: int) -> str:
    advice = [f"{missing:,} bytes too much"]
    if _is_float(lowered):
        advice.append('quantize to int8: recipe "int8" takes a quarter of the bytes')
    else:
        advice.append("fewer channels per layer")
    return "; ".join((*advice, _who_fits(lowered, target)))


def _is_float(lowered: Lowered) -> bool:
    return any(t.dtype == "float32" and t.constant and len(t.shape) > 1 for t in lowered.graph.tensors)


def _who_fits(lowered: Lowered, target: Target) -> str:
    """Return which of the known targets of this backend would take the model."""
    fits = [
        name
        for name in sorted(target_files())
        if name != target.name
        and (other := load_target(name)).backend == target.backend
        and _takes(other.memory, lowered)
    ]
    return f"targets that would fit: {', '.join(fits)}" if fits else "no known target would fit"


def _takes(memory: Memory, lowered: Lowered) -> bool:
    sram = memory.sram_bytes is None or lowered.arena.arena_bytes <= memory.sram_bytes - memory.reserved_sram_bytes
    flash = memory.flash_bytes is None or lowered.device_bytes <= memory.flash_bytes - memory.reserved_flash_bytes
    return sram and flash
