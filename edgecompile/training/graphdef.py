"""Ops in a SavedModel that would touch files, talk to a network or run Python, found without TensorFlow.

`wire.py` reads the protocol buffer. Saving and restoring variables is normal in the part of the graph that only the
saver runs; it is not in anything that a signature or the loaded object can call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.errors import ModelError, Problem
from edgecompile.training.wire import DamagedError, Message, parse

MAX_BYTES = (1 << 31) - 1
"""Protocol buffers hold at most 2 GiB."""

_SAVER = re.compile(r"(Save|Restore)(V2|Slices?)?|MergeV2Checkpoints|ShardedFilename")
_REACHES_OUT = re.compile(
    r"PyFunc|EagerPy|File|Reader|Dataset|Summary|Debug|Print|Rpc|Sql|Checkpoint|Save|Restore|Snapshot"
    r"|ImmutableConst|LMDB|DecodeProto|EncodeProto|LoadAndRemap|VocabRemapping|RemoteCall|Collective|Heartbeat"
    r"|DumpTensor|ImportEvent|RecordInput|Skipgram|UnigramCandidate"
)
"""Parts of the names of ops in TensorFlow's registry (2.21, 1,910 of them) that read or write outside the graph or call
Python. `PrintV2` is one of them: it can write a file."""


def runs_or_reaches_out(op: str) -> bool:
    """Whether an op of this name touches files or a network, or runs Python."""
    return _REACHES_OUT.search(op) is not None


@dataclass(frozen=True)
class _Node:
    name: str
    op: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]
    """Functions that it may call."""


@dataclass(frozen=True)
class _Meta:
    """What matters of one MetaGraphDef."""

    nodes: Mapping[str, _Node]
    functions: Mapping[str, tuple[_Node, ...]]
    entries: tuple[str, ...]
    """Nodes of the main graph that signatures give."""
    methods: tuple[str, ...]
    """Functions that the loaded object can call, some of them while it is loaded."""


def code_in_saved_model(folder: Path) -> list[Problem]:
    """Return one problem for each node of the SavedModel that reads or writes files, or runs Python.

    Raises:
        ModelError: saved_model.pb is damaged or too large.
    """
    file = folder / "saved_model.pb"
    if file.stat().st_size > MAX_BYTES:
        raise ModelError("is larger than a protocol buffer can be, 2 GiB", where=str(file))
    try:
        metas = [_meta(meta) for meta in parse(file.read_bytes()).messages(2)]
    except DamagedError as error:
        raise ModelError(f"is damaged: {error}", where=str(file), hint="copy the whole folder again") from None
    if not any(meta.nodes for meta in metas):
        raise ModelError("holds no graph; it is cut off or empty", where=str(file), hint="copy the whole folder again")
    return [problem for meta in metas for problem in _problems(meta)]


def _problems(meta: _Meta) -> list[Problem]:
    callable_nodes = _reachable(meta)
    everything = {id(n): n for n in (*meta.nodes.values(), *(n for body in meta.functions.values() for n in body))}
    found: dict[Problem, None] = {}
    for key, node in everything.items():
        saver = _SAVER.fullmatch(node.op) is not None and key not in callable_nodes
        if runs_or_reaches_out(node.op) and not saver:
            found[_problem(node)] = None
    return list(found)


def _problem(node: _Node) -> Problem:
    return Problem(
        f"the op `{node.op}` touches files or runs code",
        f"node {node.name}",
        "save the model without it; or build with --allow-code, which runs the file's code on this machine",
    )


def _reachable(meta: _Meta) -> set[int]:
    """Return the ids of all nodes that a signature or a method of the loaded object can run."""
    seen: set[int] = set()
    functions = set(meta.methods)
    todo: list[_Node] = [n for name in meta.methods for n in meta.functions.get(name, ())]
    todo.extend(meta.nodes[name] for name in meta.entries if name in meta.nodes)
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        todo.extend(meta.nodes[name] for name in map(_node_of, node.inputs) if name in meta.nodes)
        for name in (*node.calls, node.op):
            if name in meta.functions and name not in functions:
                functions.add(name)
                todo.extend(meta.functions[name])
    return seen


def _node_of(reference: str) -> str:
    """Return the node behind `name`, `name:0` or `^name`."""
    return reference.removeprefix("^").split(":", 1)[0]


def _meta(message: Message) -> _Meta:
    """Read a MetaGraphDef: graph_def 2, signature_def 5, object_graph_def 7. Source: tensorflow's meta_graph.proto."""
    graphs = message.messages(2)
    nodes = [_node(node) for graph in graphs for node in graph.messages(1)]
    bodies: dict[str, tuple[_Node, ...]] = {}
    for function in (f for graph in graphs for library in graph.messages(2) for f in library.messages(1)):
        name = next((signature.text(1) for signature in function.messages(1)), "")
        bodies[name] = (*bodies.get(name, ()), *(_node(node) for node in function.messages(3)))
    infos = [info for s in _values(message.messages(5)) for which in (1, 2) for info in _values(s.messages(which))]
    # Two nodes of one name are no graph; whatever TensorFlow makes of them, both count here.
    by_name: dict[str, _Node] = {}
    for node in nodes:
        other = by_name.get(node.name)
        by_name[node.name] = node if other is None else _both(other, node)
    return _Meta(
        nodes=by_name,
        functions=bodies,
        entries=tuple(_node_of(name) for info in infos for name in _tensor_names(info)),
        methods=tuple(name for objects in message.messages(7) for name in _methods(objects)),
    )


def _both(a: _Node, b: _Node) -> _Node:
    return _Node(a.name, f"{a.op} {b.op}", (*a.inputs, *b.inputs), (*a.calls, *b.calls))


def _tensor_names(info: Message) -> Iterable[str]:
    """Names in a TensorInfo: name 1; coo_sparse 4 with three of them; composite_tensor 5 with components 2."""
    yield info.text(1)
    for sparse in info.messages(4):
        yield from (sparse.text(field) for field in (1, 2, 3))
    for composite in info.messages(5):
        for part in composite.messages(2):
            yield from _tensor_names(part)


def _methods(objects: Message) -> Iterable[str]:
    """Function names in a SavedObjectGraph: nodes 1, each maybe a function 6 or a bare_concrete_function 8."""
    for node in objects.messages(1):
        for function in node.messages(6):
            yield from function.texts(1)
        for bare in node.messages(8):
            yield bare.text(1)


def _node(message: Message) -> _Node:
    """Read a NodeDef: name 1, op 2, input 3, attr 5."""
    calls = tuple(name for value in _values(message.messages(5)) for name in _called(value))
    return _Node(message.text(1), message.text(2), tuple(message.texts(3)), calls)


def _called(attribute: Message) -> Iterable[str]:
    """Function names in an AttrValue: func 10, list 1 with func 9; each a NameAttrList (name 1, attr 2)."""
    lists = [function for values in attribute.messages(1) for function in values.messages(9)]
    for function in (*attribute.messages(10), *lists):
        yield function.text(1)
        for value in _values(function.messages(2)):
            yield from _called(value)


def _values(entries: Iterable[Message]) -> list[Message]:
    """Return the values of map entries (key 1, value 2)."""
    return [value for entry in entries for value in entry.messages(2)]
