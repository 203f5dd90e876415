"""What to do about an op that Vela leaves to the CPU: by the reason that it gives, and by the op."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal

from edgecompile.backends.ethosu.said import Refusal

Kind = Literal["type", "float", "wide", "unquantized", "open", "constraint", "unexplained"]

_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("type", re.compile(r"Unsupported opType")),
    ("float", re.compile(r"unsupported DataType (?:Float|BFloat|Complex)", re.IGNORECASE)),
    ("open", re.compile(r"[Dd]ynamic (?:non-batch )?dimension|constant shape")),
    ("unquantized", re.compile(r"missing quantization|quantization scale", re.IGNORECASE)),
    ("wide", re.compile(r"dataType U?Int(?:32|64)\b|(?:32|64)-bit feature-maps")),
)
"""Kind of reason → how Vela 5.2.0 words it, asked in this order; anything else is a constraint of the op."""

_BY_KIND: Mapping[Kind, str] = {
    "float": 'quantize the whole model: quantize.scheme = "int8"',
    "open": "give the size with `--shape`",
    "unquantized": "convert and quantize the model again, so that every tensor has a scale",
    "wide": "compute this part in int8, or outside of the model",
    "unexplained": "Vela says nothing of it; it reads or makes what another op on the CPU makes or reads",
}

_OTHERWISE: Mapping[str, str] = {
    "BATCH_TO_SPACE_ND": "give the convolution its dilation as an attribute, so that it stays one op",
    "CAST": "give the model the dtype that it computes in",
    "CONV_3D": "take 2-D convolutions, frame by frame",
    "DEPTH_TO_SPACE": "take a transposed convolution with that stride, or resize and convolve",
    "DIV": "multiply by the inverse where the divisor is constant",
    "EMBEDDING_LOOKUP": "look up outside of the model, and give it the vectors",
    "GATHER": "look up outside of the model, and give it the vectors",
    "L2_NORMALIZATION": "normalize outside of the model",
    "LOG_SOFTMAX": "end the model with softmax: the order of classes is the same",
    "SPACE_TO_BATCH_ND": "give the convolution its dilation as an attribute, so that it stays one op",
    "SPACE_TO_DEPTH": "take a convolution with that stride",
    "SVDF": "take a depthwise convolution over time, then a pointwise one",
    "TFLite_Detection_PostProcess": "leave it: it is little work; or end the model before it",
    "WHILE": "make a recurrent layer one op: an LSTM with batch 1 from tf_keras, not a loop",
}
"""Op type → what does the same on the NPU."""

_CONSTRAINED: Mapping[str, str] = {
    "ARG_MAX": "take it over the last axis, of 127 channels at most, or outside of the model",
    "AVERAGE_POOL_2D": "pool in several steps with smaller windows",
    "CONV_2D": "take strides up to 3",
    "DEPTHWISE_CONV_2D": "take strides up to 3",
    "MAX_POOL_2D": "pool in several steps with smaller windows",
    "MEAN": "average height and width, then channels, in two layers",
    "RESIZE_BILINEAR": "resize by 2, 4 or 8, in several layers for more",
    "RESIZE_NEAREST_NEIGHBOR": "resize by 2, 4 or 8, in several layers for more",
    "SOFTMAX": "take it over fewer positions than 65,536",
    "STRIDED_SLICE": "slice with constant bounds and positive steps",
    "TRANSPOSE": "keep channels last from the start, so that nothing is transposed",
    "TRANSPOSE_CONV": "take strides of 1 or 2 and padding `same`",
}
"""Op type → what keeps to Vela's constraints on it; SUPPORTED_OPS.md of Vela 5.2.0."""

ANOTHER_LAYER = "take another layer in its place, or leave it to the CPU if it is little work"


def kind_of(refusal: Refusal | None) -> Kind:
    """Return what kind of reason Vela gives."""
    if refusal is None:
        return "unexplained"
    said = f"{refusal.reason} {refusal.rule}"
    return next((kind for kind, form in _KINDS if form.search(said)), "constraint")


def remedy_for(op: str, refusal: Refusal | None, *, on_u85: Collection[str]) -> str:
    """Return what to do about an op that stays on the CPU.

    Args:
        op: its kind.
        refusal: why it does.
        on_u85: kinds that an Ethos-U85 takes, where the target has another NPU.
    """
    kind = kind_of(refusal)
    if op in {"QUANTIZE", "DEQUANTIZE"} and kind in ("type", "float"):
        return "keep inputs and outputs int8: build without `--float-io`"
    if kind == "type":
        other = "; an Ethos-U85 has this op, within limits" if op in on_u85 else ""
        return _OTHERWISE.get(op, ANOTHER_LAYER) + other
    if kind == "constraint":
        return _CONSTRAINED.get(op, "keep to the constraint, or take another layer in its place")
    return _BY_KIND[kind]


def listed_for_u85(report: str) -> frozenset[str]:
    """Return the TFLite op types that an Ethos-U85 takes, from the text of Vela's `--supported-ops-report`."""
    _, _, after = report.partition("\n## Ethos-U85 TFLite Summary Table\n")
    return frozenset(re.findall(r"^\| ([A-Z0-9_]+) \| ", after.partition("\n## ")[0], re.MULTILINE))
