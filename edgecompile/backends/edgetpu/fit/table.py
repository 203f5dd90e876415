"""Which rewrite helps against which rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgecompile.backends.edgetpu.fit import activations, layers, layout, sizes
from edgecompile.backends.edgetpu.fit.forms import Rewrite
from edgecompile.backends.edgetpu.fit.versions import older_version
from edgecompile.backends.edgetpu.planner import Placement
from edgecompile.backends.edgetpu.versions import edgetpu_readable
from edgecompile.backends.rules import identifier
from edgecompile.tflite.graph import Graph


@dataclass(frozen=True)
class Entry:
    """A rewrite, and the ops it is for.

    Attributes:
        rewrite: what is done.
        ops: names of the ops; none stand for all.
        rules: identifiers of rules, one of which the op breaks; `""` stands for an op that breaks none.
        doubts: identifiers of doubts, one of which is about the op. Only of exact rewrites: they cost no accuracy
            where they were not needed.
    """

    rewrite: Rewrite
    ops: frozenset[str]
    rules: frozenset[str]
    doubts: frozenset[str] = frozenset()


def _entry(rewrite: Rewrite, ops: str, rules: str, doubts: str = "") -> Entry:
    return Entry(rewrite, *(frozenset(names.split()) for names in (ops, rules, doubts)))


_ELEMENTWISE = layout.ELEMENTWISE
_UNSIZED = "edgetpu-transpose-size edgetpu-inner-dimensions"
_DENSE = "edgetpu-readable edgetpu-dense-vector edgetpu-dense-version"

ENTRIES: tuple[Entry, ...] = (
    _entry(Rewrite(activations.hard_swish, 2), "HARD_SWISH", "edgetpu-op"),
    _entry(Rewrite(activations.leaky_relu, 1), "LEAKY_RELU", "edgetpu-op"),
    _entry(
        Rewrite(activations.unfused_activation, 0),
        "AVERAGE_POOL_2D MAX_POOL_2D TRANSPOSE_CONV",
        "edgetpu-no-fused-activation edgetpu-readable",
    ),
    _entry(Rewrite(sizes.mean_in_steps, 1), "MEAN", "edgetpu-mean-area"),
    _entry(
        Rewrite(sizes.resize_in_steps, 0),
        "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR",
        "edgetpu-resize-size",
        "edgetpu-large-resize",
    ),
    _entry(Rewrite(layers.dense_in_parts, 0), "FULLY_CONNECTED", "edgetpu-dense-size", "edgetpu-large-dense"),
    _entry(Rewrite(layers.dense_as_convolution, 1), "FULLY_CONNECTED", _DENSE),
    _entry(Rewrite(layers.grouped_convolution, 0), "CONV_2D", "edgetpu-readable"),
    _entry(Rewrite(layout.cancelled_transposes, 0), "TRANSPOSE", _UNSIZED, "edgetpu-large-transpose"),
    _entry(Rewrite(layout.transpose_as_reshape, 0), "TRANSPOSE", _UNSIZED, "edgetpu-large-transpose"),
    Entry(Rewrite(layout.transpose_first, 0, moves=True), _ELEMENTWISE, frozenset({""})),
    _entry(Rewrite(layout.plain_pad, 0), "PADV2", "edgetpu-op"),
    _entry(Rewrite(layout.slices, 0), "SPLIT_V", "edgetpu-op"),
    _entry(Rewrite(layout.unpack_as_split, 0), "UNPACK", "edgetpu-op"),
    _entry(Rewrite(layout.gathered_slice, 0), "GATHER", "edgetpu-op"),
    _entry(
        Rewrite(older_version, 0),
        "",
        "edgetpu-readable edgetpu-dense-version",
        "edgetpu-perhaps-readable edgetpu-unseen-version",
    ),
)
"""Tried in order; the first that fits an op is made."""


def rewrites_for(graph: Graph, placement: Placement) -> Iterator[Rewrite]:
    """Yield what may help the op of placement, likeliest first."""
    op = placement.op
    rules = {identifier(placement.breach.rule) if placement.breach else ""}
    if edgetpu_readable(graph, op):
        rules.add(identifier(edgetpu_readable))
    doubts = {identifier(doubt.rule) for doubt in placement.doubts}
    for entry in ENTRIES:
        if (not entry.ops or op.name in entry.ops) and (rules & entry.rules or doubts & entry.doubts):
            yield entry.rewrite
