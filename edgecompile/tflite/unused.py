"""Leave out what no op of a `.tflite` refers to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from edgecompile.tflite.edit import Model, buffers_named


def present(indices: Any) -> list[int]:
    """Return a list of tensors of the object form as ints, without those that are not given (-1)."""
    return [int(i) for i in (indices if indices is not None else []) if i >= 0]


def drop_unread(model: Model, tensors: Iterable[int]) -> None:
    """Remove the ops of the main graph that compute tensors and nothing that is read, and what only they read.

    Other ops stay, read or not: they may do more than compute.
    """
    main = model.subgraphs[0]
    makers = {i: op for op in main.operators for i in present(op.outputs)}
    read = Counter([*present(main.outputs), *(i for op in main.operators for i in present(op.inputs))])
    waiting = [int(i) for i in tensors]
    dead: list[Any] = []
    while waiting:
        op = makers.get(waiting.pop())
        if op is None or any(op is other for other in dead) or any(read[i] for i in present(op.outputs)):
            continue
        dead.append(op)
        read.subtract(present(op.inputs))
        waiting += present(op.inputs)
    main.operators = [op for op in main.operators if not any(op is other for other in dead)]


def drop_dead_ops(model: Model) -> int:
    """Remove ops that compute what nobody reads, and what only they refer to; return how many there were.

    Models of several subgraphs stay as they are, as do ops without outputs: they write variables.
    """
    if len(model.subgraphs) > 1:
        return 0
    main = model.subgraphs[0]
    before = len(main.operators)
    drop_unread(model, [i for op in main.operators for i in present(op.outputs)])
    if len(main.operators) < before:
        drop_unused(model)
    return before - len(main.operators)


def drop_unused(model: Model) -> None:
    """Remove tensors, op codes and buffers that nothing of model refers to.

    Models of several subgraphs stay as they are: the bodies of loops refer to tensors of their own, and to all codes
    and buffers.
    """
    if len(model.subgraphs) > 1:
        return
    main = model.subgraphs[0]
    lists = [main.inputs, main.outputs, *(list_ for op in main.operators for list_ in (op.inputs, op.outputs))]
    lists += [op.intermediates for op in main.operators]
    named = [entry for signature in model.signatureDefs or [] for entry in (*signature.inputs, *signature.outputs)]
    tensors = sorted({i for list_ in lists for i in present(list_)} | {entry.tensorIndex for entry in named})
    place = {old: new for new, old in enumerate(tensors)} | {-1: -1}
    main.tensors = [main.tensors[i] for i in tensors]
    main.inputs = [place[int(i)] for i in main.inputs]
    main.outputs = [place[int(i)] for i in main.outputs]
    for entry in named:
        entry.tensorIndex = place[entry.tensorIndex]
    codes = sorted({op.opcodeIndex for op in main.operators})
    for op in main.operators:
        op.inputs = [place[int(i)] for i in op.inputs]
        op.outputs = [place[int(i)] for i in op.outputs]
        if op.intermediates is not None:
            op.intermediates = [place[int(i)] for i in op.intermediates]
        op.opcodeIndex = codes.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in codes]
    _drop_buffers(model)


def _drop_buffers(model: Model) -> None:
    used = sorted(buffers_named(model))
    place = {old: new for new, old in enumerate(used)}
    for item in (*model.subgraphs[0].tensors, *(model.metadata or [])):
        item.buffer = place[item.buffer]
    if model.metadataBuffer is not None:
        model.metadataBuffer = [place[int(i)] for i in model.metadataBuffer]
    model.buffers = [model.buffers[i] for i in used]
