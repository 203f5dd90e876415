"""How much a channel matters, and how much the model suffers when channels of a group go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.training.channel_groups import Group
from edgecompile.training.channels import Axis, Channels
from edgecompile.training.int8 import function_name
from edgecompile.training.network import Call
from edgecompile.training.source import Call as Run

Floats = npt.NDArray[np.float64]
Importance = Literal["taylor", "l2", "gamma"]

SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
"""Of a group's channels, whose loss is measured; between them lies a straight line."""
_DRAWS = 8
"""Random directions in which the outputs are looked at for `taylor`; the ranking of channels settles after a few."""
_TINY = 1e-12
_SUMS = frozenset({"Add", "Average", "Subtract", "add", "sub", "subtract"})
"""Layers and functions that add what they are given."""


def score(
    tf: Any, channels: Channels, run: Run, batches: Sequence[Sequence[Any]], *, how: Importance, seed: int
) -> Floats:
    """Return how much each standing slot matters, [slots]; comparable within a group only.

    Args:
        tf: TensorFlow.
        channels: of the model.
        run: the model in inference mode.
        batches: input tensors in the model's order, for `taylor`.
        how: taylor: first-order estimate of how far the outputs move without the channel. l2: norm of the kernel that
            makes it. gamma: scale of the BatchNormalization behind it, of the kernel where there is none.
        seed: of the directions that `taylor` draws.
    """
    if how == "taylor":
        return _taylor(tf, channels, run, batches, seed)
    found, bare = np.zeros(channels.slots), np.ones(channels.slots, bool)
    if how == "gamma":
        for axis in _weights(channels, "gamma"):
            np.add.at(found, channels.roots(axis.labels), np.abs(_values(channels, axis)))
            bare[channels.roots(axis.labels)] = False
    norms = np.zeros(channels.slots)
    for axis in (a for a in channels.axes if a.role == "makes"):
        values = _values(channels, axis)
        square = (values.astype(np.float64) ** 2).sum(axis=tuple(i for i in range(values.ndim) if i != axis.axis))
        # Tied kernels count alike, however large their weights are.
        np.add.at(norms, channels.roots(axis.labels), np.sqrt(square) / max(float(np.sqrt(square.mean())), _TINY))
    return np.where(bare, norms, found)


def _taylor(tf: Any, channels: Channels, run: Run, batches: Sequence[Sequence[Any]], seed: int) -> Floats:
    """Return the mean square of J w over random directions in output space.

    J w is what the outputs lose to first order when all that scales the channel becomes 0. A random sign for every
    output of every row makes the square of the sum the sum of the squares (Hutchinson 1989).
    """
    axes = _scaling(channels)
    variables = [_variable(channels, axis) for axis in axes]
    found = np.zeros(channels.slots)
    rng = np.random.default_rng(seed)

    def moved(inputs: Sequence[Any]) -> list[Any]:
        return [tf.cast(y, tf.float32) for y in run(inputs) if y.dtype.is_floating]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def gradients(inputs: Sequence[Any], signs: Sequence[Any]) -> Sequence[Any]:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            total = tf.add_n([tf.reduce_sum(y * s) for y, s in zip(moved(inputs), signs, strict=True)])
        return tape.gradient(total, variables, unconnected_gradients="zero")  # type: ignore[no-any-return]

    for inputs in batches:
        shapes = [tuple(y.shape) for y in moved(inputs)]
        for _ in range(_DRAWS):
            signs = [tf.constant(rng.choice(np.array([-1, 1], np.float32), shape)) for shape in shapes]
            lost = np.zeros(channels.slots)
            for axis, variable, gradient in zip(axes, variables, gradients(inputs, signs), strict=True):
                product = (variable * gradient).numpy().astype(np.float64)
                along = product.sum(axis=tuple(i for i in range(product.ndim) if i != axis.axis))
                np.add.at(lost, channels.roots(axis.labels), along)
            found += lost**2
    return found


