"""Whether another model can teach the one that is trained: the same inputs, the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgecompile.errors import ConfigError
from edgecompile.training.meaning import Meaning
from edgecompile.training.shapes import Port, show_open
from edgecompile.training.source import Call, Source

Shape = tuple[int | None, ...]
Meanings = Callable[[Sequence[Any]], Sequence[Meaning]]


def ensure_can_teach(
    path: Path, teacher: Source, *, ports: Sequence[Port], run: Call, rows: Sequence[Any], meanings: Meanings
) -> None:
    """Raise ConfigError unless a teacher takes and gives what the model does.

    Args:
        path: of the teacher.
        teacher: the model at path.
        ports: inputs of the model that it shall teach.
        run: that model.
        rows: some rows, as tensors, that both take.
        meanings: outputs, [n, ...] each → what each holds.
    """
    taken, wanted = [p.shape for p in teacher.inputs], [p.shape for p in ports]
    if len(taken) != len(wanted) or not all(map(_takes, taken, wanted)):
        raise _other(path, "takes", taken, wanted)
    theirs, own = ([y.numpy() for y in model(rows)] for model in (teacher.run, run))
    gives, given = ([y.shape for y in outputs] for outputs in (theirs, own))
    if gives != given:
        raise _other(path, "gives", gives, given)
    for number, (theirs_is, own_is) in enumerate(zip(meanings(theirs), meanings(own), strict=True)):
        kinds = {theirs_is, own_is}
        if len(kinds) > 1 and ("probabilities" in kinds or kinds == {"probability", "logit"}):
            raise ConfigError(
                f"gives {theirs_is}, the model gives {own_is}" + (f" as output {number}" if len(own) > 1 else ""),
                where=f"teacher = {path}",
                hint="let both end in a softmax or a sigmoid, or neither",
            )


def _takes(taken: Shape | None, wanted: Shape | None) -> bool:
    """Whether a teacher's input is that of the model; an open batch takes any."""
    if taken is None or wanted is None:
        return taken == wanted
    return taken[1:] == wanted[1:] and taken[0] in (None, wanted[0])


def _other(path: Path, verb: str, found: Sequence[Shape | None], wanted: Sequence[Shape | None]) -> ConfigError:
    """Return the error for shapes, batch first, that differ: those of a row, or the batch where that is all."""
    rows = [[shape if shape is None else shape[1:] for shape in shapes] for shapes in (found, wanted)]
    unit, unlike = ("row", rows) if rows[0] != rows[1] else ("batch", [found, wanted])
    theirs, own = (", ".join("any" if x is None else show_open(x) for x in shapes) for shapes in unlike)
    return ConfigError(
        f"{verb} {theirs} per {unit}, the model {verb} {own}",
        where=f"teacher = {path}",
        hint="a teacher needs the inputs and outputs of the model that it teaches",
    )
