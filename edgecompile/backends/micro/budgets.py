"""SRAM and flash against the target: by how much a model misses, and what would fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecompile.backends.micro.advice import fitting_targets, flash_advice, sram_advice
from edgecompile.backends.micro.lower import Lowered
from edgecompile.backends.micro.options import MicroOptions
from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.units import show_bytes

_WORST_MARGIN = "never under and at most 0.8% over six measured builds"


def budget_checks(lowered: Lowered, target: Target, model: Path, options: MicroOptions) -> tuple[Check, ...]:
    """Return the checks of arena and file against what target leaves for them; none where it sets no limit.

    Args:
        lowered: what was made.
        target: its limits.
        model: what lowered was made from.
        options: how.
    """
    memory, found = target.memory, []
    if memory.sram_bytes is not None:
        arena, limit = lowered.arena.arena_bytes, memory.sram_bytes - memory.reserved_sram_bytes
        advice = sram_advice(lowered, options, limit=limit) if arena > limit else ()
        found.append(
            Check(
                name="arena",
                title="memory for the tensor arena",
                actual=arena,
                limit=limit,
                relation="at most",
                unit="bytes",
                how="estimated",
                detail=f"{options.kernels} kernels, 32-bit; smallest that works here, {lowered.host.arena_bytes:,} "
                f"bytes, with the device's sizes of structures ({_WORST_MARGIN}); {show_bytes(memory.sram_bytes)} of "
                f"SRAM, {show_bytes(memory.reserved_sram_bytes)} reserved",
                remedy=_remedy(arena - limit, advice, lowered, target, options),
            )
        )
    if memory.flash_bytes is not None:
        limit = memory.flash_bytes - memory.reserved_flash_bytes
        missing = lowered.device_bytes - limit
        advice = flash_advice(lowered, model, options, limit=limit) if missing > 0 else ()
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
                remedy=_remedy(missing, advice, lowered, target, options),
            )
        )
    return tuple(found)


def _remedy(missing: int, advice: Sequence[str], lowered: Lowered, target: Target, options: MicroOptions) -> str:
    if missing <= 0:
        return ""
    return "; ".join((f"{missing:,} bytes too much", *advice, fitting_targets(lowered, target, options)))
