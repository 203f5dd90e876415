"""The ops that TFLite Micro has, and how a resolver adds each.

Source: tensorflow/lite/micro/micro_mutable_op_resolver.h and kernels/*.h of tflite-micro. A test asks the installed
interpreter about every op of the schema, and fails where this table and the interpreter differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecompile.errors import ModelError
from edgecompile.tflite.graph import Graph, Op

_BY_RULE = [
    "ABS",
    "ADD",
    "ADD_N",
    "ARG_MAX",
    "ARG_MIN",
    "ASSIGN_VARIABLE",
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "BROADCAST_ARGS",
    "BROADCAST_TO",
    "CALL_ONCE",
    "CAST",
    "CEIL",
    "CONCATENATION",
    "CONV_2D",
    "COS",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "DIV",
    "DYNAMIC_UPDATE_SLICE",
    "ELU",
    "EMBEDDING_LOOKUP",
    "EQUAL",
    "EXP",
    "EXPAND_DIMS",
    "FILL",
    "FLOOR",
    "FLOOR_DIV",
    "FLOOR_MOD",
    "FULLY_CONNECTED",
    "GATHER",
    "GATHER_ND",
    "GREATER",
    "GREATER_EQUAL",
    "HARD_SWISH",
    "IF",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LEAKY_RELU",
    "LESS",
    "LESS_EQUAL",
    "LOG",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "LOGICAL_OR",
    "LOGISTIC",
    "LOG_SOFTMAX",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MEAN",
    "MINIMUM",
    "MIRROR_PAD",
    "MUL",
    "NEG",
    "NOT_EQUAL",
    "PACK",
    "PAD",
    "PRELU",
    "QUANTIZE",
    "READ_VARIABLE",
    "REDUCE_ALL",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "RELU",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "ROUND",
    "RSQRT",
    "SELECT_V2",
    "SHAPE",
    "SIN",
    "SLICE",
    "SOFTMAX",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "SQRT",
    "SQUARE",
    "SQUARED_DIFFERENCE",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "SUM",
    "SVDF",
    "TANH",
    "TRANSPOSE",
    "TRANSPOSE_CONV",
    "UNPACK",
    "VAR_HANDLE",
    "WHILE",
    "ZEROS_LIKE",
]
_OWN_NAMES = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def _camel(name: str) -> str:
    return "".join(part.capitalize() if not part[0].isdigit() else part.upper() for part in name.split("_"))


ADD_METHODS: Mapping[str, str] = {**{name: f"Add{_camel(name)}" for name in _BY_RULE}, **_OWN_NAMES}
"""Op → the method of MicroMutableOpResolver that adds it."""

_CUSTOM: Mapping[str, str] = {
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "TFLM_DECODE": "AddDecode",
    "ethos-u": "AddEthosU",
    "SignalDelay": "AddDelay",
    "SignalEnergy": "AddEnergy",
    "SignalFftAutoScale": "AddFftAutoScale",
    "SignalFilterBank": "AddFilterBank",
    "SignalFilterBankLog": "AddFilterBankLog",
    "SignalFilterBankSpectralSubtraction": "AddFilterBankSpectralSubtraction",
    "SignalFilterBankSquareRoot": "AddFilterBankSquareRoot",
    "SignalFramer": "AddFramer",
    "SignalIrfft": "AddIrfft",
    "SignalOverlapAdd": "AddOverlapAdd",
    "SignalPCAN": "AddPCAN",
    "SignalRfft": "AddRfft",
    "SignalStacker": "AddStacker",
    "SignalWindow": "AddWindow",
}
"""Custom op → the method that adds it."""

INT8_REGISTRATIONS: Mapping[str, str] = {
    name: f"tflite::Register_{name}_INT8()"
    for name in (
        "ADD",
        "AVERAGE_POOL_2D",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MAX_POOL_2D",
        "MUL",
        "SOFTMAX",
        "SVDF",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    )
}
"""Op → the registration of its kernels for int8 alone: the smallest stock choice where every such op is int8."""


def resolver(graph: Graph) -> tuple[tuple[str, str], ...]:
    """Return the method and the registration for each op of graph, sorted; int8-only kernels where all are int8.

    Raises:
        ModelError: an op that TFLite Micro does not have, or a custom op that the application must add itself.
    """
    found = {}
    for op in graph.every_op():
        if op.custom:
            method = _CUSTOM.get(op.name)
            if method is None:
                raise ModelError(
                    f"custom op `{op.name}` has no method of TFLite Micro's resolver",
                    hint="take the op out of the model, or build it into TFLite Micro and add it with AddCustom",
                )
            found[method] = ""
            continue
        if op.name not in ADD_METHODS:
            raise ModelError(f"TFLite Micro has no op {op.name}", hint="take the op out of the model")
        alike = [o for g in (graph, *graph.bodies) for o in g.ops if o.name == op.name and not _int8(g, o)]
        found[ADD_METHODS[op.name]] = "" if alike else INT8_REGISTRATIONS.get(op.name, "")
    return tuple(sorted(found.items()))


def _int8(graph: Graph, op: Op) -> bool:
    ends = [i for i in (*op.inputs[:2], *op.outputs) if i >= 0]
    return all(graph.tensors[i].dtype == "int8" for i in ends)
