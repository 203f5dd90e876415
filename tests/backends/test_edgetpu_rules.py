"""Rules of the Edge TPU: for every rule, graphs on both sides of it, and what the planner says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from graphs import COMPUTED, Builder, one

from edgecompile.backends.edgetpu import oprules, optable, status
from edgecompile.backends.edgetpu.planner import Placement, plan_mapping
from edgecompile.backends.edgetpu.remedies import remedy_for
from edgecompile.backends.edgetpu.versions import edgetpu_perhaps_readable, edgetpu_readable
from edgecompile.backends.rules import Breach, Rule, identifier, sentence
from edgecompile.tflite.graph import Graph

RELU6 = 3


@dataclass(frozen=True)
class Case:
    """One op, and what is expected of it."""

    op: str
    given: Sequence[int]
    made: Sequence[int]
    rule: str = ""
    """Identifier of the rule that it breaks; empty: it is mapped."""
    doubt: str = ""
    status: str = status.UNSPECIFIED
    extra: Sequence[Any] = ()
    """Further inputs: a shape (int8 weights), an array (a constant), COMPUTED."""
    first: Sequence[Any] = ()
    """Inputs before the tensor that the op works on."""
    version: int = 1
    dtype: str = "int8"
    made_dtype: str = ""
    custom: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.given))
        return f"{self.op}-{shape}-{self.rule or self.doubt or 'mapped'}"


def ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int32)


def graph_of(case: Case, *, before: int = 0, after: int = 0) -> tuple[Graph, int]:
    """Return a graph with the op of case between chains of convolutions, and the op's index."""
    build = Builder()
    here = start = build.tensor(case.given, case.dtype)
    given = [start]
    for _ in range(before):
        there = build.tensor(case.given, case.dtype)
        here = build.op("RELU", [here], [there])

    def constant(item: Any) -> int:
        if item is COMPUTED:
            given.append(build.tensor((4,), case.dtype))
            return given[-1]
        if isinstance(item, np.ndarray):
            return build.tensor(item.shape, str(item.dtype), data=item)
        return build.weights(*item)

    inputs = [*(constant(i) for i in case.first), here, *(constant(i) for i in case.extra)]
    made = build.tensor(case.made, case.made_dtype or case.dtype)
    build.op(case.op, inputs, [made], **case.options)
    index = len(build.ops) - 1
    build.ops[index] = build.ops[index].__class__(
        **{**vars(build.ops[index]), "version": case.version, "custom": case.custom}
    )
    here = made
    for _ in range(after):
        there = build.tensor(case.made, case.made_dtype or case.dtype)
        here = build.op("RELU", [here], [there])
    return build.graph(given, [here]), index


