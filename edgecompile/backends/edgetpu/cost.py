"""On-chip memory: how many bytes a model's parameters take on the Edge TPU, and how many of them stay there.

Parameters that find room in the chip's memory are sent once; the rest is streamed at every inference. How large they
are there is not published. What follows was fitted to 27 public compiled models, whose packages hold the parameters as
they are sent (`payload`), and reproduces 7 of them to the byte and all above 3 KB within 6% (`TOLERANCE` is a little
more): the chip has 16 tiles of 4 lanes; output channels are rounded up to fill them, input channels to groups of 4; a
depthwise weight takes 4 bytes; each output channel adds its bias and, with scales of its own, its scale. Not covered:
LSTMs (one compiled model is known) and very wide fully connected layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edgecompile.backends.rules import tensor
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import MIB

TOLERANCE = 0.08
"""Largest relative error that the estimate is given; 6% is the largest found."""

CAPACITY_LOW_BYTES = int(5.9 * MIB)
CAPACITY_HIGH_BYTES = int(8.1 * MIB)
"""Room for parameters: used plus remaining in 25 logs of compilers 14 to 16 is 6.06 to 8.05 MiB. Why it differs by
model is not published. Logs outside the range: 1.09 MiB (google-coral/edgetpu #572) and 1.92 MiB (#427), both of
models that are not public; 5.34 MiB for two models compiled together (#458); 8.19 MiB with three subgraphs (#324)."""

ROOM_SEEN = (
    f"{CAPACITY_LOW_BYTES / MIB:.1f} to {CAPACITY_HIGH_BYTES / MIB:.1f} MiB in most published logs; "
    "1.1 MiB and 1.9 MiB in two, of models that are not public"
)
"""What is known of the room for parameters, for people."""

# An op whose parameters alone exceed the room is streamed whole (a dense layer of 8192×8192, compiler 16: 0 B cached).

WIDE_DENSE_INPUTS = 16_384
"""Inputs of a fully connected layer from which on its weights were streamed although there was room (bright_128x128,
color_red_128x128; 4,096 and 5,904 inputs were cached). Not explained: a model of 788 KiB that is not public, with three
such layers of 4,860 inputs, took 24.2 MiB, 23.4 of them streamed."""

_SLACK_BYTES = 512
"""Constants of ops without weights, 64 bytes or so each, which nobody explains: they matter for tiny models only."""

_DENSE_EXTRA_BYTES = 640
"""What a fully connected layer takes at most beyond the estimate; why is not known. Two of 2,304×512 and 512×10 took
1,280 bytes (firstTest_quant), one of 5,904×10 took 448 (model_size_channel132_quant), one alone nothing (dense_256); of
a hundred small layers, one behind the other, it is 12 to 17%."""

_LANES = 64
_TILES = 16
_GROUP = 4
_DEPTHWISE_BYTES = 4
_BIAS_BYTES = 4
_SCALE_BYTES = 4
_LSTM_FACTOR_HIGH = 10.0
"""Bytes on the chip for a byte of LSTM weights: 9.2 in the one compiled model that is known."""


@dataclass(frozen=True)
class Range:
    """Bytes, from low to high."""

    low: int
    high: int


@dataclass(frozen=True)
class Parameters:
    """What the parameters of the ops on the Edge TPU cost.

    Attributes:
        stored: size in the `.tflite` file, bytes.
        on_chip: size on the chip.
        cached: how much of it stays on the chip.
        streamed: how much is sent at every inference.
        overflow: how much of that for want of room.
        wide_dense: fully connected ops that are streamed however much room there is.
    """

    stored: int
    on_chip: Range
    cached: Range
    streamed: Range
    overflow: Range
    wide_dense: tuple[Op, ...]


def parameters(graph: Graph, on_tpu: Iterable[int]) -> Parameters:
    """Return what the parameters of the ops with these indices cost."""
    ops = [op for op in graph.ops if op.index in set(on_tpu)]
    ranges = {op.index: _on_chip(graph, op) for op in ops}
    wide = tuple(op for op in ops if _is_wide(graph, op))
    too_large = [op for op in ops if ranges[op.index].low > CAPACITY_HIGH_BYTES]
    never = _total(ranges[op.index] for op in {op.index: op for op in (*wide, *too_large)}.values())
    every = _total(ranges.values())
    total = Range(max(0, every.low - _SLACK_BYTES), every.high + _SLACK_BYTES) if ops else every
    low, high = max(0, total.low - never.low), total.high - never.high
    overflow = Range(max(0, low - CAPACITY_HIGH_BYTES), max(0, high - CAPACITY_LOW_BYTES))
    streamed = Range(never.low + overflow.low, never.high + overflow.high)
    cached = Range(min(low, CAPACITY_LOW_BYTES), min(high, CAPACITY_HIGH_BYTES))
    return Parameters(sum(_stored(graph, op) for op in ops), total, cached, streamed, overflow, wide)


def shared(models: Sequence[Parameters]) -> tuple[Parameters, ...]:
    """Return the cost of models that are compiled together for one Edge TPU, in order of priority.

    The first model is served first; what it leaves is for the second, and so on (Coral, “Edge TPU Compiler”,
    co-compilation). Compiler 15 did so; compiler 16 once gave a second model more than the first, whose parameters
    would have filled the chip (google-coral/edgetpu #518).
    """
    found = []
    taken = Range(0, 0)
    for one in models:
        never = Range(one.streamed.low - one.overflow.low, one.streamed.high - one.overflow.high)
        wanted = Range(one.on_chip.low - never.low, one.on_chip.high - never.high)
        least, most = max(0, CAPACITY_LOW_BYTES - taken.high), max(0, CAPACITY_HIGH_BYTES - taken.low)
        cached = Range(min(wanted.low, least), min(wanted.high, most))
        overflow = Range(max(0, wanted.low - most), max(0, wanted.high - least))
        streamed = Range(never.low + overflow.low, never.high + overflow.high)
        found.append(replace(one, cached=cached, streamed=streamed, overflow=overflow))
        taken = Range(taken.low + cached.low, taken.high + cached.high)
    return tuple(found)


def on_chip_bytes(graph: Graph, op: Op) -> int:
    """Return the best estimate of what the parameters of op take on the chip; 0 for ops without."""
    weights = tensor(graph, op, 1)
    if weights is None or not weights.constant:
        return 0
    per_channel = weights.quantization is not None and weights.quantization.per_channel
    return weights_bytes(op.name, weights.shape, scales=op.name != "FULLY_CONNECTED" or per_channel)


def weights_bytes(name: str, shape: Sequence[int], *, scales: bool) -> int:
    """Return the best estimate of what a layer's weights and bias take on the chip; 0 for ops without.

    Args:
        name: of the op.
        shape: of its weights, as the `.tflite` has them: outputs, height, width, inputs; 1, height, width, channels;
            outputs, inputs.
        scales: whether every output has a scale of its own there.
    """
    each = _BIAS_BYTES + (_SCALE_BYTES if scales else 0)
    if name in {"CONV_2D", "TRANSPOSE_CONV"} and len(shape) == 4:
        made, height, width, given = shape
        return (height * width * _up(given, _GROUP) + each) * _fill(made)
    if name == "DEPTHWISE_CONV_2D" and len(shape) == 4:
        _, height, width, channels = shape
        return (height * width * _DEPTHWISE_BYTES + each) * _up(channels, _TILES)
    if name == "FULLY_CONNECTED" and len(shape) == 2:
        made, given = shape
        return (_up(given, _GROUP) + each) * _up(made, _TILES)
    return 0


def _on_chip(graph: Graph, op: Op) -> Range:
    if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        stored = _stored(graph, op)
        return Range(stored, int(stored * _LSTM_FACTOR_HIGH))
    best = on_chip_bytes(graph, op)
    extra = _DENSE_EXTRA_BYTES if op.name == "FULLY_CONNECTED" and best else 0
    return Range(int(best * (1 - TOLERANCE)), int(best * (1 + TOLERANCE)) + extra)


def _stored(graph: Graph, op: Op) -> int:
    constants = {i: graph.tensors[i].raw for i in op.inputs if i >= 0}
    return sum(raw.nbytes for raw in constants.values() if raw is not None)


def _is_wide(graph: Graph, op: Op) -> bool:
    weights = tensor(graph, op, 1)
    return op.name == "FULLY_CONNECTED" and weights is not None and weights.shape[-1] >= WIDE_DENSE_INPUTS


def _total(ranges: Iterable[Range]) -> Range:
    every = list(ranges)
    return Range(sum(r.low for r in every), sum(r.high for r in every))


def _fill(channels: int) -> int:
    """Return how many lanes so many output channels take: all tiles fill up above three quarters of their lanes."""
    return _up(channels, _TILES) if channels <= _LANES - _TILES else _up(channels, _LANES)


def _up(number: int, step: int) -> int:
    return math.ceil(number / step) * step
