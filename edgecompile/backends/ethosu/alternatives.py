"""Where a model would fit that does not fit its target: tried with Vela, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgecompile.backends.ethosu.lower import Lowered, compile_for, weigh
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.vela import VelaError
from edgecompile.config import parse
from edgecompile.errors import ConfigError
from edgecompile.report import Check
from edgecompile.target import Target, load_target, target_files
from edgecompile.tflite.lighter import LIGHTER, with_weights
from edgecompile.tflite.tflm_trials import OpTrial
from edgecompile.units import show_bytes

_ENOUGH = 2
"""So many that fit are named; each trial is a run of Vela."""
_BACKEND = "ethosu"

Other = tuple[str, Target, EthosuOptions]
"""What else could be taken: in words, and as values."""

_SMALLER = {
    "model-size": "take fewer or narrower layers",
    "sram": "take a smaller input or narrower layers",
    "dram": "take a smaller input, or fewer or narrower layers",
}
"""Check → what makes the model itself smaller."""


def with_remedies(
    lowered: Lowered,
    vela: Path,
    model: Path,
    target: Target,
    options: EthosuOptions,
    *,
    trials: Mapping[int, OpTrial] | None,
    work: Path,
) -> tuple[Check, ...]:
    """Return the checks, the missed ones with how much is missing and what would fit.

    Args:
        lowered: the model on its target.
        vela: the program.
        model: the int8 model.
        target: what it does not fit.
        options: the target's.
        trials: what the interpreter says of the model's ops.
        work: folder for runs of Vela.
    """
    checks = lowered.checks
    if all(check.ok for check in checks):
        return checks
    others = (*_variants(target, options), *_others(target))
    fit = _fitting(others, vela, model, trials, work)
    tried = f"as it is, it fits {' or '.join(fit)}" if fit else "it fits none of the other Ethos-U targets"
    found = []
    for check in checks:
        if not check.ok:
            over = f"{show_bytes(round(check.actual - check.limit))} too many"
            passes = (
                _passes(vela, model, target, options, limit=check.limit, work=work)
                if check.name == "model-size"
                else ""
            )
            remedy = "; ".join(filter(None, (over, passes, _SMALLER[check.name], tried)))
            found.append(check.model_copy(update={"remedy": remedy}))
        else:
            found.append(check)
    return tuple(found)


def _passes(vela: Path, model: Path, target: Target, options: EthosuOptions, *, limit: float, work: Path) -> str:
    """Return what the passes would gain whose weights Vela stores in fewer bits; empty where that is not enough."""
    told = []
    for name, change in LIGHTER.items():
        folder = work / f"trial-{name}"
        folder.mkdir()
        lighter = folder / "lighter.tflite"
        lighter.write_bytes(with_weights(model, change))
        try:
            made = compile_for(vela, lighter, target, options, name="trial", work=folder / "run")
        except VelaError:
            continue  # then this pass does not help
        size = made.model.stat().st_size
        if size <= limit:
            told.append(f"`{name}` (about {show_bytes(size)})")
    return f"train with the pass {' or '.join(told)}, whose weights Vela stores in fewer bits" if told else ""


def _fitting(
    others: Iterable[Other], vela: Path, model: Path, trials: Mapping[int, OpTrial] | None, work: Path
) -> list[str]:
    """Return in which of others the model fits: the first few."""
    found: list[str] = []
    for number, (words, other, changed) in enumerate(others):
        try:
            made = compile_for(vela, model, other, changed, name="trial", work=work / f"trial-{number}")
        except VelaError:
            continue  # it fits no target that Vela cannot compile it for
        if all(check.ok for check in weigh(made, model, other, changed, trials=trials).checks):
            found.append(words)
        if len(found) == _ENOUGH:
            break
    return found


def _variants(target: Target, options: EthosuOptions) -> Iterator[Other]:
    """Yield the same target with other options."""
    if options.optimise != "Size":
        yield f'{target.name} with optimise = "Size"', target, options.model_copy(update={"optimise": "Size"})
    budget = target.memory.sram_bytes
    if budget is not None and (options.own_cache_size or options.arena_cache_bytes is not None):
        room = budget - target.memory.reserved_sram_bytes
        changed = options.model_copy(update={"arena_cache_bytes": max(room, 1)})
        yield f"{target.name} with arena_cache_bytes = {room}", target, changed


def _others(target: Target) -> Iterator[Other]:
    """Yield other targets of this backend, the smallest first."""
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
