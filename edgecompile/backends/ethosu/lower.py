"""One model for one target: Vela run, its words read, the result counted and set against the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecompile.backends.ethosu.arena import Arena, count_arena
from edgecompile.backends.ethosu.budget import cache_bytes, memory_checks
from edgecompile.backends.ethosu.options import EthosuOptions
from edgecompile.backends.ethosu.placement import Placement, place
from edgecompile.backends.ethosu.said import Said, parse_said
from edgecompile.backends.ethosu.vela import Compilation, run_vela
from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.tflite.graph import read_graph


@dataclass(frozen=True)
class Lowered:
    """A model for a target.

    Attributes:
        made: Vela's files.
        said: what Vela printed.
        placement: where ops run.
        arena: memory for tensors, counted in the compiled file.
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


def lower(vela: Path, model: Path, target: Target, options: EthosuOptions, *, name: str, work: Path) -> Lowered:
    """Return model compiled for target.

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
    made = run_vela(vela, model, options, name=name, cache_bytes=room, work=work)
    compiled = read_graph(made.model)
    said = parse_said(made.printed)
    arena = count_arena(compiled)
    return Lowered(
        made=made,
        said=said,
        placement=place(read_graph(model), compiled, said.refusals),
        arena=arena,
        checks=memory_checks(target, options, made.summary, arena, model_bytes=made.model.stat().st_size),
    )
