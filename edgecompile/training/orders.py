"""What a training-time pass is asked, where it works, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.data.dataset import Dataset
from edgecompile.progress import Progress
from edgecompile.recipe import ModelSection
from edgecompile.report import Finding
from edgecompile.training.stored import Notes


@dataclass(frozen=True)
class Orders:
    """What a pass asks of fine-tuning; the fields of `passes.tuned.Tuned` say what they mean."""

    epochs: int | None
    least_epochs: int
    least_steps: int
    rate: float
    batch: int
    teacher: str
    labels: float
    temperature: float
    flip: bool | None
    shift: bool | None
    loss: str | None


@dataclass(frozen=True)
class Place:
    """Where a pass works.

    Attributes:
        where: name of the pass, for messages and progress.
        seed: of all randomness.
        section: shapes, batch and `allow_code` of the build.
        train: training rows.
        metric: name of the build's metric, or None.
        output: name of the output that labels belong to; None is the first.
        source: the untouched model of the build, the teacher called `self`; None: the model itself.
        base: folder that relative paths and a user's modules start from.
        progress: told of every step.
    """

    where: str
    seed: int
    section: ModelSection
    train: Dataset
    metric: str | None
    output: str | None
    source: Path | None
    base: Path
    progress: Progress


Fact = str | int | float | bool


@dataclass(frozen=True)
class Done:
    """A trained model, and what is to be said about it."""

    model: Any
    notes: Notes
    facts: dict[str, Fact]
    findings: tuple[Finding, ...] = ()
