"""Ops that the Edge TPU takes only up to a size, made of smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgecompile.backends.edgetpu.fit.forms import eight_bit, sizes, version
from edgecompile.backends.edgetpu.oprules import EIGHT_BIT
from edgecompile.backends.rules import tensor
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op

_STEP = 2
"""Factor of the resizes that are known to be mapped."""


def mean_in_steps(draft: Draft, graph: Graph, op: Op) -> bool:
    """A MEAN over several dimensions becomes one MEAN a dimension, one behind the other."""
    from ai_edge_litert import schema_py_generated as schema

    given, made, axes = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]], tensor(graph, op, 1)
    if not eight_bit(given, made) or axes is None or axes.data is None:
        return False
    rank = len(given.shape)
    order = sorted({int(a) % rank for a in axes.data.reshape(-1)})
    order = [a for a in order if given.shape[a] > 1]
    if len(order) < 2:
        return False
    ops, here, shape = [], given.index, list(given.shape)
    for axis in order[:-1]:
        shape[axis] = 1
        there = draft.activation(given.index, f"mean_{axis}", shape=shape)
        ops.append(
            draft.op(
                "MEAN",
                [here, sizes(draft, f"{made.name}/axis_{axis}", [axis])],
                [there],
                version=version("MEAN", given),
                options=schema.ReducerOptionsT(keepDims=True),
            )
        )
        here = there
    # The last one has all axes, so that it also leaves out the dimensions that are 1 by now.
    ops.append(draft.again(op.index, inputs=[here, axes.index], outputs=op.outputs, version=version("MEAN", given)))
    draft.replace(op.index, ops)
    return True


def resize_in_steps(draft: Draft, graph: Graph, op: Op) -> bool:
    """A RESIZE of a single pixel, which gives that pixel everywhere, becomes several that double the size at most."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if given.dtype not in EIGHT_BIT or given.dtype != made.dtype or len(given.shape) != 4 or given.shape[1:3] != (1, 1):
        return False
    way = list(zip(*_equally_long(*(_doublings(d) for d in made.shape[1:3])), strict=True))
    ops, here = [], given.index
    for number, (before, after) in enumerate(pairwise(way)):
        last = number == len(way) - 2
        shape = (given.shape[0], *after, given.shape[3])
        there = made.index if last else draft.activation(made.index, f"step_{number}", shape=shape)
        assert all(b <= _STEP * a for a, b in zip(before, after, strict=True)), "that is what the steps are for"
        size = sizes(draft, f"{made.name}/size_{number}", after)
        ops.append(draft.again(op.index, inputs=[here, size], outputs=[there], version=op.version))
        here = there
    draft.replace(op.index, ops)
    return True


def _doublings(size: int) -> list[int]:
    """Return sizes from 1 to size, each at most twice the one before."""
    back = [size]
    while back[-1] > 1:
        back.append(-(-back[-1] // _STEP))
    return back[::-1]


def _equally_long(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return both with the shorter one's last value repeated."""
    longest = max(len(first), len(second))
    long_first, long_second = ([*s, *[s[-1]] * (longest - len(s))] for s in (first, second))
    return long_first, long_second
