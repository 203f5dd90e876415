"""Pass: one step of compression or conversion, file in, file out.

A pass is a frozen pydantic model whose fields are its recipe keys. That one declaration is the validation, the
`edgecompile passes NAME` help, the cache key, the report entry and the JSON schema.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgecompile.artifact import Artifact, Kind
from edgecompile.config import Frozen
from edgecompile.data.dataset import Dataset
from edgecompile.progress import Progress, Silent
from edgecompile.recipe import ModelSection
from edgecompile.report import Finding

Fact = str | int | float | bool


class Context:
    """What a pass may use beside its input file.

    Attributes:
        out: an empty folder; a pass writes here and nowhere else.
        seed: the only source of randomness.
        model: shapes, batch, signature and `allow_code` of the build.
        calibration: preprocessed rows that set ranges; None when the user gave no data.
        train: preprocessed rows for fine-tuning; None when the user gave none.
        metric: name of the metric that the build is scored by; None when unset.
        output: name of the model output that the metric reads; None is the first.
        source: the untouched model of the build; None where a pass is run alone.
        base: folder that relative paths in a recipe and a user's modules start from.
        progress: told of long work.
        log: file for what libraries and programs print.
    """

    def __init__(
        self,
        *,
        out: Path,
        seed: int = 0,
        model: ModelSection | None = None,
        calibration: Dataset | None = None,
        train: Dataset | None = None,
        metric: str | None = None,
        output: str | None = None,
        source: Artifact | None = None,
        base: Path = Path(),
        progress: Progress | None = None,
        log: Path = Path(os.devnull),
    ) -> None:
        self.out = out
        self.seed = seed
        self.model = model or ModelSection()
        self.calibration = calibration
        self.train = train
        self.metric = metric
        self.output = output
        self.source = source
        self.base = base
        self.progress: Progress = progress or Silent()
        self.log = log


class Outcome(Frozen):
    """What a pass gave: the file, facts read back from it, and what the user should know."""

    artifact: Artifact
    facts: Mapping[str, Fact] = {}
    findings: tuple[Finding, ...] = ()
    extras: Mapping[str, Path] = {}
    """Further files below `ctx.out`, by role (`parity`: an .npz of rows and reference outputs)."""


class Pass(Frozen):
    """Contract of a pass. Input file untouched; output below `ctx.out` only; equal inputs give equal bytes.

    Class attributes:
        name: the recipe name.
        summary: one sentence for help and docs.
        takes, gives: artifact kinds.
        after: names of passes that must not come later in a recipe.
        needs: the pip extra that `run` needs, or None; a pass that needs one runs in a worker process.
        uses: which data sets shape the result, and so belong to the cache key.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    takes: ClassVar[Kind]
    gives: ClassVar[Kind]
    after: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[str | None] = None
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset()

    def files(self, base: Path) -> tuple[Path, ...]:
        """Return the files beside the model that shape the result, given the folder that relative paths start from."""
        return ()

    def told(self) -> dict[str, Any]:
        """Return the fields as reports tell them: files without their folders, which differ from machine to machine."""
        return self.model_dump(mode="json")

    def outlook(self, max_drop: float) -> str:
        """Return why the result is likely to lose more than max_drop of `top1`; empty where nothing speaks for that.

        It is said before anything runs, from what was measured on other models.
        """
        return ""

    @abstractmethod
    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Transform model into a new file below ctx.out.

        Raises:
            PassError: the file that was written does not hold what the fields ask for.
            ModelError: the model cannot be taken.
        """
