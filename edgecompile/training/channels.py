"""Which channels of a model are one and the same: what must go together when one of them goes.

Every channel of every tensor gets a slot; layers tie slots together. A convolution makes new slots for what it gives
and reads those of what it takes; `Add` ties two tensors channel by channel; `Concatenate` puts them side by side;
`Flatten` repeats them for every position. Slots that are tied are one channel: removing it removes a slice of every
weight that has one of its slots along an axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.training.network import Call, Network

Labels = npt.NDArray[np.intp]
"""Slot of each element along an axis, [size]."""
Role = Literal["makes", "reads", "scales"]
"""makes: a kernel's output channels. reads: its input channels. scales: bias, BatchNormalization and the like."""


@dataclass(frozen=True)
class Axis:
    """One axis of one weight.

    Attributes:
        layer: name of the layer.
        position: of the weight in `layer.weights`.
        axis: of the weight.
        labels: slot of each element along it.
        role: what the weight is to these channels.
    """

    layer: str
    position: int
    axis: int
    labels: Labels
    role: Role


@dataclass
class Channels:
    """The channels of a network.

    Attributes:
        network: the calls.
        layers: name → layer.
        axes: every axis of every weight that channels run along.
        tensors: tensor number → slots of its last axis.
        pinned: slot → why the channel cannot go.
    """

    network: Network
    layers: Mapping[str, Any] = field(default_factory=dict)
    axes: list[Axis] = field(default_factory=list)
    tensors: dict[int, Labels] = field(default_factory=dict)
    pinned: dict[int, str] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)

    def new(self, size: int) -> Labels:
        """Return new slots, tied to nothing."""
        start = len(self._parents)
        self._parents.extend(range(start, start + size))
        return np.arange(start, start + size)

    def root(self, slot: int) -> int:
        """Return the slot that stands for all that are tied to slot."""
        while self._parents[slot] != slot:
            self._parents[slot] = self._parents[self._parents[slot]]
            slot = self._parents[slot]
        return slot

    def roots(self, labels: Labels) -> Labels:
        """Return the standing slot of each of labels."""
        return np.array([self.root(int(slot)) for slot in labels], np.intp)

    def tie(self, one: Labels, other: Labels) -> None:
        """Make channels of one and other the same, pair by pair."""
        for a, b in zip(one, other, strict=True):
            self._parents[self.root(int(a))] = self.root(int(b))

    def pin(self, labels: Labels, why: str) -> None:
        """Keep these channels, whatever is tied to them."""
        for slot in labels:
            self.pinned.setdefault(int(slot), why)

    def why_pinned(self) -> dict[int, str]:
        """Return standing slot → why the channel cannot go, for those that cannot."""
        return {self.root(slot): why for slot, why in reversed(self.pinned.items())}

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return len(self._parents)

    def size(self, tensor: int) -> int:
        """Return how many channels a tensor has; 0 where that is open or it has none."""
        shape = self.network.shape(tensor)
        return int(shape[-1] or 0) if len(shape) > 1 else 0

    def given(self, call: Call) -> Labels:
        """Return the slots of the only tensor that call reads."""
        return self.tensors[call.inputs[0]]
