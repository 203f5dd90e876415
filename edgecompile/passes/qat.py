"""Quantization-aware training: fine-tune the model while it computes with the values that int8 has."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, PositiveFloat

from edgecompile.artifact import Artifact
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.tuned import Tuned
from edgecompile.training.train_qat import train_qat


class Qat(Tuned):
    """Fine-tune with int8 rounding, and learn the ranges of activations with the weights."""

    name: ClassVar[str] = "qat"
    summary: ClassVar[str] = "Fine-tunes the model while it computes with the values that int8 has."
    after: ClassVar[tuple[str, ...]] = ("distil", "channels", "prune", "cluster")

    least_epochs: ClassVar[int] = 4
    least_steps: ClassVar[int] = 200

    learning_rate: PositiveFloat = 1e-4
    """Largest learning rate of Adam; small, since the model is trained already."""
    labels: float = Field(default=0.5, ge=0, le=1)
    """Weight of the labels beside the teacher, 0 to 1; without labels the teacher alone counts."""
    dense_per_channel: bool = True
    """One scale per output of a dense layer, as in `quantize`."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.h5`: weights ready for int8, the learned ranges among its notes.

        Raises:
            PassError: no training data, or no layer of the model can be trained this way.
            ModelError: the model cannot be taken.
        """
        return self.trained(
            model, ctx, lambda shop: train_qat(shop, self.orders(), dense_per_channel=self.dense_per_channel)
        )
