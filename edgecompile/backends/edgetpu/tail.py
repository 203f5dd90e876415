"""Ops that the compiler cannot read: it refuses a model for one of them, so the model is cut before the first.

What comes before is compiled; the rest, the tail, stays a `.tflite` that the host's CPU runs behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecompile.tflite.cut import cut_ops


@dataclass(frozen=True)
class Halves:
    """A model that was cut, as files.

    Attributes:
        head: what the compiler is given.
        tail: what the host runs behind it.
    """

    head: Path
    tail: Path


def cut_at(model: Path, op: int, last: int, *, name: str, out: Path) -> Halves:
    """Write the ops before number op, and those from there to the last one, below out.

    The tensors between both keep their names, by which one half's outputs are the other's inputs.

    Raises:
        ModelError: model cannot be read.
    """
    head, tail = out / "head.tflite", out / f"{name}_tail.tflite"
    head.write_bytes(cut_ops(model, 0, op - 1))
    tail.write_bytes(cut_ops(model, op, last))
    return Halves(head, tail)
