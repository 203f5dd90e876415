"""The memory of a microcontroller as the page shows it: the arena's buffers over time, and what else lies in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecompile.units import show_bytes

SECTION = "memory"
"""Key of a backend's section of this form in the report."""
_MOST_BUFFERS = 400
"""Beyond these a plot shows nothing; report.json has them all."""


@dataclass(frozen=True)
class BufferRect:
    """One buffer: when it is in use (across) and where it lies (up), in percent of the plot."""

    left: str
    width: str
    top: str
    height: str
    title: str
    scratch: bool


@dataclass(frozen=True)
class MemoryView:
    """The section: sentences, the plot (empty for models that the runtime plans alone), rows of sizes."""

    sentences: tuple[str, ...]
    buffers: tuple[BufferRect, ...]
    top: str
    steps: int
    rows: tuple[tuple[str, str], ...]


def memory_view(section: Mapping[str, Any]) -> MemoryView:
    """Return the view of a backend's section: see `backends/micro`."""
    plan = section["plan"]
    parts = {"activations and scratch (the plan)": plan["bytes"], **section["structures"]}
    rows = [(name, show_bytes(size)) for name, size in sorted(parts.items(), key=lambda part: -part[1]) if size]
    return MemoryView(
        sentences=_sentences(section, plan),
        buffers=_rects(plan["buffers"], plan["bytes"]),
        top=show_bytes(plan["bytes"]),
        steps=max((b["last"] for b in plan["buffers"]), default=0),
        rows=(*rows, ("arena", show_bytes(section["arena_bytes"]))),
    )


def _sentences(section: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[str, ...]:
    arena, stock = section["arena_bytes"], section["stock_arena_bytes"]
    said = [
        f"The tensor arena takes {show_bytes(arena)} on the device ({section['kernels']} kernels, estimated from the "
        f"smallest that works on this host, {show_bytes(section['host_arena_bytes'])})."
    ]
    if stock != arena:
        said.append(f"The model as given, planned by TFLite Micro, would take {show_bytes(stock)}.")
    if plan["bound_bytes"] is None:
        return (*said, "The model has control flow: TFLite Micro plans its activations alone.")
    whose = "a plan written into the model" if plan["written"] else "TFLite Micro's own plan, which is as small"
    gap = (
        "which is the least that any plan takes" if not plan["gap_bytes"] else f"{show_bytes(plan['gap_bytes'])} above"
    )
    said.append(
        f"Activations follow {whose}: {show_bytes(plan['bytes'])}; the most in use at once is "
        f"{show_bytes(plan['bound_bytes'])}, {gap}."
    )
    if plan["reordered"]:
        said.append("Ops run in another order than in the model as given, which lowers the peak.")
    return tuple(said)


def _rects(buffers: list[Mapping[str, Any]], height: int) -> tuple[BufferRect, ...]:
    steps = max((b["last"] for b in buffers), default=0) + 1
    if not height or len(buffers) > _MOST_BUFFERS:
        return ()
    return tuple(
        BufferRect(
            left=_percent(b["first"] / steps),
            width=_percent((b["last"] - b["first"] + 1) / steps),
            top=_percent(1 - (b["offset"] + b["bytes"]) / height),
            height=_percent(b["bytes"] / height),
            title=f"{', '.join(b['tensors'])}: {b['bytes']:,} bytes at {b['offset']:,}, "
            f"steps {b['first']} to {b['last']}",
            scratch=b["tensors"] == ["scratch"],
        )
        for b in buffers
        if b["first"] >= 0
    )


def _percent(share: float) -> str:
    return f"{round(100 * share, 3):g}%"
