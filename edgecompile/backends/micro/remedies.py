"""What to do about an op that TFLite Micro refuses."""

from __future__ import annotations

from edgecompile.tflite.graph import Graph, Op

_INSTEAD = {
    "TILE": "use CONCATENATION of the same tensor, or BROADCAST_TO",
    "POW": "use MUL of the tensor with itself, or EXP of a product with LOG",
    "SELECT": "convert with a newer TensorFlow, which writes SELECT_V2",
    "WHERE": "take it out of the model and do it in the application",
    "TOPK_V2": "take it out of the model and sort in the application",
    "GELU": "build the layer with an approximation of tanh or sigmoid, or use HARD_SWISH",
    "RNN": "use an LSTM with batch 1, which converts to UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "use an LSTM with batch 1, which converts to UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "use two LSTM layers of one direction each",
    "LSTM": "convert it with batch 1, so that it becomes UNIDIRECTIONAL_SEQUENCE_LSTM",
    "REDUCE_PROD": "use MUL",
    "REDUCE_ANY": "it makes a mask, mostly that of a Masking layer: build the model without the mask, for sequences of "
    "one fixed length",
    "LOCAL_RESPONSE_NORMALIZATION": "use batch normalization",
    "CONV_3D": "use CONV_2D on slices",
    "RELU_N1_TO_1": "use RELU6, or MINIMUM and MAXIMUM",
    "DENSIFY": "export the model without sparse tensors",
}
"""Op → what to build the model with instead."""


def remedy(graph: Graph, op: Op, *, registered: bool) -> str:
    """Return what to do about op: another op where TFLite Micro has none, another dtype where it has."""
    if op.custom:
        return "build the op for TFLite Micro and add it with AddCustom, or take it out of the model"
    if not registered:
        return _INSTEAD.get(op.name, "replace the layer, or take the op out of the model and run it in the application")
    dtypes = {graph.tensors[i].dtype for i in (*op.inputs, *op.outputs) if i >= 0}
    if "uint8" in dtypes:
        return "quantize the float model to int8: TFLite Micro no longer takes uint8 models"
    if {"float32", "int8"} <= dtypes or "float16" in dtypes:
        return 'quantize fully: recipe "int8" (weights alone in 8 or 16 bits are not taken)'
    if "int8" not in dtypes and "float32" in dtypes:
        return 'quantize to int8: recipe "int8"'
    return "replace the layer by one that the reason allows"
