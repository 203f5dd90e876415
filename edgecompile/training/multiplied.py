"""Which dense kernels TensorFlow's converter multiplies by what stands beside them.

It takes a multiplication by one number per channel that a fully-connected op reads into the kernel of that op
(`FuseMulAndFullyConnected` of its optimizing passes), together with what is added between them where the op has a
bias. No scale of an output undoes that. Kernels of convolutions only take in what comes behind them. What is said here
was found by converting each case with TensorFlow 2.21; `ensure_clusters` looks at what was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgecompile.training.int8 import NOTHING, activation_name, function_name
from edgecompile.training.network import Call, Network, Ref

_SMALLEST_FUSED = 1.001e-5
"""Epsilon from which LayerNormalization is computed as a fused BatchNormalization and a multiplication by gamma;
below, gamma is multiplied with what depends on the row."""
_CONVOLUTIONS = frozenset({"Conv2D", "SeparableConv2D"})
"""Layers that take a factor behind them into their kernel before the next op can; others come second."""
_PRODUCTS = frozenset({"divide", "mul", "multiply", "truediv"})
_SUMS = frozenset({"add", "sub", "subtract"})
_NOT_REVERSED = frozenset({"divide", "sub", "subtract", "truediv"})
"""Functions that do something else with a constant as their first argument."""

Effect = frozenset[str]
"""What becomes of each channel: `factor`, `sum`, or neither, as where only the shape changes."""


def multiplied(network: Network, *, dense_per_channel: bool) -> dict[str, str]:
    """Return kernel → why the converter multiplies it by what no scale of its channels can undo.

    Args:
        network: the model.
        dense_per_channel: whether dense kernels have one scale per output; with one for all, factors of outputs count.
    """
    found = {}
    for call in network.calls:
        if not _is_dense(call):
            continue
        if name := _factor_before(network, call):
            found[f"{call.name}/kernel"] = f"the converter multiplies the factors of `{name}` before it into it"
        elif not dense_per_channel and (name := _behind(network, call, "factor")):
            found[f"{call.name}/kernel"] = (
                f"the converter multiplies the factors of `{name}` behind it into it, and it has one scale"
            )
    return found


def normalized_before(network: Network) -> dict[str, Call]:
    """Return dense layer → the BatchNormalization before it that its kernel takes in, where nothing else reads that.

    Layers that are called several times are left out: each call would need a kernel of its own.
    """
    count = Counter(call.name for call in network.calls)
    found: dict[str, Call] = {}
    for call in network.calls:
        readers = list(_read_by(network, call)) if call.kind == "BatchNormalization" and count[call.name] == 1 else []
        if readers and all(
            one is not None
            and one.kind == "Dense"
            and count[one.name] == 1
            and _is_keras(one)
            and _factor_before(network, one) == call.name
            for one in readers
        ):
            found |= {one.name: call for one in readers if one is not None}
    return found


def _read_by(network: Network, call: Call) -> Iterator[Call | None]:
    """Yield what reads what call gives, behind layers that do nothing; None where it is an output of the model."""
    if set(call.outputs) & set(network.outputs):
        yield None
    for reader in (one for tensor in call.outputs for one in network.readers.get(tensor, ())):
        yield from _read_by(network, reader) if _does_nothing(reader) else [reader]


def _is_dense(call: Call) -> bool:
    return type(_inner(call)).__name__ == "Dense" and _is_keras(call)


def _inner(call: Call) -> Any:
    return call.layer.layer if call.kind == "TimeDistributed" else call.layer


def _is_keras(call: Call) -> bool:
    return type(call.layer).__module__.startswith("tf_keras")


def _factor_before(network: Network, call: Call) -> str:
    """Return the layer whose factors a dense layer's kernel takes in; empty where there is none."""
    tensor, sums = call.inputs[0], False
    while (maker := network.makers.get(tensor)) is not None:
        effect = _normalized(network, maker) or _effect(network, maker)
        if effect is None:
            return ""
        sums = sums or "sum" in effect
        if "factor" in effect:
            taken = not _into_convolution(network, maker) and (not sums or _has_bias(network, call))
            return maker.name if taken else ""
        tensor = maker.inputs[0]
    return ""


def _has_bias(network: Network, call: Call) -> bool:
    return bool(_inner(call).use_bias or _behind(network, call, "sum"))


