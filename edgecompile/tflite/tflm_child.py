"""TFLite Micro in a process of its own: `python -m edgecompile.tflite.tflm_child JOB.json`.

Its C++ code prints to stderr, holds Python's lock while it computes, and takes its process down when an arena is far
too small. Here it may: stderr goes to a file, several such processes share the rows, and a crash is one line to the
parent. Answers go to stdout, one JSON line each behind a mark.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.tflite.edit import Model, read_model, write_model
from edgecompile.tflite.values import Array

MARK = "@edgecompile-tflm "
"""Before each answer: libraries print to stdout too."""

ROOMY_BYTES = 1 << 28
"""An arena in which every model for a microcontroller fits; memory that is never touched costs nothing."""

CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL_ONCE"})
"""Ops that run other subgraphs, and so cannot be tried alone."""

_STEP = 16  # bytes: TFLite Micro aligns the arena and everything planned in it to this (MicroArenaBufferAlignment)
_ROWS_BETWEEN_NOTES = 16
_RECORDED = re.compile(
    r"'(?P<what>[^']+)' used (?P<used>\d+) bytes .*requested (?P<requested>\d+) bytes for (?P<count>\d+)"
)
_TOTALS = re.compile(r"Arena allocation (?P<part>total|head|tail) (?P<bytes>\d+) bytes")


class Chatter:
    """Everything that C++ code prints to stderr, kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        sink = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(sink, 2)
        os.close(sink)

    def new(self) -> str:
        """Return what was printed since this was last asked."""
        sys.stderr.flush()
        content = self._file.read_bytes()
        fresh, self._read = content[self._read :], len(content)
        return fresh.decode("utf-8", "replace")


def main(argv: Sequence[str]) -> None:
    """Do what the job file argv[0] asks for."""
    job = json.loads(Path(argv[0]).read_text("utf-8"))
    chatter = Chatter(Path(job["chatter"]))
    jobs: Mapping[str, Callable[[Mapping[str, Any], Chatter], None]] = {"run": run, "probe": probe, "arena": arena}
    jobs[job["do"]](job, chatter)


def answer(**values: Any) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{MARK}{json.dumps(values)}\n")
    sys.stdout.flush()


def interpreter(content: bytes, arena_bytes: int = ROOMY_BYTES) -> Any:
    """Return TFLite Micro's interpreter of a model, its memory allocated; RuntimeError where it refuses."""
    from tflite_micro import runtime

    try:
        return runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    except AttributeError as error:  # its Python part counts variables, and trusts every op to have its options
        raise RuntimeError(f"an op lacks its options: {error}") from None


def run(job: Mapping[str, Any], chatter: Chatter) -> None:
    """Run a part of the rows; inputs and outputs are files of the folder."""
    folder, part = Path(job["folder"]), slice(job["start"], job["stop"])
    inputs = [np.load(folder / f"input_{i}.npy", mmap_mode="r")[part] for i in range(len(job["batched"]))]
    outputs: list[list[Array]] = [[] for _ in range(job["outputs"])]
    size = job["rows_per_run"]
    try:
        model = interpreter(Path(job["model"]).read_bytes())
        for start in range(0, len(inputs[0]), size):
            if job["reset_each_row"] and start:
                model.reset()
            _feed(model, inputs, start, size, job["batched"])
            model.invoke()
            for i, found in enumerate(outputs):
                found.append(np.array(model.get_output(i)))
            if start // size % _ROWS_BETWEEN_NOTES == 0:
                answer(done=min(start + size, len(inputs[0])))
    except RuntimeError as error:
        answer(refused=f"{chatter.new()}\n{error}")
        return
    for i, found in enumerate(outputs):
        whole = np.concatenate(found)[: len(inputs[0])] if job["joined"][i] else np.stack(found)
        np.save(folder / f"output_{i}_{job['start']}.npy", whole)
    answer(done=len(inputs[0]), finished=True)


def _feed(model: Any, inputs: Sequence[Array], start: int, size: int, batched: Sequence[bool]) -> None:
    """Set the inputs of one run; a part of a batch is filled with its last row."""
    for i, x in enumerate(inputs):
        rows = x[start : start + size]
        if missing := size - len(rows):
            rows = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
        model.set_input(np.asarray(rows if batched[i] else rows[0], order="C"), i)  # keeps rank 0


def recorded(model: Any, chatter: Chatter) -> dict[str, Any]:
    """Return what the recording allocator counted: head and tail in bytes, and each kind of structure."""
    chatter.new()
    model.print_allocations()
    said = chatter.new()
    kinds = [{k: v if k == "what" else int(v) for k, v in m.groupdict().items()} for m in _RECORDED.finditer(said)]
    return {"kinds": kinds, **{m["part"]: int(m["bytes"]) for m in _TOTALS.finditer(said)}}


