"""Channels: remove whole channels, so that the model is smaller and faster on every runtime."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from edgecompile.artifact import Artifact
from edgecompile.errors import PassError
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.tuned import Tuned
from edgecompile.training.channel_scores import Importance
from edgecompile.training.train_channels import Removal, Spread, train_channels

MACS = 0.875
"""What is kept when no budget is given: ResNet8 loses 0.2 points at it, and more than a point at 0.75, see MEASURED."""
MEASURED = ((0.56, 0.035), (0.75, 0.017))
"""Share of the multiply-accumulates that is kept → loss of top1 after fine-tuning with int8 rounding: ResNet8 of MLPerf
Tiny, 5,000 CIFAR-10 images to train on, 3,000 others (docs/compression.md)."""


class Channels(Tuned):
    """Remove whole channels: what is written is a smaller model of the same kind."""

    name: ClassVar[str] = "channels"
    summary: ClassVar[str] = "Removes whole channels: a smaller model that is faster on every runtime."
    least_epochs: ClassVar[int] = 50
    least_steps: ClassVar[int] = 2500

    macs: float | None = Field(default=None, gt=0, lt=1)
    """Share of the multiply-accumulates to keep; 0.875 when no budget is given."""
    parameters: float | None = Field(default=None, gt=0, lt=1)
    """Share of the parameters to keep, instead."""
    bytes: PositiveInt | Literal["flash"] | None = None
    """Bytes that the int8 model may take, instead; `flash` stands for what the target has."""
    importance: Importance = "taylor"
    """How channels of a layer are ranked: taylor, by how far the outputs move without them; l2, by the norm of their
    kernel; gamma, by the scale of their BatchNormalization."""
    spread: Spread = "sensitivity"
    """sensitivity: more goes where the outputs suffer less; even: the same share of every layer goes."""
    multiple: PositiveInt = 4
    """Channels that stay are a multiple of this: kernels compute so many at once."""
    skip: tuple[str, ...] = ()
    """Layers to leave alone, with all that are tied to them; `*` stands for anything."""

    @field_validator("bytes", mode="before")
    @classmethod
    def _number_or_flash(cls, value: Any) -> Any:
        # Of a union pydantic tells one error for each member, under names that no recipe has.
        if value in (None, "flash") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            return value
        raise ValueError('must be a whole number greater than 0, or "flash"')

    @model_validator(mode="after")
    def _one_budget(self) -> Channels:
        given = [key for key in ("macs", "parameters", "bytes") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"one budget, not {len(given)}: {', '.join(given)}")
        return self

    def outlook(self, max_drop: float) -> str:
        """Return a sentence where removing as much cost more than max_drop on the model that it was measured on."""
        kept = self.macs or MACS
        if self.parameters is not None or self.bytes is not None:
            return ""
        found = next(((share, loss) for share, loss in reversed(MEASURED) if kept <= share and loss > max_drop), None)
        if found is None:
            return ""
        share, loss = found
        return (
            f"channels to {kept:.3g} of the multiply-accumulates may miss the gate: at {share:g} ResNet8 lost "
            f"{100 * loss:.1f} points of top1 (measured), and the gate allows {100 * max_drop:.3g}; keep more "
            f"(macs = {MACS:g}), or allow more (--max-drop)"
        )

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.h5`: a smaller Keras model without masks.

        Raises:
            PassError: no training data, no channel that can go, or a budget that cannot be met.
            ModelError: the model cannot be taken.
        """
        if self.bytes == "flash":
            raise PassError('`bytes = "flash"` needs a target', where="channels", hint="give a number of bytes")
        unset = self.parameters is None and self.bytes is None
        removal = Removal(
            macs=self.macs or (MACS if unset else None),
            parameters=self.parameters,
            model_bytes=self.bytes,
            importance=self.importance,
            spread=self.spread,
            multiple=self.multiple,
            skip=self.skip,
        )
        return self.trained(model, ctx, lambda shop: train_channels(shop, self.orders(), removal))