SQUARE = (1, 8, 8, 4)
CASES = [
    # rank and batch
    Case("CONV_2D", SQUARE, SQUARE, extra=[(4, 3, 3, 4)], version=3),
    Case("CONV_2D", (2, 8, 8, 4), (2, 8, 8, 4), "edgetpu-inner-dimensions", status=status.RANK, extra=[(4, 3, 3, 4)]),
    Case("ADD", (1, 1, 8, 8, 4), (1, 1, 8, 8, 4), version=2),
    Case("ADD", (1, 2, 8, 8, 4), (1, 2, 8, 8, 4), "edgetpu-inner-dimensions", status=status.RANK),
    Case("RELU", (30, 8, 8, 4), (30, 8, 8, 4), "edgetpu-inner-dimensions", status=status.RANK),
    Case("MUL", (7,), (7,)),
    Case("MUL", (3, 5, 7), (3, 5, 7)),
    # types
    Case("RELU", SQUARE, SQUARE, dtype="uint8"),
    Case("RELU", SQUARE, SQUARE, "edgetpu-8-bit", status=status.DATA_TYPE, dtype="float32"),
    Case("RELU", SQUARE, SQUARE, "edgetpu-8-bit", status=status.DATA_TYPE, dtype="int16"),
    Case("ARG_MAX", SQUARE, (1, 8, 8), "edgetpu-8-bit", status=status.DATA_TYPE, made_dtype="int64", extra=[ints(3)]),
    Case("RESHAPE", (2, 2, 8, 8, 4), (2, 1024), "edgetpu-inner-dimensions", status=status.RANK, dtype="float32"),
    Case("DEQUANTIZE", SQUARE, SQUARE, "edgetpu-8-bit", status=status.DATA_TYPE, made_dtype="float32"),
    Case("QUANTIZE", SQUARE, SQUARE, "edgetpu-float-input", dtype="float32", made_dtype="int8"),
    Case("QUANTIZE", SQUARE, SQUARE, dtype="uint8", made_dtype="int8"),
    Case("QUANTIZE", SQUARE, SQUARE),
    # ops that it does not have
    Case("LEAKY_RELU", SQUARE, SQUARE, "edgetpu-op", status=status.NOT_SUPPORTED, version=2),
    Case("HARD_SWISH", SQUARE, SQUARE, "edgetpu-op", status=status.NOT_SUPPORTED),
    Case("PADV2", SQUARE, (1, 10, 10, 4), "edgetpu-op", status=status.NOT_SUPPORTED),
    Case("GATHER", SQUARE, SQUARE, "edgetpu-op", status=status.NOT_SUPPORTED, extra=[ints(0)]),
    Case("MyOp", SQUARE, SQUARE, "edgetpu-op", status=status.NOT_SUPPORTED, custom=True),
    Case("MyOp", SQUARE, SQUARE, "edgetpu-8-bit", status=status.DATA_TYPE, custom=True, made_dtype="float32"),
    Case("RELU", SQUARE, SQUARE, "edgetpu-op", status=status.NOT_SUPPORTED, custom=True),
    # parameters in the file
    Case("FULLY_CONNECTED", (1, 4), (1, 4), "edgetpu-weights-constant", status=status.NOT_CONSTANT, extra=[COMPUTED]),
    Case("PRELU", SQUARE, SQUARE, "edgetpu-weights-constant", status=status.NOT_CONSTANT, extra=[COMPUTED]),
    Case("RESHAPE", SQUARE, (1, 256), extra=[ints(1, 256)]),
    # convolution
    Case("CONV_2D", SQUARE, SQUARE, extra=[(4, 3, 3, 4)], options={"dilation_h_factor": 2, "dilation_w_factor": 2}),
    Case(
        "DEPTHWISE_CONV_2D",
        SQUARE,
        SQUARE,
        "edgetpu-same-dilation",
        extra=[(1, 3, 3, 4)],
        options={"dilation_h_factor": 2, "dilation_w_factor": 1},
    ),
    *(
        Case(name, SQUARE, SQUARE, extra=[filters], options={"dilation_h_factor": high, "dilation_w_factor": wide})
        for name, filters, high, wide in (
            ("CONV_2D", (4, 3, 1, 4), 2, 1),
            ("CONV_2D", (4, 1, 3, 4), 1, 4),
            ("CONV_2D", (4, 3, 1, 4), 2, 3),
            ("CONV_2D", (4, 1, 1, 4), 2, 1),
            ("DEPTHWISE_CONV_2D", (1, 3, 1, 4), 4, 1),
            ("DEPTHWISE_CONV_2D", (1, 1, 5, 4), 1, 2),
        )
    ),
    Case(
        "CONV_2D",
        SQUARE,
        SQUARE,
        "edgetpu-same-dilation",
        extra=[(4, 3, 2, 4)],
        options={"dilation_h_factor": 4, "dilation_w_factor": 1},
    ),
    Case("CONV_2D", SQUARE, SQUARE, extra=[(4, 3, 3, 4)], options={"fused_activation_function": RELU6}),
    # repeating
    Case("TILE", (1, 1, 1, 4), SQUARE, doubt="edgetpu-tile-alone", extra=[ints(1, 8, 8, 1)]),
    *(
        Case("TILE", given, made, "edgetpu-tile-spreads", status=status.NOT_SUPPORTED, extra=[ints(*times)])
        for given, made, times in (
            ((1, 4, 4, 4), SQUARE, (1, 2, 2, 1)),
            ((1, 8, 8, 2), SQUARE, (1, 1, 1, 2)),
            ((1, 1, 1, 1), SQUARE, (1, 8, 8, 4)),
            ((1, 4), (1, 8), (1, 2)),
        )
    ),
    Case("TRANSPOSE_CONV", SQUARE, (1, 16, 16, 4), first=[ints(1, 16, 16, 4), (4, 2, 2, 4)], version=3),
    Case(
        "TRANSPOSE_CONV",
        (1, 32, 32, 8),
        (1, 64, 64, 512),
        doubt="edgetpu-large-transpose-conv",
        version=3,
        first=[ints(1, 64, 64, 512), (512, 2, 2, 8)],
    ),
    # fully connected
    Case("FULLY_CONNECTED", (1, 16), (1, 4), extra=[(4, 16)], version=4),
    Case("FULLY_CONNECTED", (1, 1, 1, 16), (1, 4), extra=[(4, 16)], version=4),
    Case("FULLY_CONNECTED", (3, 16), (3, 4), "edgetpu-dense-vector", status=status.RANK, extra=[(4, 16)]),
    Case(
        "FULLY_CONNECTED", (1, 16), (1, 4), "edgetpu-dense-version", status=status.VERSION, extra=[(4, 16)], version=9
    ),
    Case("FULLY_CONNECTED", (1, 16), (1, 4), doubt="edgetpu-unseen-version", extra=[(4, 16)], version=5),
    Case(
        "FULLY_CONNECTED",
        (1, 16),
        (1, 4),
        "edgetpu-dense-weights-format",
        extra=[(4, 16)],
        options={"weights_format": 1},
    ),
    Case("FULLY_CONNECTED", (1, 2), (1, 99_999), extra=[(99_999, 2)], version=4),
    Case("FULLY_CONNECTED", (1, 2), (1, 100_000), "edgetpu-dense-size", extra=[(100_000, 2)], version=4),
    Case("FULLY_CONNECTED", (1, 8193), (1, 8192), doubt="edgetpu-large-dense", extra=[(8192, 8193)], version=4),
    # pooling and joining
    Case("MAX_POOL_2D", SQUARE, (1, 4, 4, 4), options={"fused_activation_function": 0}),
    Case(
        "MAX_POOL_2D", SQUARE, (1, 4, 4, 4), "edgetpu-no-fused-activation", options={"fused_activation_function": RELU6}
    ),
    Case("CONCATENATION", SQUARE, (1, 8, 8, 8), extra=[COMPUTED], options={"axis": 3}),
    Case("CONCATENATION", SQUARE, (1, 8, 8, 8), extra=[np.zeros(SQUARE, np.int8)], options={"axis": 3}),
    Case(
        "CONCATENATION",
        SQUARE,
        (1, 8, 8, 8),
        "edgetpu-concatenation-constant",
        extra=[np.ones(SQUARE, np.int8)],
        options={"axis": 3},
    ),
    Case(
        "CONCATENATION",
        SQUARE,
        (1, 8, 8, 12),
        "edgetpu-concatenation-constant",
        extra=[COMPUTED, np.zeros(SQUARE, np.int8)],
    ),
    Case("CONCATENATION", SQUARE, SQUARE, "edgetpu-no-fused-activation", options={"fused_activation_function": RELU6}),
    Case("CONCATENATION", (1, 100, 2000), (1, 200, 2000), doubt="edgetpu-large-layout", extra=[COMPUTED]),
    # reductions
    Case("MEAN", (1, 7, 7, 1280), (1, 1280), extra=[ints(1, 2)], version=2),
    Case("MEAN", (1, 7, 7, 8), (1, 7, 7), extra=[ints(3)]),
    Case("MEAN", (1, 7, 7, 6), (1, 7, 7), "edgetpu-mean-depth", extra=[ints(-1)]),
    Case("MEAN", SQUARE, (8, 8, 4), "edgetpu-batch-axis", extra=[ints(0)]),
    Case("SUM", SQUARE, (1,), "edgetpu-batch-axis", extra=[ints(0, 1, 2, 3)]),
    Case("REDUCE_MAX", SQUARE, (1, 8, 4), extra=[ints(1)], version=2),
    Case("REDUCE_MIN", SQUARE, (8, 8, 4), "edgetpu-batch-axis", extra=[ints(-4)]),
    Case("MEAN", (1, 256, 128, 3), (1, 3), "edgetpu-mean-area", extra=[ints(1, 2)]),
    Case("MEAN", (1, 64, 128, 3), (1, 3), extra=[ints(1, 2)]),
    Case("MEAN", (1, 128, 128, 3), (1, 3), doubt="edgetpu-large-mean", extra=[ints(1, 2)]),
    # softmax, prelu, lstm
    Case("SOFTMAX", (1, 1001), (1, 1001), version=2),
    Case("SOFTMAX", (1, 16384), (1, 16384)),
    Case("SOFTMAX", (1, 16385), (1, 16385), "edgetpu-softmax-size"),
    Case("SOFTMAX", (1, 4, 21, 16), (1, 4, 21, 16), doubt="edgetpu-softmax-rows"),
    Case("PRELU", SQUARE, SQUARE, extra=[(1, 1, 4)]),
    Case("PRELU", SQUARE, SQUARE, "edgetpu-prelu-alpha", extra=[(8, 8, 4)]),
    Case("UNIDIRECTIONAL_SEQUENCE_LSTM", (1, 5, 100), (1, 5, 32)),
    Case("UNIDIRECTIONAL_SEQUENCE_LSTM", (1, 5, 1280), (1, 5, 32), doubt="edgetpu-wide-lstm"),
    Case("BIDIRECTIONAL_SEQUENCE_LSTM", (1, 5, 100), (1, 5, 32), "edgetpu-op", status=status.NOT_SUPPORTED),
    # moving data
    Case("PAD", SQUARE, (1, 10, 10, 4), extra=[np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)], version=2),
    Case("PAD", SQUARE, (2, 8, 8, 4), "edgetpu-inner-dimensions", status=status.RANK, extra=[ints(0, 1)]),
    Case("PAD", (8, 8), (9, 8), "edgetpu-batch-axis", extra=[np.array([[0, 1], [0, 0]], np.int32)]),
    Case("PACK", (1, 8, 4), (1, 2, 8, 4), extra=[COMPUTED], options={"axis": 1}),
    Case("PACK", (8, 4), (2, 8, 4), "edgetpu-batch-axis", extra=[COMPUTED], options={"axis": 0}),
    Case("SPLIT", SQUARE, (1, 8, 8, 2), first=[ints(3)]),
    Case("SPLIT", (4, 8), (2, 8), "edgetpu-batch-axis", first=[ints(0)]),
    Case(
        "STRIDED_SLICE", SQUARE, (1, 4, 8, 4), extra=[ints(0, 0, 0, 0), ints(1, 4, 8, 4), ints(1, 1, 1, 1)], version=2
    ),
    Case(
        "STRIDED_SLICE",
        SQUARE,
        (1, 4, 4, 4),
        doubt="edgetpu-slice-strides",
        extra=[ints(0, 0, 0, 0), ints(1, 8, 8, 4), ints(1, 2, 2, 1)],
    ),
    Case(
        "STRIDED_SLICE",
        SQUARE,
        (1, 8, 8, 2),
        "edgetpu-slice-depth-stride",
        status=status.STRIDES,
        extra=[ints(0, 0, 0, 0), ints(1, 8, 8, 4), ints(1, 1, 1, 2)],
    ),
    Case(
        "STRIDED_SLICE",
        (8, 4),
        (8, 4),
        "edgetpu-slice-masks",
        options={"ellipsis_mask": 1},
        extra=[ints(0, 0), ints(8, 4), ints(1, 1)],
    ),
    Case("RESHAPE", (1, 40, 40, 125), (1, 200_000), doubt="edgetpu-large-layout", extra=[ints(1, 200_000)]),
    Case("TRANSPOSE", (1, 3, 196, 85), (1, 196, 3, 85), extra=[ints(0, 2, 1, 3)], version=2),
    Case("TRANSPOSE", (1, 3, 200, 100), (1, 200, 3, 100), doubt="edgetpu-large-transpose", extra=[ints(0, 2, 1, 3)]),
    Case("TRANSPOSE", (1, 3, 224, 224), (1, 224, 224, 3), "edgetpu-transpose-size", extra=[ints(0, 2, 3, 1)]),
    Case("RESIZE_NEAREST_NEIGHBOR", SQUARE, (1, 16, 16, 4), extra=[ints(16, 16)], version=3),
    Case("RESIZE_BILINEAR", SQUARE, (1, 32, 32, 4), doubt="edgetpu-large-resize", extra=[ints(32, 32)]),
    Case("RESIZE_BILINEAR", (1, 1, 1, 256), (1, 33, 33, 256), "edgetpu-resize-size", extra=[ints(33, 33)]),
    Case("RESIZE_BILINEAR", (1, 256, 256, 32), (1, 512, 512, 32), "edgetpu-resize-size", extra=[ints(512, 512)]),
    Case("RESIZE_BILINEAR", (1, 33, 33, 19), (1, 513, 513, 19), "edgetpu-resize-size", extra=[ints(513, 513)]),
    Case("RESIZE_BILINEAR", (1, 33, 33, 18), (1, 513, 513, 18), doubt="edgetpu-large-resize", extra=[ints(513, 513)]),
    Case("RESIZE_BILINEAR", (1, 128, 128, 32), (1, 256, 256, 32), doubt="edgetpu-large-resize", extra=[ints(256, 256)]),
]


