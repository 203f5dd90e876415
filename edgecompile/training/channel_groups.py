"""Channels that compete: each group is what one kernel, or several that are tied, make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.training.channels import Axis, Channels, Labels
from edgecompile.training.network import Call

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Channels that are made by the same kernels.

    Attributes:
        makers: names of the layers that make them, in order.
        slots: standing slot of each channel that may go, ascending.
        size: how many channels there are, those that must stay included.
    """

    makers: tuple[str, ...]
    slots: tuple[int, ...]
    size: int

    @property
    def name(self) -> str:
        """What reports call the group."""
        return " + ".join(self.makers)


def find_groups(channels: Channels) -> tuple[list[Group], dict[str, str]]:
    """Return the groups whose channels may go, in the order of the model, and maker → why none of its channels may."""
    pinned = channels.why_pinned()
    makers: dict[int, list[str]] = {}
    for axis in channels.axes:
        if axis.role == "makes":
            for slot in channels.roots(axis.labels):
                names = makers.setdefault(int(slot), [])
                if axis.layer not in names:
                    names.append(axis.layer)
    together: dict[tuple[str, ...], list[int]] = {}
    for slot, names in makers.items():
        together.setdefault(tuple(names), []).append(slot)
    groups, kept = [], {}
    for layers, slots in together.items():
        free = sorted(slot for slot in slots if slot not in pinned)
        if free:
            groups.append(Group(layers, tuple(free), len(slots)))
        else:
            kept.update(dict.fromkeys(layers, pinned[slots[0]]))
    return groups, all_kept(kept, groups)


def all_kept(kept: Mapping[str, str], groups: Sequence[Group]) -> dict[str, str]:
    """Return those of kept, maker → why, that make no channel of any of groups."""
    thinned = {maker for group in groups for maker in group.makers}
    return {maker: why for maker, why in kept.items() if maker not in thinned}


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        macs: multiply-accumulate operations of one inference.
        parameters: numbers in all weights.
        model_bytes: about how many bytes the int8 `.tflite` takes.
    """

    macs: int
    parameters: int
    model_bytes: int


BYTES_A_CHANNEL = 16
"""In the flatbuffer, beside the weights: scale 4, zero point 8, bias 4."""
BYTES_A_LAYER = 400
"""Tables and names of an op and its tensors; 300 to 450 in files of TensorFlow's converter, names shortened or not."""
_STEPWISE = frozenset({"Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN"})
"""Layers that use their kernels in every step, also where they give the last one alone."""
BYTES_A_FILE = 1500
"""Op codes, signature, metadata."""


class CostModel:
    """Counts what a network costs when some of its channels are gone."""

    def __init__(self, channels: Channels, shapes: Mapping[int, Sequence[int | None]] | None = None) -> None:
        """Take what to count.

        Args:
            channels: of the network.
            shapes: tensor number → its shape in one inference, batch first; by default what the network says, where an
                open size counts as 1.
        """
        known = shapes or {i: channels.network.shape(i) for i in range(len(channels.network.tensors))}
        self._axes = _by_weight([(axis, channels.roots(axis.labels)) for axis in channels.axes])
        self._network = channels.network
        self._layers = dict(channels.network.layers())
        self._uses = [(call.name, _uses(known, call)) for call in channels.network.calls]

    def __call__(self, removed: npt.NDArray[np.bool_]) -> Cost:
        """Return the cost without the channels whose standing slot is marked in removed, [slots]."""
        sizes = {
            (name, position): self._size(name, position, removed)
            for name, layer in self._layers.items()
            for position in range(len(layer.weights))
        }
        macs = sum(sizes[name, at] * times for name, uses in self._uses for at, times in uses.items())
        made = sum(
            int((~removed[roots]).sum()) for axes in self._axes.values() for axis, roots in axes if axis.role == "makes"
        )
        # What is along one axis goes into kernels and biases, or is counted by channels.
        weights = sum(size for (name, at), size in sizes.items() if len(self._layers[name].weights[at].shape) > 1)
        total = BYTES_A_FILE + weights + BYTES_A_CHANNEL * made + BYTES_A_LAYER * len(self._uses)
        return Cost(macs, sum(sizes.values()), total)

    def _size(self, name: str, position: int, removed: npt.NDArray[np.bool_]) -> int:
        shape = self._layers[name].weights[position].shape.as_list()
        for axis, roots in self._axes.get((name, position), ()):
            shape[axis.axis] = int((~removed[roots]).sum())
        return int(np.prod(shape))


def _by_weight(axes: Sequence[tuple[Axis, Labels]]) -> dict[tuple[str, int], list[tuple[Axis, Labels]]]:
    found: dict[tuple[str, int], list[tuple[Axis, Labels]]] = {}
    for axis, roots in axes:
        found.setdefault((axis.layer, axis.position), []).append((axis, roots))
    return found


def _uses(shapes: Mapping[int, Sequence[int | None]], call: Call) -> Mapping[int, int]:
    """Return weight → how often each of its numbers is multiplied in one inference; weights that are added have none.

    A kernel is used once for every position of what the layer gives (of what it takes, where it spreads its input, or
    goes along it step by step).
    """
    tensor = call.inputs[0] if "Transpose" in call.kind or call.kind in _STEPWISE else call.outputs[0]
    places = int(np.prod([size or 1 for size in shapes[tensor][1:-1]]))
    if call.kind.startswith("ConvLSTM") and not call.layer.return_sequences:
        places *= shapes[call.inputs[0]][1] or 1
    return {i: places for i, weight in enumerate(call.layer.weights) if _multiplies(weight)}


def _multiplies(weight: Any) -> bool:
    name = weight.name.rpartition("/")[2].partition(":")[0]
    return name.endswith("kernel") and len(weight.shape) > 1
