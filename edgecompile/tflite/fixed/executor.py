"""Executor: runs a float model op by op, in fixed arithmetic where an op computes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgecompile.tflite.edit import read_model
from edgecompile.tflite.fixed import integers, layers, recurrent
from edgecompile.tflite.fixed.alone import Alone
from edgecompile.tflite.fixed.conv import Kernel
from edgecompile.tflite.fixed.moves import MOVES
from edgecompile.tflite.fixed.ops import FUNCTIONS
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.interpreter import Kernels, refusal
from edgecompile.tflite.values import Array

_CONTROL = frozenset({"IF", "WHILE"})
_HANDLES = frozenset({"resource", "string", "variant"})
"""Dtypes that one op alone cannot be given."""


def runs(graph: Graph) -> bool:
    """Return whether the executor can run graph: nothing in it refers to variables, texts or tables."""
    parts = (graph, *graph.bodies)
    return not any(t.dtype in _HANDLES for part in parts for t in part.tensors) and not any(
        op.name == "CALL_ONCE" for op in graph.every_op()
    )


def unfixed(graph: Graph) -> tuple[str, ...]:
    """Return the names of ops whose kernels' last bits depend on the processor, sorted; all that compute, of some."""
    found = set()
    whole = not runs(graph)
    for part in (graph, *graph.bodies):
        for op in part.ops:
            computes = any(part.tensors[i].dtype == "float32" for i in op.outputs) and op.name not in MOVES | _CONTROL
            if computes and (whole or not _fixed(part, op)):
                found.add(op.name)
    return tuple(sorted(found))


def _fixed(graph: Graph, op: Op) -> bool:
    """Return whether op has a form here: its name is known, and it is of float32."""
    if not (op.name in FUNCTIONS or op.name in layers.KERNEL or recurrent.plain(op)) or op.custom:
        return False
    read = [graph.tensors[i].dtype for i in op.inputs if i >= 0]
    return graph.tensors[op.outputs[0]].dtype == "float32" and "float32" in read and not _WIDE.intersection(read)


_WIDE = frozenset({"float16", "float64", "int8", "uint8", "int16"})