def _behind(network: Network, call: Call, wanted: str) -> str:
    """Return the layer of such an effect that the op of a dense layer takes in; empty where there is none."""
    if activation_name(_inner(call)) != "linear":
        return ""
    while (reader := _only_reader(network, call)) is not None:
        effect = _effect(network, reader)
        if effect is None:
            return ""
        if wanted in effect:
            return reader.name
        call = reader
    return ""


def _into_convolution(network: Network, call: Call) -> bool:
    """Whether a convolution before call takes its factors in."""
    maker = network.makers.get(call.inputs[0])
    while maker is not None and _only_reader(network, maker) is not None:
        if maker.kind in _CONVOLUTIONS:
            return activation_name(maker.layer) == "linear"
        if not _does_nothing(maker):
            return False
        maker = network.makers.get(maker.inputs[0])
    return False


def _only_reader(network: Network, call: Call) -> Call | None:
    readers = [reader for tensor in call.outputs for reader in network.readers.get(tensor, ())]
    return readers[0] if len(readers) == 1 and not set(call.outputs) & set(network.outputs) else None


def _normalized(network: Network, call: Call) -> Effect | None:
    """Return what a LayerNormalization does after it has normalized; None where it only normalizes."""
    layer = call.layer
    if call.kind != "LayerNormalization" or not _is_keras(call):
        return None
    fused = layer.epsilon >= _SMALLEST_FUSED and _along_last(network, call)
    return frozenset(["factor", *(["sum"] if layer.center else [])]) if fused and layer.scale else None


def _effect(network: Network, call: Call) -> Effect | None:
    """Return what a call does to each channel of the last axis; None where it does anything else."""
    layer = call.layer
    if not _is_keras(call) or len(call.inputs) != 1:
        return None
    if _does_nothing(call):
        return frozenset()
    if call.kind in ("Flatten", "Reshape"):
        return _reshaped(network, call)
    if call.kind == "BatchNormalization":
        return frozenset(["factor", "sum"]) if _along_last(network, call) else None
    if call.kind == "Rescaling":
        return _joined(_product(layer.scale), _sum(layer.offset))
    return _of_function(network, call) if call.kind == "TFOpLambda" else None


def _does_nothing(call: Call) -> bool:
    if call.kind == "Permute":
        return _in_order(call.layer.dims)
    return call.kind in NOTHING or (call.kind == "Activation" and activation_name(call.layer) == "linear")


def _in_order(axes: Any) -> bool:
    """Whether a permutation of axes leaves each where it is: the converter drops it."""
    return list(axes) == sorted(axes)


def _along_last(network: Network, call: Call) -> bool:
    axis = call.layer.axis
    last = len(network.shape(call.inputs[0])) - 1
    return list(axis if isinstance(axis, list | tuple) else [axis]) in ([last], [-1])


def _reshaped(network: Network, call: Call) -> Effect | None:
    before, after = network.shape(call.inputs[0]), network.shape(call.outputs[0])
    return frozenset() if before[-1] == after[-1] else None


def _of_function(network: Network, call: Call) -> Effect | None:
    name = function_name(call.layer)
    if name in ("reshape", "squeeze"):
        return _reshaped(network, call)
    if name == "transpose":
        return frozenset() if _in_order(call.kwargs.get("perm") or (1, 0)) else None
    given = [*call.args, *call.kwargs.values()]
    constants = [x for x in given if not isinstance(x, Ref | str | None)]
    if len(constants) != 1 or (name in _NOT_REVERSED and not isinstance(given[0], Ref)):
        return None
    if name in _PRODUCTS:
        return _product(constants[0])
    return _sum(constants[0]) if name in _SUMS else None


def _joined(*effects: Effect | None) -> Effect | None:
    known = [effect for effect in effects if effect is not None]
    return frozenset().union(*known) if len(known) == len(effects) else None


def _product(constant: Any) -> Effect | None:
    """Return the effect of a multiplication: one number for all channels is a matter of scales."""
    values = np.asarray(constant)
    return None if values.ndim > 1 else frozenset(["factor"] if values.size > 1 else [])


def _sum(constant: Any) -> Effect | None:
    values = np.asarray(constant)
    return None if values.ndim > 1 else frozenset(["sum"] if values.any() else [])
