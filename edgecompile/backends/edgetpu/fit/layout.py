"""Ops that only move numbers, made of those that the Edge TPU has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecompile.backends.edgetpu.fit.forms import eight_bit, reshape, same_codes, sizes, version, zero_point_of
from edgecompile.backends.edgetpu.oprules import EIGHT_BIT, edgetpu_transpose_size
from edgecompile.backends.rules import tensor
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import Graph, Op

ELEMENTWISE = frozenset({"LOGISTIC", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH"})
"""Ops of one input that do not care where a number stands, and that the Edge TPU has."""


def transpose_as_reshape(draft: Draft, graph: Graph, op: Op) -> bool:
    """A TRANSPOSE that moves only dimensions of size 1 becomes a RESHAPE."""
    given, made, order = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]], _order(graph, op)
    wide = [axis for axis in order if given.shape[axis] > 1]
    if not order or not same_codes(given, made) or wide != sorted(wide):
        return False
    draft.replace(op.index, (reshape(draft, given.index, made.index, made.shape, f"{made.name}/shape"),))
    return True


def cancelled_transposes(draft: Draft, graph: Graph, op: Op) -> bool:
    """Two TRANSPOSE ops that undo each other, with nothing but activation functions between them, go.

    The ops between them compute the same numbers in the other order.
    """
    first = op
    between: list[Op] = []
    while (following := _only_reader(graph, (between or [first])[-1])) and following.name in ELEMENTWISE:
        between.append(following)
    order = _order(graph, first)
    if following is None or following.name != "TRANSPOSE" or not order:
        return False
    back = _order(graph, following)
    turned = (graph.tensors[i] for i in (first.inputs[0], first.outputs[0], following.inputs[0], following.outputs[0]))
    before, inner, outer, after = turned
    if [order[axis] for axis in back] != sorted(order) or not same_codes(before, inner) or not same_codes(outer, after):
        return False
    draft.replace(first.index, ())
    here, last = first.inputs[0], following.outputs[0]
    if not between:
        shape = graph.tensors[last].shape
        draft.replace(following.index, (reshape(draft, here, last, shape, f"{graph.tensors[last].name}/shape"),))
        return True
    for number, middle in enumerate(between):
        there = middle.outputs[0] if number < len(between) - 1 else last
        draft.reshape_tensor(there, graph.tensors[first.inputs[0]].shape)
        draft.replace(
            middle.index, (draft.again(middle.index, inputs=[here], outputs=[there], version=middle.version),)
        )
        here = there
    draft.replace(following.index, ())
    return True


def transpose_first(draft: Draft, graph: Graph, op: Op) -> bool:
    """A TRANSPOSE too large for the Edge TPU moves to the model's input, before QUANTIZE, where it cuts nothing off."""
    way, here = [op], op
    while (following := _only_reader(graph, here)) and following.name in ELEMENTWISE:
        way.append(following)
        here = following
    if op.inputs[0] not in graph.inputs or following is None or following.name != "TRANSPOSE":
        return False
    given, last, made = (graph.tensors[i] for i in (op.inputs[0], following.inputs[0], following.outputs[0]))
    if not (edgetpu_transpose_size(graph, following) and _order(graph, following) and same_codes(last, made)):
        return False
    if given.dtype not in EIGHT_BIT:  # the CPU quantizes a float input anyway, before the Edge TPU begins
        return False
    turned = draft.activation(given.index, "turned", shape=made.shape)
    first = draft.op("TRANSPOSE", [given.index, following.inputs[1]], [turned], version=version("TRANSPOSE", given))
    source = turned
    for number, step in enumerate(way):
        target = made.index if number == len(way) - 1 else step.outputs[0]
        draft.reshape_tensor(target, made.shape)
        again = draft.again(step.index, inputs=[source], outputs=[target], version=step.version)
        draft.replace(step.index, (first, again) if number == 0 else (again,))
        source = target
    draft.replace(following.index, ())
    return True


def _order(graph: Graph, op: Op) -> list[int]:
    """Return the dimensions of op's input in the order of its output; empty where they are computed."""
    found = tensor(graph, op, 1)
    if found is None or found.data is None:
        return []
    return [int(axis) % found.data.size for axis in found.data.reshape(-1)]


def _only_reader(graph: Graph, op: Op) -> Op | None:
    """Return the one op that reads what op makes; None where there are more, or the model gives it."""
    readers = graph.consumers.get(op.outputs[0], ())
    return readers[0] if len(readers) == 1 and op.outputs[0] not in graph.outputs else None


