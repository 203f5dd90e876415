"""Cut a run of ops out of a `.tflite` file, as a model of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgecompile.tflite.edit import Model, read_model, write_model
from edgecompile.tflite.unused import drop_unused, present


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
    elsewhere = {int(i) for op in (*every[:first], *every[last + 1 :]) for i in present(op.inputs)}
    wanted = elsewhere | {int(i) for i in main.outputs}
    inside = set(read)
    main.operators = kept
    main.inputs = [i for i in read if i not in made and not _stored(model, main.tensors[i])]
    main.outputs = [i for i in made if i in wanted or i not in inside]
    model.signatureDefs = None
    model.metadata = None
    model.metadataBuffer = None
    model.associated = {}
    drop_unused(model)
    return write_model(model)


def _unique(indices: Iterable[Any]) -> list[int]:
    return list(dict.fromkeys(int(i) for i in indices if i >= 0))


def _stored(model: Model, tensor: Any) -> bool:
    """Return whether tensor needs no producer: the file holds it, or an op keeps it for itself."""
    data = model.buffers[tensor.buffer].data
    return bool(tensor.isVariable) or (data is not None and len(data) > 0)
