"""Reciprocal square roots of constants, computed here: TensorFlow's own depend on the processor.

The converter folds a BatchNormalization into the kernel before it with TensorFlow's Rsqrt, which refines the
processor's own approximation (`rsqrtps`, another on every maker's processors). In numpy, a square root and a division
are rounded as IEEE 754 says, everywhere. Of TensorFlow's functions of one number, this is the only one of those that
layers apply to constants which was seen to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MARK = "/folded_"
"""In names of nodes made here: the converter names what it fuses after all of its parts, `naming` leaves these out.
"""
_FOLDED: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Identity": lambda x: x,
    "ReadVariableOp": lambda x: x,
    "Reshape": lambda x, shape: x.reshape(shape),
    "Rsqrt": lambda x: np.asarray(1 / np.sqrt(x.astype(np.float64)), x.dtype),
}
"""Ops between a variance and its root, as layers write them."""


def with_exact_roots(tf: Any, graph: Any) -> None:
    """Replace, in a graph without functions, what takes the root of constants by constants.

    Rsqrt of a constant becomes a constant; a fused BatchNormalization becomes a product and a sum, as the converter
    would make of it.

    Args:
        tf: TensorFlow.
        graph: a `GraphDef`, changed in place.
    """
    nodes = {node.name: node for node in graph.node}
    used = {name for node in graph.node for name in node.input}
    for node in list(graph.node):
        if node.op == "Rsqrt":
            if (value := _value(tf, nodes, node.name)) is not None:
                _be_constant(tf, node, value)
        elif node.op.startswith("FusedBatchNorm") and not node.attr["is_training"].b:
            known = [_value(tf, nodes, name) for name in node.input[1:5]]
            if all(value is not None for value in known) and not any(f"{node.name}:{i}" in used for i in range(1, 6)):
                _write_out(tf, graph, node, known)


def _value(tf: Any, nodes: Mapping[str, Any], name: str) -> Array | None:
    """Return what an output of a node is, where that is made of constants alone."""
    node = nodes.get(name.removesuffix(":0"))
    if node is None:
        return None
    if node.op == "Const":
        return np.asarray(tf.make_ndarray(node.attr["value"].tensor))
    if node.op not in _FOLDED:
        return None
    read = [_value(tf, nodes, one) for one in node.input if not one.startswith("^")]
    return None if any(value is None for value in read) else _FOLDED[node.op](*read)


def _write_out(tf: Any, graph: Any, node: Any, known: list[Any]) -> None:
    """Make x * scale + offset of a fused BatchNormalization, [channels] each; the sum has the name of node."""
    gamma, beta, mean, variance = (value.astype(np.float64) for value in known)
    scale = gamma / np.sqrt(variance + node.attr["epsilon"].f)
    source, name = node.input[0], node.name
    dtype, layout = node.attr["T"], node.attr["data_format"].s
    values = {"scale": scale, "offset": beta - mean * scale}
    for what, value in values.items():
        shaped = value.reshape(-1, *[1] * (len(layout) - 2)) if layout.startswith(b"NC") else value
        _be_constant(tf, graph.node.add(name=name + MARK + what), shaped.astype(known[0].dtype))
    product = graph.node.add(name=f"{name}{MARK}product", op="Mul", input=[source, f"{name}{MARK}scale"])
    product.attr["T"].CopyFrom(dtype)
    sum_ = type(node)(name=name, op="AddV2", input=[product.name, f"{name}{MARK}offset"])
    sum_.attr["T"].CopyFrom(dtype)
    node.CopyFrom(sum_)


def _be_constant(tf: Any, node: Any, value: Array) -> None:
    constant = type(node)(name=node.name, op="Const")
    constant.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    node.CopyFrom(constant)
