"""The ops of the Edge TPU: what each is asked, since which runtime it is there, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecompile.backends.edgetpu import doubts, oprules, status
from edgecompile.backends.edgetpu.evidence import (
    ARTPEC,
    BODYPIX,
    BRIGHT,
    CHANGES,
    CITYSCAPES,
    CORAL,
    CORAL_2019,
    DEEPLAB,
    DENSE_8192,
    DENSE_PAIR,
    DENSE_V9,
    EFFICIENTDET,
    FLOAT_INPUTS,
    LIBCORAL,
    LSTM,
    MANY,
    OP_VERSIONS,
    PRELUS,
    SPLIT_CONCAT,
    TCN,
    YOLOV3_TINY,
    YOLOV5_224,
    YOLOV5_V15,
    YOLOV8_256,
    YOLOV9,
    Evidence,
    issue,
)
from edgecompile.backends.edgetpu.versions import EVIDENCE, edgetpu_perhaps_readable, edgetpu_readable
from edgecompile.backends.rules import Rule
from edgecompile.tflite.graph import Graph, Op

FIRST_RUNTIME, SECOND_RUNTIME, LAST_RUNTIME = 12, 13, 14
"""Runtimes of the Edge TPU that brought ops; compiler 16 compiles for the last one."""


@dataclass(frozen=True)
class Limit:
    """A rule for an op.

    Attributes:
        rule: says how an op breaks it.
        status: what the compiler says of an op that breaks it.
        evidence: where the rule comes from.
    """

    rule: Rule
    status: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Doubt:
    """A limit that exists and is not known.

    Attributes:
        rule: says what is in doubt of an op.
        evidence: what is known on either side.
    """

    rule: Rule
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Row:
    """An op that the Edge TPU has.

    Attributes:
        evidence: that it has it.
        limits: asked in order; the first that is broken counts.
        doubts: asked of ops that keep all limits.
        runtime: the oldest runtime that is known to have it: 12 (or older still), 13, or None: some up to 14.
        before_13: limits that runtime 12 has besides.
        version: the highest version of the op that is known to be mapped.
    """

    evidence: tuple[Evidence, ...]
    limits: tuple[Limit, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    runtime: int | None = FIRST_RUNTIME
    before_13: tuple[Limit, ...] = ()
    version: int = 2


_DOCUMENTED = (CORAL, CORAL_2019, ARTPEC)

_CONSTANT = Limit(oprules.edgetpu_weights_constant, status.NOT_CONSTANT, (CORAL, issue(25)))
_PARAMETER = Limit(oprules.edgetpu_parameter_constant, status.NOT_CONSTANT, (CORAL,))
_NO_ACTIVATION = Limit(oprules.edgetpu_no_fused_activation, status.UNSPECIFIED, _DOCUMENTED)
_DILATION = Limit(oprules.edgetpu_same_dilation, status.UNSPECIFIED, (ARTPEC, TCN))
_PLANE = Limit(oprules.edgetpu_old_plane, status.UNSPECIFIED, (CORAL_2019,))
_LEADING = Limit(oprules.edgetpu_old_squeeze, status.UNSPECIFIED, (CORAL_2019,))
_BATCH = Limit(oprules.edgetpu_batch_axis, status.UNSPECIFIED, (ARTPEC,))
_LARGE_LAYOUT = Doubt(doubts.edgetpu_large_layout, (ARTPEC, YOLOV5_224, EFFICIENTDET))

_PLAIN = Row(_DOCUMENTED)
_WIDELY_SEEN = Row((*_DOCUMENTED, MANY))
_CONVOLUTION = Row((*_DOCUMENTED, MANY, DEEPLAB), (_CONSTANT, _DILATION), version=3)
_POOL = Row((*_DOCUMENTED, MANY), (_NO_ACTIVATION,))
_REDUCE = Row((ARTPEC,), (_PARAMETER, _BATCH), runtime=None)
_RESIZE = Row(
    (*_DOCUMENTED, YOLOV5_224, PRELUS),
    (_PARAMETER, Limit(oprules.edgetpu_resize_size, status.UNSPECIFIED, (CORAL, issue(31), DEEPLAB, CITYSCAPES))),
    (Doubt(doubts.edgetpu_large_resize, (CORAL, issue(31), issue(187), EFFICIENTDET)),),
    version=3,
)
_RECURRENT = Row(
    (ARTPEC, LSTM),
    (),
    (Doubt(doubts.edgetpu_wide_lstm, (issue(598),)),),
    runtime=None,
    version=1,
)

ROWS: Mapping[str, Row] = {
    **dict.fromkeys(("L2_NORMALIZATION", "RELU", "RELU6", "SPACE_TO_DEPTH", "TANH"), _PLAIN),
    "RELU_N1_TO_1": Row(_DOCUMENTED, version=1),
    **dict.fromkeys(("ADD", "LOGISTIC", "MUL"), _WIDELY_SEEN),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), Row((*_DOCUMENTED, YOLOV9))),
    "SUB": Row((*_DOCUMENTED, YOLOV5_224), version=3),
    **dict.fromkeys(("RSQRT", "SQUARED_DIFFERENCE"), Row((ARTPEC, issue(461)), runtime=None)),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _CONVOLUTION),
    "TRANSPOSE_CONV": Row(
        (CHANGES, ARTPEC, issue(686)),
        (_PARAMETER, _CONSTANT),
        (Doubt(doubts.edgetpu_large_transpose_conv, (issue(684), issue(686))),),
        runtime=SECOND_RUNTIME,
        version=3,
    ),
    "FULLY_CONNECTED": Row(
        # With one scale an output too, though converters wrote that only years after the compiler: the parameters in
        # the compiled dense_256, _512 and _1024 hold every output's own multiplier.
        (*_DOCUMENTED, MANY, DENSE_PAIR),
        (
            _CONSTANT,
            Limit(oprules.edgetpu_dense_version, status.VERSION, (DENSE_V9,)),
            Limit(oprules.edgetpu_dense_weights_format, status.UNSPECIFIED, _DOCUMENTED),
            Limit(oprules.edgetpu_dense_vector, status.RANK, (*_DOCUMENTED, issue(27))),
            Limit(oprules.edgetpu_dense_size, status.UNSPECIFIED, (LIBCORAL,)),
        ),
        (Doubt(doubts.edgetpu_large_dense, (LIBCORAL, DENSE_8192)),),
        version=4,
    ),
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), _RECURRENT),
    "PRELU": Row(
        (ARTPEC, PRELUS),
        (_CONSTANT, Limit(oprules.edgetpu_prelu_alpha, status.UNSPECIFIED, (ARTPEC,))),
        runtime=None,
        version=1,
    ),
    "SOFTMAX": Row(
        (*_DOCUMENTED, MANY),
        (
            Limit(
                oprules.edgetpu_softmax_size,
                status.UNSPECIFIED,
                (CORAL, ARTPEC, BRIGHT),
            ),
        ),
        (Doubt(doubts.edgetpu_softmax_rows, (CORAL, ARTPEC, YOLOV8_256, YOLOV9)),),
    ),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _POOL),
    "MEAN": Row(
        (*_DOCUMENTED, MANY),
        (
            _PARAMETER,
            _BATCH,
            Limit(oprules.edgetpu_mean_depth, status.UNSPECIFIED, (ARTPEC,)),
            Limit(oprules.edgetpu_mean_area, status.UNSPECIFIED, (issue(461), issue(183))),
        ),
        (Doubt(doubts.edgetpu_large_mean, (issue(461),)),),
        before_13=(_PLANE,),
    ),
    "SUM": Row((CHANGES, ARTPEC), (_PARAMETER, _BATCH), runtime=SECOND_RUNTIME),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN"), _REDUCE),
    "CONCATENATION": Row(
        (*_DOCUMENTED, MANY),
        (_NO_ACTIVATION, Limit(oprules.edgetpu_concatenation_constant, status.UNSPECIFIED, _DOCUMENTED)),
        (_LARGE_LAYOUT,),
    ),
    "PACK": Row((CHANGES, ARTPEC), (_BATCH,), runtime=SECOND_RUNTIME),
    "PAD": Row((*_DOCUMENTED, MANY), (_PARAMETER, _BATCH), before_13=(_PLANE,)),
    "SPLIT": Row((*_DOCUMENTED, YOLOV9, SPLIT_CONCAT), (_PARAMETER, _BATCH)),
    "SLICE": Row(_DOCUMENTED, (_PARAMETER,)),
    "STRIDED_SLICE": Row(
        (*_DOCUMENTED, YOLOV5_224),
        (
            _PARAMETER,
            Limit(oprules.edgetpu_slice_masks, status.UNSPECIFIED, (ARTPEC,)),
            Limit(oprules.edgetpu_slice_depth_stride, status.STRIDES, (ARTPEC, YOLOV5_V15, issue(828))),
        ),
        (Doubt(doubts.edgetpu_slice_strides, (ARTPEC, YOLOV5_V15, YOLOV5_224)),),
    ),
    "RESHAPE": Row((*_DOCUMENTED, MANY), (_PARAMETER,), (_LARGE_LAYOUT,), version=1),
    "EXPAND_DIMS": Row((CHANGES, ARTPEC), (_PARAMETER,), runtime=SECOND_RUNTIME, version=1),
    "SQUEEZE": Row(_DOCUMENTED, before_13=(_LEADING,), version=1),
    "TILE": Row(
        (CITYSCAPES,),
        (_PARAMETER, Limit(oprules.edgetpu_tile_spreads, status.NOT_SUPPORTED, (CORAL, CITYSCAPES))),
        (Doubt(doubts.edgetpu_tile_alone, (CORAL, CITYSCAPES)),),
        runtime=None,
        version=1,
    ),
    "TRANSPOSE": Row(
        (ARTPEC, issue(193), YOLOV9),
        (_PARAMETER, Limit(oprules.edgetpu_transpose_size, status.UNSPECIFIED, (issue(433), YOLOV5_224))),
        (Doubt(doubts.edgetpu_large_transpose, (issue(433), YOLOV5_224)),),
        runtime=None,
    ),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _RESIZE),
    "QUANTIZE": Row((CHANGES, ARTPEC, MANY, BODYPIX), runtime=SECOND_RUNTIME),
}
"""Op → what is asked of it. An op that is not here is not on the Edge TPU."""

ALWAYS: tuple[Limit, ...] = (
    Limit(oprules.edgetpu_inner_dimensions, status.RANK, (CORAL, issue(75), issue(708))),
    Limit(oprules.edgetpu_8_bit, status.DATA_TYPE, (CORAL, issue(409), issue(609), EFFICIENTDET)),
)
"""Asked of every op, first. The compiler names the rank before the type (issue 708), and both before the op."""

UNLISTED = Limit(oprules.edgetpu_op, status.NOT_SUPPORTED, (CORAL, ARTPEC, YOLOV3_TINY, YOLOV9))
"""What an op breaks that has no row."""

FLOAT_INPUT = Limit(oprules.edgetpu_float_input, status.UNSPECIFIED, (FLOAT_INPUTS,))
"""What a QUANTIZE of float breaks, in place of the rule about types: the compiler says something else of it."""

NOTHING_TO_FOLLOW = Limit(
    oprules.edgetpu_follows, status.UNSPECIFIED, (YOLOV3_TINY, YOLOV5_V15, YOLOV5_224, issue(461))
)
"""What a QUANTIZE between int8 and uint8 breaks whose input comes from the CPU."""

RUNTIME = Limit(oprules.edgetpu_runtime, status.UNSPECIFIED, (CORAL_2019, CHANGES))
"""What an op breaks that an older runtime lacks. What the compiler says of it is not known; this is the widest."""

UNREADABLE = Limit(edgetpu_readable, status.NOT_GIVEN, EVIDENCE)
"""What an op breaks that the compiler cannot read: the model is cut before the first of them."""

SPECIAL: tuple[Limit, ...] = (UNLISTED, FLOAT_INPUT, NOTHING_TO_FOLLOW, RUNTIME, UNREADABLE)
"""Limits that no row lists."""


def edgetpu_unseen_version(graph: Graph, op: Op) -> str:
    """No log or compiled model shows that the compiler maps this version of the op."""
    return f"{op.name} version {op.version}" if op.version > ROWS[op.name].version else ""


def edgetpu_perhaps_runtime(graph: Graph, op: Op) -> str:
    """Which runtime of the Edge TPU brought this op is not published; 14 has it."""
    return op.name if ROWS[op.name].runtime is None else ""


OLDER_RUNTIME_IN_DOUBT = Doubt(edgetpu_perhaps_runtime, (CORAL_2019, CHANGES, ARTPEC))
"""Asked where a runtime older than the last is to run the model."""

ALWAYS_IN_DOUBT: tuple[Doubt, ...] = (
    Doubt(edgetpu_perhaps_readable, EVIDENCE),
    Doubt(edgetpu_unseen_version, (MANY, OP_VERSIONS)),
)
"""Asked of every op that is expected on the Edge TPU."""