def placed(case: Case, *, before: int = 0, after: int = 0) -> Placement:
    graph, index = graph_of(case, before=before, after=after)
    return plan_mapping(graph).placements[index]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_op(case: Case) -> None:
    found = placed(case)
    assert (identifier(found.breach.rule) if found.breach else "") == case.rule
    assert [identifier(b.rule) for b in found.doubts] == ([case.doubt] if case.doubt else [])
    assert found.status == (case.status if case.rule else status.MAPPED)
    assert (found.subgraph is None) == bool(case.rule)
    assert all(b.case for b in (*found.doubts, *([found.breach] if found.breach else [])))


@pytest.mark.parametrize("case", [c for c in CASES if c.dtype in {"int8", "uint8"} and not c.custom], ids=str)
def test_neighbours_do_not_change_a_verdict_about_the_op_itself(case: Case) -> None:
    alone, among = placed(case), placed(case, before=2, after=2)
    assert alone.status == among.status
    assert (alone.breach and alone.breach.rule) == (among.breach and among.breach.rule)


def test_there_are_graphs_on_both_sides() -> None:
    assert len(CASES) >= 40
    broken = {c.rule for c in CASES if c.rule}
    doubted = {c.doubt for c in CASES if c.doubt}
    rows = [*optable.ROWS.values()]
    limits = {identifier(limit.rule) for row in rows for limit in row.limits}
    doubts = {identifier(doubt.rule) for row in rows for doubt in row.doubts}
    assert limits - broken == {"edgetpu-parameter-constant"}, "tested below"
    assert doubts - doubted == set()


