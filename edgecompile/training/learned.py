"""Carry the ranges that quantization-aware training learned into the flatbuffer.

Every tensor with a range becomes one more output while the model is converted: that is how it is found again, without
a guess from its name. It holds exactly what the device will hold, so that no fusion of the converter is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgecompile.tflite.edit import read_model, text, write_model
from edgecompile.tflite.unused import drop_unread, drop_unused
from edgecompile.training.export import placeholder, to_tflite
from edgecompile.training.int8 import function_name
from edgecompile.training.network import Call, Network, execute, read_network
from edgecompile.training.qat import marked
from edgecompile.training.source import Source


def with_ranges(source: Source, tf: Any, ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """Return the flatbuffer of source as `to_tflite` gives it, with learned ranges as min and max of its tensors.

    Tensors with a range are named after the layer that gives them.

    Args:
        source: a model of tf_keras.
        tf: TensorFlow.
        ranges: the notes of the model's file.

    Raises:
        PassError: the ranges belong to another model.
        ModelError: as `to_tflite`.
    """
    network = read_network(tf, source.model)
    bounds = marked(network, ranges)
    lifted = {key: index for key, index in zip(ranges, bounds, strict=True) if not _would_stay(network, index)}

    def forward(tensors: Sequence[Any]) -> Sequence[Any]:
        seen: dict[int, Any] = {}

        def note(index: int, tensor: Any) -> Any:
            seen[index] = tensor
            return tensor

        outputs = execute(tf, network, tensors, after=note)
        return [*outputs, *(seen[index] for index in lifted.values())]

    names = [*source.outputs, *(placeholder("range", n) for n in range(len(lifted)))]
    content = to_tflite(replace(source, forward=forward, outputs=tuple(names)), tf)
    return _lifted(content, len(source.outputs), [(key, ranges[key]) for key in lifted])


def _would_stay(network: Network, index: int) -> bool:
    """Whether a tensor of network, as an output of its own, would keep the converter from leaving an op out.

    It takes a Flatten and a padding into what follows, and a Reshape into a global average before it. Ranges of tensors
    that are not lifted are those of what is only moved on the way to them (`tflite.learned`).
    """
    call = network.makers.get(index)
    if call is None:
        return False
    if _averages(call):
        return [_reshapes(reader) for reader in network.readers.get(index, ())] == [True]
    if call.kind in _PADDINGS:
        return True
    return _reshapes(call) and not _averages(network.makers.get(call.inputs[0]))


_PADDINGS = frozenset({"ZeroPadding1D", "ZeroPadding2D"})


def _averages(call: Call | None) -> bool:
    return call is not None and call.kind == "GlobalAveragePooling2D"


def _reshapes(call: Call) -> bool:
    """Whether a call gives the values that it reads in another shape."""
    name = function_name(call.layer) if call.kind == "TFOpLambda" else ""
    return call.kind in ("Flatten", "Reshape") or name in ("reshape", "squeeze", "expand_dims")


def _lifted(content: bytes, outputs: int, ranges: Sequence[tuple[str, tuple[float, float]]]) -> bytes:
    """Return the flatbuffer without the outputs beyond the first ones, their ranges written on their tensors."""
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(content)
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    numbers = {placeholder("output", n): n for n in range(outputs + len(ranges))}
    kept, lifted = [], []
    for entry in signature.outputs:
        number = numbers[text(entry.name)]
        if number < outputs:
            kept.append(entry)
            continue
        key, (low, high) = ranges[number - outputs]
        tensor = graph.tensors[entry.tensorIndex]
        lifted.append(entry.tensorIndex)
        if not key.startswith("input:"):
            tensor.name = key.removesuffix(":0:0").encode()
        tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
        tensor.quantization.min = np.asarray([low], np.float32)
        tensor.quantization.max = np.asarray([high], np.float32)
    signature.outputs = kept
    graph.outputs = [entry.tensorIndex for entry in kept]
    # What the converter folded away was made all the same, for the outputs that are gone.
    drop_unread(model, lifted)
    drop_unused(model)
    return write_model(model)