def plain_pad(draft: Draft, graph: Graph, op: Op) -> bool:
    """A PADV2 with zeros becomes a PAD."""
    from ai_edge_litert import schema_py_generated as schema

    given, made, value = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]], tensor(graph, op, 2)
    if value is None or value.data is None or not same_codes(given, made) or not same_codes(given, value):
        return False
    if (value.data != zero_point_of(given)).any():
        return False
    pad = draft.op("PAD", op.inputs[:2], op.outputs, version=version("PAD", given), options=schema.PadOptionsT())
    draft.replace(op.index, (pad,))
    return True


def slices(draft: Draft, graph: Graph, op: Op) -> bool:
    """A SPLIT_V becomes one SLICE for every part."""
    given, parts, axis = graph.tensors[op.inputs[0]], tensor(graph, op, 1), tensor(graph, op, 2)
    if axis is None or axis.data is None or parts is None or not eight_bit(given):
        return False
    along = int(axis.data.reshape(-1)[0]) % len(given.shape)
    shapes = [graph.tensors[i].shape for i in op.outputs]
    starts = np.cumsum([0, *(shape[along] for shape in shapes)])
    draft.replace(
        op.index,
        tuple(
            _slice(
                draft,
                graph,
                op,
                made=out,
                begin=[int(start) if a == along else 0 for a in range(len(shape))],
                size=shape,
            )
            for out, shape, start in zip(op.outputs, shapes, starts, strict=False)
        ),
    )
    return True


def unpack_as_split(draft: Draft, graph: Graph, op: Op) -> bool:
    """An UNPACK becomes a SPLIT, and a RESHAPE of every part."""
    from ai_edge_litert import schema_py_generated as schema

    given = graph.tensors[op.inputs[0]]
    if not eight_bit(given):
        return False
    along = int(op.options.get("axis", 0)) % len(given.shape)
    shape = [1 if a == along else d for a, d in enumerate(given.shape)]
    parts = [draft.activation(given.index, f"part_{n}", shape=shape) for n in range(len(op.outputs))]
    name = graph.tensors[op.outputs[0]].name
    axis = draft.constant(f"{name}/axis", np.array(along, np.int32))
    split = draft.op(
        "SPLIT",
        [axis, given.index],
        parts,
        version=version("SPLIT", given),
        options=schema.SplitOptionsT(numSplits=len(parts)),
    )
    made = [
        reshape(draft, part, out, graph.tensors[out].shape, f"{name}/shape_{n}")
        for n, (part, out) in enumerate(zip(parts, op.outputs, strict=True))
    ]
    draft.replace(op.index, (split, *made))
    return True


def gathered_slice(draft: Draft, graph: Graph, op: Op) -> bool:
    """A GATHER of neighbours becomes a SLICE."""
    given, picked = graph.tensors[op.inputs[0]], tensor(graph, op, 1)
    if picked is None or picked.data is None or not picked.data.size or not eight_bit(given):
        return False
    numbers = picked.data.reshape(-1)
    along = int(op.options.get("axis", 0)) % len(given.shape)
    if op.options.get("batch_dims", 0) or (np.diff(numbers) != 1).any() or int(numbers[0]) < 0:
        return False
    begin = [int(numbers[0]) if a == along else 0 for a in range(len(given.shape))]
    size = [numbers.size if a == along else d for a, d in enumerate(given.shape)]
    made = graph.tensors[op.outputs[0]]
    if tuple(size) == made.shape:
        draft.replace(op.index, (_slice(draft, graph, op, made=made.index, begin=begin, size=size),))
        return True
    part = draft.activation(made.index, "slice", shape=size)
    back = reshape(draft, part, made.index, made.shape, f"{made.name}/shape")
    draft.replace(op.index, (_slice(draft, graph, op, made=part, begin=begin, size=size), back))
    return True


def _slice(draft: Draft, graph: Graph, op: Op, *, made: int, begin: Sequence[int], size: Sequence[int]) -> object:
    from ai_edge_litert import schema_py_generated as schema

    given = graph.tensors[op.inputs[0]]
    name = graph.tensors[op.outputs[0]].name
    return draft.op(
        "SLICE",
        [given.index, sizes(draft, f"{name}/begin", begin), sizes(draft, f"{name}/size", size)],
        [made],
        version=version("SLICE", given),
        options=schema.SliceOptionsT(),
    )