def _scaling(channels: Channels) -> list[Axis]:
    """Return the axes whose weights scale a channel as a whole.

    They are of the BatchNormalization behind its kernel, or of kernel and bias where there is none. A kernel that is
    tied to one with a BatchNormalization counts beside it where the two are added; a gate multiplies what counts.
    """
    normalized = _weights(channels, "gamma") + _weights(channels, "beta")
    own = {int(slot) for axis in normalized for slot in axis.labels}
    tied = {int(slot) for axis in normalized for slot in channels.roots(axis.labels)}
    bare = [
        axis
        for axis in channels.axes
        if (axis.role == "makes" or _name(channels, axis) == "bias")
        and not own.issuperset(int(slot) for slot in axis.labels)
        and (not tied.issuperset(int(slot) for slot in channels.roots(axis.labels)) or _is_added(channels, axis.layer))
    ]
    return [*normalized, *bare]


def _is_added(channels: Channels, layer: str) -> bool:
    """Whether what a layer gives goes, and goes only, into a sum that is not all for a BatchNormalization."""
    return any(_goes_into_sum(channels, call) for call in channels.network.calls if call.name == layer)


def _goes_into_sum(channels: Channels, call: Call) -> bool:
    readers = channels.network.readers
    while len(following := readers.get(call.outputs[0], ())) == 1:
        (call,) = following
        if len(call.inputs) > 1:
            kind = function_name(call.layer) if call.kind == "TFOpLambda" else call.kind
            behind = readers.get(call.outputs[0], ())
            return kind in _SUMS and (not behind or any(one.kind != "BatchNormalization" for one in behind))
        if not np.array_equal(channels.tensors[call.inputs[0]], channels.tensors[call.outputs[0]]):
            return False
    return False


def damages(
    channels: Channels,
    groups: Sequence[Group],
    scores: Floats,
    measure: Callable[[], float],
    progress: Callable[[int, int], None],
) -> list[Floats]:
    """Return for each group what the loss rises by when SHARES of its least important channels are silenced.

    It never falls from one share to the next: that would be chance.

    Args:
        channels: of the model, whose weights are changed and put back.
        groups: the groups.
        scores: of each slot.
        measure: gives the loss of the model as it is.
        progress: told of (done, all).
    """
    before = measure()
    found = []
    for number, group in enumerate(groups):
        order = sorted(group.slots, key=lambda slot: (scores[slot], slot))
        losses = []
        for share in SHARES:
            silenced = np.zeros(channels.slots, bool)
            silenced[order[: round(share * group.size)]] = True
            with_ = _Silenced(channels, silenced)
            losses.append(measure() - before)
            with_.restore()
        found.append(np.maximum.accumulate(np.maximum(losses, 0.0)))
        progress(number + 1, len(groups))
    return found


class _Silenced:
    """Sets what makes and scales channels to 0, until `restore`."""

    def __init__(self, channels: Channels, silenced: npt.NDArray[np.bool_]) -> None:
        self._before: list[tuple[Any, Any]] = []
        for axis in channels.axes:
            gone = silenced[channels.roots(axis.labels)]
            # The mean goes too: without a gamma, a BatchNormalization of nothing but zeros gives what the mean is.
            if axis.role == "reads" or not gone.any() or _name(channels, axis) == "moving_variance":
                continue
            variable = _variable(channels, axis)
            values = variable.numpy()
            self._before.append((variable, values.copy()))
            np.moveaxis(values, axis.axis, 0)[gone] = 0
            variable.assign(values)

    def restore(self) -> None:
        for variable, values in reversed(self._before):
            variable.assign(values)


def _weights(channels: Channels, name: str) -> list[Axis]:
    return [axis for axis in channels.axes if axis.role == "scales" and _name(channels, axis) == name]


def _variable(channels: Channels, axis: Axis) -> Any:
    return channels.layers[axis.layer].weights[axis.position]


def _values(channels: Channels, axis: Axis) -> npt.NDArray[np.float32]:
    return np.asarray(_variable(channels, axis).numpy())


def _name(channels: Channels, axis: Axis) -> str:
    """Return what a weight is called in its layer: `gamma`."""
    return str(_variable(channels, axis).name).rpartition("/")[2].partition(":")[0]
