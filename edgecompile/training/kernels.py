"""The kernels of a model: which weights can be pruned, clustered and quantized, and how they lie in memory."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ConfigError, Problem, near_miss

Floats = npt.NDArray[np.float32]
Shape = Literal["conv", "dense", "depthwise", "transposed", "recurrent"]

_ATTRIBUTES: dict[str, tuple[tuple[str, Shape], ...]] = {
    "Conv1D": (("kernel", "conv"),),
    "Conv2D": (("kernel", "conv"),),
    "Conv3D": (("kernel", "conv"),),
    "Conv1DTranspose": (("kernel", "transposed"),),
    "Conv2DTranspose": (("kernel", "transposed"),),
    "Dense": (("kernel", "dense"),),
    "DepthwiseConv1D": (("depthwise_kernel", "depthwise"),),
    "DepthwiseConv2D": (("depthwise_kernel", "depthwise"),),
    "SeparableConv1D": (("depthwise_kernel", "depthwise"), ("pointwise_kernel", "conv")),
    "SeparableConv2D": (("depthwise_kernel", "depthwise"), ("pointwise_kernel", "conv")),
    "LSTM": (("kernel", "recurrent"), ("recurrent_kernel", "recurrent")),
    "GRU": (("kernel", "recurrent"), ("recurrent_kernel", "recurrent")),
    "SimpleRNN": (("kernel", "recurrent"), ("recurrent_kernel", "recurrent")),
}
"""Class of a layer → the attributes that hold its kernels."""
_VECTORS = frozenset({"BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization"})
"""Layers whose weights are one factor and one sum for each number, along however many axes."""


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    Attributes:
        name: `layer/attribute`, unique in the model.
        owner: the object whose attribute holds it: the layer, or the cell of a recurrent one.
        attribute: of the owner.
        shape: how its axes are laid out. conv [..., in, out], dense [in, out], depthwise [..., in, multiplier],
            transposed [..., out, in], recurrent [in, gates × units].
        trainable: whether the user left it open to training.
    """

    name: str
    owner: Any
    attribute: str
    shape: Shape
    trainable: bool = True

    @property
    def variable(self) -> Any:
        """The tf.Variable."""
        return getattr(self.owner, self.attribute)

    def values(self) -> Floats:
        """Return the weights as they are now."""
        return np.asarray(self.variable.numpy())

    def assign(self, values: Floats) -> None:
        """Set the weights."""
        self.variable.assign(values)

    def rows(self, values: Floats) -> Floats:
        """Return values as [channels, weights of a channel], in the order in which TFLite stores a channel.

        A channel is what TFLite gives a scale of its own: an output of a convolution or of a dense layer.
        """
        return rows_of(values, self.shape)

    def shaped(self, rows: Floats) -> Floats:
        """Return rows, [channels, weights of a channel], as the kernel is stored; the inverse of `rows`."""
        whole = tuple(self.variable.shape.as_list())
        if self.shape == "depthwise":
            return np.ascontiguousarray(rows.T.reshape(whole))
        axis = -2 if self.shape == "transposed" else -1
        moved = np.moveaxis(np.empty(whole, np.int8), axis, 0).shape
        return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))

    @property
    def inner(self) -> int:
        """How many weights lie side by side within one position of a channel: the input channels."""
        whole: list[int] = self.variable.shape.as_list()
        return {"depthwise": 1, "transposed": whole[-1]}.get(self.shape, whole[-2])

    def reduced(self) -> tuple[int, ...]:
        """Return the axes of the kernel that a channel runs along."""
        rank = len(self.variable.shape)
        if self.shape == "depthwise":
            return tuple(range(rank - 2))
        own = rank - 2 if self.shape == "transposed" else rank - 1
        return tuple(axis for axis in range(rank) if axis != own)


def rows_of(values: Floats, shape: Shape) -> Floats:
    """Return a kernel as [channels, weights of a channel]; see `Kernel.rows`."""
    if shape == "depthwise":
        return np.ascontiguousarray(values.reshape(-1, values.shape[-2] * values.shape[-1]).T)
    axis = -2 if shape == "transposed" else -1
    moved = np.moveaxis(values, axis, 0)
    return np.ascontiguousarray(moved.reshape(len(moved), -1))


def kernels(layers: Sequence[tuple[str, Any]]) -> list[Kernel]:
    """Return the kernels of layers, given as (name, layer), in order."""
    return [kernel for name, layer in layers for kernel in _of(name, layer)]


def unreached(layers: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return name and class of the layers, given as (name, layer), that hold large weights beside kernels, in order."""
    reached = {id(kernel.variable) for kernel in kernels(layers)}
    return [
        (name, type(layer).__name__)
        for name, layer in layers
        if type(layer).__name__ not in _VECTORS and any(id(w) not in reached and _is_large(w) for w in layer.weights)
    ]


def _is_large(weight: Any) -> bool:
    """Whether a weight is a matrix or more; the biases of a GRU, which has two in one, are not."""
    name = str(weight.name).rpartition("/")[2].partition(":")[0]
    return name != "bias" and sum(size > 1 for size in weight.shape) >= 2


def _of(name: str, layer: Any) -> Iterator[Kernel]:
    kind = type(layer).__name__
    if kind == "TimeDistributed":
        yield from _of(name, layer.layer)
    elif kind == "Bidirectional":
        yield from _of(f"{name}/forward", layer.forward_layer)
        yield from _of(f"{name}/backward", layer.backward_layer)
    elif _is_keras(layer):
        for attribute, shape in _ATTRIBUTES.get(kind, ()):
            owner = layer.cell if shape == "recurrent" else layer
            yield Kernel(f"{name}/{attribute}", owner, attribute, shape, bool(layer.trainable))


def _is_keras(layer: Any) -> bool:
    """Whether a layer is of Keras itself: a user's class of the same name may keep anything in its attributes."""
    return type(layer).__module__.partition(".")[0] in ("keras", "tf_keras")


def ensure_named(patterns: Sequence[str], names: Sequence[str], *, where: str) -> None:
    """Raise ConfigError unless each of patterns, names with `*`, is the name of something; with all that are not."""
    unknown = [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
    if unknown:
        problems = [Problem(f"`{p}` is no layer of the model", f"{where}: skip", near_miss(p, names)) for p in unknown]
        raise ConfigError.of(problems)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a kernel `layer/attribute` or its layer is named by one of patterns: names with `*`."""
    return any(fnmatch.fnmatchcase(one, p) for one in lineage(name) for p in patterns)


def lineage(name: str) -> list[str]:
    """Return the name of a kernel and of all that it is a part of: `both`, `both/forward`, `both/forward/kernel`."""
    parts = name.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