def probe(job: Mapping[str, Any], chatter: Chatter) -> None:
    """Prepare each op of the model alone, from number `first` on: an answer before each and one after.

    An op of uint8 is run, too: most kernels, which no longer take it, say so only then.
    """
    model = read_model(Path(job["model"]))
    places = [(s, i) for s, subgraph in enumerate(model.subgraphs) for i in range(len(subgraph.operators or []))]
    for number, (subgraph, index) in enumerate(places):
        if number < job["first"]:
            continue
        answer(number=number, subgraph=subgraph, op=index)
        try:
            alone = interpreter(op_alone(model, subgraph, index))
        except RuntimeError as error:
            answer(number=number, refused=f"{chatter.new()}\n{error}")
        else:
            answer(number=number, recorded=recorded(alone, chatter))
            if _is_uint8(model, subgraph, index) and (said := _refusal_to_run(alone, chatter)):
                answer(number=number, refused=said)
    answer(finished=True)


def _is_uint8(model: Model, subgraph: int, index: int) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    part = model.subgraphs[subgraph]
    op = part.operators[index]
    ends = (part.tensors[int(i)] for i in (*op.inputs, *op.outputs) if i >= 0)
    return any(tensor.type == schema.TensorType.UINT8 for tensor in ends)


def _refusal_to_run(alone: Any, chatter: Chatter) -> str:
    """Return what a prepared op says when it is run on the memory as it is; empty: it runs."""
    try:
        alone.invoke()
    except RuntimeError:
        return f"{chatter.new()}\nit fails on uint8 tensors"
    return ""


def op_alone(model: Model, subgraph: int, index: int) -> bytes:
    """Return a model of one op of model, with its constants; what it reads and writes are the model's ends."""
    from ai_edge_litert import schema_py_generated as schema

    source = model.subgraphs[subgraph]
    op = source.operators[index]
    groups = [op.inputs, op.outputs, op.intermediates]
    used = list(dict.fromkeys(int(i) for group in groups if group is not None for i in group if i >= 0))
    place = {old: new for new, old in enumerate(used)} | {-1: -1}
    buffers, tensors = [schema.BufferT()], []
    for old in used:
        tensor = schema.TensorT()
        vars(tensor).update(vars(source.tensors[old]))
        content = model.buffers[tensor.buffer]
        tensor.buffer = 0
        if content.data is not None and len(content.data):
            tensor.buffer = len(buffers)
            buffers.append(content)
        tensors.append(tensor)
    alone = schema.OperatorT()
    vars(alone).update(vars(op))
    alone.opcodeIndex = 0
    alone.inputs, alone.outputs = [place[int(i)] for i in op.inputs], [place[int(i)] for i in op.outputs]
    if op.intermediates is not None:
        alone.intermediates = [place[int(i)] for i in op.intermediates]
    given = dict.fromkeys(i for i in alone.inputs if i >= 0 and not tensors[i].buffer and not tensors[i].isVariable)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [alone]
    graph.inputs, graph.outputs = list(given), alone.outputs
    made = schema.ModelT()
    made.version, made.operatorCodes = 3, [model.operatorCodes[op.opcodeIndex]]
    made.subgraphs, made.buffers = [graph], buffers
    return write_model(made)


def arena(job: Mapping[str, Any], chatter: Chatter) -> None:
    """Find the smallest arena in which the model runs and answers as in a roomy one, by running it.

    What is tried is told first: an arena may be so small that the process dies of it.
    """
    content, ends = Path(job["model"]).read_bytes(), (job["inputs"], job["outputs"])
    try:
        wanted, counted = _answer_in(content, ROOMY_BYTES, ends, chatter)
    except RuntimeError as error:
        answer(refused=f"{chatter.new()}\n{error}")
        return

    def works(size: int) -> bool:
        answer(trying=size)
        try:
            found, _ = _answer_in(content, size, ends, chatter)
        except RuntimeError:
            return False
        ok = all(np.array_equal(x, y) for x, y in zip(wanted, found, strict=True))
        if ok:
            answer(works=size)
        return ok

    # Below head and tail nothing can work; above, building the plan may need more than running does.
    low = max(job["too_small"], -(-counted["total"] // _STEP) * _STEP - _STEP)
    high, stride = job["works"], job["stride"]
    while not high:
        if works(low + stride):
            high = low + stride
        else:
            low, stride = low + stride, 2 * stride
    while high - low > _STEP:
        middle = (low + high) // 2 // _STEP * _STEP
        low, high = (low, middle) if works(middle) else (middle, high)
    answer(arena=high, recorded=counted, finished=True)


def _answer_in(
    content: bytes, size: int, ends: tuple[int, int], chatter: Chatter
) -> tuple[list[Array], dict[str, Any]]:
    """Return outputs for one fixed input, and what was allocated, in an arena of size bytes."""
    model = interpreter(content, size)
    rng = np.random.default_rng(0)
    for number in range(ends[0]):
        details = model.get_input_details(number)
        shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
        codes = dtype.kind == "f" or len(details["quantization_parameters"]["scales"])
        # Integers that mean themselves may be rows of a table: 0 and 1 are in any table.
        x = rng.uniform(-100, 100, shape) if codes else rng.integers(0, 2, shape)
        model.set_input(np.clip(x, *_bounds(dtype)).astype(dtype), number)
    model.invoke()
    return [np.array(model.get_output(i)) for i in range(ends[1])], recorded(model, chatter)


def _bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    return (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-100.0, 100.0)


if __name__ == "__main__":
    main(sys.argv[1:])
