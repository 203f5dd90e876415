"""The blocks that benchmarks/generated.py builds models of: those of keras.applications, and what else users bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from generated_net import Net, Tensor

Block = Callable[[Net, Tensor], Tensor]

ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu gelu silu hard_silu mish tanh sigmoid hard_sigmoid softplus softsign exponential"
).split()
_OF_KERAS_3 = {"leaky_relu", "hard_silu", "silu"}


def activation(net: Net, x: Tensor, name: str = "") -> Tensor:
    name = name or net.pick(*ACTIVATIONS[:9])
    if net.legacy and name in _OF_KERAS_3:
        name = {"leaky_relu": "LeakyReLU"}.get(name, "swish")
    if name == "LeakyReLU" or (name == "leaky_relu" and net.chance(0.5)):
        return net.layer("LeakyReLU", x)
    net.kinds[f"activation {name}"] += 1
    return net.layer("Activation", x, activation=name)


def prelu(net: Net, x: Tensor) -> Tensor:
    shared = list(range(1, len(x.shape))) if net.chance(0.7) else None
    return net.layer("PReLU", x, shared_axes=shared)


def scale_up(net: Net, x: Tensor, most: int = 48) -> int:
    return int(min(most, max(4, x.channels * net.pick(0.5, 1, 1.5, 2) + net.rng.integers(0, 4))))


# Images.


def conv(net: Net, x: Tensor, *, filters: int = 0, **config: Any) -> Tensor:
    config = {"padding": "same", "kernel_size": net.pick(1, 3, 3, 5), **config}
    return net.layer("Conv2D", x, filters=filters or scale_up(net, x), **config)


def conv_act(net: Net, x: Tensor) -> Tensor:
    return conv(
        net, x, activation=net.pick("relu", "relu6", "tanh", "gelu"), padding=_padding(net, x, 3), kernel_size=3
    )


def _padding(net: Net, x: Tensor, size: int) -> str:
    return str(net.pick("same", "valid")) if min(x.shape[0], x.shape[1]) > size + 2 else "same"


def conv_bn(net: Net, x: Tensor) -> Tensor:
    x = conv(net, x, use_bias=False, strides=_stride(net, x))
    return activation(net, net.layer("BatchNormalization", x))


def _stride(net: Net, x: Tensor) -> int:
    return int(net.pick(1, 2)) if min(x.shape[:2]) >= 8 else 1


def dilated(net: Net, x: Tensor) -> Tensor:
    return activation(net, conv(net, x, kernel_size=3, dilation_rate=2), "relu")


def asymmetric(net: Net, x: Tensor) -> Tensor:
    x = conv(net, x, kernel_size=(3, 1), dilation_rate=(net.pick(1, 2), 1))
    return activation(net, conv(net, x, kernel_size=(1, 5)), "relu")


def grouped(net: Net, x: Tensor) -> Tensor:
    x = conv(net, x, filters=16, kernel_size=1)
    return net.layer("Conv2D", x, filters=16, kernel_size=3, groups=4, padding="same", activation="relu")


def depthwise(net: Net, x: Tensor) -> Tensor:
    x = net.layer(
        "DepthwiseConv2D", x, kernel_size=net.pick(3, 5), padding="same", depth_multiplier=net.pick(1, 1, 2),
        strides=_stride(net, x), use_bias=net.chance(0.5),
    )  # fmt: skip
    return activation(net, net.layer("BatchNormalization", x), "relu6")


def separable(net: Net, x: Tensor) -> Tensor:
    x = net.layer("SeparableConv2D", x, filters=scale_up(net, x), kernel_size=3, padding="same", use_bias=False)
    return activation(net, net.layer("BatchNormalization", x))


def transposed(net: Net, x: Tensor) -> Tensor:
    size, stride = net.pick(2, 3, 4), net.pick(1, 2) if max(x.shape[:2]) <= 16 else 1
    x = net.layer("Conv2DTranspose", x, filters=max(4, x.channels // 2), kernel_size=size, strides=stride,
                  padding=net.pick("same", "valid"))  # fmt: skip
    return activation(net, x, "relu")


def max_pool(net: Net, x: Tensor) -> Tensor:
    return net.layer("MaxPooling2D", x, pool_size=net.pick(2, 3), strides=_stride(net, x), padding="same")


def average_pool(net: Net, x: Tensor) -> Tensor:
    return net.layer("AveragePooling2D", x, pool_size=net.pick(2, 3), strides=_stride(net, x), padding="same")


def residual(net: Net, x: Tensor) -> Tensor:
    y = net.layer("BatchNormalization", conv(net, x, kernel_size=3, use_bias=False))
    y = conv(net, activation(net, y, "relu"), filters=x.channels, kernel_size=3, use_bias=False)
    y = net.layer("BatchNormalization", y)
    return activation(net, net.layer("Add", x, y), "relu")


def squeeze(net: Net, x: Tensor) -> Tensor:
    y = net.layer("GlobalAveragePooling2D", x)
    y = net.layer("Reshape", y, target_shape=(1, 1, x.channels))
    y = conv(net, y, filters=max(4, x.channels // 4), kernel_size=1, activation=net.pick("relu", "swish"))
    gate = "sigmoid" if net.legacy else net.pick("sigmoid", "hard_sigmoid")
    return net.layer("Multiply", x, conv(net, y, filters=x.channels, kernel_size=1, activation=gate))


def inverted(net: Net, x: Tensor) -> Tensor:
    """MobileNetV2 and V3, EfficientNet."""
    name = net.pick("relu6", "hard_silu", "silu")
    y = conv(net, x, filters=min(72, 3 * x.channels), kernel_size=1, use_bias=False)
    y = activation(net, net.layer("BatchNormalization", y), name)
    y = net.layer("DepthwiseConv2D", y, kernel_size=3, padding="same", use_bias=False)
    y = activation(net, net.layer("BatchNormalization", y), name)
    if net.chance(0.5):
        y = squeeze(net, y)
    y = net.layer("BatchNormalization", conv(net, y, filters=x.channels, kernel_size=1, use_bias=False))
    return net.layer("Add", x, y)


def dense_block(net: Net, x: Tensor) -> Tensor:
    """DenseNet: a normalization before each convolution, everything kept."""
    for _ in range(2):
        y = activation(net, net.layer("BatchNormalization", x), "relu")
        x = net.layer("Concatenate", x, conv(net, y, filters=6, kernel_size=3, use_bias=False))
    return x


def inception(net: Net, x: Tensor) -> Tensor:
    ways = [conv(net, x, filters=6, kernel_size=1, activation="relu"),
            conv(net, conv(net, x, filters=6, kernel_size=1, activation="relu"), filters=8, kernel_size=3),
            conv(net, net.layer("AveragePooling2D", x, pool_size=3, strides=1, padding="same"), filters=5)]  # fmt: skip
    return net.layer("Concatenate", *ways)


def xception(net: Net, x: Tensor) -> Tensor:
    y = net.layer("SeparableConv2D", activation(net, x, "relu"), filters=x.channels, kernel_size=3, padding="same")
    y = net.layer("BatchNormalization", y)
    y = net.layer("MaxPooling2D", y, pool_size=3, strides=2, padding="same")
    return net.layer("Add", conv(net, x, filters=x.channels, kernel_size=1, strides=2), y)


def convnext(net: Net, x: Tensor) -> Tensor:
    y = net.layer("DepthwiseConv2D", x, kernel_size=7, padding="same")
    y = net.layer("LayerNormalization", y, epsilon=1e-6)
    y = activation(net, net.layer("Dense", y, units=2 * x.channels), "gelu")
    y = net.layer("Dense", y, units=x.channels)
    scale = net.rng.uniform(0.2, 0.6, x.channels).astype(np.float32)
    return net.layer("Add", x, net.combined(lambda t: t * scale, y, kind="operator *"))


def attention_of_channels(net: Net, x: Tensor) -> Tensor:
    """CBAM: where to look, by mean and maximum over channels."""
    mean = net.function("mean", x, axis=-1, keepdims=True)
    most = net.function("max", x, axis=-1, keepdims=True)
    y = conv(net, net.layer("Concatenate", mean, most), filters=1, kernel_size=5, activation="sigmoid")
    return net.layer("Multiply", x, y)


def instance(net: Net, x: Tensor) -> Tensor:
    """An instance normalization written by hand."""
    mean = net.function("mean", x, axis=(1, 2), keepdims=True)
    x = net.combined(lambda a, b: a - b, x, mean, kind="operator -")
    power = net.function("mean", net.function("square", x), axis=(1, 2), keepdims=True)
    return net.combined(lambda a, b: a / (b + 1.0) ** 0.5, x, power, kind="operator /")


def nasnet(net: Net, x: Tensor) -> Tensor:
    y = net.layer("ZeroPadding2D", x, padding=((0, 1), (0, 1)))
    y = net.layer("Cropping2D", y, cropping=((1, 0), (1, 0)))
    y = net.layer("AveragePooling2D", y, pool_size=1, strides=2)
    z = net.layer("AveragePooling2D", x, pool_size=1, strides=2)
    return net.layer("BatchNormalization", net.layer("Concatenate", conv(net, y, filters=6), conv(net, z, filters=6)))


def pad_crop(net: Net, x: Tensor) -> Tensor:
    x = net.layer("ZeroPadding2D", x, padding=net.pick(1, (1, 2)))
    x = conv(net, x, kernel_size=3, padding="valid", activation="relu")
    return net.layer("Cropping2D", x, cropping=((1, 0), (0, 1))) if min(x.shape[:2]) > 4 else x


def upsampling(net: Net, x: Tensor) -> Tensor:
    if max(x.shape[:2]) > 16:
        x = net.layer("MaxPooling2D", x)
    return conv(net, net.layer("UpSampling2D", x, size=net.pick(2, (2, 1)), interpolation="nearest"), kernel_size=3)


def bilinear(net: Net, x: Tensor) -> Tensor:
    if max(x.shape[:2]) > 16:
        x = net.layer("AveragePooling2D", x, pool_size=2)
    return conv(net, net.layer("UpSampling2D", x, interpolation="bilinear"), kernel_size=1)


def unet(net: Net, x: Tensor) -> Tensor:
    even = net.layer("Cropping2D", x, cropping=((0, x.shape[0] % 2), (0, x.shape[1] % 2)))
    y = conv(net, net.layer("MaxPooling2D", even), kernel_size=3, activation="relu")
    return net.layer("Concatenate", even, net.layer("UpSampling2D", y))


def layer_norm(net: Net, x: Tensor) -> Tensor:
    return net.layer("LayerNormalization", x)


def group_norm(net: Net, x: Tensor) -> Tensor:
    x = conv(net, x, filters=8, kernel_size=3)
    return activation(net, net.layer("GroupNormalization", x, groups=net.pick(1, 2, 4, 8)))


def arithmetic(net: Net, x: Tensor) -> Tensor:
    n = scale_up(net, x)
    kind = net.pick("Subtract", "Average", "Maximum", "Minimum", "Multiply", "Add")
    return net.layer(kind, conv(net, x, filters=n), conv(net, x, filters=n, activation=net.pick("relu", "sigmoid")))


def permuted(net: Net, x: Tensor) -> Tensor:
    x = conv(net, net.layer("Permute", x, dims=net.pick((2, 1, 3), (1, 3, 2))), kernel_size=1)
    return net.layer("Reshape", x, target_shape=(x.shape[1], x.shape[0], x.channels))


def unlike(net: Net, x: Tensor) -> Tensor:
    """A concatenation of unlike ranges."""
    large = net.layer("Rescaling", conv(net, x, filters=6), scale=float(net.rng.uniform(2, 6)))
    return conv(net, net.layer("Concatenate", large, conv(net, x, filters=6, activation="sigmoid")), kernel_size=1)


def shuffled(net: Net, x: Tensor) -> Tensor:
    """ShuffleNet's exchange of channels."""
    x = conv(net, x, filters=8, kernel_size=1)
    h, w = x.shape[:2]
    y = net.layer("Permute", net.layer("Reshape", x, target_shape=(h, w, 2, 4)), dims=(1, 2, 4, 3))
    return net.layer("Reshape", y, target_shape=(h, w, 8))


def act(net: Net, x: Tensor) -> Tensor:
    return activation(net, x, net.pick(*ACTIVATIONS))


IMAGE: Mapping[str, Block] = {
    f.__name__: f
    for f in (
        conv_act, conv_bn, dilated, asymmetric, grouped, depthwise, separable, transposed, max_pool, average_pool, residual,
        squeeze, inverted, dense_block, inception, xception, convnext, attention_of_channels, instance, nasnet, pad_crop,
        upsampling, bilinear, unet, layer_norm, group_norm, arithmetic, permuted, unlike, shuffled, act, prelu,
    )
}  # fmt: skip