class Executor:
    """One model, ready to run; serves one thread. Every run starts from a state of 0."""

    def __init__(self, model: Path, graph: Graph, *, others: Kernels = "builtin") -> None:
        """Take a model.

        Args:
            model: the file.
            graph: what was read from it; one that `runs`.
            others: kernels of ops that have no form here.
        """
        self._others: Kernels = others
        self._path, self._parts = model, (graph, *graph.bodies)
        self._model = read_model(model)
        self._kernels: dict[tuple[int, int], Kernel] = {}
        self.forget()

    def twin(self) -> Executor:
        """Return an executor of the same model for another thread; what was made of constants is shared."""
        other = copy.copy(self)
        other.forget()
        return other

    def forget(self) -> None:
        """Hold no interpreter and no state."""
        self._alone: dict[tuple[int, int], Alone] = {}
        self.states: dict[int, recurrent.Run] = {}
        """Op of the main graph → what was inside an LSTM at the last run."""

    def run(self, inputs: Sequence[Array]) -> Mapping[int, Array]:
        """Return tensor index → value of all that the main graph's ops write, and of its inputs.

        Args:
            inputs: one for each input of the graph, in its dtype.

        Raises:
            ModelError: LiteRT refuses an op.
        """
        for alone in self._alone.values():
            alone.reset()
        self.states.clear()
        with np.errstate(all="ignore"):  # NaN and infinity are reported with the tensor that holds them
            return self._subgraph(0, inputs)

    def _subgraph(self, number: int, inputs: Sequence[Array]) -> dict[int, Array]:
        graph = self._parts[number]
        values = dict(zip(graph.inputs, inputs, strict=True))
        for op in graph.ops:
            read = [self._value(number, values, i) for i in op.inputs]
            values.update(zip(op.outputs, self._op(number, op, read), strict=True))
        return values

    def _value(self, number: int, values: Mapping[int, Array], index: int) -> Array | None:
        return None if index < 0 else values.get(index, self._parts[number].tensors[index].data)

    def _op(self, number: int, op: Op, read: Sequence[Array | None]) -> list[Array]:
        if op.name in _CONTROL:
            return self._control(op, [x for x in read if x is not None])
        tensors = self._parts[number].tensors
        if integers.known(op, tensors):
            return [integers.run_layer(op, tensors, read, self._kernel(number, op, read))]
        if not _fixed(self._parts[number], op):
            return self._on_litert(number, op, read)
        if op.name == recurrent.LSTM:
            state = recurrent.lstm(op.options, read)
            if number == 0:
                self.states[op.index] = state
            return [state.output]
        if op.name in layers.KERNEL:
            found = layers.run_layer(op.name, op.options, read, self._kernel(number, op, read))
        else:
            found = FUNCTIONS[op.name](op.options, *read)
        return [np.asarray(found, np.float32)]

    def _kernel(self, number: int, op: Op, read: Sequence[Array | None]) -> Kernel:
        at = layers.KERNEL[op.name]
        tensor = self._parts[number].tensors[op.inputs[at]]
        weights, key = read[at], (number, op.index)
        assert weights is not None, "the schema demands it"
        if tensor.quantization is not None:
            weights = integers.centred(weights, tensor)
        if not tensor.constant:
            return layers.kernel_of(op.name, weights)
        if key not in self._kernels:
            self._kernels[key] = layers.kernel_of(op.name, weights)
        return self._kernels[key]

    def _control(self, op: Op, read: Sequence[Array]) -> list[Array]:
        if op.name == "IF":
            branch = "then_subgraph_index" if bool(np.ravel(read[0])[0]) else "else_subgraph_index"
            return self._outputs(op.options[branch], read[1:])
        state = list(read)
        while bool(np.ravel(self._outputs(op.options["cond_subgraph_index"], state)[0])[0]):
            state = self._outputs(op.options["body_subgraph_index"], state)
        return state

    def _outputs(self, number: int, inputs: Sequence[Array]) -> list[Array]:
        values = self._subgraph(number, inputs)
        found = [self._value(number, values, i) for i in self._parts[number].outputs]
        return [x for x in found if x is not None]

    def _on_litert(self, number: int, op: Op, read: Sequence[Array | None]) -> list[Array]:
        key = (number, op.index)
        try:
            if key not in self._alone:
                self._alone[key] = Alone(self._model, number, op, self._others)
            alone = self._alone[key]
            given = dict(zip(op.inputs, read, strict=True))
            return alone.run([x for x in (given[i] for i in alone.reads) if x is not None])
        except (ValueError, RuntimeError) as error:
            raise refusal(self._path, self._others, str(error), others=()) from None


def state_ranges(model: Path, graph: Graph, runs_: Iterable[Sequence[Array]]) -> dict[int, tuple[float, ...]] | None:
    """Return LSTM op → smallest and largest cell state, smallest and largest output, over several runs.

    None where an op of graph keeps another state, or graph does not run here.

    Args:
        model: the file.
        graph: what was read from it.
        runs_: for each run what the inputs take.
    """
    stateful = [op for op in graph.ops if any(i >= 0 and graph.tensors[i].is_variable for i in op.inputs)]
    if not runs(graph) or not all(recurrent.plain(op) for op in stateful):
        return None
    executor, found = Executor(model, graph), dict[int, tuple[float, ...]]()
    for inputs in runs_:
        executor.run(inputs)
        for at, state in executor.states.items():
            ends = [float(f(x)) for x in (state.cells, state.hidden) for f in (np.min, np.max)]
            before = found.get(at, ends)
            found[at] = tuple(pick(a, b) for pick, a, b in zip((min, max, min, max), before, ends, strict=True))
    return found
