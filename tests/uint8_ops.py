"""Models of one uint8 op behind a convolution, as TensorFlow 1 wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel


def _start() -> tuple[FlatModel, int]:
    model = FlatModel("uint8")
    return model, model.convolution(model.input((1, 8, 8, 4), zero_point=128), 4)


def _depthwise() -> bytes:
    model, given = _start()
    dice = np.random.default_rng(0)
    filters = model.constant(dice.integers(1, 255, (1, 3, 3, 4)).astype(np.uint8), scale=0.01, zero_point=117)
    bias = model.constant(dice.integers(-500, 500, 4).astype(np.int32), scale=0.0005)
    options = schema.DepthwiseConv2DOptionsT(
        padding=schema.Padding.SAME, strideH=1, strideW=1, depthMultiplier=1, dilationHFactor=1, dilationWFactor=1
    )
    made = model.tensor((1, 8, 8, 4), zero_point=128)
    return model.finish(model.op("DEPTHWISE_CONV_2D", [given, filters, bias], [made], options=options))


def _dense() -> bytes:
    model = FlatModel("uint8")
    given = model.input((1, 32), zero_point=128)
    dice = np.random.default_rng(0)
    weights = model.constant(dice.integers(1, 255, (8, 32)).astype(np.uint8), scale=0.01, zero_point=100)
    bias = model.constant(dice.integers(-500, 500, 8).astype(np.int32), scale=0.0005)
    made = model.tensor((1, 8), zero_point=128)
    options = schema.FullyConnectedOptionsT()
    return model.finish(model.op("FULLY_CONNECTED", [given, weights, bias], [made], options=options))


def _pool(name: str) -> bytes:
    model, given = _start()
    options = schema.Pool2DOptionsT(padding=schema.Padding.VALID, strideH=2, strideW=2, filterWidth=2, filterHeight=2)
    return model.finish(model.op(name, [given], [model.tensor((1, 4, 4, 4), zero_point=128)], options=options))


def _add() -> bytes:
    model, given = _start()
    made = model.tensor((1, 8, 8, 4), scale=0.07, zero_point=120)
    return model.finish(model.op("ADD", [model.inputs[0], given], [made], options=schema.AddOptionsT()))


def _softmax() -> bytes:
    model, given = _start()
    made = model.tensor((1, 8, 8, 4), scale=1 / 256, zero_point=0)
    return model.finish(model.op("SOFTMAX", [given], [made], options=schema.SoftmaxOptionsT(beta=1.0)))


def resized() -> bytes:
    """Return a resize by a factor that the NPU lacks."""
    model, given = _start()
    size = model.constant(np.array([13, 13], np.int32))
    made = model.tensor((1, 13, 13, 4), zero_point=128)
    return model.finish(model.op("RESIZE_BILINEAR", [given, size], [made], options=schema.ResizeBilinearOptionsT()))


ON_NPU: Mapping[str, Callable[[], bytes]] = {
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": lambda: _pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": lambda: _pool("MAX_POOL_2D"),
    "ADD": _add,
    "SOFTMAX": _softmax,
}
"""Op → a model of it that an Ethos-U runs whole."""
