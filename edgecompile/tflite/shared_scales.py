"""Ranges of tensors that the integer kernels give one scale: together they hold what each of them holds.

An op that moves, picks or repeats values has the scale of its input, and one that puts values side by side has one
scale for all of them. Percentiles are taken tensor by tensor, and each would clip what the other needs: a maximum over
time picks the very values that are rare before it, and a single number beside an image is rare in the two joined.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecompile.tflite.graph import Graph
from edgecompile.tflite.ranges import Range

_READ: Mapping[str, int] = {
    **dict.fromkeys(
        (
            "BATCH_TO_SPACE_ND",
            "BROADCAST_TO",
            "DEPTH_TO_SPACE",
            "EXPAND_DIMS",
            "GATHER",
            "GATHER_ND",
            "MAX_POOL_2D",
            "MIRROR_PAD",
            "PAD",
            "REDUCE_MAX",
            "REDUCE_MIN",
            "RESHAPE",
            "RESIZE_BILINEAR",
            "RESIZE_NEAREST_NEIGHBOR",
            "REVERSE_V2",
            "SLICE",
            "SPACE_TO_BATCH_ND",
            "SPACE_TO_DEPTH",
            "SPLIT_V",
            "SQUEEZE",
            "STRIDED_SLICE",
            "TILE",
            "TRANSPOSE",
            "UNPACK",
        ),
        0,
    ),
    "SPLIT": 1,
}
"""Op whose outputs hold values of one input, and have its scale → the place of that input. Sources: what
litert-quantizer marks `SAME_AS_INPUT_SCALE`; TensorFlow Lite's tools/optimize/operator_property.cc."""

_JOINS = frozenset({"CONCATENATION", "PACK"})
"""Ops whose output holds all values of its inputs, which have its scale. Same sources."""


def widened(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return ranges in which tensors of one scale have one range, wide enough for each.

    Args:
        graph: a float model.
        ranges: tensor name → its own range; constants have none.
    """
    found = dict(ranges)
    for op in graph.ops:
        if op.name in _JOINS:
            _share(graph, found, op.inputs, op.outputs[0])
    # From the last to the first: what an op's output needs reaches the op that computed the values.
    for op in reversed(graph.ops):
        if op.name in _READ and op.inputs[_READ[op.name]] >= 0:
            _share(graph, found, op.outputs, op.inputs[_READ[op.name]])
    return found


def _share(graph: Graph, ranges: dict[str, Range], giver: tuple[int, ...], taker: int) -> None:
    """Let the range of taker hold those of giver too; constants have none."""
    name = graph.tensors[taker].name
    every = [ranges[n] for n in (name, *(graph.tensors[i].name for i in giver if i >= 0)) if n in ranges]
    if name in ranges:
        ranges[name] = Range(min(r.low for r in every), max(r.high for r in every))
