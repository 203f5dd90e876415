"""Microcontrollers with TFLite Micro: ops checked and memory measured on its interpreter, then planned and packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecompile.artifact import Artifact
from edgecompile.backends.base import Backend, Compiled, Firmware, Runnable
from edgecompile.backends.micro.budgets import budget_checks
from edgecompile.backends.micro.lower import Lowered, lower
from edgecompile.backends.micro.ops import ADD_METHODS, resolver
from edgecompile.backends.micro.options import MicroOptions, micro_options
from edgecompile.backends.micro.remedies import remedy
from edgecompile.cache import library_version
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.arena import dynamic_bytes
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.state import state_of
from edgecompile.tflite.tflm import revision

_FIDELITY = (
    "TFLite Micro's own interpreter with reference kernels, whose int8 outputs equal those of CMSIS-NN kernels on "
    "emulated Cortex-M4 and M55 bit for bit (measured on MLPerf Tiny models); the very file that goes on the device"
)

_PACKAGE = "tflite-micro"
_WORTH_A_HINT = 0.1
"""Share of the file's bytes."""


class Micro(Backend):
    """TFLite Micro."""

    name = "micro"
    summary = "Microcontrollers with TFLite Micro: exact arena, smaller plan and file, measured on its own interpreter."
    Options = MicroOptions
    sources = True
    unrolls = True
    weights_note = (
        "TFLite Micro computes with every weight, zero or not: scattered zeros shorten the download, not the file. "
        "Few values per channel make the file shorter with --option look_up_tables=true, for some arena and time."
    )

    def outside(self, target: Target) -> str:
        """Return the version of TFLite Micro's interpreter."""
        return library_version(_PACKAGE)

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return the ops that TFLite Micro does not have; which of the others it takes is found by trying them."""
        missing = [op for op in graph.every_op() if not op.custom and op.name not in ADD_METHODS]
        return tuple(
            Finding(
                severity="error",
                rule="tflm-no-op",
                what=f"TFLite Micro has no op {op.name}",
                where=f"op {op.index}" + (f" → {graph.tensors[op.outputs[0]].name}" if op.outputs else ""),
                consequence="the model does not load on the device",
                remedy=remedy(graph, op, registered=False),
            )
            for op in {op.name: op for op in reversed(missing)}.values()
        )

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Return the file for the device, packed and planned, and beside it the model as given, for debugging.

        Raises:
            ModelError: TFLite Micro refuses ops: all of them, each with its reason and what to do.
            ToolError: TFLite Micro's interpreter is not installed.
        """
        options = micro_options(target)
        lowered = lower(model.path, options, out=out / f"{name}_micro.tflite")
        return Compiled(
            files={f"{name}.tflite": model.path, f"{name}_micro.tflite": lowered.path},
            model=f"{name}_micro.tflite",
            findings=(*_kept(lowered), *(() if options.look_up_tables else _few_values(lowered))),
            checks=budget_checks(lowered, target, model.path, options),
            extra={"memory": _memory(lowered, tabled=options.look_up_tables)},
            libraries={_PACKAGE: library_version(_PACKAGE)},
            firmware=_firmware(lowered, options),
            runs=Runnable(model=lowered.path, kernels="tflm", fidelity=_FIDELITY),
        )

    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the model on TFLite Micro's interpreter."""
        return Runnable(model=model.path, kernels="tflm", fidelity=_FIDELITY)


def _firmware(lowered: Lowered, options: MicroOptions) -> Firmware:
    """Return what the C sources are made of."""
    state = state_of(lowered.graph)
    return Firmware(
        arena_bytes=lowered.arena.arena_bytes,
        dynamic_bytes=dynamic_bytes(lowered.host),
        host_arena_bytes=lowered.host.arena_bytes,
        kernels=options.kernels,
        cmsis_nn=options.kernels.startswith("cmsis"),
        resolver=resolver(lowered.graph),
        resources=len(state.resources),
        stateful=bool(state),
        stream=state.stream,
        core=options.core,
        revision=revision(),
    )


def _kept(lowered: Lowered) -> tuple[Finding, ...]:
    """Return what the model keeps from run to run, and who resets it."""
    state = state_of(lowered.graph)
    if not state:
        return ()
    kinds = (("variable tensors", state.variables), ("resource variables", state.resources), ("ops", state.ops))
    counted = ", ".join(f"{len(names)} {kind}" for kind, names in kinds if names)
    return (
        Finding(
            severity="info",
            rule="tflm-state",
            what=f"The model keeps a state from run to run: {counted}",
            where=", ".join([*state.variables, *state.resources, *state.ops][:3]),
            consequence="rows were measured as one stream, in their order, from a fresh state"
            if state.stream
            else "each row was measured from a fresh state",
            remedy="call model_reset() of the firmware where a new stream begins"
            if state.stream
            else "call model_reset() of the firmware before each sequence; nothing else resets it",
        ),
    )


def _few_values(lowered: Lowered) -> tuple[Finding, ...]:
    """Return the hint that weights would take less flash as look-up tables, where it is a tenth of the file or more."""
    saved = sum(table.saved for table in lowered.tables)
    if saved < lowered.device_bytes * _WORTH_A_HINT:
        return ()
    names = ", ".join(lowered.graph.tensors[table.tensor].name for table in lowered.tables[:3])
    return (
        Finding(
            severity="info",
            rule="tflm-few-values",
            what=f"{len(lowered.tables)} weights have so few values per channel that tables would hold them",
            where=names,
            consequence=f"the file is about {saved:,} bytes larger than it need be",
            remedy="build with --option look_up_tables=true: less flash, for some arena and time",
        ),
    )


def _memory(lowered: Lowered, *, tabled: bool) -> dict[str, Any]:
    """Return the report's section on memory."""
    plan, arena, stock = lowered.plan, lowered.arena, lowered.stock
    return {
        "arena_bytes": arena.arena_bytes,
        "how": "estimated",
        "kernels": arena.kernels,
        "host_arena_bytes": lowered.host.arena_bytes,
        "stock_arena_bytes": stock.arena_bytes,
        "structures": dict(arena.structures),
        "plan": {
            "bytes": arena.head_bytes,
            "greedy_bytes": stock.head_bytes if plan is None else plan.greedy,
            "bound_bytes": None if plan is None else plan.bound,
            "gap_bytes": None if plan is None else plan.gap,
            "written": plan is not None and plan.fixed,
            "reordered": plan is not None and plan.reordered,
            "order_proven": plan is not None and plan.order_proven,
            "buffers": [] if plan is None else lowered.buffers(),
        },
        "look_up_tables": [lowered.graph.tensors[table.tensor].name for table in lowered.tables if tabled],
        "file": {"given_bytes": lowered.given_bytes, "device_bytes": lowered.device_bytes},
    }
