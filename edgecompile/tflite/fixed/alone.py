"""One op of a model on LiteRT, for itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecompile.tflite.edit import Model, write_model
from edgecompile.tflite.graph import Op
from edgecompile.tflite.interpreter import Kernels, allocated
from edgecompile.tflite.unused import drop_unused
from edgecompile.tflite.values import Array


class Alone:
    """An op as a model of its own, whose inputs may change their shape from run to run."""

    def __init__(self, model: Model, number: int, op: Op, kernels: Kernels) -> None:
        """Take op of subgraph number of model, which stays as it is; it runs on kernels."""
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
        self._model, self._kernels = write_model(single), kernels
        self._taken = tuple(int(i) for i in subgraph.inputs)
        self._interpreter: Any = None

    def reset(self) -> None:
        """Forget state."""
        if self._interpreter is not None:
            self._interpreter.reset_all_variables()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for what the op reads, `reads`, in that order.

        Raises:
            ValueError, RuntimeError: LiteRT does not take the op, or the run fails.
        """
        self._resize([x.shape for x in inputs])
        for index, x in zip(self._taken, inputs, strict=True):
            if x.size:  # nothing to copy, and LiteRT calls it an invalid size
                self._interpreter.set_tensor(index, x)
        self._interpreter.invoke()
        # By now: shapes that the values of inputs decide are not known before.
        details = self._interpreter.get_output_details()
        return [self._output(d) for d in details]

    def _resize(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Let inputs have these shapes; the file's own, where it left sizes open, need not fit each other."""
        if self._interpreter is None:
            self._interpreter = allocated(
                self._model, self._kernels, shapes=dict(zip(self._taken, shapes, strict=True))
            )
            return
        details = self._interpreter.get_input_details()
        changed = [(d["index"], s) for d, s in zip(details, shapes, strict=True) if tuple(d["shape"]) != s]
        for index, shape in changed:
            self._interpreter.resize_tensor_input(index, shape)
        if changed:
            self._interpreter.allocate_tensors()

    def _output(self, detail: Mapping[str, Any]) -> Array:
        shape = tuple(int(n) for n in detail["shape"])
        if 0 in shape:  # which LiteRT calls an invalid size: what a loop has collected before its first step
            return np.empty(shape, detail["dtype"])
        found: Array = self._interpreter.get_tensor(detail["index"])
        return found


def _content(model: Model, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
