"""Where a model would fit that does not fit its target: tried with Vela, not guessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgecompile.backends.ethosu.lower import lower
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.vela import VelaError
from edgecompile.config import parse
from edgecompile.errors import ConfigError
from edgecompile.report import Check
from edgecompile.target import Target, load_target, target_files
from edgecompile.units import show_bytes

_ENOUGH = 2
"""So many that fit are named; each trial is a run of Vela."""
_BACKEND = "ethosu"

_SMALLER = {
    "model-size": "Vela stores clustered or pruned weights in fewer bits; or take fewer or narrower layers",
    "sram": "take a smaller input or narrower layers",
    "dram": "take a smaller input, or fewer or narrower layers",
}
"""Check → what makes the model itself smaller."""


def with_remedies(
    checks: tuple[Check, ...], vela: Path, model: Path, target: Target, options: EthosuOptions, *, work: Path
) -> tuple[Check, ...]:
    """Return checks, the missed ones with how much is missing and what would fit.

    Args:
        checks: of model on target.
        vela: the program.
        model: the int8 model.
        target: what it does not fit.
        options: the target's.
        work: folder for trials.
    """
    if all(check.ok for check in checks):
        return checks
    fit = _fitting(vela, model, target, options, work)
    tried = f"fits {' or '.join(fit)}" if fit else "fits none of the other Ethos-U targets"
    return tuple(
        check
        if check.ok
        else check.model_copy(
            update={
                "remedy": f"{show_bytes(round(check.actual - check.limit))} too many; {_SMALLER[check.name]}; "
                f"as it is, it {tried}"
            }
        )
        for check in checks
    )


def _fitting(vela: Path, model: Path, target: Target, options: EthosuOptions, work: Path) -> list[str]:
    """Return in what the model fits: other options of its target, then other targets, the smallest first."""
    found: list[str] = []
    for number, (words, other, changed) in enumerate((*_variants(target, options), *_others(target))):
        try:
            lowered = lower(vela, model, other, changed, name="trial", work=work / f"trial-{number}")
        except VelaError:
            continue  # it fits no target that Vela cannot compile it for
        if all(check.ok for check in lowered.checks):
            found.append(words)
        if len(found) == _ENOUGH:
            break
    return found


def _variants(target: Target, options: EthosuOptions) -> Iterator[tuple[str, Target, EthosuOptions]]:
    if options.optimise != "Size":
        yield f'{target.name} with optimise = "Size"', target, options.model_copy(update={"optimise": "Size"})
    budget = target.memory.sram_bytes
    if budget is not None and (options.own_cache_size or options.arena_cache_bytes is not None):
        room = budget - target.memory.reserved_sram_bytes
        changed = options.model_copy(update={"arena_cache_bytes": max(room, 1)})
        yield f"{target.name} with arena_cache_bytes = {room}", target, changed


def _others(target: Target) -> Iterator[tuple[str, Target, EthosuOptions]]:
    found = []
    for name in target_files():
        try:
            other = load_target(name)
            if other.name != target.name and other.backend == _BACKEND:
                found.append((other, parse(EthosuOptions, other.options, where=name)))
        except ConfigError:
            continue  # a broken file of another target is not this build's business
    for other, options in sorted(found, key=lambda pair: (pair[0].memory.sram_bytes or 0, pair[0].name)):
        yield other.name, other, options
