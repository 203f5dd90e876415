"""What a model keeps from one run to the next, and how rows are measured on it.

Rows of a model whose state is in variable tensors (LSTM, SVDF) are sequences of their own: the state is reset before
each. Rows of a model that assigns resource variables, or that has ops with a memory of their own, are a stream: each
continues where the row before it ended, and the state is fresh before the first alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecompile.tflite.graph import Graph

_KEEP_STATE = frozenset({
    "CIRCULAR_BUFFER",
    "SignalDelay",
    "SignalFilterBankSpectralSubtraction",
    "SignalFramer",
    "SignalOverlapAdd",
    "SignalStacker",
})  # fmt: skip
"""Custom ops with a memory of their own: those of tflite-micro with a reset function."""


@dataclass(frozen=True)
class State:
    """What a model keeps from one run to the next.

    Attributes:
        variables: names of variable tensors.
        resources: names of resource variables, each once.
        ops: names of ops with a memory of their own, each once.
    """

    variables: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.variables or self.resources or self.ops)

    @property
    def stream(self) -> bool:
        """Return whether rows are a stream: each continues where the row before it ended."""
        return bool(self.resources or self.ops)

    @property
    def reset_each_row(self) -> bool:
        """Return whether the state is reset before each row."""
        return bool(self.variables) and not self.stream


def state_of(graph: Graph) -> State:
    """Return the state of graph, with that of the subgraphs that it runs."""
    parts = (graph, *graph.bodies)
    ops = [op for part in parts for op in part.ops]
    handles = [str(op.options.get("shared_name") or "") for op in ops if op.name == "VAR_HANDLE"]
    return State(
        variables=tuple(t.name for part in parts for t in part.tensors if t.is_variable),
        resources=tuple(dict.fromkeys(handles)),
        ops=tuple(dict.fromkeys(op.name for op in ops if op.name in _KEEP_STATE)),
    )
