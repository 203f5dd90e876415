"""Tuned: what all passes share that train: their recipe keys, and how they come to data and teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.usercode import code_files
from edgecompile.errors import PassError
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.recipe import Text
from edgecompile.training.opening import open_workshop
from edgecompile.training.orders import Done, Orders, Place
from edgecompile.training.plain import write_plain
from edgecompile.training.stored import write_model
from edgecompile.training.workshop import Workshop


class Tuned(Pass):
    """A pass that fine-tunes a Keras model."""

    takes: ClassVar[Kind] = Kind.KERAS
    gives: ClassVar[Kind] = Kind.KERAS
    needs: ClassVar[str | None] = "tensorflow"
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset({"train"})

    least_epochs: ClassVar[int] = 10
    least_steps: ClassVar[int] = 600
    """What `epochs` is by default: so many, or more where few rows would make too few steps."""

    epochs: PositiveInt | None = None
    """Times that all training rows are seen; by default as many as the pass needs, more where there are few rows."""
    learning_rate: PositiveFloat = 1e-3
    """Largest learning rate of Adam; it rises at first and falls to 0 along a cosine."""
    batch: PositiveInt = 64
    """Training rows a step."""
    teacher: Text = "self"
    """Whose outputs the model is held to: `self`, the original model; the path of another one; or `none`."""
    labels: float = Field(default=0.3, ge=0, le=1)
    """Weight of the labels beside the teacher, 0 to 1; without labels the teacher alone counts."""
    temperature: PositiveFloat = 2.0
    """Of the teacher: above 1 the classes that it finds unlikely count for more."""
    loss: Text | None = None
    """Loss on labels: `package.module:function` of (labels, outputs); by default the one that belongs to the metric."""
    flip: bool | None = None
    """Swap left and right of images at random; by default where the model decides the same then."""
    shift: bool | None = None
    """Shift images by up to an eighth at random; by default where the model decides the same then."""

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.teacher == "none" and self.labels == 0:
            raise ValueError("with teacher = none and labels = 0 there is nothing to learn from")
        return self

    def files(self, base: Path) -> tuple[Path, ...]:
        """Return the teacher's file and those of the user's loss."""
        teacher = () if self.teacher in ("self", "none") else (base / self.teacher,)
        return (*teacher, *(code_files(self.loss, base=base) if self.loss is not None else ()))

    def told(self) -> dict[str, Any]:
        """Return the fields as reports tell them: of the teacher's path the name."""
        return {**super().told(), "teacher": Path(self.teacher).name}

    def orders(self) -> Orders:
        """Return what is asked of fine-tuning."""
        return Orders(
            epochs=self.epochs,
            least_epochs=self.least_epochs,
            least_steps=self.least_steps,
            rate=self.learning_rate,
            batch=self.batch,
            teacher=self.teacher,
            labels=self.labels,
            temperature=self.temperature,
            flip=self.flip,
            shift=self.shift,
            loss=self.loss,
        )

    def place(self, ctx: Context) -> Place:
        """Return where the pass works.

        Raises:
            PassError: there are no training rows.
        """
        if ctx.train is None:
            raise PassError("needs training data", where=self.name, hint="give --train; rows without labels will do")
        return Place(
            where=self.name,
            seed=ctx.seed,
            section=ctx.model,
            train=ctx.train,
            metric=ctx.metric,
            output=ctx.output,
            source=None if ctx.source is None else ctx.source.path,
            base=ctx.base,
            progress=ctx.progress,
        )

    def trained(self, model: Artifact, ctx: Context, train: Callable[[Workshop], Done]) -> Outcome:
        """Open model, train it, write `model.h5` and, loadable without edgecompile, `compressed.h5` (role `keras`)."""
        shop = open_workshop(model.path, self.place(ctx))
        done = train(shop)
        written = ctx.out / "model.h5"
        write_model(done.model, written, done.notes)
        kept = ctx.out / "compressed.h5"
        write_plain(shop.replaced(done.model, notes=done.notes), done.model, kept)
        return Outcome(
            artifact=Artifact.of(written, Kind.KERAS),
            facts=done.facts,
            findings=(*shop.findings, *done.findings),
            extras={"keras": kept},
        )
