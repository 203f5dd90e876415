"""From where ops run to what the user reads: findings, the sections of the report, a line of status."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgecompile.backends.ethosu.arena import Arena
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.placement import Left, Placement, name_of
from edgecompile.backends.ethosu.remedies import kind_of, remedy_for
from edgecompile.backends.ethosu.said import Note, Refusal
from edgecompile.backends.ethosu.summary import Summary
from edgecompile.report import Finding
from edgecompile.units import show_bytes, show_percent

_SHOWN = 3
_LONGEST_RULE = 120
"""Characters of a constraint that a sentence bears; longer ones, with their cases, are in the table of ops."""
_SAYS_NOTHING = "Vela gives no reason"


def cpu_findings(placement: Placement, *, on_u85: Collection[str]) -> tuple[Finding, ...]:
    """Return one finding for ops of a kind that stay on the CPU for the same reason, in graph order.

    Args:
        placement: where ops run.
        on_u85: kinds that an Ethos-U85 takes, where the target has another NPU.
    """
    alike: dict[tuple[str, str], list[Left]] = {}
    for left in placement.left:
        alike.setdefault((left.op.name, _rule(_first(left))), []).append(left)
    found = [_about(placement, those, on_u85) for those in alike.values()]
    if placement.graph.ops and not placement.on_npu:
        found.append(
            Finding(
                severity="error",
                rule="ethosu-nothing-on-npu",
                what="No op of the model runs on the NPU",
                consequence="the Cortex-M does all the work",
                remedy="quantize the model to int8, or take a target without an NPU",
            )
        )
    return tuple(found)


def _about(placement: Placement, those: list[Left], on_u85: Collection[str]) -> Finding:
    first = _first(those[0])
    op = those[0].op.name
    times = "" if len(those) == 1 else f"{len(those)} "
    shown = [name_of(placement.graph, left.op) for left in those[:_SHOWN]]
    more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
    parts = placement.parts
    return Finding(
        severity="warning",
        rule=f"ethosu-cpu-{kind_of(first)}",
        what=f"{times}{op} {'stays' if len(those) == 1 else 'stay'} on the CPU: {_words(first)}",
        where=", ".join(shown) + more,
        consequence="runs on the Cortex-M" + (f"; the model enters the NPU {parts} times" if parts > 1 else ""),
        remedy=remedy_for(op, first, on_u85=on_u85),
    )


def _first(left: Left) -> Refusal | None:
    return left.refusals[0] if left.refusals else None


def _rule(refusal: Refusal | None) -> str:
    return "" if refusal is None else refusal.rule or refusal.reason


def _words(refusal: Refusal | None) -> str:
    if refusal is None:
        return _SAYS_NOTHING
    return refusal.reason + (f". It asks: {refusal.rule}" if 0 < len(refusal.rule) <= _LONGEST_RULE else "")


def sections(
    placement: Placement,
    summary: Summary,
    arena: Arena,
    notes: tuple[Note, ...],
    *,
    options: EthosuOptions,
    version: str,
    model_bytes: int,
    on_u85: Collection[str],
) -> dict[str, Any]:
    """Return what is known of the compiled model as sections of the report."""
    share = placement.share_of_macs
    found: dict[str, Any] = {
        "ethosu": {
            "how": "modelled",
            "compiler": f"Vela {version}",
            "accelerator": options.accelerator,
            "system_config": options.system_config,
            "memory_mode": options.memory_mode,
            "optimise": options.optimise,
            "arena_cache_bytes": summary.cache_bytes,
            "ops": len(placement.graph.ops),
            "ops_on_npu": len(placement.on_npu),
            "ops_on_cpu": len(placement.left),
            "ops_removed": len(placement.removed),
            "npu_calls": placement.parts,
            **({} if share is None else {"share_of_macs_on_npu": round(share, 4)}),
            "clock_hz": round(summary.clock_hz),
            "npu_cycles": summary.total_cycles,
            "npu_seconds": summary.seconds,
        },
        "ethosu_memory": [
            {"memory": area, "bytes": summary.memory[area], "bytes_moved_in_one_inference": moved}
            for area, moved in summary.traffic.items()
            if summary.memory[area] or moved
        ],
        "ethosu_counted": _counted(summary, arena, model_bytes),
        "ethosu_cycles": [
            {"part": part, "cycles": cycles, "seconds": cycles / summary.clock_hz}
            for part, cycles in (*summary.cycles.items(), ("total, as they overlap", summary.total_cycles))
            if cycles
        ],
    }
    if placement.left or placement.inserted:
        found["ethosu_on_cpu"] = [_row(placement, left, on_u85) for left in placement.left] + [
            {"op": op.name, "layer": "", "reason": "put there by Vela", "constraint": "", "remedy": ""}
            for op in placement.inserted
        ]
    if notes:
        found["ethosu_vela_says"] = [{"times": note.times, "text": note.text} for note in notes]
    return found


def _counted(summary: Summary, arena: Arena, model_bytes: int) -> list[dict[str, Any]]:
    """Return what is counted in the files, and the parts of the arena."""
    counted = {
        "weights in the source model": summary.weights,
        "weights as Vela stores them": summary.encoded_weights,
        "the compiled model file": model_bytes,
        "tensors placed in that file, those of CPU ops too": arena.planned,
        "tensors left to the interpreter, at most": arena.left,
        "scratch buffers of kernels": arena.scratch,
        "structures of the interpreter": arena.structures,
        "the tensor arena: tensors, buffers, structures": arena.total,
        "the NPU's own SRAM": arena.fast,
    }
    return [{"what": what, "bytes": n} for what, n in counted.items() if n]


def _row(placement: Placement, left: Left, on_u85: Collection[str]) -> dict[str, Any]:
    first = _first(left)
    return {
        "op": left.op.name,
        "layer": placement.graph.tensors[left.op.outputs[0]].name if left.op.outputs else "",
        "reason": "; ".join(r.reason for r in left.refusals) or _SAYS_NOTHING,
        "constraint": "; ".join(r.rule for r in left.refusals if r.rule),
        "remedy": remedy_for(left.op.name, first, on_u85=on_u85),
    }


def status_line(placement: Placement, summary: Summary, *, options: EthosuOptions, version: str) -> str:
    """Return what Vela made in a sentence."""
    npu, total = options.accelerator.title(), len(placement.graph.ops)
    line = f"compiled for {npu} by Vela {version}: {len(placement.on_npu)} of {total} ops on the NPU"
    if (share := placement.share_of_macs) is not None:
        line += f", {show_percent(share, digits=1)} of the multiply-accumulates"
    if placement.on_npu:
        alone = " for the NPU's part" if placement.left else ""
        line += f"; modelled: {1000 * summary.seconds:.3g} ms{alone} at {summary.clock_hz / 1e6:g} MHz"
    return line + f"; {summary.arena_in} {show_bytes(summary.memory[summary.arena_in])} as Vela counts"