def test_edgetpu_parameter_constant_where_the_converter_left_int32_arithmetic_in_the_graph() -> None:
    """A computed axis breaks the rule about types first; the status is that of the types."""
    build = Builder()
    given, axes, made = build.tensor(SQUARE), build.tensor((2,), "int32"), build.tensor((1, 4))
    build.op("MEAN", [given, axes], [made])
    (found,) = plan_mapping(build.graph([given, axes], [made])).placements
    assert found.breach is not None
    assert (identifier(found.breach.rule), found.status) == ("edgetpu-8-bit", status.DATA_TYPE)
    limit = next(x for x in optable.ROWS["MEAN"].limits if identifier(x.rule) == "edgetpu-parameter-constant")
    graph = build.graph([given, axes], [made])
    assert limit.rule(graph, graph.ops[0]) == "`t1` is computed"


def test_every_rule_is_a_sentence_with_evidence_and_no_two_share_a_name() -> None:
    entries = [*optable.ALWAYS, *optable.SPECIAL, *optable.ALWAYS_IN_DOUBT]
    for row in optable.ROWS.values():
        entries += [*row.limits, *row.doubts]
        assert row.evidence
    by_name: dict[str, Rule] = {}
    for entry in entries:
        assert entry.evidence
        assert all(e.where for e in entry.evidence)
        assert sentence(entry.rule)[0].isupper()
        assert by_name.setdefault(identifier(entry.rule), entry.rule) is entry.rule
    assert len(by_name) >= 30


