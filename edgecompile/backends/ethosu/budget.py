"""What a compiled model takes of the target's memory, set against what there is."""

from __future__ import annotations

from edgecompile.backends.ethosu.arena import LEAST_STRUCTURES, Arena
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.summary import Summary
from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.units import show_bytes

_DRAM = "DRAM"
_GRAIN = 16
"""Vela's alignment of tensors, bytes."""


def cache_bytes(target: Target, options: EthosuOptions, *, model_bytes: int) -> int | None:
    """Return the SRAM to tell Vela of, so that it plans for what there is; None: what the memory mode says.

    Args:
        target: its memory.
        options: what the user fixed comes first.
        model_bytes: size of the model, for memory modes that keep it in SRAM.
    """
    if options.arena_cache_bytes is not None:
        return options.arena_cache_bytes
    budget = target.memory.sram_bytes
    # For the arena alone, Vela ignores the size where it is told to take the least, and warns about it.
    ignored = options.optimise == "Size" and not options.dedicated
    if budget is None or options.own_cache_size or ignored:
        return None
    room = budget - target.memory.reserved_sram_bytes
    if not options.dedicated:
        room -= LEAST_STRUCTURES
    if options.model_in_sram:
        room -= model_bytes
    return max(room, _GRAIN) // _GRAIN * _GRAIN


def memory_checks(
    target: Target, options: EthosuOptions, summary: Summary, arena: Arena, *, model_bytes: int
) -> tuple[Check, ...]:
    """Return a check for each memory that the target sets a limit for: `model-size`, `sram`, `dram`.

    Args:
        target: its limits.
        options: the memory mode, and the limit of DRAM.
        summary: what Vela says.
        arena: what is counted in the compiled model.
        model_bytes: size of the compiled model.
    """
    memory = target.memory
    found = [_flash(target, model_bytes)]
    parts = (
        f"tensors {show_bytes(arena.tensors)}, TensorFlow Lite Micro's own structures {show_bytes(arena.structures)}"
    )
    need = arena.total
    model = f", the model {show_bytes(model_bytes)}"
    if options.dedicated:
        sram, detail = arena.fast, "the NPU's own"
    elif options.model_in_sram:
        sram, detail = need + model_bytes, parts + model
    else:
        sram, detail = need, parts
    if memory.sram_bytes is not None:
        kept = memory.reserved_sram_bytes
        found.append(_estimate("sram", "SRAM that the model needs", sram, memory.sram_bytes - kept, detail))
    if options.dram_bytes is not None:
        beside = model_bytes if summary.constants_in == _DRAM else 0
        dram = (need if summary.arena_in == _DRAM else 0) + beside
        detail = (parts if summary.arena_in == _DRAM else "no tensors") + (model if beside else "")
        found.append(_estimate("dram", "DRAM that arena and model need", dram, options.dram_bytes, detail))
    return tuple(check for check in found if check is not None)


def _flash(target: Target, model_bytes: int) -> Check | None:
    """Return the check of the compiled file, which takes the place of the one of the int8 file."""
    memory = target.memory
    limits = []
    if memory.flash_bytes is not None:
        kept = memory.reserved_flash_bytes
        words = f"{show_bytes(memory.flash_bytes)} of flash"
        limits.append((memory.flash_bytes - kept, f"{words}, {show_bytes(kept)} of it reserved" if kept else words))
    if memory.model_bytes_max is not None:
        limits.append((memory.model_bytes_max, "largest model file that the deployment takes"))
    if not limits:
        return None
    limit, words = min(limits)
    return Check(
        name="model-size",
        title="size of the compiled model",
        actual=model_bytes,
        limit=limit,
        relation="at most",
        unit="bytes",
        how="measured",
        detail=words,
    )


def _estimate(name: str, title: str, need: int, limit: int, detail: str) -> Check:
    return Check(
        name=name,
        title=title,
        actual=need,
        limit=limit,
        relation="at most",
        unit="bytes",
        how="estimated",
        detail=detail,
    )
