"""Quantization-aware training: the model computes with the int8 values that the device will have.

Weights are rounded to 255 steps per output channel, symmetric, as `quantize` will store them; activations to 256 steps
of a range that is learned with the weights. Nothing of it stays in the Keras model: its weights are ready to be
rounded, and the learned ranges go with it as notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.labels import show_rows
from edgecompile.errors import PassError
from edgecompile.tflite.ranges import Histogram, Range, minmax, percentile
from edgecompile.training.forms import Form, straight_through
from edgecompile.training.int8 import Layout
from edgecompile.training.kernels import Kernel
from edgecompile.training.network import Network, execute

Array = npt.NDArray[Any]

STEPS = 127
"""Largest weight code: int8 weights are symmetric and leave -128 unused (TFLite 8-bit quantization specification)."""
PERCENT = 99.99
"""Of the values that a range keeps at first, as in `quantize`; training goes on from there."""
_TINY = 1e-12


def rounded_weights(tf: Any, kernel: Kernel, *, per_channel: bool = True) -> Form:
    """Return the form of a kernel that is rounded to int8 steps: as `quantize` will store it.

    A BatchNormalization behind the kernel changes nothing: it scales whole channels, and steps scale with them.
    """
    axes = list(kernel.reduced()) if per_channel else None

    def form(latent: Any) -> Any:
        largest = tf.reduce_max(tf.abs(latent), axis=axes, keepdims=True)
        step = tf.maximum(largest, _TINY) / STEPS
        return straight_through(tf, latent, tf.round(latent / step) * step)

    return form


class Ranges:
    """The ranges of the activations of a network: where they start, times factors that are trained.

    A factor is the exponential of a variable, so that a step of training moves all ranges by the same share, however
    large they are, and none changes its sign.
    """

    def __init__(self, tf: Any, network: Network, layout: Layout) -> None:
        self._tf, self._network, self._layout = tf, network, layout
        self._ends = {layout.group[i] for i in network.outputs}
        self._start: dict[int, Range] = {}
        self._factors: dict[int, tuple[Any, Any]] = {}

    def observe(self, batches: Sequence[Sequence[Any]], *, rows: npt.NDArray[np.intp]) -> None:
        """Start every range where `quantize` would set it, from batches of input tensors.

        Args:
            batches: one row after the other.
            rows: the number of each in the training data.

        Raises:
            PassError: an activation is NaN or infinite.
        """
        seen: dict[int, Histogram] = {}
        inputs_ = {self._layout.group[i] for i in self._network.inputs}

        def look(index: int, tensor: Any) -> Any:
            if index in self._layout.rounded:
                group, values = self._layout.group[index], np.asarray(tensor.numpy(), np.float32)
                if not seen.setdefault(group, Histogram()).add(values):
                    raise _not_finite(values, rows[at : at + size], where=self._place(index))
            return tensor

        at = 0
        for inputs in batches:
            size = len(inputs[0])
            execute(self._tf, self._network, inputs, after=look)
            at += size
        for group, counts in seen.items():
            low, high = minmax(counts) if group in inputs_ else percentile(counts, percent=PERCENT)
            self._start[group] = Range(low, high if high > low else low + 1.0)
            self._factors[group] = (self._tf.Variable(0.0, trainable=True), self._tf.Variable(0.0, trainable=True))

    def _bounds(self, group: int) -> tuple[Any, Any]:
        pairs = zip(self._start[group], self._factors[group], strict=True)
        low, high = (bound * self._tf.exp(factor) for bound, factor in pairs)
        return low, high

    def round(self, index: int, tensor: Any) -> Any:
        """Return tensor number index as the device will hold it."""
        layout = self._layout
        if index not in layout.rounded:
            return tensor
        if index in layout.fixed:
            if layout.group[index] in self._ends:
                return tensor  # the loss needs the logarithm of small probabilities
            low, high = layout.fixed[index]
            return self._tf.quantization.fake_quant_with_min_max_args(tensor, low, high)
        low, high = self._bounds(layout.group[index])
        return self._tf.quantization.fake_quant_with_min_max_vars(tensor, low, high)

    @property
    def variables(self) -> list[Any]:
        """Return what is trained; the ranges of the model's inputs belong to the data, and are not."""
        inputs = {self._layout.group[i] for i in self._network.inputs}
        return [factor for group, pair in self._factors.items() if group not in inputs for factor in pair]

    def learned(self) -> dict[str, tuple[float, float]]:
        """Return the key of every tensor that exists in int8 and has a range of its own → (low, high)."""
        found = {}
        fixed = {self._layout.group[i] for i in self._layout.fixed}
        for key, index in tensor_keys(self._network).items():
            group = self._layout.group[index]
            if group in self._start and group not in fixed:
                low, high = self._bounds(group)
                found[key] = (float(low), float(high))
        return found

    def _place(self, index: int) -> str:
        maker = self._network.makers.get(index)
        return "an input" if maker is None else f"layer {maker.name}"


def _not_finite(values: Array, rows: npt.NDArray[np.intp], *, where: str) -> PassError:
    """Return the error for activations of rows with these numbers in the training data, not all of them finite."""
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    told = f"training {show_rows(rows[bad])}" if len(values) == len(rows) else "the training rows"
    hint = "leave out what the model has no answer to, or mend the layer"
    return PassError(f"activations are NaN or infinite on {told}", where=where, hint=hint)


def tensor_keys(network: Network) -> dict[str, int]:
    """Return a key that survives saving → tensor number: `input:name`, `layer:call:output`."""
    keys = {f"input:{name}": i for name, i in zip(network.model.input_names, network.inputs, strict=True)}
    counts: dict[str, int] = {}
    for call in network.calls:
        number = counts.get(call.name, 0)
        counts[call.name] = number + 1
        keys |= {f"{call.name}:{number}:{at}": i for at, i in enumerate(call.outputs)}
    return keys


def marked(network: Network, ranges: Mapping[str, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Return tensor number → learned range, from a model's notes.

    Raises:
        PassError: the notes name tensors that the model does not have.
    """
    keys = tensor_keys(network)
    unknown = sorted(set(ranges) - set(keys))
    if unknown:
        raise PassError(f"learned ranges belong to tensors that the model does not have: {unknown[0]}", where="convert")
    return {keys[key]: bounds for key, bounds in ranges.items()}
