"""Keras models made from a seed, for benchmarks/differential.py and its test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from generated_blocks import IMAGE, Block, activation, conv
from generated_net import Net, Tensor
from generated_series import SERIES, VECTOR

from edgecompile.tflite.values import Array

ROWS, HELD = 96, 160
"""Rows that calibrate, and other rows of the same kind that are measured on."""

ALL: Mapping[str, tuple[str, Block]] = {
    **{f"image {name}": ("image", block) for name, block in IMAGE.items()},
    **{f"series {name}": ("series", block) for name, block in SERIES.items()},
    **{f"vector {name}": ("vector", block) for name, block in VECTOR.items()},
}
"""Every block: model number n has the nth of them for certain, the rest of it is drawn."""


@dataclass(frozen=True)
class Generated:
    """A model that was written, its rows and what it gives.

    Attributes:
        file: `.keras`, or `.h5` of tf_keras.
        kinds: kinds of layers and functions in it, and how often.
        blocks: names of the blocks that it is made of.
        calibration, held: input → rows.
        outputs: output → what the model gives for held.
    """

    seed: int
    model: Any
    file: Path
    kinds: Mapping[str, int]
    blocks: tuple[str, ...]
    calibration: Mapping[str, Array]
    held: Mapping[str, Array]
    outputs: Mapping[str, Array]


def generate(seed: int, folder: Path, *, keras: Any, tf_keras: Any, tf: Any) -> Generated:
    """Write the model of seed below folder; every tenth is one of tf_keras in an `.h5`."""
    legacy = seed % 10 == 9
    library = tf_keras if legacy else keras
    library.backend.clear_session()  # the names of layers must not depend on what was built before
    library.utils.set_random_seed(seed)
    net = Net(library, tf, seed=seed, legacy=legacy)
    tensors, blocks = _grow(net, seed)
    model = library.Model(net.inputs, [t.symbol for t in tensors], name=f"generated_{seed}")
    file = folder / ("model.h5" if legacy else "model.keras")
    model.save(file)
    held = {name: rows[ROWS:] for name, rows in net.rows.items()}
    given = model([tf.constant(rows) for rows in held.values()], training=False)
    arrays = [np.asarray(x) for x in (given if isinstance(given, list | tuple) else [given])]
    assert all(np.isfinite(x).all() for x in arrays), f"seed {seed} gives what is not finite"
    return Generated(
        seed=seed,
        model=model,
        file=file,
        kinds=dict(net.kinds),
        blocks=tuple(blocks),
        calibration={name: rows[:ROWS] for name, rows in net.rows.items()},
        held=held,
        outputs=dict(zip(model.output_names, arrays, strict=True)),
    )


def _grow(net: Net, seed: int) -> tuple[list[Tensor], list[str]]:
    """Return the outputs of a new model and the names of its blocks."""
    wanted = list(ALL)[seed % len(ALL)]
    family, block = ALL[wanted]
    blocks = [wanted]
    x = _INPUTS[family](net)
    if family == "image":
        x = conv(net, x, filters=net.pick(6, 8, 12, 16), kernel_size=3, strides=_opening(x))
    known = {"image": IMAGE, "series": SERIES, "vector": VECTOR}[family]
    chain = [net.pick(*known) for _ in range(int(net.rng.integers(1, 5)))]
    place = int(net.rng.integers(len(chain) + 1))
    for name in (*chain[:place], "", *chain[place:]):
        x = known[name](net, x) if name else block(net, x)
        if name:
            blocks.append(f"{family} {name}")
    if family == "image" and net.chance(0.15):
        return [conv(net, x, filters=3, kernel_size=1, activation=net.pick("linear", "sigmoid"))], blocks
    vector = _REDUCTIONS[family](net, x)
    if net.chance(0.12):
        vector = _second_input(net, vector)
    return [_head(net, vector) for _ in range(2 if net.chance(0.12) else 1)], blocks


def _opening(x: Tensor) -> int:
    return 2 if x.shape[0] > 24 else 1


def _smooth(rng: np.random.Generator, n: int, sizes: tuple[int, ...], channels: int) -> Array:
    """Return rows [n, *sizes, channels] of about unit spread: a pattern of each row's class, waves of its own, noise.

    Classes differ in the means of channels too, and rows in contrast: what tells rows apart must outlive a pooling over
    the whole image, as it does in models that have learned something.
    """
    classes = _waves(rng, 8, sizes, channels) + rng.normal(0, 0.8, (8, *(1 for _ in sizes), channels))
    contrast = rng.gamma(6.0, 1 / 6, (n, *(1 for _ in sizes), 1))
    rows = contrast * classes[rng.integers(0, 8, n)] + 0.5 * _waves(rng, n, sizes, channels)
    return np.asarray(rows + rng.normal(0, 0.1, rows.shape), np.float32)


def _waves(rng: np.random.Generator, n: int, sizes: tuple[int, ...], channels: int) -> Array:
    grids = np.meshgrid(*(np.linspace(0, 2 * np.pi, s) for s in sizes), indexing="ij")
    made = np.zeros((n, *sizes, channels))
    for _ in range(3):
        turn = rng.uniform(0, 2 * np.pi, (n, *(1 for _ in sizes), channels))
        sizes_of = turn.shape
        for grid in grids:
            turn = turn + rng.uniform(0, 2, sizes_of) * grid[None, ..., None]
        made += rng.gamma(1.0, 0.5, sizes_of) * np.sin(turn)
    return made


def _image(net: Net) -> Tensor:
    size = tuple(int(net.rng.integers(9, 33)) for _ in range(2))
    waves = _smooth(net.rng, ROWS + HELD, size, net.pick(1, 3, 3, 4))
    unit = 1 / (1 + np.exp(-1.5 * waves))
    match net.pick("bytes", "unit", "normal", "layer"):
        case "bytes":
            x = net.input((unit * 255).astype(np.float32))
            return net.layer("Rescaling", x, scale=1 / 127.5, offset=-1.0)
        case "unit":
            return net.input(unit.astype(np.float32))
        case "layer":
            mean, variance = (unit * 255).mean((0, 1, 2)), (unit * 255).var((0, 1, 2))
            x = net.input((unit * 255).astype(np.float32))
            return net.layer("Normalization", x, mean=mean, variance=variance)
        case _:
            return net.input(waves)


def _series(net: Net) -> Tensor:
    steps = int(net.rng.integers(8, 41))
    if net.chance(0.25):
        words = net.pick(50, 200, 1000)
        rows = np.minimum(net.rng.zipf(1.4, (ROWS + HELD, min(steps, 24))), words - 1).astype(np.int32)
        return net.layer("Embedding", net.input(rows), input_dim=words, output_dim=net.pick(8, 16, 24))
    return net.input(_smooth(net.rng, ROWS + HELD, (steps,), int(net.rng.integers(1, 13))))


def _vector(net: Net) -> Tensor:
    n = int(net.rng.integers(8, 65))
    causes = net.rng.normal(0, 1, (ROWS + HELD, 6)) @ net.rng.normal(0, 0.4, (6, n))
    rows = (causes + net.rng.normal(0, 0.3, causes.shape)).astype(np.float32)
    if net.chance(0.3):
        spread, middle = np.exp(net.rng.normal(0, 1, n)), net.rng.normal(0, 2, n)
        rows = (rows * spread + middle).astype(np.float32)
        return net.layer("Normalization", net.input(rows), mean=middle, variance=spread**2)
    return net.input(rows)


def _image_reduced(net: Net, x: Tensor) -> Tensor:
    match net.pick("average", "average", "most", "flat", "mean", "sum", "max"):
        case "average":
            return net.layer("GlobalAveragePooling2D", x)
        case "most":
            return net.layer("GlobalMaxPooling2D", x)
        case "mean" | "sum" | "max" as name:
            return net.function(name, x, axis=(1, 2))
        case _:
            while x.shape[0] * x.shape[1] * x.channels > 4096:
                x = net.layer("MaxPooling2D", x, padding="same")
            return net.layer("Flatten", x)


def _series_reduced(net: Net, x: Tensor) -> Tensor:
    match net.pick("average", "most", "flat", "mean", "sum", "LSTM", "GRU", "SimpleRNN", "both", "weighed"):
        case "average":
            return net.layer("GlobalAveragePooling1D", x)
        case "most":
            return net.layer("GlobalMaxPooling1D", x)
        case "mean" | "sum" as name:
            return net.function(name, x, axis=1)
        case "LSTM" | "GRU" | "SimpleRNN" as kind:
            return net.layer(kind, x, units=net.pick(8, 16, 24))
        case "both":
            return net.bidirectional(net.pick("LSTM", "GRU"), x, units=net.pick(6, 12))
        case "weighed":
            weights = net.layer("Softmax", net.layer("Dense", x, units=1), axis=1)
            return net.function("sum", net.layer("Multiply", x, weights), axis=1)
        case _:
            return net.layer("Flatten", x)


def _second_input(net: Net, x: Tensor) -> Tensor:
    y = net.layer("Dense", _vector(net), units=16, activation="relu")
    return net.layer("Concatenate", net.layer("Dense", x, units=16, activation="relu"), y)


def _head(net: Net, x: Tensor) -> Tensor:
    if net.chance(0.5):
        units = net.pick(16, 32, 64, 64, 200 if x.channels < 2000 else 32)
        x = activation(net, net.layer("Dense", x, units=units), net.pick("relu", "relu", ""))
        if net.chance(0.3):
            x = net.layer("Dropout", x, rate=0.3)
    return net.layer("Dense", x, units=net.pick(4, 10, 10, 25), activation=net.pick("softmax", "linear", "sigmoid"))


_INPUTS: Mapping[str, Callable[[Net], Tensor]] = {"image": _image, "series": _series, "vector": _vector}
_REDUCTIONS: Mapping[str, Callable[[Net, Tensor], Tensor]] = {
    "image": _image_reduced,
    "series": _series_reduced,
    "vector": lambda _net, x: x,
}
