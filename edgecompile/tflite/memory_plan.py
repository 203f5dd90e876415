"""A plan for a model's activations that TFLite Micro follows: `OfflineMemoryAllocation` metadata.

Source: tensorflow/lite/micro/docs/memory_management.md, "Offline planned tensor allocations": int32 values: version 1,
subgraph, number of tensors, then an offset from the arena's head for each tensor, -1 where TFLite Micro decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecompile.tflite.edit import Model
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.greedy import greedy, height
from edgecompile.tflite.lifetimes import Buffer, buffers, peak, tensor_bytes
from edgecompile.tflite.order import Order, best_order
from edgecompile.tflite.placement import place

METADATA = "OfflineMemoryAllocation"

_IN_PLACE = frozenset(
    {"ADD", "SUB", "MUL", "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "QUANTIZE",
     "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "ABS", "NEG", "SQRT", "RSQRT", "SQUARE", "EXP", "LOG"}
)  # fmt: skip
"""Ops whose reference and CMSIS-NN kernels read element i for the last time before they write element i."""


@dataclass(frozen=True)
class MemoryPlan:
    """Where the activations of a model lie.

    Attributes:
        order: the ops in the order in which they are to run.
        buffers: with scratch; several tensors in one buffer share its memory.
        offsets: of each buffer, bytes from the arena's head, as TFLite Micro puts them.
        fixed: whether the offsets of tensors are to be written into the model.
        height: bytes that the plan takes.
        greedy: bytes that TFLite Micro's own plan of the model as given takes.
        bound: most bytes in use at one time: no plan of these buffers takes less.
        reordered: whether `order` differs from the file's.
        order_proven: whether no other order has a lower bound.
    """

    order: tuple[Op, ...]
    buffers: tuple[Buffer, ...]
    offsets: tuple[int, ...]
    fixed: bool
    height: int
    greedy: int
    bound: int
    reordered: bool
    order_proven: bool

    @property
    def gap(self) -> int:
        """Bytes above the bound."""
        return self.height - self.bound

    @property
    def shared(self) -> tuple[tuple[int, ...], ...]:
        """Tensors that lie in the same memory, by buffer."""
        return tuple(b.tensors for b in self.buffers if len(b.tensors) > 1)


def plan_memory(
    graph: Graph,
    *,
    scratch: Mapping[int, Sequence[int]] | None = None,
    place_tensors: bool = True,
    reorder: bool = True,
    in_place: bool = True,
) -> MemoryPlan:
    """Return the smallest plan found for graph; TFLite Micro's own where nothing is smaller.

    Args:
        graph: a model without control flow.
        scratch: op index → bytes of each scratch buffer of the device's kernels.
        place_tensors: look for a plan at all; otherwise TFLite Micro's own is returned.
        reorder: let ops run in another order.
        in_place: let elementwise results take the place of inputs that die.
    """
    own = buffers(graph, scratch=scratch)
    stock = greedy(own)
    order = best_order(graph) if reorder and place_tensors else Order(graph.ops, changed=False, proven=False)
    first = MemoryPlan(
        order=graph.ops,
        buffers=own,
        offsets=tuple(stock),
        fixed=False,
        height=height(own, stock),
        greedy=height(own, stock),
        bound=peak(own),
        reordered=False,
        order_proven=order.proven,
    )
    plans = [first]
    for ops in (graph.ops, order.ops) if order.changed else (graph.ops,):
        alone = buffers(graph, order=ops, scratch=scratch)
        for these in dict.fromkeys((alone, _merged(graph, ops, alone) if in_place else alone)):
            if place_tensors and peak(these) < min(p.height for p in plans):
                plans.append(_placed(first, ops, these, order_as_given=ops is graph.ops))
    # Of equal plans the first changes least.
    return min(plans, key=lambda p: p.height)


def _placed(first: MemoryPlan, ops: tuple[Op, ...], these: tuple[Buffer, ...], *, order_as_given: bool) -> MemoryPlan:
    """Return the plan of these buffers, with scratch where TFLite Micro then puts it."""
    offsets = place(these)
    found = greedy(these, [offset if b.tensors else None for offset, b in zip(offsets, these, strict=True)])
    return replace(
        first,
        order=ops,
        buffers=these,
        offsets=tuple(found),
        fixed=True,
        height=height(these, found),
        bound=peak(these),
        reordered=not order_as_given,
    )


def _merged(graph: Graph, order: Sequence[Op], found: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
    """Return buffers in which elementwise results share the memory of an input that no later op reads."""
    home = {t: b for b in found for t in b.tensors}
    for scope, op in enumerate(order, 1):
        if op.name not in _IN_PLACE or len(op.outputs) != 1 or op.outputs[0] not in home:
            continue
        made = home[op.outputs[0]]
        for i in dict.fromkeys(op.inputs):
            dying = home.get(i)
            if dying is None or dying.last != scope or not _same_layout(graph, op, i):
                continue
            both = Buffer(max(dying.size, made.size), dying.first, made.last, (*dying.tensors, *made.tensors))
            home.update(dict.fromkeys(both.tensors, both))
            break
    scratch = tuple(b for b in found if not b.tensors)
    return (*sorted(set(home.values()), key=lambda b: min(b.tensors)), *scratch)


def _same_layout(graph: Graph, op: Op, number: int) -> bool:
    """Return whether element i of the output depends on element i of this input, and both have the same size."""
    given, made = graph.tensors[number], graph.tensors[op.outputs[0]]
    if tensor_bytes(given) != tensor_bytes(made):
        return False
    return op.name in {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"} or given.shape == made.shape


def apply_plan(model: Model, plan: MemoryPlan) -> None:
    """Write plan into model: the order of its ops, and the offsets of its tensors as metadata."""
    from ai_edge_litert import schema_py_generated as schema

    main = model.subgraphs[0]
    main.operators = [main.operators[op.index] for op in plan.order]
    model.metadata = [m for m in model.metadata or [] if m.name not in {METADATA, METADATA.encode()}]
    if not plan.fixed:
        return
    offsets = np.full(len(main.tensors), -1, np.int32)
    for offset, buffer in zip(plan.offsets, plan.buffers, strict=True):
        offsets[list(buffer.tensors)] = offset
    content = schema.BufferT()
    content.data = np.concatenate([np.array([1, 0, len(offsets)], np.int32), offsets]).view(np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA.encode(), len(model.buffers)
    model.buffers = [*model.buffers, content]
    model.metadata = [*model.metadata, entry]