@pytest.mark.parametrize(
    ("name", "version", "known"),
    [
        ("CONV_2D", 5, "yes"),
        ("CONV_2D", 6, "no"),
        ("TRANSPOSE_CONV", 3, "yes"),
        ("TRANSPOSE_CONV", 4, "no"),
        ("EXP", 2, "no"),
        ("QUANTIZE", 2, "yes"),
        ("QUANTIZE", 3, "no"),
        ("FULLY_CONNECTED", 12, "no"),
        ("ADD", 4, "perhaps"),
        ("ADD", 5, "no"),
        ("GELU", 1, "no"),
        ("STABLEHLO_COMPOSITE", 1, "no"),
        ("VAR_HANDLE", 1, "perhaps"),
        ("HARD_SWISH", 1, "yes"),
    ],
)
def test_versions_that_the_compiler_of_2021_reads(name: str, version: int, known: str) -> None:
    graph, index = graph_of(Case(name, SQUARE, SQUARE, version=version))
    op = graph.ops[index]
    case = f"{name} version {version}"
    assert edgetpu_readable(graph, op) == (case if known == "no" else "")
    assert edgetpu_perhaps_readable(graph, op) == (case if known == "perhaps" else "")


def test_custom_ops_have_no_version_that_matters() -> None:
    graph, index = graph_of(Case("MyOp", SQUARE, SQUARE, version=9, custom=True))
    assert edgetpu_readable(graph, graph.ops[index]) == ""
    assert edgetpu_perhaps_readable(graph, graph.ops[index]) == ""


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        (Case("MEAN", (1, 7, 7, 8), (1, 7, 7), extra=[ints(3)]), "edgetpu-old-plane"),
        (Case("MEAN", (1, 7, 7, 8), (1, 8), extra=[ints(1, 2)], version=2), ""),
        (Case("PAD", SQUARE, (1, 8, 8, 5), extra=[ints(0, 0, 0, 0, 0, 0, 0, 1)]), "edgetpu-old-plane"),
        (Case("PAD", SQUARE, (1, 9, 8, 4), extra=[ints(0, 0, 0, 1, 0, 0, 0, 0)]), ""),
        (Case("SQUEEZE", (5, 1, 10), (5, 10), version=1), "edgetpu-old-squeeze"),
        (Case("SQUEEZE", (1, 5, 10), (5, 10), version=1), ""),
        (Case("QUANTIZE", SQUARE, SQUARE), "edgetpu-runtime"),
        (Case("RELU", SQUARE, SQUARE), ""),
    ],
    ids=str,
)
def test_what_runtime_12_takes(case: Case, rule: str) -> None:
    graph, index = graph_of(case)
    found = plan_mapping(graph, runtime=12).placements[index]
    assert (identifier(found.breach.rule) if found.breach else "") == rule
    assert plan_mapping(graph).placements[index].breach is None


