"""Prune: set the smallest weights to zero while the model is fine-tuned."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from edgecompile.artifact import Artifact
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.tuned import Tuned
from edgecompile.training.masks import Schedule
from edgecompile.training.train_prune import Pruning, train_prune

_HALF = 0.5
_BLOCK = (4, 1)
_END = 0.5


class Prune(Tuned):
    """Set weights to zero: the smallest ones, in blocks, or two of every four."""

    name: ClassVar[str] = "prune"
    summary: ClassVar[str] = "Sets the smallest weights to zero while the model is fine-tuned."
    after: ClassVar[tuple[str, ...]] = ("channels",)

    sparsity: float = Field(default=_HALF, ge=0.1, lt=1)
    """Share of zeros in every kernel that is pruned, at least 0.1."""
    pattern: Literal["scattered", "blocks", "2:4"] = "scattered"
    """Which weights go: single ones, whole `block`s, or two of every four input channels."""
    block: tuple[PositiveInt, PositiveInt] = _BLOCK
    """Output channels × input channels that go together, with pattern = blocks."""
    schedule: Schedule = "polynomial"
    """polynomial: more and more weights go, fast at first; constant: all at once at the start, as with 2:4 always."""
    end: float = Field(default=_END, gt=0, le=0.9)
    """Share of the training after which no more weights go; the rest is for recovery."""
    skip: tuple[str, ...] = ()
    """Layers or kernels to leave alone; `*` stands for anything."""

    @model_validator(mode="after")
    def _only_what_counts(self) -> Prune:
        if self.pattern == "2:4" and self.sparsity != _HALF:
            raise ValueError("2:4 is a sparsity of 0.5; leave `sparsity` out")
        if self.end != _END and (self.schedule == "constant" or self.pattern == "2:4"):
            raise ValueError("`end` has no meaning with schedule = constant or pattern = 2:4: weights go at the start")
        if self.block != _BLOCK and self.pattern != "blocks":
            raise ValueError("`block` has no meaning unless pattern = blocks")
        return self

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.h5`: the pruned model, a plain Keras model without masks.

        Raises:
            PassError: no training data, no kernel that can be pruned, or one holds fewer zeros than asked for.
            ModelError: the model cannot be taken.
        """
        pruning = Pruning(
            sparsity=self.sparsity,
            schedule=self.schedule,
            block=self.block if self.pattern == "blocks" else (1, 1),
            two_of_four=self.pattern == "2:4",
            end=self.end,
            skip=self.skip,
        )
        return self.trained(model, ctx, lambda shop: train_prune(shop, self.orders(), pruning))
