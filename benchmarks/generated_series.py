"""Blocks of series [steps, channels] and of vectors, for benchmarks/generated.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generated_blocks import ACTIVATIONS, Block, activation, prelu, scale_up
from generated_net import Net, Tensor


def conv(net: Net, x: Tensor, **config: Any) -> Tensor:
    config = {"filters": scale_up(net, x), "kernel_size": net.pick(1, 3, 5), "padding": "same", **config}
    return net.layer("Conv1D", x, **config)


def conv_act(net: Net, x: Tensor) -> Tensor:
    return conv(net, x, activation=net.pick("relu", "tanh", "elu", "gelu"), strides=_stride(net, x))


def _stride(net: Net, x: Tensor) -> int:
    return int(net.pick(1, 2)) if x.shape[0] >= 10 else 1


def conv_bn(net: Net, x: Tensor) -> Tensor:
    return activation(net, net.layer("BatchNormalization", conv(net, x, use_bias=False)))


def causal(net: Net, x: Tensor) -> Tensor:
    """A temporal convolutional network's residual block."""
    y = conv(net, x, filters=x.channels, kernel_size=3, padding="causal", dilation_rate=net.pick(1, 2, 4))
    return net.layer("Add", x, activation(net, y, "relu"))


def wavenet(net: Net, x: Tensor) -> Tensor:
    options: dict[str, Any] = {"filters": x.channels, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}
    gate = net.layer(
        "Multiply", conv(net, x, **options, activation="tanh"), conv(net, x, **options, activation="sigmoid")
    )
    return net.layer("Add", x, conv(net, gate, filters=x.channels, kernel_size=1))


def depthwise(net: Net, x: Tensor) -> Tensor:
    x = net.layer("DepthwiseConv1D", x, kernel_size=3, padding="same", depth_multiplier=net.pick(1, 2))
    return activation(net, x, "relu6")


def separable(net: Net, x: Tensor) -> Tensor:
    return activation(net, net.layer("SeparableConv1D", x, filters=scale_up(net, x), kernel_size=3, padding="same"))


def transposed(net: Net, x: Tensor) -> Tensor:
    return net.layer("Conv1DTranspose", x, filters=max(4, x.channels), kernel_size=3, strides=net.pick(1, 2), padding="same",
                     activation="relu")  # fmt: skip


def max_pool(net: Net, x: Tensor) -> Tensor:
    return net.layer("MaxPooling1D", x, pool_size=2) if x.shape[0] >= 4 else x


def average_pool(net: Net, x: Tensor) -> Tensor:
    return net.layer("AveragePooling1D", x, pool_size=3, strides=net.pick(1, 2), padding="same")


def upsampling(net: Net, x: Tensor) -> Tensor:
    return conv(net, net.layer("UpSampling1D", x, size=2), kernel_size=3) if x.shape[0] <= 40 else conv(net, x)


def pad_crop(net: Net, x: Tensor) -> Tensor:
    x = conv(net, net.layer("ZeroPadding1D", x, padding=(1, 2)), kernel_size=3, padding="valid")
    return net.layer("Cropping1D", x, cropping=(1, 0)) if x.shape[0] > 4 else x


def _recurrent(kind: str) -> Block:
    def block(net: Net, x: Tensor) -> Tensor:
        return net.layer(kind, x, units=net.pick(8, 12, 20), return_sequences=True)

    return block


def both_ways(net: Net, x: Tensor) -> Tensor:
    return net.bidirectional(net.pick("LSTM", "GRU"), x, units=net.pick(6, 10), return_sequences=True)


def transformer(net: Net, x: Tensor) -> Tensor:
    x = net.layer("Dense", x, units=16)
    x = net.layer("LayerNormalization", net.layer("Add", x, net.attention(x, heads=net.pick(1, 2, 4))))
    y = net.layer("Dense", activation(net, net.layer("Dense", x, units=32), net.pick("gelu", "relu")), units=16)
    return net.layer("LayerNormalization", net.layer("Add", x, y))


def dot_attention(net: Net, x: Tensor) -> Tensor:
    x = net.layer("Dense", x, units=12)
    return net.layer("Concatenate", x, net.layer("Attention", x, x))


def timed(net: Net, x: Tensor) -> Tensor:
    return activation(net, net.timed(scale_up(net, x), x))


def dense(net: Net, x: Tensor) -> Tensor:
    return activation(net, net.layer("Dense", x, units=scale_up(net, x)))


def context(net: Net, x: Tensor) -> Tensor:
    """The mean of all steps beside each step."""
    mean = net.layer("RepeatVector", net.layer("GlobalAveragePooling1D", x), n=x.shape[0])
    return net.layer("Concatenate", x, mean)


def permuted(net: Net, x: Tensor) -> Tensor:
    y = net.layer("Dense", net.layer("Permute", x, dims=(2, 1)), units=x.shape[0], activation="relu")
    return net.layer("Add", x, net.layer("Permute", y, dims=(2, 1)))


