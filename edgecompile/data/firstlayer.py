"""Compare the values that a model gets with what its first layer was made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.report import Finding
from edgecompile.tflite.graph import Graph, Op, Tensor

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_ROWS = 64
_PATCHES = 2000
"""Rows and patches that are looked at; a ratio of 100 needs no more."""

FITTING = (0.1, 1.2)
"""Where spread / bias of a first layer lies when its input is scaled as in training and a batch normalization is folded
into it. Measured on CIFAR-10 images: 0.22 to 1.12 on ten such models (ResNet8, MobileNet V1 and EdgeTPU, DeepLab,
PoseNet, BodyPix, person detection). Without batch normalization biases are small and the ratio was 6 or more at any
scale: nothing can be said, and nothing is."""

WRONG = (0.03, 16.0)
"""Below or above, the ratio is wrong. Measured: 28 to 98 on the same models when fed 0..255 instead of -1..1, 0.009 and
less on a model for 0..255 when fed -1..1 or 0..1."""

_SCALED_MOST = 10.0
"""Largest size of values that preprocessing brought to 0..1, -1..1 or mean 0 and deviation 1. Values as small cannot be
255 times too large, whatever the first layer says of them: without batch normalization a ratio above 16 is common.
Values that are larger cannot be 255 times too small."""

_CLIPPED = 0.05
"""Share of values outside the range of a quantized input that is suspicious; calibration clips less than 1%."""

_UNSCALED = "give the model 0..255: leave `scale` and `offset` out, or store 0..255"
_SCALED = (
    "if the model was trained on 0..1, set `scale = 0.00392157` below [data.preprocess] (--scale); "
    "if on -1..1, `scale = 0.00784314` and `offset = -1`"
)


def lint_model(dataset: Dataset, graph: Graph) -> tuple[Finding, ...]:
    """Return findings about values that do not look like those the model's first layer was made for.

    A quantized input states its range. A float model is judged by a leading multiplication (a Rescaling layer) and by
    its first convolution or dense layer, see `FITTING`. No evidence, no finding.

    Args:
        dataset: rows with the model's input names and shapes.
        graph: the float model, or a quantized one.
    """
    findings = []
    for index, name in zip(graph.inputs, graph.input_names(), strict=True):
        rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _ROWS)).astype(np.intp))
        x = dataset.batch(name, rows)
        if not np.isfinite(x).all() or x.min() == x.max():
            continue  # other rules say so
        found = _range_finding(dataset, name, x, graph, index)
        found = found or _scaled_twice(x, graph, index) or _response_finding(x, graph, index)
        if found:
            findings.append(found.model_copy(update={"where": f"input `{name}`"}))
    return tuple(findings)


def _range_finding(data: Dataset, name: str, x: Floats, graph: Graph, index: int) -> Finding | None:
    tensor = _quantized_input(graph, index)
    if tensor is None or tensor.quantization is None:
        return None
    info = np.iinfo(tensor.dtype)
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    low, high = scale * (info.min - zero), scale * (info.max - zero)
    clipped = float(((x < low - scale / 2) | (x > high + scale / 2)).mean())
    if clipped > _CLIPPED:
        what = (
            f"{clipped:.0%} of the values lie outside of {low:.4g} to {high:.4g}, all that the model's input can hold"
        )
        consequence = "these values are clipped"
    elif float(x.max() - x.min()) < (high - low) * WRONG[0]:
        span = f"the values span only {x.min():.4g} to {x.max():.4g}"
        what = f"{span}, and the model's input was made for {low:.4g} to {high:.4g}"
        consequence = "the model hardly sees a difference between rows"
    else:
        return None
    remedy = f"set `scale` and `offset` below [data.preprocess] so that values come to lie in {low:.4g} to {high:.4g}"
    if data.raw(name).dtype == tensor.dtype and data.how(name).quantized is None:
        codes = f"quantized = {{ scale = {scale:.7g}, zero_point = {zero} }}"
        remedy += f"; if the stored integers are the model's own, set `{codes}` there"
    return _finding("input-range", what, consequence, remedy)


def _quantized_input(graph: Graph, index: int) -> Tensor | None:
    """Return the input where it is quantized, what it is quantized to at once where it is float, else None."""
    tensor = graph.tensors[index]
    readers = graph.consumers.get(index, ())
    if tensor.dtype == "float32" and len(readers) == 1 and readers[0].name == "QUANTIZE":
        tensor = graph.tensors[readers[0].outputs[0]]
    return tensor if tensor.dtype in ("int8", "uint8", "int16") else None


def _scaled_twice(x: Floats, graph: Graph, index: int) -> Finding | None:
    """A model that multiplies its own input by 1/255 or so, fed values that are small already."""
    readers = graph.consumers.get(index, ())
    if len(readers) != 1 or readers[0].name not in ("MUL", "DIV") or np.abs(x).max() > 2:
        return None
    constants = [graph.tensors[i].data for i in readers[0].inputs if i >= 0 and i != index]
    if len(constants) != 1 or constants[0] is None:
        return None
    factor = float(np.median(np.abs(constants[0].astype(np.float64))))
    factor = 1 / factor if readers[0].name == "DIV" and factor else factor
    if factor > 1 / 50:
        return None
    span = f"the values are within {x.min():.4g} to {x.max():.4g} already"
    what = f"the model multiplies its input by {factor:.4g} itself (a Rescaling layer), and {span}"
    return _finding("input-scaled-twice", what, "the values that the layers see are too small", _UNSCALED)


def _response_finding(x: Floats, graph: Graph, index: int) -> Finding | None:
    found = _first_layer(x, graph, index)
    if found is None:
        return None
    seen, weights, bias = found
    typical = float(np.median(np.abs(bias)))
    if not typical:
        return None
    ratio = float(np.median((seen @ weights).std(axis=0))) / typical
    small = bool(np.abs(x).max() <= _SCALED_MOST)
    too_large = not small and ratio > WRONG[1] and _could_be_right(ratio / 255, ratio / 127.5)
    too_small = small and ratio < WRONG[0] and _could_be_right(ratio * 127.5, ratio * 255)
    if not too_large and not too_small:
        return None
    how, remedy = ("large", _SCALED) if too_large else ("small", _UNSCALED)
    what = (
        f"the values look about 255 times too {how}: over these rows the first layer's response varies by {ratio:.3g} "
        f"of its bias, and {FITTING[0]:g} to {FITTING[1]:g} is usual"
    )
    return _finding("input-scale", what, "the model sees values unlike those that it was trained on, if so", remedy)


def _could_be_right(low: float, high: float) -> bool:
    return low <= FITTING[1] and high >= FITTING[0]


def _finding(rule: str, what: str, consequence: str, remedy: str) -> Finding:
    return Finding(severity="warning", rule=rule, what=what, consequence=consequence, remedy=remedy)


def _first_layer(x: Floats, graph: Graph, index: int) -> tuple[Floats, Floats, Floats] | None:
    """Return (what the first layer sees [m, inputs], its weights [inputs, channels], its bias [channels]).

    None where the input does not lead to a float convolution or dense layer through elementwise constants, padding and
    reshapes alone.
    """
    while True:
        readers = graph.consumers.get(index, ())
        if len(readers) != 1:
            return None
        op = readers[0]
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return _layer(op, x, graph)
        through = _through(op, x, graph, index)
        if through is None:
            return None
        x, index = through, op.outputs[0]


def _through(op: Op, x: Floats, graph: Graph, index: int) -> Floats | None:
    if op.name == "PAD":
        return x  # a border changes no spread worth speaking of
    if op.name in ("RESHAPE", "EXPAND_DIMS"):
        shape = graph.tensors[op.outputs[0]].shape
        return x.reshape(len(x), *shape[1:]) if x[0].size == int(np.prod(shape[1:])) else None
    others = [graph.tensors[i].data for i in op.inputs if i >= 0 and i != index]
    if op.name not in _ELEMENTWISE or len(others) != 1 or others[0] is None or others[0].size not in (1, x.shape[-1]):
        return None
    constant = others[0].astype(np.float32).reshape(-1)
    first, second = (x, constant) if op.inputs[0] == index else (constant, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_ELEMENTWISE[op.name](first, second), np.float32)


_ELEMENTWISE = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide}


def _layer(op: Op, x: Floats, graph: Graph) -> tuple[Floats, Floats, Floats] | None:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return None  # no bias
    weights, bias = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[2]].data
    if weights.data is None or weights.dtype != "float32" or bias is None:
        return None
    w: Floats = weights.data
    if op.name == "FULLY_CONNECTED":
        return (x.reshape(len(x), -1), w.T, bias) if x[0].size == w.shape[1] else None
    if op.name == "DEPTHWISE_CONV_2D" and w.shape[3] % x.shape[-1] == 0:
        w = _dense(w, x.shape[-1])
    if x.ndim != 4 or w.shape[3] != x.shape[3] or w.shape[1] > x.shape[1] or w.shape[2] > x.shape[2]:
        return None
    return _patches(x, w.shape[1], w.shape[2]), w.reshape(len(w), -1).T, bias


def _dense(w: Floats, channels: int) -> Floats:
    """Return depthwise weights [1, kh, kw, channels * m] as a convolution's, [channels * m, kh, kw, channels]."""
    outputs = w.shape[3]
    dense = np.zeros((outputs, *w.shape[1:3], channels), np.float32)
    own = np.arange(outputs) // (outputs // channels)
    dense[np.arange(outputs), :, :, own] = w[0].transpose(2, 0, 1)
    return dense


def _patches(x: Floats, height: int, width: int) -> Floats:
    """Return windows of x [n, h, w, c] at seeded random places, flattened: [patches, height * width * c]."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(x), _PATCHES)
    top = rng.integers(0, x.shape[1] - height + 1, _PATCHES)[:, None, None]
    left = rng.integers(0, x.shape[2] - width + 1, _PATCHES)[:, None, None]
    cut = x[rows[:, None, None], top + np.arange(height)[:, None], left + np.arange(width)]
    return np.ascontiguousarray(cut).reshape(_PATCHES, -1)
