"""Op versions that edgetpu_compiler 16 can read at all.

The compiler (July 2021) holds an interpreter of its time and refuses a whole model for one op or op version that is
younger: “Didn't find op for builtin opcode … version …”, or “Op builtin_code out of range”. TensorFlow lists in which
release each version came (`OP_VERSIONS`): TensorFlow 2.5 was out before the compiler, 2.7 after it, 2.6 three weeks
after it. Refusals that users met agree: CONV_2D 6, TRANSPOSE_CONV 4, EXP 2, QUANTIZE 3, operator codes 150 and 151.
"""

from __future__ import annotations

from edgecompile.backends.edgetpu.evidence import OP_VERSIONS, Evidence, issue
from edgecompile.tflite.graph import Graph, Op

EVIDENCE: tuple[Evidence, ...] = (OP_VERSIONS, issue(631), issue(845), issue(862), issue(879))

_BY_VERSION = {
    1: """
        CAST DENSIFY EXP EXPAND_DIMS FLOOR_MOD LOG PRELU RANGE REDUCE_PROD RELU_N1_TO_1 RESHAPE SELECT_V2 SHAPE SQRT
        WHERE
    """,
    2: """
        ARG_MAX ARG_MIN DEPTH_TO_SPACE DIV FLOOR_DIV GREATER GREATER_EQUAL L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL
        LOG_SOFTMAX MIRROR_PAD QUANTIZE RSQRT SELECT SPACE_TO_DEPTH SPLIT_V SQUARED_DIFFERENCE SQUEEZE SUM TILE TOPK_V2
    """,
    3: """
        ABS ADD AVERAGE_POOL_2D BATCH_TO_SPACE_ND BIDIRECTIONAL_SEQUENCE_LSTM BIDIRECTIONAL_SEQUENCE_RNN BROADCAST_TO
        CONCATENATION EMBEDDING_LOOKUP EQUAL FILL GATHER_ND LOGISTIC MAX_POOL_2D MEAN NOT_EQUAL PACK PAD PADV2
        REDUCE_MAX REDUCE_MIN RELU RELU6 REVERSE_V2 RNN SOFTMAX SPACE_TO_BATCH_ND SPARSE_TO_DENSE TANH TRANSPOSE_CONV
        UNIDIRECTIONAL_SEQUENCE_LSTM UNIDIRECTIONAL_SEQUENCE_RNN
    """,
    4: """
        BATCH_MATMUL DEQUANTIZE LSTM MAXIMUM MINIMUM MUL RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPLIT SVDF UNPACK
    """,
    5: "CONV_2D GATHER SLICE STRIDED_SLICE SUB TRANSPOSE",
    6: "DEPTHWISE_CONV_2D",
    9: "FULLY_CONNECTED",
}
_IN_2_5 = {name: version for version, names in _BY_VERSION.items() for name in names.split()}
"""Op → its highest version in TensorFlow 2.5."""

_IN_2_6 = {"ABS": 4, "ADD": 4, "MUL": 5, "PAD": 4, "PADV2": 4, "REDUCE_PROD": 2, "STRIDED_SLICE": 6}
"""Op → its highest version in TensorFlow 2.6, where that is more."""

_NEW_IN_2_6 = frozenset(
    {"ASSIGN_VARIABLE", "BROADCAST_ARGS", "CONV_3D_TRANSPOSE", "READ_VARIABLE", "REDUCE_ALL", "VAR_HANDLE"}
)
_LATER = (
    *("ATAN2", "BITCAST", "BITWISE_XOR", "BUCKETIZE", "DILATE", "DYNAMIC_UPDATE_SLICE", "GELU", "MULTINOMIAL"),
    *("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "REDUCE_WINDOW", "RELU_0_TO_1", "RIGHT_SHIFT", "SIGN"),
    *("STABLEHLO_", "UNSORTED_SEGMENT_"),
)
"""Beginnings of the names of ops that came with TensorFlow 2.8 and later."""


def edgetpu_readable(graph: Graph, op: Op) -> str:
    """The Edge TPU compiler reads op versions of TensorFlow 2.5 and older, and refuses a model with younger ones."""
    if op.custom:
        return ""
    too_new = op.version > (_IN_2_5 | _IN_2_6).get(op.name, op.version) or op.name.startswith(_LATER)
    return f"{op.name} version {op.version}" if too_new else ""


def first_unreadable(graph: Graph) -> int | None:
    """Return the number of the first op for which the compiler would refuse the model; None where it reads all."""
    return next((op.index for op in graph.ops if edgetpu_readable(graph, op)), None)


def edgetpu_perhaps_readable(graph: Graph, op: Op) -> str:
    """The Edge TPU compiler may not read op versions of TensorFlow 2.6, which came out weeks after it."""
    if op.custom or edgetpu_readable(graph, op):
        return ""
    in_doubt = op.version > _IN_2_5.get(op.name, op.version) or op.name in _NEW_IN_2_6
    return f"{op.name} version {op.version}" if in_doubt else ""
