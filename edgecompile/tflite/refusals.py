"""What to do about a model that LiteRT's kernels refuse, by the op that they name and the reason that they give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecompile.tflite.graph import Graph, Op

_NO_KERNELS = "no kernel set of LiteRT takes this model: it is damaged, or made for another interpreter (TFLite Micro?)"

_TRIED = "a model is tried on zeros and on ones before it is built"


def remedy(graph: Graph, name: str, index: int, message: str) -> tuple[str, str]:
    """Return why an op refuses, in words for those who build models, and what to do; both empty where it is not known.

    Args:
        graph: what the file holds.
        name: of the op that LiteRT names.
        index: its number.
        message: LiteRT's words.
    """
    ops = [op for op in graph.every_op() if op.name == name]
    named = [op for op in graph.ops if op.index == index and op.name == name]
    for words, explain in _KNOWN.items():
        if words in message and (named or ops):
            return explain(graph, (named or ops)[0])
    return "", ""


def unknown_remedy(name: str) -> str:
    """Return what to do where all kernels refuse an op, or, without its name, the whole model."""
    if not name:
        return _NO_KERNELS
    return f"no kernel set of LiteRT takes this {name}: change the layer that it comes from, or convert the model again"


def _power_of_two(graph: Graph, op: Op) -> tuple[str, str]:
    """Return the lengths of a RFFT2D that are no powers of two (LiteRT's kernels/rfft2d.cc takes no others)."""
    lengths = graph.tensors[op.inputs[1]].data if len(op.inputs) > 1 else None
    odd = [int(n) for n in (() if lengths is None else np.ravel(lengths)) if n < 1 or int(n) & (int(n) - 1)]
    if not odd:
        return "it takes FFT lengths that are powers of two", "set `fft_length` of the layer to one"
    wanted = ", ".join(str(1 << max(n - 1, 0).bit_length()) for n in odd)
    given = ", ".join(map(str, odd))
    why = f"{op.name} takes powers of two, and the FFT length is {given}"
    return why, f"build the layer with `fft_length` {wanted}: frames are filled with zeros, and may keep their length"


def _divides(graph: Graph, op: Op) -> tuple[str, str]:
    del graph
    return f"{op.name} divides by 0", f"let the divisor be at least 1, with a maximum in front of it; {_TRIED}"


def _outside(graph: Graph, op: Op) -> tuple[str, str]:
    shape = graph.tensors[op.inputs[0]].shape
    size = f" of {shape[0]}" if shape else ""
    why = f"{op.name} looks for an entry that its table{size} does not have"
    return why, f"keep the index in the range of the table, with a minimum and a maximum in front of it; {_TRIED}"


_KNOWN: dict[str, Callable[[Graph, Op], tuple[str, str]]] = {
    "IsPowerOfTwo": _power_of_two,
    "Division by 0": _divides,
    "index out of bounds": _outside,
}
"""Words in LiteRT's message → what they mean."""
