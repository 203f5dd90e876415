"""One op of a model on LiteRT, for itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from edgecompile.tflite.edit import Model, write_model
from edgecompile.tflite.graph import Op
from edgecompile.tflite.interpreter import Kernels, allocated
from edgecompile.tflite.unused import drop_unused
from edgecompile.tflite.values import Array


class Alone:
    """An op as a model of its own, whose inputs may change their shape from run to run."""

    def __init__(self, model: Model, number: int, op: Op, kernels: Kernels) -> None:
        """Load op of subgraph number of model, which stays as it is, on kernels.

        Raises:
            ValueError, RuntimeError: LiteRT does not take it.
        """
        single = copy.copy(model)
        subgraph = copy.copy(model.subgraphs[number])
        single.signatureDefs = single.metadata = single.metadataBuffer = None
        single.subgraphs = [subgraph]
        subgraph.tensors = [copy.copy(tensor) for tensor in subgraph.tensors]
        subgraph.operators = [copy.copy(subgraph.operators[op.index])]
        stored = {i for i, t in enumerate(subgraph.tensors) if t.isVariable or _content(model, t)}
        self.reads = tuple(i for i in dict.fromkeys(op.inputs) if i >= 0 and i not in stored)
        subgraph.inputs, subgraph.outputs = list(self.reads), list(op.outputs)
        drop_unused(single)
        self._interpreter: Any = allocated(write_model(single), kernels)
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def reset(self) -> None:
        """Forget state."""
        self._interpreter.reset_all_variables()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for what the op reads, `reads`, in that order.

        Raises:
            ValueError, RuntimeError: the run fails.
        """
        details = self._interpreter.get_input_details()
        changed = [
            (i, x) for i, d, x in zip(self._inputs, details, inputs, strict=True) if tuple(d["shape"]) != x.shape
        ]
        for index, x in changed:
            self._interpreter.resize_tensor_input(index, x.shape)
        if changed:
            self._interpreter.allocate_tensors()
        for index, x in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, x)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(i) for i in self._outputs]


def _content(model: Model, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
