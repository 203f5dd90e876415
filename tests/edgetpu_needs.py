"""For every rewrite of `edgetpu-fit` a small model that needs it: the op between layers that the Edge TPU has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel

SHAPE = (1, 8, 8, 4)
NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def _ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int32)


def _between(write: Callable[[FlatModel, int], int], shape: tuple[int, ...] = SHAPE) -> bytes:
    """Return a model of a convolution, what write adds behind it, and a convolution behind that."""
    model = FlatModel()
    here = write(model, model.convolution(model.input(shape), shape[-1]))
    return model.finish(model.convolution(here, 6) if len(model.tensors[here].shape) == 4 else here)


def _hard_swish() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        return model.op("HARD_SWISH", [here], [model.tensor(SHAPE, scale=0.0264, zero_point=-114)])

    return _between(write)


def _leaky_relu() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        options = schema.LeakyReluOptionsT(alpha=0.1)
        return model.op("LEAKY_RELU", [here], [model.tensor(SHAPE, zero_point=-100)], options=options)

    return _between(write)


def _pool_with_relu6() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        options = schema.Pool2DOptionsT(
            padding=schema.Padding.VALID,
            strideH=2,
            strideW=2,
            filterHeight=2,
            filterWidth=2,
            fusedActivationFunction=schema.ActivationFunctionType.RELU6,
        )
        return model.op("AVERAGE_POOL_2D", [here], [model.tensor((1, 4, 4, 4))], options=options, version=2)

    return _between(write)


def _large_mean() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        options = schema.ReducerOptionsT(keepDims=True)
        axes = model.constant(_ints(1, 2))
        return model.op("MEAN", [here, axes], [model.tensor((1, 1, 1, 3))], options=options, version=2)

    return _between(write, (1, 256, 128, 3))


def _image_pooling() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        options = schema.ResizeBilinearOptionsT()
        size = model.constant(_ints(33, 33))
        return model.op("RESIZE_BILINEAR", [here, size], [model.tensor((1, 33, 33, 8))], options=options, version=2)

    return _between(write, (1, 1, 1, 8))


def _dense(inputs: int, rows: int, outputs: int) -> bytes:
    def write(model: FlatModel, here: int) -> int:
        shape = (1, inputs) if rows == 1 else (1, rows, inputs)
        flat = model.tensor(shape)
        model.op("RESHAPE", [here, model.constant(_ints(*shape))], [flat])
        dice = np.random.default_rng(5)
        weights = model.constant(dice.integers(-127, 128, (outputs, inputs)).astype(np.int8), scale=0.01)
        bias = model.constant(dice.integers(-900, 900, outputs).astype(np.int32), scale=0.0005)
        options = schema.FullyConnectedOptionsT(keepNumDims=rows > 1)
        made = model.tensor((*shape[:-1], outputs), scale=0.1)
        version = 4 if rows == 1 else 5
        return model.op("FULLY_CONNECTED", [flat, weights, bias], [made], options=options, version=version)

    return _between(write, (1, 1, rows, inputs))


def _grouped() -> bytes:
    model = FlatModel()
    here = model.convolution(model.input((1, 8, 8, 8)), 8)
    dice = np.random.default_rng(2)
    scale = dice.uniform(0.002, 0.02, 12)
    weights = model.constant(dice.integers(-127, 128, (12, 3, 3, 4)).astype(np.int8), scale=scale)
    bias = model.constant(dice.integers(-900, 900, 12).astype(np.int32), scale=scale * 0.05)
    options = schema.Conv2DOptionsT(padding=schema.Padding.SAME, strideH=1, strideW=1)
    made = model.tensor((1, 8, 8, 12), scale=0.1)
    return model.finish(model.op("CONV_2D", [here, weights, bias], [made], options=options, version=6))


def _transposed(model: FlatModel, here: int, order: tuple[int, ...]) -> int:
    shape = model.tensors[here].shape
    made = model.tensor([int(shape[axis]) for axis in order])
    return model.op("TRANSPOSE", [here, model.constant(_ints(*order))], [made], version=2)


def _there_and_back() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        there = _transposed(model, here, NCHW)
        kept = model.op("RELU", [there], [model.tensor((1, 3, 224, 224))], version=2)
        return _transposed(model, kept, NHWC)

    return _between(write, (1, 224, 224, 3))


def _transpose_of_nothing() -> bytes:
    return _between(lambda model, here: _transposed(model, here, (0, 2, 1, 3)), (1, 400, 1, 500))


def _nchw_input() -> bytes:
    model = FlatModel()
    given = model.input((1, 3, 224, 224), dtype="uint8", zero_point=128)
    here = model.op("QUANTIZE", [given], [model.tensor((1, 3, 224, 224))])
    return model.finish(model.convolution(model.convolution(_transposed(model, here, NHWC), 4), 4))


def _pad_with_a_value() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        paddings = model.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        value = model.constant(np.array(0, np.int8), scale=0.05)
        made = model.tensor((1, 10, 10, 4))
        return model.op("PADV2", [here, paddings, value], [made], options=schema.PadV2OptionsT(), version=2)

    return _between(write)


def _unequal_parts() -> bytes:
    model = FlatModel()
    here = model.convolution(model.input(SHAPE), 8)
    parts = [model.tensor((1, 8, 8, n)) for n in (5, 3)]
    options = schema.SplitVOptionsT(numSplits=2)
    model.op("SPLIT_V", [here, model.constant(_ints(5, 3)), model.constant(_ints(3))], parts, options=options)
    return model.finish(*(model.convolution(part, 2) for part in parts))


def _unpacked() -> bytes:
    model = FlatModel()
    here = model.convolution(model.input((1, 3, 4, 4)), 6)
    parts = [model.tensor((1, 4, 6)) for _ in range(3)]
    model.op("UNPACK", [here], parts, options=schema.UnpackOptionsT(num=3, axis=1), version=2)
    return model.finish(*parts)


def _gathered() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        options = schema.GatherOptionsT(axis=3)
        return model.op("GATHER", [here, model.constant(_ints(1, 2))], [model.tensor((1, 8, 8, 2))], options=options)

    return _between(write)


def _too_new() -> bytes:
    def write(model: FlatModel, here: int) -> int:
        return model.op("MUL", [here, here], [model.tensor(SHAPE, scale=0.3)], options=schema.MulOptionsT(), version=7)

    return _between(write)


NEEDS: Mapping[str, Callable[[], bytes]] = {
    "hard_swish": _hard_swish,
    "leaky_relu": _leaky_relu,
    "unfused_activation": _pool_with_relu6,
    "mean_in_steps": _large_mean,
    "resize_in_steps": _image_pooling,
    "dense_in_parts": lambda: _dense(16, 1, 100_000),
    "dense_as_convolution": lambda: _dense(16, 7, 9),
    "grouped_convolution": _grouped,
    "cancelled_transposes": _there_and_back,
    "transpose_as_reshape": _transpose_of_nothing,
    "transpose_first": _nchw_input,
    "plain_pad": _pad_with_a_value,
    "slices": _unequal_parts,
    "unpack_as_split": _unpacked,
    "gathered_slice": _gathered,
    "older_version": _too_new,
}
"""Name of a rewrite → the file of a model that needs it."""
