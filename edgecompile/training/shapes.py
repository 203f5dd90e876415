"""Input shapes: what a model leaves open, what the user gives, and the one shape that is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecompile.errors import ConfigError, Problem, near_miss
from edgecompile.recipe import ModelSection

OPEN_EXAMPLE = 224
"""Stands for an open dimension in the `--shape` that an error suggests; the usual edge of an image."""


@dataclass(frozen=True)
class Port:
    """One input of a model.

    Attributes:
        name: what users give data by.
        shape: with the batch first; None where a dimension is open; None as a whole where even the rank is.
        dtype: numpy name: `float32`, `int32`.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    @property
    def open_batch(self) -> bool:
        """Whether several rows can be run at once."""
        return self.shape is None or (len(self.shape) > 0 and self.shape[0] is None)


def fix_shapes(ports: Sequence[Port], section: ModelSection) -> dict[str, tuple[int, ...]]:
    """Return input name → the shape to compile, batch included, every dimension fixed.

    An open batch becomes `section.batch`; other open dimensions must be given in `section.shape`.

    Raises:
        ConfigError: with every problem at once: unknown names, open dimensions that nobody gave (the message has the
            exact `--shape`), shapes that contradict the model.
    """
    problems = _unknown_names(ports, section.shape)
    shapes: dict[str, tuple[int, ...]] = {}
    for port in ports:
        given = section.shape.get(port.name, section.shape.get("*") if len(ports) == 1 else None)
        found = _fixed(port, given, section.batch)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            shapes[port.name] = found
    if problems:
        raise ConfigError.of(problems)
    return shapes


def _unknown_names(ports: Sequence[Port], given: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    names = [port.name for port in ports]
    problems = []
    for name in given:
        if name == "*" and len(names) > 1:
            hint = f"name one: {', '.join(f'--shape {n}=…' for n in names)}"
            what = f"the model has {len(names)} inputs, and nothing says which one is meant"
            problems.append(Problem(what, "--shape", hint))
        elif name not in ("*", *names):
            problems.append(Problem(f"the model has no input `{name}`", "--shape", near_miss(name, names)))
    return problems


def _fixed(port: Port, given: tuple[int, ...] | None, batch: int) -> tuple[int, ...] | Problem:
    """Return the shape of one input, or what is wrong."""
    where = f"input {port.name}"
    if given is not None:
        if port.shape is not None and not _agree(port.shape, given):
            return Problem(
                f"`--shape` {show_open(given)} contradicts the model, which takes {show_open(port.shape)}",
                where,
                "only dimensions shown as ? may be chosen",
            )
        return given
    if port.shape is None:
        return Problem("has no shape in the model", where, f"--shape {port.name}={batch},…  (every dimension)")
    first, rest = port.shape[:1], port.shape[1:]
    if None in rest:
        example = ",".join(str(OPEN_EXAMPLE if d is None else d) for d in rest)
        start = batch if first[0] is None else first[0]
        return Problem(
            f"takes {show_open(port.shape)}, and an edge device needs every size fixed",
            where,
            f"--shape {port.name}={start},{example}  (with your sizes)",
        )
    if first and first[0] not in (None, batch):
        return Problem(
            f"the model has a fixed batch of {first[0]}, the build asks for {batch}",
            where,
            f"--shape {port.name}={','.join(str(d) for d in port.shape)} keeps the model's own batch",
        )
    return (*(batch if d is None else d for d in first), *(d for d in rest if d is not None))


def _agree(shape: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    return len(shape) == len(given) and all(d is None or d == g for d, g in zip(shape, given, strict=True))


def show_open(shape: Sequence[int | None]) -> str:
    """Return a shape as people write it, `?` where a dimension is open."""
    return "×".join("?" if d is None else str(d) for d in shape) or "a scalar"