def as_image(net: Net, x: Tensor) -> Tensor:
    y = net.layer("Reshape", x, target_shape=(*x.shape, 1))
    y = net.layer("Conv2D", y, filters=4, kernel_size=3, padding="same", activation="relu")
    return net.layer("Reshape", y, target_shape=(x.shape[0], -1))


def layer_norm(net: Net, x: Tensor) -> Tensor:
    return net.layer("LayerNormalization", conv(net, x))


def act(net: Net, x: Tensor) -> Tensor:
    return activation(net, x, net.pick(*ACTIVATIONS))


SERIES: Mapping[str, Block] = {
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU"),
    "rnn": _recurrent("SimpleRNN"),
    **{
        f.__name__: f
        for f in (
            conv_act, conv_bn, causal, wavenet, depthwise, separable, transposed, max_pool, average_pool, upsampling, pad_crop,
            both_ways, transformer, dot_attention, timed, dense, context, permuted, as_image, layer_norm, act, prelu,
        )
    },
}  # fmt: skip


def units(net: Net, x: Tensor) -> int:
    return int(net.pick(16, 32, 48, 64, max(8, min(96, x.channels))))


def dense_act(net: Net, x: Tensor) -> Tensor:
    return net.layer("Dense", x, units=units(net, x), activation=net.pick("relu", "elu", "selu", "gelu", "tanh"))


def dense_bn(net: Net, x: Tensor) -> Tensor:
    return activation(net, net.layer("BatchNormalization", net.layer("Dense", x, units=units(net, x), use_bias=False)))


def dense_residual(net: Net, x: Tensor) -> Tensor:
    y = net.layer("Dense", activation(net, net.layer("Dense", x, units=units(net, x)), "relu"), units=x.channels)
    return net.layer("Add", x, y)


def wide(net: Net, x: Tensor) -> Tensor:
    """A few hundred thousand weights."""
    x = net.layer("Dense", x, units=net.pick(512, 768), activation="relu")
    return net.layer("Dense", x, units=net.pick(256, 384), activation="relu")


def gated(net: Net, x: Tensor) -> Tensor:
    n = units(net, x)
    return net.layer("Multiply", net.layer("Dense", x, units=n), net.layer("Dense", x, units=n, activation="sigmoid"))


def merged(net: Net, x: Tensor) -> Tensor:
    n = units(net, x)
    kind = net.pick("Subtract", "Average", "Maximum", "Minimum", "Multiply", "Concatenate")
    return net.layer(kind, net.layer("Dense", x, units=n), net.layer("Dense", x, units=n, activation="relu"))


def normed(net: Net, x: Tensor) -> Tensor:
    return net.layer("LayerNormalization", net.layer("Dense", x, units=units(net, x)))


def unit_norm(net: Net, x: Tensor) -> Tensor:
    return net.layer("UnitNormalization", net.layer("Dense", x, units=units(net, x)))


def softmax(net: Net, x: Tensor) -> Tensor:
    """A mixture: experts weighed by a softmax."""
    n = 4
    weights = net.layer("Reshape", net.layer("Dense", x, units=n, activation="softmax"), target_shape=(n, 1))
    experts = net.layer("Reshape", net.layer("Dense", x, units=n * 16), target_shape=(n, 16))
    return net.function("sum", net.layer("Multiply", experts, weights), axis=1)


def standardized(net: Net, x: Tensor) -> Tensor:
    x = net.layer("Dense", x, units=units(net, x))
    return net.combined(lambda a, m: a - m, x, net.function("mean", x, axis=-1, keepdims=True), kind="operator -")


def functions(net: Net, x: Tensor) -> Tensor:
    x = net.layer("Dense", x, units=units(net, x))
    match net.pick("abs", "square", "exp", "sqrt", "log", "clip"):
        case "exp":
            return net.function("exp", net.combined(lambda t: t * -0.5, x, kind="operator *"))
        case "sqrt" | "log" as name:
            return net.function(name, net.combined(lambda t: t + 0.5, net.function("abs", x), kind="operator +"))
        case "clip":
            return net.combined(lambda t: net.keras.ops.clip(t, -1.0, 1.0), x, kind="ops.clip") if not net.legacy else x
        case name:
            return net.function(name, x)


def heads(net: Net, x: Tensor) -> Tensor:
    """Sums over parts."""
    x = net.layer("Reshape", net.layer("Dense", x, units=48), target_shape=(6, 8))
    return net.layer("Flatten", net.function(net.pick("sum", "mean", "max"), activation(net, x), axis=1))


VECTOR: Mapping[str, Block] = {
    f.__name__: f
    for f in (
        dense_act, dense_bn, dense_residual, wide, gated, merged, normed, unit_norm, softmax, standardized, functions, heads,
    )
}  # fmt: skip
