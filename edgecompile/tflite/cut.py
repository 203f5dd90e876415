"""Cut a run of ops out of a `.tflite` file, as a model of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgecompile.tflite.edit import Model, read_model, write_model


def cut_ops(source: Path | bytes, first: int, last: int) -> bytes:
    """Return ops first to last (both included) of the main subgraph of source as a model of its own.

    Its inputs are what these ops read and do not make themselves, its outputs what they make and others read or the
    model gives. Tensors keep their names, shapes and content. Signatures and metadata are left out.

    Raises:
        ModelError: source cannot be read.
        ValueError: there are no such ops.
    """
    model = read_model(source)
    main = model.subgraphs[0]
    every = list(main.operators)
    if not 0 <= first <= last < len(every):
        raise ValueError(f"ops {first} to {last} of {len(every)}")
    kept = every[first : last + 1]
    made = _unique(i for op in kept for i in op.outputs)
    read = _unique(i for op in kept for i in op.inputs)
    elsewhere = {int(i) for op in (*every[:first], *every[last + 1 :]) for i in _present(op.inputs)}
    wanted = elsewhere | {int(i) for i in main.outputs}
    inside = set(read)
    main.operators = kept
    main.inputs = [i for i in read if i not in made and not _stored(model, main.tensors[i])]
    main.outputs = [i for i in made if i in wanted or i not in inside]
    model.signatureDefs = None
    model.metadata = None
    model.metadataBuffer = None
    if len(model.subgraphs) == 1:  # bodies of loops refer to tensors of their own and to all codes and buffers
        _drop_unused(model)
    return write_model(model)


def _present(indices: Any) -> list[int]:
    return [int(i) for i in (indices if indices is not None else []) if i >= 0]


def _unique(indices: Iterable[Any]) -> list[int]:
    return list(dict.fromkeys(int(i) for i in indices if i >= 0))


def _stored(model: Model, tensor: Any) -> bool:
    """Return whether tensor needs no producer: the file holds it, or an op keeps it for itself."""
    data = model.buffers[tensor.buffer].data
    return bool(tensor.isVariable) or (data is not None and len(data) > 0)


def _drop_unused(model: Model) -> None:
    main = model.subgraphs[0]
    lists = [main.inputs, main.outputs, *(list_ for op in main.operators for list_ in (op.inputs, op.outputs))]
    lists += [op.intermediates for op in main.operators]
    tensors = sorted({i for list_ in lists for i in _present(list_)})
    place = {old: new for new, old in enumerate(tensors)} | {-1: -1}
    main.tensors = [main.tensors[i] for i in tensors]
    main.inputs = [place[int(i)] for i in main.inputs]
    main.outputs = [place[int(i)] for i in main.outputs]
    codes = sorted({op.opcodeIndex for op in main.operators})
    for op in main.operators:
        op.inputs = [place[int(i)] for i in op.inputs]
        op.outputs = [place[int(i)] for i in op.outputs]
        if op.intermediates is not None:
            op.intermediates = [place[int(i)] for i in op.intermediates]
        op.opcodeIndex = codes.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in codes]
    buffers = sorted({0, *(tensor.buffer for tensor in main.tensors)})  # buffer 0 is empty by convention
    for tensor in main.tensors:
        tensor.buffer = buffers.index(tensor.buffer)
    model.buffers = [model.buffers[i] for i in buffers]
