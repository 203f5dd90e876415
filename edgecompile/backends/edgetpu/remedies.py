"""What to do about an op that the Edge TPU does not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecompile.backends.rules import Breach, Rule, identifier

_FIT = "the pass `edgetpu-fit` does it where that brings the op onto the Edge TPU"
"""Of what a rewrite exists for."""

_BY_RULE: Mapping[str, str] = {
    "edgetpu-readable": "the pass `edgetpu-fit` mends what has an older form; the rest is cut off and runs on the CPU",
    "edgetpu-inner-dimensions": "build with batch 1, and keep tensors to height, width and channels",
    "edgetpu-8-bit": "take the op out of the model and run it in the application",
    "edgetpu-float-input": "build without `--float-io`; where an op of the model makes the float, the CPU keeps both",
    "edgetpu-weights-constant": "store the second factor in the model, or multiply in the application",
    "edgetpu-parameter-constant": "fix all sizes with `--shape`, so that the converter stores this parameter",
    "edgetpu-no-fused-activation": f"put the activation in a layer of its own behind this one; {_FIT}",
    "edgetpu-same-dilation": "use the same dilation in height and width",
    "edgetpu-dense-version": f"flatten the layer's input to one row; {_FIT}",
    "edgetpu-dense-weights-format": "convert again without shuffled weights",
    "edgetpu-dense-vector": f"use a 1×1 convolution for a layer that gives several rows; {_FIT}",
    "edgetpu-dense-size": f"split the layer into several with a part of the outputs each; {_FIT}",
    "edgetpu-concatenation-constant": "pad with zeros, or join constants in the application",
    "edgetpu-batch-axis": "work along another axis, or in the application",
    "edgetpu-mean-depth": "average over a multiple of 4 channels, or with a 1×1 convolution",
    "edgetpu-mean-area": f"average in two steps: over height, then over width, or over parts; {_FIT}",
    "edgetpu-softmax-size": "give the logits and compute the softmax in the application",
    "edgetpu-prelu-alpha": "share the slopes: `shared_axes=[1, 2]`",
    "edgetpu-slice-depth-stride": "slice with stride 1 in the innermost dimension, or with a 1×1 convolution",
    "edgetpu-slice-masks": "reshape in place of a new axis",
    "edgetpu-tile-spreads": "let a broadcasting op repeat it: ADD or MUL take one row and one column, too",
    "edgetpu-transpose-size": "build the model channels-last, so that no transpose is needed; "
    f"of two that undo each other, and where only axes of 1 move, {_FIT}",
    "edgetpu-resize-size": f"resize in the application, or in several steps of 2; of a single pixel, {_FIT}",
    "edgetpu-follows": "build with int8 outputs",
    "edgetpu-old-plane": "raise `min_runtime_version` to 13",
    "edgetpu-old-squeeze": "raise `min_runtime_version` to 13, or reshape",
    "edgetpu-runtime": "raise `min_runtime_version`",
}

_BY_OP: Mapping[str, str] = {
    "ARG_MAX": "give the scores and take the largest in the application",
    "ARG_MIN": "give the scores and take the smallest in the application",
    "CAST": "keep the tensor in int8 throughout",
    "DIV": "multiply by the reciprocal, if the divisor is constant",
    "ELU": "use ReLU",
    "EXP": "compute it in the application, or use Logistic",
    "GATHER": f"slice, if the indices are constant and adjacent; {_FIT}",
    "GELU": "use ReLU or ReLU6",
    "HARD_SWISH": f"{_FIT}; or use ReLU6: MobileNetV3 has `minimalistic=True`",
    "LEAKY_RELU": f"{_FIT}; or use ReLU",
    "MIRROR_PAD": "pad with zeros",
    "PADV2": f"pad with zeros, which converts to PAD; {_FIT}",
    "SPACE_TO_BATCH_ND": "give the convolution a dilation in place of the ops around it",
    "SPLIT_V": f"split into equal parts, or slice; {_FIT}",
    "BATCH_TO_SPACE_ND": "give the convolution a dilation in place of the ops around it",
    "TFLite_Detection_PostProcess": "leave it to the CPU, as Coral's own detection models do",
    "UNPACK": f"use strided slices; {_FIT}",
}
_ELSE = "replace the op, or run it in the application"


def remedy_for(rule: Rule, breaches: Sequence[Breach]) -> str:
    """Return what to do about ops that break rule."""
    if identifier(rule) == "edgetpu-inner-dimensions" and any(b.op.name == "SPACE_TO_BATCH_ND" for b in breaches):
        return _BY_OP["SPACE_TO_BATCH_ND"]  # the batch is made inside the model, of a dilated convolution
    by_op = dict.fromkeys(f"{b.op.name}: {_BY_OP[b.op.name]}" for b in breaches if b.op.name in _BY_OP)
    general = _BY_RULE.get(identifier(rule), _ELSE)
    if identifier(rule) not in {"edgetpu-op", "edgetpu-8-bit"} or not by_op:
        return general
    only = len({b.op.name for b in breaches}) == 1
    return next(iter(by_op)).partition(": ")[2] if only else "; ".join(by_op)
