"""Which tensors of a Keras graph exist in its int8 form, and which of them share one scale.

TFLite fuses (a convolution with its BatchNormalization and ReLU is one op) and its kernels ask for equal scales
(pooling, concatenation). Rounding in training has to follow that: a tensor that the device never holds must not be
rounded. Source of the rules: TFLite 8-bit quantization specification, "Int8 quantized operator specifications".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgecompile.training.activations import Keras3Activation
from edgecompile.training.network import Call, Network

NOTHING = frozenset(
    {
        "ActivityRegularization",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    }
)
"""Layers that do nothing outside training."""
_MOVES = frozenset(
    {
        "Cropping1D",
        "Cropping2D",
        "Cropping3D",
        "Flatten",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "MaxPooling1D",
        "MaxPooling2D",
        "Permute",
        "RepeatVector",
        "Reshape",
        "SlicingOpLambda",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
    }
)
"""Layers that give values of their input as they are: same scale, nothing to round."""
_MOVING_FUNCTIONS = frozenset(
    {"reshape", "transpose", "squeeze", "expand_dims", "slice", "strided_slice", "gather", "split", "tile", "pad"}
)
_BLENDS = frozenset({"AveragePooling1D", "AveragePooling2D", "UpSampling1D", "UpSampling2D"})
"""Layers whose kernels have one scale for input and output, but give values between. Not so for an average over the
whole image, which `quantize` computes as a mean."""
_LINEAR = frozenset(
    {
        "Conv1D",
        "Conv2D",
        "Conv3D",
        "Conv1DTranspose",
        "Conv2DTranspose",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "SeparableConv1D",
        "SeparableConv2D",
    }
)
"""Layers whose op takes a BatchNormalization into its kernel."""
_ADDITIONS = frozenset({"Add", "Subtract", "Multiply"})
_SUMS = frozenset({"add", "mul", "multiply", "sub", "subtract"})
"""Functions whose ops take a ReLU in, as those of `_ADDITIONS` do."""
_COMPUTES = frozenset(
    {
        "Activation",
        "Average",
        "BatchNormalization",
        "ELU",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "LeakyReLU",
        "Maximum",
        "Minimum",
        "Normalization",
        "PReLU",
        "ReLU",
        "Rescaling",
        "Softmax",
        "TFOpLambda",
        *_ADDITIONS,
        *_LINEAR,
    }
)
"""Layers with a scale of their own for what they give."""

FUSED_ACTIVATIONS = frozenset({"linear", "relu", "relu6"})
"""What the op of a layer computes on the way out."""

FIXED: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
"""Activation → the range of its int8 codes, which kernels are written for."""

Role = Literal["rounded", "fused", "moved", "float"]


@dataclass(frozen=True)
class Layout:
    """How tensors of a network stand in int8.

    Attributes:
        group: tensor → the tensor that stands for all that share its scale.
        rounded: tensors that are rounded when they are made.
        fixed: tensor → the range that its kernel is written for.
        skipped: layer → why its outputs are not rounded in training.
    """

    group: Mapping[int, int]
    rounded: frozenset[int]
    fixed: Mapping[int, tuple[float, float]]
    skipped: Mapping[str, str]


def lay_out(network: Network) -> Layout:
    """Return how the tensors of network stand in its int8 form."""
    parent = {i: i for i in range(len(network.tensors))}

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    rounded = {i for i in network.inputs if _is_float(network, i)}
    fixed: dict[int, tuple[float, float]] = {}
    skipped: dict[str, str] = {}
    for call in network.calls:
        outputs = [i for i in call.outputs if _is_float(network, i)]
        match _role(network, call):
            case "moved":
                written = {root(i) for i in fixed}
                free = [i for i in call.inputs if root(i) not in written] or call.inputs
                for i in (*outputs, *free):
                    parent[root(i)] = root(free[0])
                # What is joined from other ranges is given the scale of all.
                rounded.update(outputs if call.kind in _BLENDS or len(free) < len(call.inputs) else ())
            case "rounded":
                rounded.update(outputs)
                name = activation_name(call.layer)
                if name in FIXED:
                    fixed.update(dict.fromkeys(outputs, FIXED[name]))
            case "float":
                skipped[call.name] = _reason(call)
    limits = {root(i): bounds for i, bounds in fixed.items()}
    fixed = {i: limits[root(i)] for i in parent if root(i) in limits}
    return Layout({i: root(i) for i in parent}, frozenset(rounded), fixed, skipped)


def _role(network: Network, call: Call) -> Role:
    kind = call.kind
    if kind == "AveragePooling2D" and _averages_all(network, call):
        return "rounded"
    if kind in NOTHING or kind in _MOVES or kind in _BLENDS or kind == "Concatenate":
        return "moved"
    if kind == "Activation" and activation_name(call.layer) == "linear":
        return "moved"
    if kind == "TFOpLambda" and function_name(call.layer) in _MOVING_FUNCTIONS:
        return "moved"
    if kind == "TFOpLambda" and function_name(call.layer) in ("concat", "stack"):
        return "moved"
    if kind not in _COMPUTES or not type(call.layer).__module__.startswith("tf_keras"):
        return "float"
    return "fused" if _taken_in(network, call) else "rounded"


def _averages_all(network: Network, call: Call) -> bool:
    """Whether a pool looks at all of its input at once."""
    sizes = list(network.tensors[call.inputs[0]].shape)
    spatial = sizes[1:3] if call.layer.data_format == "channels_last" else sizes[2:]
    return spatial == list(call.layer.pool_size)


def _taken_in(network: Network, call: Call) -> bool:
    """Whether the op of the only reader computes this call's output on its way, so that it never exists."""
    (output,) = call.outputs if len(call.outputs) == 1 else (-1,)
    readers = network.readers.get(output, ())
    if len(readers) != 1 or output in network.outputs or activation_name(call.layer) not in ("linear", "", *_SUMS):
        return False
    reader = readers[0]
    if call.kind in _LINEAR and reader.kind == "BatchNormalization":
        return True
    if call.kind in _LINEAR or folded(network, call):
        return _is_relu(reader) or _adds_number(reader) or _is_hard_sigmoid(reader)
    return _is_relu(reader) and (call.kind in _ADDITIONS or activation_name(call.layer) in _SUMS)


