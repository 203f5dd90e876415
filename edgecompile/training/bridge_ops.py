"""One operation of a Keras 3 graph (`x + y`, `x[:, 0]`, `keras.ops.mean(x)`) → functions of TensorFlow.

tf_keras makes a layer of its own (`TFOpLambda`) of each TensorFlow function that is called in a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from edgecompile.errors import Problem
from edgecompile.training.bridge_layers import CannotCrossError

Function = Callable[..., Any]

_PLAIN = {
    "Absolute": "abs",
    "Abs": "abs",
    "Add": "add",
    "Ceil": "math.ceil",
    "Cos": "cos",
    "Divide": "divide",
    "Elu": "nn.elu",
    "Equal": "equal",
    "Erf": "math.erf",
    "Exp": "exp",
    "Floor": "floor",
    "FloorDivide": "math.floordiv",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "Log": "math.log",
    "Log1p": "math.log1p",
    "LogicalAnd": "logical_and",
    "LogicalNot": "logical_not",
    "LogicalOr": "logical_or",
    "Matmul": "matmul",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Mod": "math.floormod",
    "Multiply": "multiply",
    "Negative": "negative",
    "NotEqual": "not_equal",
    "Power": "pow",
    "Relu": "nn.relu",
    "Relu6": "nn.relu6",
    "Round": "round",
    "Rsqrt": "math.rsqrt",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Silu": "nn.silu",
    "Sin": "sin",
    "Softplus": "math.softplus",
    "Softsign": "nn.softsign",
    "Sqrt": "sqrt",
    "Square": "square",
    "Subtract": "subtract",
    "Tanh": "tanh",
    "TrueDivide": "divide",
    "Where": "where",
}
"""Without options, and the same function in TensorFlow."""

_REDUCTIONS = {
    "All": "reduce_all",
    "Any": "reduce_any",
    "Max": "reduce_max",
    "Mean": "reduce_mean",
    "Min": "reduce_min",
    "Prod": "reduce_prod",
    "Std": "math.reduce_std",
    "Sum": "reduce_sum",
    "Var": "math.reduce_variance",
}
"""With `axis` and `keepdims`."""

_MERGES = frozenset({"Add", "Maximum", "Minimum", "Multiply", "Subtract"})
"""Which are layers too: quantization-aware training knows the layer and not the function."""


def crossed_op(tf_keras: Any, tf: Any, operation: Mapping[str, Any]) -> Function:
    """Return a function that calls the operation on tf_keras tensors.

    Raises:
        CannotCrossError: an operation, or options of one, that this table does not have.
    """
    class_name = operation["class_name"]
    options = {key: value for key, value in operation["config"].items() if key != "name"}
    name = operation["config"]["name"]
    if class_name in _PLAIN:
        plain = _beside_floats(tf, _symbol(tf, _PLAIN[class_name]))
        return _merge(tf_keras, class_name, name, plain) if class_name in _MERGES else plain
    if class_name in _REDUCTIONS and options.get("initial") is None:
        reduce, axis, keepdims = _symbol(tf, _REDUCTIONS[class_name]), options["axis"], options["keepdims"]
        return lambda x: reduce(x, axis=axis, keepdims=keepdims)
    make = _with_options(tf).get(class_name)
    if make is None:
        raise CannotCrossError([Problem(f"the operation `{class_name}` has no counterpart here", f"layer {name}")])
    return lambda *args, **kwargs: make(*args, **{**options, **kwargs})


def _symbol(tf: Any, path: str) -> Function:
    found = tf
    for part in path.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]  # TensorFlow has no types


def _beside_floats(tf: Any, plain: Function) -> Function:
    """Return the function of operands of which whole numbers are floats where another one is a tensor of floats.

    Keras 3 has it so; TensorFlow asks the other operands of `1 - x` to be integers, as the first one.
    """

    def call(*args: Any) -> Any:
        floats = any(tf.as_dtype(x.dtype).is_floating for x in args if hasattr(x, "dtype"))
        return plain(*(float(x) if floats and type(x) is int else x for x in args))

    return call


def _merge(tf_keras: Any, class_name: str, name: str, plain: Function) -> Function:
    """Return the merging layer where both operands are tensors of one rank, else the function."""

    def call(a: Any, b: Any) -> Any:
        tensors = all(hasattr(x, "shape") and tf_keras.backend.is_keras_tensor(x) for x in (a, b))
        # Ranks that differ: the layer lines axes up from the left, the operation from the right.
        if tensors and a.shape.rank == b.shape.rank and a.dtype == b.dtype:
            return getattr(tf_keras.layers, class_name)(name=name)([a, b])
        return plain(a, b)

    return call


def _with_options(tf: Any) -> dict[str, Function]:
    """Return operation → function of the call's arguments and the operation's options."""

    def pad(x: Any, *, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
        return tf.pad(x, pad_width, mode=mode, constant_values=constant_values or 0)

    def split(x: Any, *, indices_or_sections: Any, axis: int) -> Any:
        if isinstance(indices_or_sections, int):
            return tf.split(x, indices_or_sections, axis=axis)
        edges = [0, *indices_or_sections, x.shape[axis]]
        return tf.split(x, [b - a for a, b in pairwise(edges)], axis=axis)

    return {
        "Argmax": lambda x, *, axis, keepdims: _kept(tf, tf.argmax(x, axis=axis, output_type=tf.int32), axis, keepdims),
        "Cast": lambda x, *, dtype: tf.cast(x, dtype),
        "Clip": lambda x, *, x_min, x_max: tf.clip_by_value(x, x_min, x_max),
        "Concatenate": lambda xs, *, axis: tf.concat(xs, axis=axis),
        "Einsum": lambda *xs, subscripts: tf.einsum(subscripts, *xs),
        "ExpandDims": lambda x, *, axis: tf.expand_dims(x, axis=axis),
        "Flip": lambda x, *, axis: tf.reverse(x, [axis]),
        "Gelu": lambda x, *, approximate: tf.nn.gelu(x, approximate=approximate),
        "GetItem": lambda x, key: x[tuple(key) if isinstance(key, list) else key],
        "HardSigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
        "HardSilu": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
        "LeakyRelu": lambda x, *, negative_slope: tf.nn.leaky_relu(x, alpha=negative_slope),
        "LogSoftmax": lambda x, *, axis: tf.nn.log_softmax(x, axis=axis),
        "Pad": pad,
        "Repeat": lambda x, *, repeats, axis: tf.repeat(x, repeats, axis=axis),
        "Reshape": lambda x, *, newshape: tf.reshape(x, [-1 if d is None else d for d in newshape]),
        "Softmax": lambda x, *, axis: tf.nn.softmax(x, axis=axis),
        "Split": split,
        "Squeeze": lambda x, *, axis: tf.squeeze(x, axis=axis),
        "Stack": lambda xs, *, axis: tf.stack(xs, axis=axis),
        "Swapaxes": lambda x, *, axis1, axis2: _swapped(tf, x, axis1, axis2),
        "Take": lambda x, indices, *, axis: tf.gather(x, indices, axis=axis),
        "Tile": lambda x, *, repeats: tf.tile(x, repeats),
        "Transpose": lambda x, *, axes: tf.transpose(x, axes),
    }


def _swapped(tf: Any, x: Any, a: int, b: int) -> Any:
    order = list(range(x.shape.rank))
    order[a], order[b] = order[b], order[a]
    return tf.transpose(x, order)


def _kept(tf: Any, x: Any, axis: int, keepdims: bool) -> Any:  # noqa: FBT001 (Keras' own option)
    return tf.expand_dims(x, axis) if keepdims else x
