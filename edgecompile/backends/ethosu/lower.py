"""One model for one target: Vela run, its words read, the result counted and set against the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.backends.ethosu.arena import Arena, count_arena
from edgecompile.backends.ethosu.budget import cache_bytes, memory_checks
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.placement import Placement, place
from edgecompile.backends.ethosu.said import Said, parse_said
from edgecompile.backends.ethosu.vela import Compilation, run_vela
from edgecompile.errors import ToolError
from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.tflm_trials import OpTrial


@dataclass(frozen=True)
class Lowered:
    """A model for a target.

    Attributes:
        made: Vela's files.
        said: what Vela printed.
        placement: where ops run.
        arena: memory beside the file.
        checks: what it takes against what the target has.
    """

    made: Compilation
    said: Said
    placement: Placement
    arena: Arena
    checks: tuple[Check, ...]

    @property
    def model_bytes(self) -> int:
        """Return the size of the compiled model."""
        return self.made.model.stat().st_size


def compile_for(
    vela: Path, model: Path, target: Target, options: EthosuOptions, *, name: str, work: Path
) -> Compilation:
    """Return model compiled by Vela for the SRAM that target has.

    Args:
        vela: the program.
        model: int8 `.tflite` file.
        target: its memory.
        options: its options, or others to try.
        name: stem for files.
        work: folder that does not exist yet.

    Raises:
        VelaError: as run_vela.
    """
    room = cache_bytes(target, options, model_bytes=model.stat().st_size)
    return run_vela(vela, model, options, name=name, cache_bytes=room, work=work)


def weigh(
    made: Compilation, model: Path, target: Target, options: EthosuOptions, *, trials: Mapping[int, OpTrial] | None
) -> Lowered:
    """Return what was made of model, counted and set against target.

    Args:
        made: from compile_for.
        model: what was compiled.
        target: for what.
        options: with which options.
        trials: what the interpreter says of the model's ops; None: not known.

    Raises:
        ToolError: Vela changed what the model takes or gives.
    """
    source, compiled = read_graph(model), read_graph(made.model)
    _ensure_same_ends(source, compiled, where=str(made.model))
    said = parse_said(made.printed)
    placement = place(source, compiled, said.refusals)
    arena = count_arena(compiled, placement, trials)
    return Lowered(
        made=made,
        said=said,
        placement=placement,
        arena=arena,
        checks=memory_checks(target, options, made.summary, arena, model_bytes=made.model.stat().st_size),
    )


def _ensure_same_ends(source: Graph, compiled: Graph, *, where: str) -> None:
    """Raise ToolError where inputs or outputs changed: io.json and the C sources describe those of the source."""
    for role, ours, theirs in (
        ("inputs", source.inputs, compiled.inputs),
        ("outputs", source.outputs, compiled.outputs),
    ):
        before = [(source.tensors[i].dtype, source.tensors[i].shape) for i in ours]
        after = [(compiled.tensors[i].dtype, compiled.tensors[i].shape) for i in theirs]
        if before != after:
            raise ToolError(
                f"`vela` changed the {role} of the model from {before} to {after}",
                where=where,
                hint="a fault of Vela: report it there with the model",
            )
