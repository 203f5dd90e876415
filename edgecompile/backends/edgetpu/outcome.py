"""What the compiler made of a model, and of those that share an Edge TPU with it, beside what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecompile.backends.edgetpu.compiler import COMPILER, Compilation
from edgecompile.backends.edgetpu.cost import Parameters, Range, parameters, shared
from edgecompile.backends.edgetpu.findings import differences, status_line
from edgecompile.backends.edgetpu.log import CompilerLog
from edgecompile.backends.edgetpu.planner import Plan
from edgecompile.backends.edgetpu.status import MAPPED
from edgecompile.report import Finding
from edgecompile.units import KIB, MIB

_PRINTED = 0.01
"""The compiler prints sizes with two decimals, in KiB or MiB."""


def compiler_name(made: Compilation) -> str:
    """Return the compiler with its version, where it says one."""
    return f"Edge TPU Compiler version {made.version}" if made.version else COMPILER


def counted(said: CompilerLog, plan: Plan) -> str:
    """Return how many ops the compiler mapped; where it does not say, how many are expected."""
    if not said.operators:
        return status_line(plan)
    mapped = sum(n for (_, words), n in said.operators.items() if words == MAPPED)
    return f"{mapped} of {sum(said.operators.values())} ops on the Edge TPU"


def of_the_model(made: Compilation, segments: int | None) -> CompilerLog:
    """Return what the compiler said of the model of the build; of one cut in segments, of all of them together."""
    if segments is None:
        return made.said[0]
    operators: Counter[tuple[str, str]] = Counter()
    for one in made.said:
        operators.update(one.operators)
    return replace(
        made.said[0],
        operators=dict(operators),
        cached_bytes=_added([one.cached_bytes for one in made.said]),
        room_left_bytes=_added([one.room_left_bytes for one in made.said]),
        streamed_bytes=_added([one.streamed_bytes for one in made.said]),
        subgraphs=_added([one.subgraphs for one in made.said]),
    )


def _added(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def compared(made: Compilation, plan: Plan, others: Sequence[Plan], segments: int | None) -> dict[str, Any]:
    """Return what the compiler said as sections of the report, and where that is not what was expected."""
    said = of_the_model(made, segments)
    sections: dict[str, Any] = {}
    if segments is not None:
        sections["edgetpu_segments"] = [_row(file, one) for file, one in zip(made.models, made.said, strict=True)]
    if not said.operators:
        unknown = "in a form that is not known: it was not compared with what was expected"
        return {**sections, "edgetpu_compiler": {"log": unknown}}
    found = differences(plan, said)
    if segments is None:  # several chips have several times the room
        found += _other_sizes(shared([parameters(p.graph, p.on_tpu) for p in (plan, *others)])[0], said)
    summary = {
        "version": made.version,
        "attempts": made.attempts,
        "parameter_bytes_cached": said.cached_bytes,
        "parameter_bytes_room_left": said.room_left_bytes,
        "parameter_bytes_streamed": said.streamed_bytes,
        "edge_tpu_subgraphs": said.subgraphs,
        "as_expected": not found,
    }
    return {**sections, "edgetpu_compiler": summary, **({"edgetpu_unexpected": found} if found else {})}


def told(sections: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return what the user should know of what `compared` gives: an unknown form, or other ops than expected."""
    if "log" in sections["edgetpu_compiler"]:
        return (
            Finding(
                severity="warning",
                rule="edgetpu-compiler-log",
                what="What the compiler printed is in a form that is not known",
                where=COMPILER,
                consequence="which ops it mapped was not read, and not compared with what was expected",
                remedy="read its log in the bundle; `edgecompile inspect` reads the compiled model",
            ),
        )
    rows = sections.get("edgetpu_unexpected", ())
    if not rows:
        return ()
    named = ", ".join(dict.fromkeys(str(row["operator"] or row["status"]) for row in rows))
    return (
        Finding(
            severity="warning",
            rule="edgetpu-compiler-otherwise",
            what=f"The compiler did otherwise than expected: {named}",
            where=COMPILER,
            consequence="the compiler's word counts; the table of what was not expected is in the report",
            remedy="read which ops are left to the CPU in its log",
        ),
    )


def _other_sizes(expected: Parameters, said: CompilerLog) -> list[dict[str, Any]]:
    """Return the sizes that the compiler states and that are not within the expected range."""
    rows = []
    for words, limits, found in (
        ("bytes of parameters kept on the chip", expected.cached, said.cached_bytes),
        ("bytes of parameters sent at every inference", expected.streamed, said.streamed_bytes),
    ):
        if found is None or _within(limits, found):
            continue
        rows.append(
            {
                "operator": "",
                "status": words,
                "expected": f"{limits.low:,} to {limits.high:,}",
                "compiler": f"{found:,}",
            }
        )
    return rows


def _within(limits: Range, found: int) -> bool:
    """Return whether a size as the compiler prints it is within limits."""
    rounding = _PRINTED * (MIB if found >= MIB else KIB)
    return limits.low - rounding <= found <= limits.high + rounding


def _row(file: Path, said: CompilerLog) -> dict[str, Any]:
    return {
        "model": file.name,
        "parameter_bytes_cached": said.cached_bytes,
        "parameter_bytes_streamed": said.streamed_bytes,
    }


def sharing(names: Sequence[str], plans: Sequence[Plan], said: Sequence[CompilerLog] = ()) -> dict[str, Any]:
    """Return how models that are compiled together share the memory for parameters, as a section of the report.

    Args:
        names: of the models, in order of priority.
        plans: what is expected of each.
        said: what the compiler said of each; none where it was not run.
    """
    rows = []
    for number, (name, found) in enumerate(
        zip(names, shared([parameters(p.graph, p.on_tpu) for p in plans]), strict=True)
    ):
        row: dict[str, Any] = {
            "priority": number + 1,
            "model": name,
            "parameter_bytes_cached": f"{found.cached.low:,} to {found.cached.high:,}",
            "parameter_bytes_streamed": f"{found.streamed.low:,} to {found.streamed.high:,}",
        }
        if said:
            row["compiler_cached"], row["compiler_streamed"] = said[number].cached_bytes, said[number].streamed_bytes
        rows.append(row)
    return {"edgetpu_shared": rows}
