"""Give a converted flatbuffer the model's own names for inputs and outputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgecompile.tflite.edit import read_model, write_model
from edgecompile.training.export import placeholder
from edgecompile.training.rounded import MARK


def with_names(content: bytes, *, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return the flatbuffer with the placeholders of `to_tflite` replaced, in its signature and its tensors, in order.

    Names of fused ops lose the part that `rounded` brought in. A tensor that serves twice (an input that is also an
    output, two outputs that are one) keeps its first name.

    Args:
        content: what `to_tflite` gave.
        inputs: names in the model's order.
        outputs: names in the model's order.
    """
    model = read_model(content)
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        tensor.name = re.sub(f";[^;]*{MARK}(scale|offset|product)", "", _text(tensor.name))
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    names = {placeholder("input", i): name for i, name in enumerate(inputs)}
    names |= {placeholder("output", i): name for i, name in enumerate(outputs)}
    taken = Counter(_text(tensor.name) for tensor in graph.tensors)
    done: set[int] = set()
    # The converter may list outputs in another order; placeholders sort like the model's own.
    signature.inputs.sort(key=lambda entry: _text(entry.name))
    signature.outputs.sort(key=lambda entry: _text(entry.name))
    graph.inputs = [entry.tensorIndex for entry in signature.inputs]
    graph.outputs = [entry.tensorIndex for entry in signature.outputs]
    for entry in (*signature.inputs, *signature.outputs):
        entry.name = names[_text(entry.name)]
        if entry.tensorIndex not in done and not taken[entry.name]:
            graph.tensors[entry.tensorIndex].name = entry.name
            taken[entry.name] += 1
        done.add(entry.tensorIndex)
    return write_model(model)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