@pytest.mark.parametrize(("runtime", "doubted"), [(None, False), (14, False), (13, True), (12, True)])
def test_edgetpu_perhaps_runtime(runtime: int | None, doubted: bool) -> None:
    graph, index = graph_of(Case("PRELU", SQUARE, SQUARE, extra=[(1, 1, 4)]))
    found = plan_mapping(graph, runtime=runtime).placements[index]
    assert found.breach is None
    assert [identifier(b.rule) for b in found.doubts] == (["edgetpu-perhaps-runtime"] if doubted else [])


@pytest.mark.parametrize(("runtime", "rule"), [(None, ""), (13, ""), (12, "edgetpu-runtime")])
def test_edgetpu_runtime(runtime: int | None, rule: str) -> None:
    graph, index = graph_of(Case("SUM", SQUARE, (1, 4), extra=[ints(1, 2)]))
    found = plan_mapping(graph, runtime=runtime).placements[index]
    assert (identifier(found.breach.rule) if found.breach else "") == rule
    if found.breach is not None:
        assert found.breach.case == "SUM needs runtime 13, and 12 is asked for"


def test_a_dilation_that_was_unfolded_into_batches_is_named_as_such() -> None:
    graph, op = one("SPACE_TO_BATCH_ND", (1, 8, 8, 4), (4, 4, 4, 4), extra=[[2, 2], [[0, 0], [0, 0]]])
    case = oprules.edgetpu_inner_dimensions(graph, op)
    said = remedy_for(oprules.edgetpu_inner_dimensions, [Breach(op, oprules.edgetpu_inner_dimensions, case)])
    assert case == "SPACE_TO_BATCH_ND with a tensor of 4×4×4×4"
    assert said == "give the convolution a dilation in place of the ops around it"
