"""Which part of a model the compiler fails on, as a small model for a bug report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgecompile.backends.edgetpu.compiler import CompilerError, Flags, run_compiler
from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.graph import Graph, Op

_MOST_RUNS = 40
"""Starts of the compiler; halving takes about 20 for the largest models."""


@dataclass(frozen=True)
class Culprit:
    """The smallest part of a model that was found to fail.

    Attributes:
        ops: the part, in graph order.
        model: it, as a `.tflite` file.
        said: what the compiler printed about it.
    """

    ops: tuple[Op, ...]
    model: bytes
    said: str


def smallest_failing(ops: int, fails: Callable[[int, int], bool]) -> tuple[int, int]:
    """Return first and last op of a smallest run of ops that fails, given that all of them together fail.

    Halving finds the op whose coming makes the beginning of the model fail, then how many ops before it are needed.
    It takes for granted that a run that fails still fails with more ops; where that is not so, the run that is
    returned fails all the same, and may not be the smallest.
    """
    works, broken = -1, ops - 1
    while broken - works > 1:
        middle = (works + broken) // 2
        works, broken = (works, middle) if fails(0, middle) else (middle, broken)
    last = broken
    needed, too_late = 0, last + 1
    while too_late - needed > 1:
        middle = (needed + too_late) // 2
        needed, too_late = (middle, too_late) if fails(middle, last) else (needed, middle)
    return needed, last


def find_culprit(compiler: Path, model: Path, graph: Graph, flags: Flags, *, work: Path) -> Culprit | None:
    """Return the smallest part of model that the compiler fails on without a hang; None where that is no part's fault.

    That is where no part fails alone, or the first op as well as the last one, so that nothing was seen to work.
    """
    said: dict[tuple[int, int], str] = {}
    runs = 0

    def fails(first: int, last: int) -> bool:
        nonlocal runs
        runs += 1
        if runs > _MOST_RUNS:
            return False
        part = work / f"part-{first}-{last}.tflite"
        part.write_bytes(cut_ops(model, first, last))
        try:
            run_compiler(
                compiler,
                [("part", part)],
                replace(flags, segments=None, search_delegate=False, delegate_search_step=None),
                work=work / f"run-{runs}",
            )
        except CompilerError as error:
            said[first, last] = error.text
            return not error.hung
        return False

    work.mkdir(parents=True)
    count = len(graph.ops)
    if count == 0 or not fails(0, count - 1):
        return None
    first, last = smallest_failing(count, fails)
    if last == 0 and count > 1 and fails(count - 1, count - 1):  # no part was seen to work: it is not this op
        return None
    return Culprit(graph.ops[first : last + 1], cut_ops(model, first, last), said.get((first, last), ""))