def folded(network: Network, call: Call) -> bool:
    """Whether call is a BatchNormalization or a sum with a number that the op before takes into kernel and bias."""
    maker = network.makers.get(call.inputs[0]) if call.inputs else None
    if maker is None or not (call.kind == "BatchNormalization" or _adds_number(call)):
        return False
    if call.kind == "BatchNormalization" and maker.kind not in _LINEAR:
        return False
    return (maker.kind in _LINEAR or folded(network, maker)) and _taken_in(network, maker)


def _adds_number(call: Call) -> bool:
    """Whether call adds a number to its only tensor, which a bias can hold."""
    if call.kind != "TFOpLambda" or function_name(call.layer) not in ("add", "sub", "subtract"):
        return False
    other = [x for x in (*call.args, *call.kwargs.values()) if isinstance(x, int | float)]
    first = bool(call.args) and not isinstance(call.args[0], int | float)  # `1 - x` turns the sign of x
    return len(call.inputs) == len(other) == 1 and first


def _is_hard_sigmoid(call: Call) -> bool:
    """Whether call is relu6(x + 3) / 6: a bias and a fused ReLU6 again, then a multiplication."""
    return (
        call.kind == "Activation"
        and isinstance(call.layer.activation, Keras3Activation)
        and (activation_name(call.layer) == "hard_sigmoid")
    )


def _is_relu(call: Call) -> bool:
    """Whether call is a ReLU or ReLU6, which ops take in."""
    if call.kind == "ReLU":
        layer = call.layer
        return not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6, 6.0)
    if call.kind == "TFOpLambda":
        return function_name(call.layer) in ("relu", "relu6")
    return call.kind == "Activation" and activation_name(call.layer) in ("relu", "relu6")


def activation_name(layer: Any) -> str:
    """Return the name of a layer's activation function; that of a layer which is one; empty where there is none."""
    if type(layer).__name__ == "Softmax":
        return "softmax"
    if type(layer).__name__ == "TFOpLambda":
        return function_name(layer)
    function: Callable[..., Any] | None = getattr(layer, "activation", None)
    return "" if function is None else str(getattr(function, "__name__", "custom"))


def function_name(layer: Any) -> str:
    """Return the last part of the function that a TFOpLambda calls: `math.add` → `add`."""
    return str(layer.get_config().get("function", "")).rpartition(".")[2]


def _is_float(network: Network, tensor: int) -> bool:
    return bool(network.tensors[tensor].dtype.is_floating)


def _reason(call: Call) -> str:
    kind = call.kind
    if kind in ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "RNN", "ConvLSTM2D"):
        return "its int8 kernel rounds inside of the loop, which Keras has no place to train"
    if kind == "Lambda":
        return "a Lambda can compute anything, so nothing is known about its int8 form"
    if not type(call.layer).__module__.startswith("tf_keras"):
        return "a custom layer can compute anything, so nothing is known about its int8 form"
    return f"`{kind}` becomes several int8 ops, whose inner steps Keras has no place to train"
