"""UNIDIRECTIONAL_SEQUENCE_LSTM in fixed arithmetic.

Source of the equations: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of F. A.
Gers et al. (2000); the order of inputs is that of LiteRT's kernel (unidirectional_sequence_lstm.cc).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecompile.tflite.fixed.conv import dense, on_own_grid
from edgecompile.tflite.fixed.functions import logistic, tanh
from edgecompile.tflite.fixed.grid import Array, Floats
from edgecompile.tflite.fixed.ops import Options
from edgecompile.tflite.values import Op

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"

_WEIGHTS, _RECURRENT, _BIASES = slice(1, 5), slice(5, 9), slice(12, 16)
"""Inputs of the gates input, forget, cell and output."""
OUTPUT_STATE, CELL_STATE = 18, 19
"""Inputs that hold what the op hands from step to step."""
_EXTRAS = (*range(9, 12), 16, 17, *range(20, 24))
"""Inputs of peepholes, of a projection and of layer normalization."""


@dataclass(frozen=True)
class Run:
    """What an LSTM gave.

    Attributes:
        output: laid out as the input, with the size of the state as last axis.
        cells: the cell state behind every step, [steps, batch, size].
        hidden: the output behind every step, likewise.
    """

    output: Floats
    cells: Floats
    hidden: Floats


def plain(op: Op) -> bool:
    """Return whether op is an LSTM as Keras makes it: no peepholes, projection, normalization or coupled gates."""
    given = [i < len(op.inputs) and op.inputs[i] >= 0 for i in range(24)]
    activation = getattr(op.options.get("fused_activation_function"), "name", "")
    needed = all(given[part] for i in (_WEIGHTS, _RECURRENT, _BIASES) for part in range(i.start, i.stop))
    return op.name == LSTM and needed and not any(given[i] for i in _EXTRAS) and activation == "TANH"


def lstm(options: Options, inputs: Sequence[Array | None]) -> Run:
    """Return what an LSTM gives that starts from a state of 0; `plain` says which are known.

    Args:
        options: of the op.
        inputs: of the op; the first is [batch, steps, width], or [steps, batch, width] where the options say so.
    """
    given = [np.zeros(0, np.float32) if x is None else x for x in inputs]
    x = given[0] if options.get("time_major") else given[0].swapaxes(0, 1)
    steps, batch, width = x.shape
    weights, recurrent, biases = (np.concatenate(given[part]) for part in (_WEIGHTS, _RECURRENT, _BIASES))
    size = len(biases) // 4
    across = on_own_grid(weights, terms=width, outputs=0)
    along = on_own_grid(recurrent, terms=size, outputs=0)
    drive = dense(x.reshape(-1, width), across, biases.astype(np.float64)).reshape(steps, batch, 4 * size)
    cell, hidden = np.zeros((batch, size), np.float32), np.zeros((batch, size), np.float32)
    cells, hiddens = [], []
    limit = options.get("cell_clip") or np.inf
    for step in drive:
        enter, forget, new, leave = np.split(step + dense(hidden, along, np.zeros(4 * size)), 4, axis=1)
        cell = (logistic(forget) * cell + logistic(enter) * tanh(new)).clip(-limit, limit).astype(np.float32)
        hidden = (logistic(leave) * tanh(cell)).astype(np.float32)
        cells.append(cell)
        hiddens.append(hidden)
    made = np.stack(hiddens)
    return Run(made if options.get("time_major") else made.swapaxes(0, 1), np.stack(cells), made)
