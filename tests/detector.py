"""Small models that end as Coral's own do: boxes decoded by a custom op, key points read off in float and int32."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel
from flatbuffers import flexbuffers

ANCHORS, CLASSES, BOXES = 16, 3, 4

POST_PROCESS = "TFLite_Detection_PostProcess"

_OPTIONS: dict[str, Any] = {
    "max_detections": BOXES,
    "max_classes_per_detection": 1,
    "detections_per_class": 10,
    "num_classes": CLASSES,
    "nms_score_threshold": 1e-8,
    "nms_iou_threshold": 0.6,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
    "use_regular_nms": False,
}
"""Keys that LiteRT's kernel reads (tflite/kernels/detection_postprocess.cc), numbers of the object detection API."""


def custom(model: FlatModel, name: str, inputs: list[int], outputs: list[int], options: dict[str, Any]) -> None:
    """Add a custom op with a flexbuffer of options."""
    builder = flexbuffers.Builder()
    builder.MapFromElements(options)
    model.codes.append(
        schema.OperatorCodeT(builtinCode=32, deprecatedBuiltinCode=32, customCode=name.encode(), version=1)
    )
    model.ops.append(
        schema.OperatorT(
            opcodeIndex=len(model.codes) - 1,
            inputs=inputs,
            outputs=outputs,
            customOptions=np.frombuffer(bytes(builder.Finish()), np.uint8),
        )
    )


def real(model: FlatModel, shape: tuple[int, ...]) -> int:
    """Add a float32 tensor."""
    at = model.tensor(shape, dtype="float32")
    model.tensors[at].quantization = None
    return at


def reshaped(model: FlatModel, given: int, shape: tuple[int, ...]) -> int:
    """Add a RESHAPE."""
    wanted = model.constant(np.asarray(shape, np.int32))
    tensor = model.tensors[given]
    made = real(model, shape) if tensor.quantization is None else model.tensor(shape, scale=0.05, zero_point=0)
    model.tensors[made].quantization = tensor.quantization
    return model.op("RESHAPE", [given, wanted], [made], options=schema.ReshapeOptionsT(newShape=list(shape)))


def detector(dtype: Literal["int8", "uint8", "float32"] = "uint8", *, name: str = POST_PROCESS) -> bytes:
    """Return an SSD in small: two convolutions, and boxes decoded from them in float. Takes 1×4×4×3.

    LiteRT's post-processing takes uint8 and float32, so that converters put a DEQUANTIZE before it in an int8 model.
    """
    model = FlatModel("uint8" if dtype == "uint8" else "int8")
    floats = dtype == "float32"
    if floats:
        model.inputs.append(real(model, (1, 4, 4, 3)))
    else:
        model.input((1, 4, 4, 3), zero_point=128 if dtype == "uint8" else 0)
    heads = []
    for channels in (4, CLASSES + 1):
        given = model.inputs[0]
        made = _float_convolution(model, given, channels) if floats else model.convolution(given, channels)
        heads.append(reshaped(model, made, (1, ANCHORS, channels)))
        if dtype == "int8":
            heads[-1] = model.op("DEQUANTIZE", [heads[-1]], [real(model, (1, ANCHORS, channels))], version=2)
    dice = np.random.default_rng(3)
    anchors = np.concatenate([dice.uniform(0.2, 0.8, (ANCHORS, 2)), np.full((ANCHORS, 2), 0.3)], 1)
    if dtype == "uint8":
        held = model.constant(np.rint(anchors / 0.01).astype(np.uint8), scale=0.01, zero_point=0)
    else:
        held = model.constant(anchors.astype(np.float32))
    ends = [real(model, shape) for shape in ((1, BOXES, 4), (1, BOXES), (1, BOXES), (1,))]
    custom(model, name, [*heads, held], ends, _OPTIONS)
    return model.finish(*ends)


def _float_convolution(model: FlatModel, given: int, outputs: int) -> int:
    dice = np.random.default_rng(len(model.ops))
    filters = model.constant(dice.normal(0, 0.5, (outputs, 1, 1, 3)).astype(np.float32))
    bias = model.constant(np.zeros(outputs, np.float32))
    made = real(model, (1, 4, 4, outputs))
    options = schema.Conv2DOptionsT(padding=schema.Padding.SAME, strideH=1, strideW=1)
    return model.op("CONV_2D", [given, filters, bias], [made], options=options)


def pose() -> bytes:
    """Return a MoveNet in small: uint8 cast to float and quantized, a heat map, where it is largest, and floats out."""
    model = FlatModel()
    image = model.input((1, 4, 4, 3), dtype="uint8")
    model.tensors[image].quantization = None
    cast = real(model, (1, 4, 4, 3))
    model.op("CAST", [image], [cast], options=schema.CastOptionsT(inDataType=3, outDataType=0))
    pixels = model.tensor((1, 4, 4, 3), scale=1.0, zero_point=-128)
    model.op("QUANTIZE", [cast], [pixels])
    heat = model.convolution(pixels, 2)
    flat = reshaped(model, heat, (1, 16, 2))
    where = model.tensor((1, 2), dtype="int32")
    model.tensors[where].quantization = None
    axis = model.constant(np.int32(1))
    model.op("ARG_MAX", [flat, axis], [where], options=schema.ArgMaxOptionsT(outputType=2), version=2)
    squared = real(model, (1, 4, 4, 2))
    again = real(model, (1, 4, 4, 2))
    model.op("DEQUANTIZE", [heat], [squared], version=2)
    model.op("EXP", [squared], [again])
    confidence = model.tensor((1, 4, 4, 2), scale=0.05, zero_point=-128)
    model.op("QUANTIZE", [again], [confidence])
    made = real(model, (1, 4, 4, 2))
    model.op("DEQUANTIZE", [confidence], [made], version=2)
    return model.finish(where, made)
