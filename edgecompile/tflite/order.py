"""In which order the ops of a model keep the fewest bytes in use at once."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.lifetimes import aligned, buffers, may_be_reordered, needs_memory, peak, tensor_bytes

_MOST_STATES = 20_000
"""Sets of finished ops that the search looks at; models of a few dozen ops with branches need hundreds."""


@dataclass(frozen=True)
class Order:
    """An order of ops.

    Attributes:
        ops: all of them.
        changed: whether it differs from the file's.
        proven: whether no order has a lower peak.
    """

    ops: tuple[Op, ...]
    changed: bool
    proven: bool


def best_order(graph: Graph) -> Order:
    """Return the order of graph's ops with the lowest peak of bytes in use; the file's own where none is lower.

    Best first search over sets of finished ops: the cost of a set is the lowest peak on a way to it.
    """
    if not may_be_reordered(graph) or len(graph.ops) < 3:
        return Order(graph.ops, changed=False, proven=not graph.bodies)
    steps = _Steps(graph)
    whole = (1 << len(graph.ops)) - 1
    best: dict[int, int] = {0: steps.live(0)}
    came: dict[int, int] = {}
    queue: list[tuple[int, int, int]] = [(best[0], 0, 0)]
    while queue:
        cost, _, done = heapq.heappop(queue)
        if done == whole:
            found = steps.way(came)
            better = peak(buffers(graph, order=found)) < peak(buffers(graph))
            return Order(found if better else graph.ops, changed=better, proven=True)
        if cost > best[done]:
            continue
        for i in steps.ready(done):
            after = done | 1 << i
            then = max(cost, steps.running(done, i))
            if then < best.get(after, then + 1):
                best[after] = then
                came[after] = i
                # Of equal peaks the way that has come further is followed first.
                heapq.heappush(queue, (then, -after.bit_count(), after))
        if len(best) > _MOST_STATES:
            break
    return Order(graph.ops, changed=False, proven=False)


class _Steps:
    """Bytes in use between and while ops run; sets of finished ops are bit masks."""

    def __init__(self, graph: Graph) -> None:
        self._ops: Sequence[Op] = graph.ops
        self._size = {t.index: aligned(tensor_bytes(t)) for t in graph.tensors if needs_memory(t)}
        self._writer = {t: i for i, op in enumerate(graph.ops) for t in op.outputs}
        readers: dict[int, int] = {}
        for i, op in enumerate(graph.ops):
            for t in op.inputs:
                if t >= 0:
                    readers[t] = readers.get(t, 0) | 1 << i
        self._readers = readers
        self._kept = set(graph.outputs)
        self._needs = [
            sum({1 << self._writer[t] for t in op.inputs if t in self._writer and self._writer[t] != i})
            for i, op in enumerate(graph.ops)
        ]
        self._live: dict[int, int] = {}

    def live(self, done: int) -> int:
        """Return bytes in use between ops, when those of done have run."""
        if done not in self._live:
            total = 0
            for t, size in self._size.items():
                written = t not in self._writer or done >> self._writer[t] & 1
                needed = t in self._kept or self._readers.get(t, 0) & ~done
                total += size if written and needed else 0
            self._live[done] = total
        return self._live[done]

    def running(self, done: int, i: int) -> int:
        """Return bytes in use while op i runs after those of done."""
        made = set(self._ops[i].outputs)
        return self.live(done) + sum(self._size.get(t, 0) for t in made)

    def ready(self, done: int) -> list[int]:
        """Return the ops that can run after those of done."""
        return [i for i, needs in enumerate(self._needs) if not done >> i & 1 and needs & done == needs]

    def way(self, came: dict[int, int]) -> tuple[Op, ...]:
        """Return the ops in the order that led to all being done."""
        done = (1 << len(self._ops)) - 1
        found: list[Op] = []
        while done:
            i = came[done]
            found.append(self._ops[i])
            done &= ~(1 << i)
        return tuple(reversed(found))
