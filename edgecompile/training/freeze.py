"""Turn the variables of a traced function into constants before it is saved.

Saving, loading twice (the converter does) and freezing variables takes TensorFlow 3 of the 4 s that it spends on the
export of MobileNetV1-0.25; a graph of constants has none of that. The `.tflite` is the same.
"""

from __future__ import annotations

from typing import Any

from edgecompile.training.rounded import with_exact_roots

MAX_CONSTANT_BYTES = 1 << 30
"""A graph is one protocol buffer, which ends at 2 GiB; half of it leaves room for everything else."""


def frozen(tf: Any, function: Any) -> Any:
    """Return a concrete function like function with its variables as constants; function itself where that is hard.

    Hard: graphs that call functions (loops of RNNs, whose fused kernels the converter finds by the function), that use
    variables for anything but reading them whole, or that are too large.

    Args:
        tf: TensorFlow.
        function: a concrete function with a dictionary of outputs.
    """
    owners, captured = _owners(function), function.captured_inputs
    own, held = function.inputs[: -len(captured) or None], function.inputs[len(function.inputs) - len(captured) :]
    if not only_variables(function):
        return function
    values = {tensor.op.name: owners[id(handle)] for tensor, handle in zip(held, captured, strict=True)}
    if sum(variable.shape.num_elements() * variable.dtype.size for variable in values.values()) > MAX_CONSTANT_BYTES:
        return function
    graph = _with_constants(tf, function.graph.as_graph_def(), values)
    if graph is None:
        return function
    with_exact_roots(tf, graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    element = wrapped.graph.as_graph_element
    # Outputs of a dictionary are listed in the order of its sorted keys.
    keys = sorted(function.structured_outputs)
    outputs = {key: element(tensor.name) for key, tensor in zip(keys, function.outputs, strict=True)}
    return wrapped.prune([element(tensor.name) for tensor in own], outputs)


def only_variables(function: Any) -> bool:
    """Whether a concrete function reads nothing but variables from outside: no tables, no other resources."""
    owners = _owners(function)
    return all(id(handle) in owners for handle in function.captured_inputs)


def _owners(function: Any) -> dict[int, Any]:
    return {id(variable.handle): variable for variable in function.variables}


def _with_constants(tf: Any, graph: Any, values: dict[str, Any]) -> Any:
    """Return the graph with reads of variables as constants; None when a variable is used in another way."""
    if graph.library.function:
        return None
    changed = tf.compat.v1.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in values:
            continue
        uses = [name for name in node.input if name.split(":")[0].removeprefix("^") in values]
        if not uses:
            changed.node.append(node)
        elif node.op == "ReadVariableOp":
            constant = changed.node.add(name=node.name, op="Const")
            constant.attr["dtype"].CopyFrom(node.attr["dtype"])
            constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[uses[0]].numpy()))
        else:
            return None
    return changed
