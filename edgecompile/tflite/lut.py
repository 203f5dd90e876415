"""Weights with few values per channel, stored as indices into tables: the compressor of the tflite-micro wheel.

TFLite Micro unpacks such a tensor with a DECODE op in front of its reader, into the arena: flash is saved, and while
the op runs the arena holds the weights. Tables are per channel; one table for a whole tensor has given wrong outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import missing_extra
from edgecompile.tflite.edit import read_model, text, write_model
from edgecompile.tflite.graph import Graph, Tensor
from edgecompile.tflite.rewrite import fill_op_codes
from edgecompile.tflite.tflm import ensure_installed

_READERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
DECODE = "TFLM_DECODE"
"""Custom op that unpacks."""
_MOST_BITS = 7
_OVERHEAD = 160
"""Bytes that a DECODE op, its two tensors and its header take in the file."""


@dataclass(frozen=True)
class Table:
    """How one tensor can be stored.

    Attributes:
        tensor: its number in the main subgraph.
        axis: of its channels.
        bits: of an index.
        saved: bytes less in the file, all counted.
    """

    tensor: int
    axis: int
    bits: int
    saved: int


def tables(graph: Graph) -> tuple[Table, ...]:
    """Return the weights of graph that take fewer bytes as tables and indices."""
    read = {op.inputs[1] for op in graph.ops if op.name in _READERS and len(op.inputs) > 1 and op.inputs[1] >= 0}
    found = [_table(graph.tensors[i]) for i in sorted(read)]
    return tuple(t for t in found if t is not None and t.saved > 0)


def _table(tensor: Tensor) -> Table | None:
    how = tensor.quantization
    if tensor.dtype != "int8" or tensor.data is None or how is None or not how.per_channel:
        return None
    if how.axis not in (0, len(tensor.shape) - 1):
        return None
    most = max(len(np.unique(channel)) for channel in np.moveaxis(tensor.data, how.axis, 0))
    bits = max(1, int(most - 1).bit_length())
    if bits > _MOST_BITS:
        return None
    packed = -(-tensor.data.size * bits // 8) + most * tensor.shape[how.axis]
    return Table(tensor.index, how.axis, bits, tensor.data.size - packed - _OVERHEAD)


def compress(model: Path, chosen: tuple[Table, ...]) -> bytes:
    """Return the file of model with the weights of chosen stored as tables and indices.

    Raises:
        ToolError: the compressor, or what it needs, is not installed.
    """
    ensure_installed()
    try:
        from tflite_micro import compression
    except ImportError:
        raise missing_extra("micro", needed_for="storing weights as look-up tables") from None
    builder: Any = compression.SpecBuilder()
    for table in chosen:
        per_channel = compression.spec.PerChannel(axis=table.axis)
        builder.add_tensor(subgraph=0, tensor=table.tensor).with_lut(index_bitwidth=table.bits, mode=per_channel)
    given = read_model(model)
    fill_op_codes(given)  # the compressor takes ops for equal whose newer field is
    made = read_model(bytes(compression.compress(write_model(given), builder.build())))
    main = made.subgraphs[0]
    for op in main.operators:
        if text(made.operatorCodes[op.opcodeIndex].customCode) == DECODE:
            for i in op.inputs:  # indices and tables are no numbers of the model: scales of channels mean nothing there
                main.tensors[i].quantization = None
    return write_model(made)
