"""Distil: fine-tune the model towards the outputs of a teacher."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.artifact import Artifact
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.tuned import Tuned
from edgecompile.training.train_distil import train_distil


class Distil(Tuned):
    """Fine-tune the model towards a teacher: a larger model, or its own original after other passes."""

    name: ClassVar[str] = "distil"
    summary: ClassVar[str] = "Fine-tunes the model towards the outputs of a teacher."

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.h5`: the same model with other weights; zeros and clusters of earlier passes stay.

        Raises:
            PassError: no training data.
            ModelError: the model cannot be taken.
        """
        return self.trained(model, ctx, lambda shop: train_distil(shop, self.orders()))
