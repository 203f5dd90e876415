"""Which ops of a model a compiler put on its accelerator, recovered from what it left outside.

A compiled model holds one opaque custom op for each part that the accelerator runs, and the ops that stayed on the CPU
as they were: so do the models of edgetpu_compiler and of Vela. What is inside is therefore the source's ops without
those that are found outside.

Ops are found again by what they make: the compiler keeps the names of tensors. Where names are missing or repeat, an op
is found by its kind, its shapes and its place in the order; such matches are listed: they may be wrong among equals.
What is outside and has no match was put there by the compiler. What is inside is checked a second way: it must be what
the custom ops' outputs need of the source, down to the custom ops' inputs. Ops that neither way accounts for were
removed by the compiler (folded, or without use).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgecompile.tflite.graph import Graph, Op


@dataclass(frozen=True)
class Recovered:
    """What became of the ops of a source model.

    Attributes:
        inside: source indices of the ops on the accelerator.
        outside: source index → index in the compiled model of the ops on the CPU.
        by_shape: source indices of those in outside that were found without a name.
        inserted: compiled indices of ops that the source does not have.
        removed: source indices of ops that are nowhere.
        disputed: source indices where the two ways to find what is inside differ; empty where they agree.
    """

    inside: frozenset[int]
    outside: dict[int, int]
    by_shape: frozenset[int]
    inserted: tuple[int, ...]
    removed: frozenset[int]
    disputed: frozenset[int]


def recover(source: Graph, compiled: Graph, *, custom_op: str) -> Recovered:
    """Return what became of the ops of source in compiled, where ops named custom_op hold what the accelerator runs."""
    left = [op for op in compiled.ops if op.name != custom_op]
    outside, by_shape = _match(source, compiled, left)
    rest = {op.index for op in source.ops} - set(outside)
    needed = _needed(source, compiled, custom_op)
    matched = set(outside.values())
    return Recovered(
        inside=frozenset(rest & needed) if needed else frozenset(rest),
        outside=outside,
        by_shape=frozenset(by_shape),
        inserted=tuple(op.index for op in left if op.index not in matched),
        removed=frozenset(rest - needed) if needed else frozenset(),
        disputed=frozenset(needed & set(outside)),
    )


def _match(source: Graph, compiled: Graph, left: Iterable[Op]) -> tuple[dict[int, int], set[int]]:
    """Return source index → compiled index, and which of these were found by shape alone."""
    by_name: dict[tuple[object, ...], list[int]] = {}
    by_form: dict[tuple[object, ...], list[int]] = {}
    for op in source.ops:
        by_name.setdefault((_kind(op), _names(source, op)), []).append(op.index)
        by_form.setdefault((_kind(op), _form(source, op)), []).append(op.index)
    found: dict[int, int] = {}
    unnamed: list[Op] = []
    for op in left:
        same = by_name.get((_kind(op), _names(compiled, op)), [])
        if len(same) == 1 and all(_names(compiled, op)):
            found[same[0]] = op.index
        else:
            unnamed.append(op)
    by_shape = set()
    for op in unnamed:
        free = [i for i in by_form.get((_kind(op), _form(compiled, op)), []) if i not in found]
        if free:
            # Both files are in the order of execution, and what stays behind is what comes late.
            found[free[-1]] = op.index
            by_shape.add(free[-1])
    return found, by_shape


def _kind(op: Op) -> tuple[str, bool]:
    return op.name, op.custom


def _names(graph: Graph, op: Op) -> tuple[str, ...]:
    return tuple(graph.tensors[i].name for i in op.outputs)


def _form(graph: Graph, op: Op) -> tuple[object, ...]:
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    return tuple((t.dtype, t.shape, t.constant) for t in tensors)


def _needed(source: Graph, compiled: Graph, custom_op: str) -> set[int]:
    """Return the source ops that the custom ops' outputs need; empty where tensors cannot be told apart by name."""
    names = [t.name for t in source.tensors if t.name]
    if len(set(names)) < len(source.tensors):
        return set()
    index = {t.name: t.index for t in source.tensors}
    needed: set[int] = set()
    for custom in (op for op in compiled.ops if op.name == custom_op):
        ends = [index.get(compiled.tensors[i].name) for i in custom.outputs]
        if None in ends:
            return set()
        stop = {index[compiled.tensors[i].name] for i in custom.inputs if compiled.tensors[i].name in index}
        waiting = [i for i in ends if i is not None]
        while waiting:
            tensor = waiting.pop()
            producer = source.producers.get(tensor)
            if tensor in stop or producer is None or producer.index in needed:
                continue
            needed.add(producer.index)
            waiting += [i for i in producer.inputs if i >= 0]
    return needed
