"""Cluster: let every kernel hold few distinct values."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from edgecompile.artifact import Artifact
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.tuned import Tuned
from edgecompile.training.clusters import FEWEST
from edgecompile.training.train_cluster import train_cluster


class Cluster(Tuned):
    """Let every kernel hold few distinct values, each channel scaled by one number of its own; zeros stay zero."""

    name: ClassVar[str] = "cluster"
    summary: ClassVar[str] = "Lets every kernel hold few distinct values; zeros stay zero."
    after: ClassVar[tuple[str, ...]] = ("channels", "prune")

    clusters: int = Field(default=16, ge=FEWEST, le=128)
    """How many values a kernel may hold, evenly spaced; of an even number one less, so that 0 is in the middle."""
    skip: tuple[str, ...] = ()
    """Layers or kernels to leave alone; `*` stands for anything."""
    dense_per_channel: bool = True
    """One scale per output of a dense layer, as in `quantize`."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.h5`: the clustered model, a plain Keras model.

        Raises:
            PassError: no training data, or no kernel that can be clustered.
            ModelError: the model cannot be taken.
        """
        return self.trained(
            model,
            ctx,
            lambda shop: train_cluster(
                shop,
                self.orders(),
                clusters=self.clusters,
                skip=self.skip,
                dense_per_channel=self.dense_per_channel,
            ),
        )
