"""A Keras model under construction, for benchmarks/generated.py.

While a model grows, every tensor of it is computed on calibration rows too, and each layer's weights are set by what
reaches it: random kernels scaled to what trained layers give, channels of unlike sizes, statistics of
BatchNormalizations as the data has them. Weights that know nothing of the data make outputs that hardly differ from row
to row, and a comparison of quantizers would compare rounding of nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecompile.tflite.values import Array

_BATCH = 32
"""Rows that layers' weights are set by."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model: of Keras, and its values on a few calibration rows."""

    symbol: Any
    values: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes without the batch."""
        return tuple(self.symbol.shape[1:])

    @property
    def channels(self) -> int:
        return int(self.shape[-1])


class Net:
    """A model under construction.

    Attributes:
        legacy: whether it is a tf_keras model, for `.h5`.
        kinds: how often each kind of layer and function is in it.
    """

    def __init__(self, keras: Any, tf: Any, *, seed: int, legacy: bool) -> None:
        self.keras, self.tf, self.legacy = keras, tf, legacy
        self.rng = np.random.default_rng(seed)
        self.kinds: Counter[str] = Counter()
        self.inputs: list[Any] = []
        self.rows: dict[str, Array] = {}

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def input(self, rows: Array) -> Tensor:
        """Return an input for rows [n, ...] of which the first calibrate."""
        name = f"input_{len(self.inputs)}"
        symbol = self.keras.Input(rows.shape[1:], name=name, dtype=str(rows.dtype))
        self.inputs.append(symbol)
        self.rows[name] = rows
        return Tensor(symbol, self.tf.constant(rows[:_BATCH]))

    def layer(self, kind: str, *given: Tensor, listed: bool = False, **config: Any) -> Tensor:
        """Return what a new layer gives for tensors; listed: it takes them as one list."""
        self.kinds[kind] += 1
        return self._call(getattr(self.keras.layers, kind)(**config), given, listed=listed)

    def bidirectional(self, kind: str, x: Tensor, **config: Any) -> Tensor:
        self.kinds["Bidirectional"] += 1
        self.kinds[kind] += 1
        return self._call(self.keras.layers.Bidirectional(getattr(self.keras.layers, kind)(**config)), (x,))

    def attention(self, x: Tensor, *, heads: int) -> Tensor:
        self.kinds["MultiHeadAttention"] += 1
        layer = self.keras.layers.MultiHeadAttention(heads, max(2, x.channels // heads))
        symbol = layer(x.symbol, x.symbol)
        for weight in layer.weights:
            if len(weight.shape) > 1:
                weight.assign(weight * float(self.rng.uniform(1, 2)))
        return Tensor(symbol, layer(x.values, x.values))

    def timed(self, units: int, x: Tensor) -> Tensor:
        self.kinds["TimeDistributed"] += 1
        inner = self.keras.layers.Dense(units)
        layer = self.keras.layers.TimeDistributed(inner)
        symbol = layer(x.symbol)
        self._draw(inner, lambda: layer(x.values))
        return Tensor(symbol, layer(x.values))

    def _call(self, layer: Any, given: Sequence[Tensor], *, listed: bool = False) -> Tensor:
        listed = listed or len(given) > 1
        symbols, values = [t.symbol for t in given], [t.values for t in given]
        symbol = layer(symbols) if listed else layer(symbols[0])
        self._set(layer, values[0])
        return Tensor(symbol, layer(values) if listed else layer(values[0]))

    def function(self, name: str, x: Tensor, **options: Any) -> Tensor:
        """Return what a function gives: of keras.ops, or of TensorFlow in tf_keras."""
        self.kinds[f"ops.{name}"] += 1
        if self.legacy:
            legacy = {"sum": "reduce_sum", "mean": "reduce_mean", "max": "reduce_max", "min": "reduce_min"}
            found = getattr(self.tf, legacy.get(name, name), None) or getattr(self.tf.math, name)
        else:
            found = getattr(self.keras.ops, name)
        return Tensor(found(x.symbol, **options), found(x.values, **options))

    def combined(self, function: Callable[..., Any], *given: Tensor, kind: str) -> Tensor:
        """Return what operators of tensors give, as `lambda x, y: x - y`."""
        self.kinds[kind] += 1
        return Tensor(function(*(t.symbol for t in given)), function(*(t.values for t in given)))

    def _set(self, layer: Any, values: Any) -> None:
        """Give a new layer weights as if it had been trained."""
        kind = type(layer).__name__
        if kind == "BatchNormalization":
            self._set_statistics(layer, np.asarray(values))
        elif kind in ("LayerNormalization", "GroupNormalization"):
            layer.gamma.assign(self.rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(self.rng.normal(0, 0.3, layer.beta.shape))
        elif kind == "PReLU":
            layer.alpha.assign(self.rng.uniform(0, 0.5, layer.alpha.shape))
        elif kind == "Embedding":
            layer.embeddings.assign(self.rng.normal(0, 1, layer.embeddings.shape))
        elif kind in ("LSTM", "GRU", "SimpleRNN", "Bidirectional"):
            for weight in layer.weights:
                if len(weight.shape) == 1 or "bias" in weight.name:
                    weight.assign(weight + self.rng.normal(0, 0.2, weight.shape))
        elif any("kernel" in weight.name for weight in layer.weights):
            self._draw(layer, lambda: layer(values))

    def _set_statistics(self, layer: Any, values: Array) -> None:
        axes = tuple(range(values.ndim - 1))
        layer.moving_mean.assign(values.mean(axes))
        layer.moving_variance.assign(values.var(axes) + 1e-3)
        layer.gamma.assign(np.exp(self.rng.normal(0, 0.3, layer.gamma.shape)))
        layer.beta.assign(self.rng.normal(0, 0.4, layer.beta.shape))

    def _draw(self, layer: Any, run: Callable[[], Any]) -> None:
        """Draw kernels whose outputs, before the activation, spread as a trained layer's do; biases beside them."""
        after, layer.activation = getattr(layer, "activation", None), self.keras.activations.linear
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if "kernel" not in weight.name:
                continue
            drawn = self.rng.standard_t(6, shape) * np.exp(self.rng.normal(0, 0.3, shape[-1:]))
            weight.assign(drawn / math.sqrt(max(1, int(np.prod(shape[:-1])))))
        kernels = [w for w in layer.weights if "kernel" in w.name]
        given = np.asarray(run())
        # What tells rows apart sets the scale: a constant beside it, as behind a ReLU and a mean, goes into the bias.
        apart = max(float(np.std(given - given.mean(0))), 0.1 * float(np.std(given))) or 1.0
        factor = float(self.rng.uniform(0.8, 2.0)) / apart
        kernels[-1].assign(kernels[-1] * factor)
        for weight in layer.weights:
            if "bias" in weight.name:
                middle = factor * given.mean(tuple(range(given.ndim - 1)))
                weight.assign(self.rng.normal(0, 0.3, weight.shape) - middle)
        layer.activation = after
