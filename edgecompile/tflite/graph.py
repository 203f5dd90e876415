"""Graph: a TFLite flatbuffer as frozen values.

The file is read with the schema that the LiteRT wheel ships. Reading does not run the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from edgecompile.tflite.flat import DamageError, Flat, damage_reported, item, load
from edgecompile.tflite.tables import (
    OpCode,
    read_indices,
    read_metadata,
    read_op,
    read_op_code,
    read_signatures,
    read_tensor,
)
from edgecompile.tflite.values import Array, Op, Quantization, Signature, Tensor

__all__ = ["Graph", "Op", "Quantization", "Signature", "Tensor", "read_graph", "unique_names"]


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a model; `bodies` are the others."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    subgraphs: int
    """How many subgraphs the file has (control flow adds some)."""
    description: str
    metadata: Mapping[str, Array]
    """Name → content of the metadata buffers, [bytes]."""
    name: str = ""
    bodies: tuple[Graph, ...] = field(default=(), repr=False)
    """Subgraphs 1, 2 …: what loops and branches run, and further signatures. Empty in a body."""

    def input_names(self) -> tuple[str, ...]:
        """Return the names users give data by: of the first signature, else of the tensors; graph order, unique."""
        return self._names(self.inputs, self.signatures[0].inputs if self.signatures else {}, "input")

    def output_names(self) -> tuple[str, ...]:
        """Return names of outputs, in graph order, unique."""
        return self._names(self.outputs, self.signatures[0].outputs if self.signatures else {}, "output")

    def _names(self, indices: tuple[int, ...], signature: Mapping[str, int], role: str) -> tuple[str, ...]:
        given: dict[int, list[str]] = {}
        for name, i in signature.items():
            given.setdefault(i, []).append(name)
        # One tensor may be two outputs: each takes the next of its names.
        names = [given[i].pop(0) if given.get(i) else self.tensors[i].name for i in indices]
        return unique_names([name or f"{role}_{at}" for at, name in enumerate(names)])

    def every_op(self) -> Iterator[Op]:
        """Yield the ops of this subgraph, then those of the bodies."""
        yield from self.ops
        for body in self.bodies:
            yield from body.ops

    @cached_property
    def producers(self) -> dict[int, Op]:
        """Tensor index → the op that writes it."""
        return {i: op for op in self.ops for i in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[Op, ...]]:
        """Tensor index → the ops that read it."""
        found: dict[int, list[Op]] = {}
        for op in self.ops:
            for i in dict.fromkeys(i for i in op.inputs if i >= 0):
                found.setdefault(i, []).append(op)
        return {i: tuple(ops) for i, ops in found.items()}


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with `_1`, `_2` … behind those that came before; no name that was unique changes."""
    taken = set(names)
    copies: dict[str, int] = {}
    made = []
    for name in names:
        new = name
        if name in copies:
            while new in taken:
                copies[name] += 1
                new = f"{name}_{copies[name]}"
            taken.add(new)
        else:
            copies[name] = 0
        made.append(new)
    return tuple(made)


def read_graph(path: Path) -> Graph:
    """Return the graph of the file at path.

    Raises:
        ModelError: not a TFLite flatbuffer, or damaged.
    """
    content = load(path)
    with damage_reported(path):
        flat = Flat(content)
        codes = [read_op_code(flat, item(c, what="an operator code")) for c in flat.each(flat.root, "OperatorCodes")]
        tables = [item(s, what="a subgraph") for s in flat.each(flat.root, "Subgraphs")]
        if not tables:
            raise DamageError("it holds no graph")
        tensors = [_tensors(flat, table) for table in tables]
        signatures = read_signatures(flat, [len(t) for t in tensors])
        description, metadata = flat.text(flat.root.Description()), read_metadata(flat)
        graphs = [
            Graph(
                tensors=tensors[number],
                ops=_ops(flat, table, codes, len(tensors[number])),
                inputs=read_indices(flat, table, "Inputs", len(tensors[number])),
                outputs=read_indices(flat, table, "Outputs", len(tensors[number])),
                signatures=signatures.get(number, ()),
                subgraphs=len(tables),
                description=description,
                metadata=metadata,
                name=flat.text(table.Name()),
            )
            for number, table in enumerate(tables)
        ]
        for graph in graphs:
            _ensure_nothing_writes_constants(graph)
    return replace(graphs[0], bodies=tuple(graphs[1:]))


def _ensure_nothing_writes_constants(graph: Graph) -> None:
    """Raise where an input or an op's output is a constant: LiteRT would write into the file's memory and crash."""
    for i in (*graph.inputs, *(i for op in graph.ops for i in op.outputs)):
        if graph.tensors[i].constant:
            raise DamageError(f"tensor {i} `{graph.tensors[i].name[:80]}` is written, and is a constant")


def _tensors(flat: Flat, subgraph: Any) -> tuple[Tensor, ...]:
    tables = enumerate(flat.each(subgraph, "Tensors"))
    return tuple(read_tensor(flat, i, item(table, what=f"tensor {i}")) for i, table in tables)


def _ops(flat: Flat, subgraph: Any, codes: Sequence[OpCode], tensors: int) -> tuple[Op, ...]:
    tables = enumerate(flat.each(subgraph, "Operators"))
    return tuple(read_op(flat, i, item(table, what=f"operator {i}"), codes, tensors) for i, table in tables)
