"""Kinds of layers and functions that treat channels alike."""

from __future__ import annotations

CONVOLUTIONS = frozenset(
    {"Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"},
)
"""Layers that make channels out of all that they read."""

MIXES = frozenset({"softmax", "log_softmax"})
"""Activations of which every channel depends on the others."""

ELEMENTWISE = frozenset(
    {
        "abs",
        "clip_by_value",
        "elu",
        "exp",
        "gelu",
        "leaky_relu",
        "negative",
        "relu",
        "relu6",
        "sigmoid",
        "silu",
        "square",
        "swish",
        "tanh",
    }
)
"""Functions of one tensor that treat every element alone."""

PAIRWISE = frozenset({"add", "divide", "maximum", "minimum", "mul", "multiply", "sub", "subtract", "truediv"})
"""Functions of two tensors, or of a tensor and a number, element by element."""

UNCHANGED = frozenset(
    {
        "ActivityRegularization",
        "AveragePooling1D",
        "AveragePooling2D",
        "Cropping1D",
        "Cropping2D",
        "ELU",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "Identity",
        "LeakyReLU",
        "MaxPooling1D",
        "MaxPooling2D",
        "ReLU",
        "RepeatVector",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "ThresholdedReLU",
        "UpSampling1D",
        "UpSampling2D",
        "ZeroPadding1D",
        "ZeroPadding2D",
    }
)
"""Layers that give the channels that they take."""
