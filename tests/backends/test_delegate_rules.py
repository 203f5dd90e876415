"""Every rule of the three delegates: an op that keeps it, one that breaks it, and what the user reads."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from graphs import ABSENT, COMPUTED, Builder, one

from edgecompile.backends import coreml, gpu, xnnpack
from edgecompile.backends.rules import breaches, count_partitions, findings, identifier, sentence
from edgecompile.tflite.graph import Graph, Op

W, B = (4, 3, 3, 4), (4,)  # a filter and a bias
Case = tuple[Graph, Op]

# rule → (op that keeps it, op that breaks it, what is said of the latter)
CASES: dict[str, tuple[Case, Case, str]] = {
    "xnnpack_op": (one("ADD", extra=[B]), one("CUMSUM"), "CUMSUM"),
    "xnnpack_dtype": (one("ADD", extra=[B]), one("ADD", dtype="int16", extra=[B]), "ADD gives int16"),
    "xnnpack_float_only": (one("SOFTMAX", dtype="float32"), one("SOFTMAX"), "SOFTMAX on int8"),
    "xnnpack_fused_activation": (
        one("SUB", extra=[B], fused_activation_function=3),
        one("SUB", extra=[B], fused_activation_function=4),
        "SUB with tanh",
    ),
    "xnnpack_two_inputs": (one("ADD", extra=[B]), one("ADD", extra=[B, B]), "3 inputs"),
    "xnnpack_concatenation_inputs": (one("CONCATENATION", extra=[B]), one("CONCATENATION", extra=[B] * 4), "5 inputs"),
    "xnnpack_split_outputs": (one("SPLIT", outputs=4), one("SPLIT", outputs=5), "5 outputs"),
    "xnnpack_weights_constant": (one("CONV_2D", extra=[W, B]), one("CONV_2D", extra=[COMPUTED, B]), "`t1` is computed"),
    "xnnpack_bias": (one("CONV_2D", extra=[W, B]), one("CONV_2D", extra=[W, ABSENT]), "CONV_2D without bias"),
    "xnnpack_pool_1x1_stride": (
        one("MAX_POOL_2D", filter_height=2, filter_width=2, stride_h=2, stride_w=2),
        one("MAX_POOL_2D", filter_height=1, filter_width=1, stride_h=2, stride_w=2),
        "stride 2×2",
    ),
    "xnnpack_parameter_constant": (one("PAD", extra=[[[0, 0]] * 4]), one("PAD", extra=[COMPUTED]), "`t1` is computed"),
    "xnnpack_mean_axes": (one("MEAN", extra=[[1, 2]]), one("MEAN", extra=[[3]]), "axes [3] of 4, kept"),
    "xnnpack_rank_4": (
        one("RESIZE_BILINEAR", extra=[[8, 8]]),
        one("RESIZE_BILINEAR", (8, 8, 4), extra=[[8, 8]]),
        "8×8×4",
    ),
    "xnnpack_block_size": (
        one("SPACE_TO_DEPTH", block_size=2),
        one("SPACE_TO_DEPTH", block_size=1),
        "block size 1",
    ),
    "xnnpack_softmax_beta": (
        one("SOFTMAX", dtype="float32", beta=1.0),
        one("SOFTMAX", dtype="float32", beta=2.0),
        "beta 2",
    ),
    "xnnpack_strided_slice": (
        one("STRIDED_SLICE", dtype="float32", extra=[[0], [1], [1]]),
        one("STRIDED_SLICE", dtype="float32", extra=[[0], [1], [2]]),
        "strides [2]",
    ),
    "xnnpack_per_tensor": (
        one("DEQUANTIZE"),
        one("DEQUANTIZE", channels=4, made_dtype="float32"),
        "one scale a channel",
    ),
    "xnnpack_requantize": (one("QUANTIZE"), one("QUANTIZE", dtype="uint8", made_dtype="int8"), "uint8 to int8"),
    "gpu_op": (one("ADD", extra=[B]), one("ARG_MAX"), "ARG_MAX"),
    "gpu_version": (
        one("TRANSPOSE_CONV", version=3),
        one("TRANSPOSE_CONV", version=4),
        "TRANSPOSE_CONV version 4, up to 3 taken",
    ),
    "gpu_dimensions": (one("RELU"), one("RELU", (1, 2, 8, 8, 4), (1, 2, 8, 8, 4)), "RELU with 1×2×8×8×4"),
    "gpu_sampling": (
        one("RESIZE_BILINEAR", half_pixel_centers=True, version=3),
        one("RESIZE_BILINEAR", half_pixel_centers=True, align_corners=True, version=3),
        "aligned corners and half-pixel centres",
    ),
    "gpu_fused_activation": (
        one("CONV_2D", extra=[W, B], fused_activation_function=4),
        one("CONV_2D", extra=[W, B], fused_activation_function=5),
        "CONV_2D with sign bit",
    ),
    "gpu_broadcast": (one("ADD", extra=[(8, 4)]), one("ADD", extra=[(8, 3)]), "1×8×8×4 with 8×3"),
    "gpu_multiplies_outer": (
        one("MUL", extra=[(1, 1, 1, 4)]),
        one("MUL", (1, 8, 1, 4), extra=[(1, 1, 8, 4)]),
        "1×8×1×4 with 1×1×8×4",
    ),
    "gpu_depth_multiplier": (
        one("DEPTHWISE_CONV_2D", (1, 8, 8, 1), extra=[W, B], depth_multiplier=4),
        one("DEPTHWISE_CONV_2D", extra=[W, B], depth_multiplier=2),
        "multiplier 2 on 4 channels",
    ),
    "gpu_weights_format": (
        one("FULLY_CONNECTED", extra=[W], weights_format=0),
        one("FULLY_CONNECTED", extra=[W], weights_format=1),
        "shuffled weights",
    ),
    "gpu_keeps_rank": (
        one("FULLY_CONNECTED", extra=[W], keep_num_dims=True),
        one("FULLY_CONNECTED", made=(1, 4), extra=[W], keep_num_dims=True),
        "1×8×8×4 to 1×4",
    ),
    "gpu_axes": (one("MEAN", extra=[[1, 2]]), one("MEAN", extra=[COMPUTED]), "the axes are computed"),
    "gpu_rank_3_or_4": (one("SLICE", extra=[[0], [1]]), one("SLICE", (8, 4), extra=[[0], [1]]), "8×4"),
    "gpu_slice_masks": (
        one("STRIDED_SLICE", extra=[[0], [1], [1]]),
        one("STRIDED_SLICE", extra=[[0], [1], [1]], shrink_axis_mask=1),
        "shrink axis mask",
    ),
    "gpu_softmax_beta": (one("SOFTMAX", beta=1.0), one("SOFTMAX", beta=0.5), "beta 0.5"),
    "gpu_block_size": (one("DEPTH_TO_SPACE", block_size=2), one("DEPTH_TO_SPACE", block_size=1), "block size 1"),
    "gpu_padding": (one("PAD", extra=[[[0, 0]] * 4]), one("PAD", extra=[[[0, 0]] * 2]), "paddings of shape 2×2"),
    "gpu_mirror_reflect": (
        one("MIRROR_PAD", extra=[[[0, 0]] * 4], mode=0),
        one("MIRROR_PAD", extra=[[[0, 0]] * 4], mode=1),
        "symmetric mode",
    ),
    "gpu_gather": (one("GATHER", extra=[[0, 1]]), one("GATHER", extra=[[[0], [1]]]), "int32 indices 2×1"),
    "gpu_cast": (
        one("CAST", dtype="bool", made_dtype="float32"),
        one("CAST", dtype="int64", made_dtype="float32"),
        "int64 to float32",
    ),
    "coreml_op": (one("RELU", dtype="float32"), one("SUM", dtype="float32", extra=[[1, 2]]), "SUM"),
    "coreml_version": (
        one("RESIZE_BILINEAR", made=(1, 16, 16, 4), dtype="float32", extra=[[16, 16]]),
        one("RESIZE_BILINEAR", made=(1, 16, 16, 4), dtype="float32", extra=[[16, 16]], version=3),
        "RESIZE_BILINEAR version 3",
    ),
    "coreml_pool_activation": (
        one("MAX_POOL_2D", dtype="float32"),
        one("MAX_POOL_2D", dtype="float32", fused_activation_function=1),
        "MAX_POOL_2D with 1",
    ),
    "coreml_concatenation": (
        one("CONCATENATION", dtype="float32", extra=[COMPUTED], axis=3),
        one("CONCATENATION", dtype="float32", extra=[COMPUTED], axis=1),
        "axis 1 of 4",
    ),
    "coreml_mean": (
        one("MEAN", made=(1, 1, 1, 4), dtype="float32", extra=[[1, 2]], keep_dims=True),
        one("MEAN", made=(1, 4), dtype="float32", extra=[[1, 2]]),
        "axes [1, 2], dropped",
    ),
    "coreml_resize_size": (
        one("RESIZE_BILINEAR", made=(1, 16, 16, 4), dtype="float32", extra=[[16, 16]]),
        one("RESIZE_BILINEAR", made=(1, 16, 16, 4), dtype="float32", extra=[COMPUTED]),
        "the size is computed",
    ),
    "coreml_softmax_beta": (
        one("SOFTMAX", dtype="float32", beta=1.0),
        one("SOFTMAX", dtype="float32", beta=0.5),
        "beta 0.5",
    ),
    "coreml_float": (one("RELU", dtype="float32"), one("RELU"), "RELU gives int8"),
    "coreml_broadcast": (
        one("ADD", dtype="float32", extra=[(1, 1, 1, 4)]),
        one("ADD", dtype="float32", extra=[(1, 1, 8, 4)]),
        "1×8×8×4 with 1×1×8×4",
    ),
    "coreml_weights_constant": (
        one("CONV_2D", dtype="float32", extra=[W, B]),
        one("CONV_2D", dtype="float32", extra=[COMPUTED, B]),
        "`t1` is computed",
    ),
    "coreml_filter_constant": (
        one("TRANSPOSE_CONV", (4,), dtype="float32", extra=[W]),
        one("TRANSPOSE_CONV", (4,), dtype="float32", extra=[COMPUTED]),
        "the filter is computed",
    ),
    "coreml_single_batch": (
        one("FULLY_CONNECTED", (1, 4), dtype="float32", extra=[(4, 4)]),
        one("FULLY_CONNECTED", (2, 4), dtype="float32", extra=[(4, 4)]),
        "2×4",
    ),
    "coreml_padding": (
        one("PAD", dtype="float32", extra=[[[0, 0], [1, 1], [1, 1], [0, 0]]]),
        one("PAD", dtype="float32", extra=[[[0, 0], [0, 0], [0, 0], [0, 1]]]),
        "paddings [[0, 0], [0, 0], [0, 0], [0, 1]]",
    ),
    "coreml_mirror_reflect": (
        one("MIRROR_PAD", dtype="float32", extra=[[[0, 0]] * 4], mode=0),
        one("MIRROR_PAD", dtype="float32", extra=[[[0, 0]] * 4], mode=1),
        "symmetric mode",
    ),
    "coreml_reshape": (
        one("RELU", dtype="float32"),
        one("RESHAPE", made=(1, 256), dtype="float32"),
        "1×8×8×4 to 1×256",
    ),
}

OTHER_CASES = [
    ("xnnpack_mean_axes", one("MEAN", extra=[COMPUTED]), "the axes are computed"),
    ("xnnpack_strided_slice", one("STRIDED_SLICE", dtype="float32", new_axis_mask=1), "new axis mask"),
    ("gpu_op", one("CEIL"), "CEIL"),
    ("gpu_version", one("STRIDED_SLICE", version=5), "STRIDED_SLICE version 5, up to 4 taken"),
    ("gpu_version", one("CONV_2D", extra=[W, B], version=8), "CONV_2D version 8, up to 6 taken"),
    ("gpu_version", one("FULLY_CONNECTED", extra=[W], version=12), "FULLY_CONNECTED version 12, up to 9 taken"),
    ("gpu_broadcast", one("ADD", extra=[B, B]), "3 inputs"),
    ("gpu_multiplies_outer", one("MUL", extra=[B, B]), "3 inputs"),
    ("gpu_multiplies_outer", one("MUL", extra=[(8, 3)]), "1×8×8×4 with 8×3"),
    ("gpu_gather", one("GATHER", dtype="int32", extra=[[0, 1]]), "int32 data"),
    ("coreml_broadcast", one("MUL", (2, 1, 8, 8, 4), dtype="float32", extra=[B]), "2×1×8×8×4 with 4"),
    (
        "coreml_version",
        one("DEPTHWISE_CONV_2D", dtype="float32", extra=[W, B], version=3),
        "DEPTHWISE_CONV_2D version 3",
    ),
    (
        "coreml_version",
        one("FULLY_CONNECTED", (1, 4), dtype="float32", extra=[(4, 4)], version=9),
        "FULLY_CONNECTED version 9",
    ),
    ("coreml_version", one("CONV_2D", dtype="float32", extra=[W, B], version=2), "CONV_2D version 2"),
    ("coreml_concatenation", one("CONCATENATION", (1, 4), dtype="float32", extra=[COMPUTED], axis=1), "axis 1 of 2"),
    ("coreml_concatenation", one("CONCATENATION", dtype="float32", axis=3), "1 input"),
    ("coreml_mean", one("MEAN", dtype="float32", extra=[[3]], keep_dims=True), "axes [3], kept"),
    ("coreml_mean", one("MEAN", (8, 4), dtype="float32", extra=[[1]], keep_dims=True), "8×4"),
    ("coreml_mean", one("MEAN", dtype="float32", extra=[COMPUTED], keep_dims=True), "the axes are computed"),
    ("coreml_padding", one("PAD", (8, 4), dtype="float32", extra=[[[0, 0]] * 2]), "8×4"),
    ("coreml_padding", one("PAD", dtype="float32", extra=[COMPUTED]), "the paddings are computed"),
]


def table(name: str) -> ModuleType:
    return {"xnnpack": xnnpack, "gpu": gpu, "coreml": coreml}[name.partition("_")[0]]


def broken(module: ModuleType, graph: Graph) -> dict[str, str]:
    found = breaches(graph, module.RULES, unlisted=module.UNLISTED, always=module.ALWAYS)
    return {breach.rule.__name__: breach.case for breach in found}


@pytest.mark.parametrize("rule", CASES)
def test_rule(rule: str) -> None:
    keeps, breaks, case = CASES[rule]
    assert broken(table(rule), keeps[0]) == {}
    assert broken(table(rule), breaks[0]) == {rule: case}


@pytest.mark.parametrize(("rule", "given", "case"), OTHER_CASES)
def test_further_ways_to_break_a_rule(rule: str, given: Case, case: str) -> None:
    assert broken(table(rule), given[0]) == {rule: case}


@pytest.mark.parametrize(
    ("name", "version", "extra"),
    [("DEPTHWISE_CONV_2D", 2, (W, B)), ("FULLY_CONNECTED", 6, ((4, 4), ABSENT)), ("CONV_2D", 1, (W, B))],
)
def test_versions_that_core_ml_takes(name: str, version: int, extra: tuple[Any, ...]) -> None:
    given = (1, 4) if name == "FULLY_CONNECTED" else (1, 8, 8, 4)
    assert broken(coreml, one(name, given, dtype="float32", extra=extra, version=version)[0]) == {}


def all_rules() -> list[Any]:
    rules: dict[Any, None] = {}
    for module in (xnnpack, gpu, coreml):
        rules.update(dict.fromkeys((module.UNLISTED, *module.ALWAYS)))
        rules.update(dict.fromkeys(rule for row in module.RULES.values() for rule in row))
    return list(rules)


def test_every_rule_has_a_case_and_a_sentence() -> None:
    assert {rule.__name__ for rule in all_rules()} == set(CASES)
    for rule in all_rules():
        assert re.fullmatch(r"[A-Z][^\n]+[^.\n]", sentence(rule)), rule
        assert identifier(rule) == rule.__name__.replace("_", "-")


def test_findings_are_gathered_by_rule_and_name_the_ops() -> None:
    build = Builder()
    here = build.tensor((1, 4))
    for number in range(5):
        there = build.tensor((1, 4), name=f"soft{number}")
        build.op("SOFTMAX", [here], [there])
        here = there
    graph = build.graph([0], [here])
    found = findings(graph, breaches(graph, xnnpack.RULES, unlisted=xnnpack.UNLISTED), severity="info", consequence="c")
    assert [f.what for f in found] == ["XNNPACK has this op for float only: SOFTMAX on int8"]
    assert found[0].rule == "xnnpack-float-only"
    assert found[0].where == "SOFTMAX → soft0, SOFTMAX → soft1, SOFTMAX → soft2 and 2 more"


def half_precision() -> Graph:
    """A convolution whose float16 weights are unpacked by the file, as float16 models have them."""
    build = Builder()
    given, made = build.tensor((1, 8, 8, 4), "float32"), build.tensor((1, 8, 8, 4), "float32")
    stored = build.tensor(W, "float16", data=np.zeros(W, np.float16))
    unpacked = build.tensor(W, "float32")
    build.op("DEQUANTIZE", [stored], [unpacked])
    build.op("CONV_2D", [given, unpacked, build.weights(4, dtype="float32")], [made])
    return build.graph([given], [made])


@pytest.mark.parametrize("module", [xnnpack, gpu, coreml])
def test_float16_weights_count_as_constants(module: ModuleType) -> None:
    graph = half_precision()
    assert broken(module, graph) == {}
    assert count_partitions(graph, frozenset()) == 1


def chain(kinds: str) -> Graph:
    build = Builder()
    here = build.tensor((1, 4))
    for _ in kinds:
        there = build.tensor((1, 4))
        build.op("RELU", [here], [there])
        here = there
    return build.graph([0], [here])


@pytest.mark.parametrize(("kinds", "pieces"), [("", 0), ("t", 1), ("c", 0), ("tct", 2), ("ttcctt", 2), ("ctc", 1)])
def test_partitions_of_a_chain(kinds: str, pieces: int) -> None:
    left_out = frozenset(i for i, kind in enumerate(kinds) if kind == "c")
    assert count_partitions(chain(kinds), left_out) == pieces


def test_partitions_of_branches_join_where_order_allows() -> None:
    # Two branches, each: taken, left out. The taken halves are one piece, the join after them another.
    build = Builder()
    here = build.tensor((1, 4))
    ends = []
    for _ in range(2):
        middle, end = build.tensor((1, 4)), build.tensor((1, 4))
        build.op("RELU", [here], [middle])
        build.op("CUSTOM", [middle], [end])
        ends.append(end)
    joined = build.tensor((1, 4))
    build.op("ADD", ends, [joined])
    assert count_partitions(build.graph([0], [joined]), frozenset({1, 3})) == 2


def test_partitions_of_a_graph_that_waits_for_itself_end() -> None:
    build = Builder()
    a, b = build.tensor((1,)), build.tensor((1,))
    build.op("ADD", [a, b], [b])
    assert count_partitions(build.graph([a], [b]), frozenset()) == 0
