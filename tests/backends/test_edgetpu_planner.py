"""The mapping that the Edge TPU compiler would make: where it cuts, what it says, what stays behind."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from graphs import Builder
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.backends.edgetpu import status
from edgecompile.backends.edgetpu.findings import operator_rows
from edgecompile.backends.edgetpu.inside import recover
from edgecompile.backends.edgetpu.planner import Plan, evidence_for, partition, plan_mapping
from edgecompile.backends.rules import identifier
from edgecompile.tflite.graph import Graph, read_graph

SHAPE = (1, 8, 8, 4)


class Chain(Builder):
    """Builds ops one behind the other, all of one shape."""

    def step(self, name: str, *inputs: int, dtype: str = "int8", **options: object) -> int:
        return self.op(name, inputs, [self.tensor(SHAPE, dtype)], **options)

    def conv(self, given: int) -> int:
        return self.op("CONV_2D", [given, self.weights(4, 3, 3, 4)], [self.tensor(SHAPE)])


def statuses(plan: Plan) -> list[str]:
    return [p.status for p in plan.placements]


def test_everything_behind_the_first_op_that_cannot_is_left_to_the_cpu() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    end = build.conv(build.conv(build.step("LEAKY_RELU", build.conv(start))))
    plan = plan_mapping(build.graph([start], [end]))
    assert statuses(plan) == [status.MAPPED, status.NOT_SUPPORTED, status.MORE_SUBGRAPHS, status.MORE_SUBGRAPHS]
    assert plan.subgraphs == 1
    assert [p.op.name for p in plan.cuts()] == ["LEAKY_RELU"]
    assert [op.name for op in plan.placements[3].behind] == ["LEAKY_RELU"]
    assert plan.share_of_macs == pytest.approx(1 / 3)


def test_several_subgraphs_take_up_again_behind_it() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    end = build.conv(build.step("LEAKY_RELU", build.conv(start)))
    plan = plan_mapping(build.graph([start], [end]), several=True)
    assert [p.subgraph for p in plan.placements] == [0, None, 1]
    assert plan.subgraphs == 2
    assert plan.share_of_macs == 1.0


def test_a_branch_that_needs_nothing_from_the_cpu_stays_on_the_edge_tpu() -> None:
    """As in DeepLab: the wide branch comes after the op that cannot, in graph order, and is mapped all the same."""
    build = Chain()
    start = build.tensor(SHAPE)
    trunk = build.conv(start)
    narrow = build.step("HARD_SWISH", trunk)
    wide = build.conv(build.conv(trunk))
    end = build.step("ADD", narrow, wide)
    plan = plan_mapping(build.graph([start], [end]))
    assert statuses(plan) == [
        status.MAPPED,
        status.NOT_SUPPORTED,
        status.MAPPED,
        status.MAPPED,
        status.MORE_SUBGRAPHS,
    ]


def test_a_cpu_op_at_the_start_does_not_use_up_the_one_subgraph() -> None:
    build = Chain()
    start = build.tensor(SHAPE, "float32")
    end = build.conv(build.step("QUANTIZE", start))
    plan = plan_mapping(build.graph([start], [end]))
    assert statuses(plan) == [status.UNSPECIFIED, status.MAPPED]
    assert plan.cuts() == ()


def test_the_first_subgraph_is_kept_not_the_largest() -> None:
    build = Chain()
    here = start = build.tensor(SHAPE)
    here = build.step("LEAKY_RELU", build.conv(here))
    for _ in range(5):
        here = build.conv(here)
    plan = plan_mapping(build.graph([start], [here]))
    assert sorted(plan.on_tpu) == [0]


def test_quantize_at_uint8_doors_goes_with_its_neighbours() -> None:
    build = Chain()
    start = build.tensor(SHAPE, "uint8")
    end = build.step("QUANTIZE", build.conv(build.step("QUANTIZE", start)), dtype="uint8")
    assert set(statuses(plan_mapping(build.graph([start], [end])))) == {status.MAPPED}


@pytest.mark.parametrize("several", [False, True])
def test_a_uint8_output_behind_the_cpu_stays_there_in_the_compilers_own_words(several: bool) -> None:
    build = Chain()
    start = build.tensor(SHAPE, "uint8")
    inner = build.step("LEAKY_RELU", build.conv(build.step("QUANTIZE", start)))
    end = build.step("QUANTIZE", inner, dtype="uint8")
    plan = plan_mapping(build.graph([start], [end]), several=several)
    assert statuses(plan)[-1] == status.UNSPECIFIED
    assert plan.placements[-1].breach is not None
    assert identifier(plan.placements[-1].breach.rule) == "edgetpu-follows"


def test_a_uint8_output_behind_an_op_left_behind_too() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    end = build.step("QUANTIZE", build.conv(build.step("LEAKY_RELU", start)), dtype="uint8")
    graph = build.graph([start], [end])
    assert statuses(plan_mapping(graph))[1:] == [status.MAPPED, status.MAPPED], "the CPU's part comes first here"
    assert plan_mapping(graph).subgraphs == 1


def test_nothing_for_the_edge_tpu() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    end = build.step("ELU", start)
    plan = plan_mapping(build.graph([start], [end]))
    assert (plan.subgraphs, plan.on_tpu, plan.share_of_macs) == (0, frozenset(), None)


def test_constants_that_ops_unpack_belong_to_their_reader() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    packed = build.weights(4, 3, 3, 4)
    unpacked = build.op("DEQUANTIZE", [packed], [build.tensor((4, 3, 3, 4), "float32")])
    end = build.op("CONV_2D", [start, unpacked], [build.tensor(SHAPE)])
    plan = plan_mapping(build.graph([start], [end]))
    assert statuses(plan) == [status.DATA_TYPE, status.MAPPED]


def test_ops_that_wait_for_each_other_end_the_search() -> None:
    build = Chain()
    start, a, b = (build.tensor(SHAPE) for _ in range(3))
    build.op("ADD", [start, b], [a])
    build.op("RELU", [a], [b])
    graph = build.graph([start], [b])
    assert list(partition(graph, {0, 1})) == []
    assert plan_mapping(graph).on_tpu == frozenset()


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Directed graphs of ops that the Edge TPU has and has not, in random order of dependence."""
    build = Chain()
    made = [build.tensor(SHAPE)]
    for _ in range(draw(st.integers(1, 14))):
        name = draw(st.sampled_from(["RELU", "ADD", "LEAKY_RELU", "QUANTIZE"]))
        inputs = [draw(st.sampled_from(made)) for _ in range(2 if name == "ADD" else 1)]
        made.append(build.step(name, *inputs))
    return build.graph(made[:1], made[-1:])


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_plans_can_be_run(graph: Graph) -> None:
    one, several = plan_mapping(graph), plan_mapping(graph, several=True)
    able = {p.op.index for p in one.placements if p.breach is None}
    assert one.on_tpu <= several.on_tpu == able
    # Nothing that a subgraph needs may depend on that subgraph through the CPU.
    for plan in (one, several):
        for number in {p.subgraph for p in plan.placements} - {None}:
            members = {p.op.index for p in plan.placements if p.subgraph == number}
            reached = {i for op in graph.ops if op.index in members for i in op.outputs}
            beyond: set[int] = set()
            for op in graph.ops:
                if op.index in members:
                    assert beyond.isdisjoint(op.inputs)
                elif (reached | beyond) & set(op.inputs):
                    beyond |= set(op.outputs)
    for placement in one.placements:
        assert (placement.subgraph is None) == (placement.status != status.MAPPED)
        assert placement.status != status.MORE_SUBGRAPHS or placement.behind


def test_yolov3_tiny_statuses_equal_its_published_log() -> None:
    """The network of 36 ops, built by hand, against the log of compiler 15 (whose resize had a version too new)."""
    build = Builder()
    start = build.tensor((1, 416, 416, 3), "uint8")

    def conv(given: int, size: int, channels: int) -> int:
        before = build.tensors[given].shape[-1]
        made = build.tensor((1, size, size, channels))
        return build.op("CONV_2D", [given, build.weights(channels, 3, 3, before)], [made])

    def leaky(given: int) -> int:
        return build.op("LEAKY_RELU", [given], [build.tensor(build.tensors[given].shape)])

    def pool(given: int, size: int) -> int:
        return build.op("MAX_POOL_2D", [given], [build.tensor((1, size, size, build.tensors[given].shape[-1]))])

    here = build.op("QUANTIZE", [start], [build.tensor((1, 416, 416, 3))])
    size, route = 416, -1
    for channels in (16, 32, 64, 128, 256):
        here = route = leaky(conv(here, size, channels))
        size //= 2
        here = pool(here, size)
    here = leaky(conv(pool(leaky(conv(here, 13, 512)), 13), 13, 1024))
    neck = leaky(conv(here, 13, 256))
    large = conv(leaky(conv(neck, 13, 512)), 13, 255)
    up = leaky(conv(neck, 13, 128))
    sizes = build.tensor((2,), "int32", data=np.array([26, 26], np.int32))
    up = build.op("RESIZE_NEAREST_NEIGHBOR", [up, sizes], [build.tensor((1, 26, 26, 128))])
    up = build.op("QUANTIZE", [up], [build.tensor((1, 26, 26, 128))])
    joined = build.op("CONCATENATION", [up, route], [build.tensor((1, 26, 26, 384))])
    small = conv(leaky(conv(joined, 26, 256)), 26, 255)
    ends = [build.op("QUANTIZE", [t], [build.tensor(build.tensors[t].shape, "uint8")]) for t in (large, small)]
    graph = build.graph([start], ends)
    assert len(graph.ops) == 36
    found = Counter({(r["operator"], r["status"]): r["count"] for r in operator_rows(plan_mapping(graph))})
    expected = Counter(
        {
            ("MAX_POOL_2D", status.MORE_SUBGRAPHS): 6,
            ("QUANTIZE", status.UNSPECIFIED): 2,
            ("QUANTIZE", status.MAPPED): 1,
            ("QUANTIZE", status.MORE_SUBGRAPHS): 1,
            ("CONV_2D", status.MAPPED): 1,
            ("CONV_2D", status.MORE_SUBGRAPHS): 12,
            ("LEAKY_RELU", status.NOT_SUPPORTED): 11,
            ("CONCATENATION", status.MORE_SUBGRAPHS): 1,
        }
    )
    assert found - expected == Counter({("RESIZE_NEAREST_NEIGHBOR", status.MORE_SUBGRAPHS): 1})
    assert expected - found == Counter()


def test_evidence_can_be_asked_for() -> None:
    build = Chain()
    start = build.tensor(SHAPE)
    end = build.step("LEAKY_RELU", start)
    (placement,) = plan_mapping(build.graph([start], [end])).placements
    assert placement.breach is not None
    said = evidence_for(placement.breach.rule)
    assert any(text.startswith("document: Coral") for text in said)
    assert any(text.startswith("log: YOLOv3-tiny") for text in said)
    assert evidence_for(lambda graph, op: "") == ()


def test_a_temporal_network_is_mapped_whole() -> None:
    """As edgetpu-tcn, a public model: filters of 3×1 and dilations 1, 2 and 4 in height; the compiler maps all."""
    build = Chain()
    start = here = build.tensor((1, 118, 100, 1))
    for channels, factor in ((1, 1), (8, 2), (8, 4)):
        made = build.tensor((1, 118, 100, 8))
        options = {"dilation_h_factor": factor, "dilation_w_factor": 1}
        here = build.op("CONV_2D", [here, build.weights(8, 3, 1, channels)], [made], **options)
    flat = build.op("RESHAPE", [here], [build.tensor((1, 94400))])
    dense = build.op("FULLY_CONNECTED", [flat, build.weights(1, 94400)], [build.tensor((1, 1))])
    end = build.op("LOGISTIC", [dense], [build.tensor((1, 1))])
    assert set(statuses(plan_mapping(build.graph([start], [end])))) == {status.MAPPED}


@pytest.mark.parametrize("requantized", [True, False])
def test_pooled_features_that_are_tiled_and_joined_are_mapped(*, requantized: bool) -> None:
    """As in Coral's DeepLab for Cityscapes: TILE repeats one pixel, and CONCATENATION joins it to the plane."""
    build = Chain()
    start = build.tensor(SHAPE)
    plane = build.conv(start)
    pixel = build.op("AVERAGE_POOL_2D", [plane], [build.tensor((1, 1, 1, 4))])
    times = build.tensor((4,), "int32", data=np.array([1, 8, 8, 1], np.int32))
    spread = build.op("TILE", [pixel, times], [build.tensor(SHAPE)])
    joined = build.step("QUANTIZE", spread) if requantized else spread
    both = build.op("CONCATENATION", [joined, plane], [build.tensor((1, 8, 8, 8))])
    end = build.op("CONV_2D", [both, build.weights(4, 1, 1, 8)], [build.tensor(SHAPE)])
    plan = plan_mapping(build.graph([start], [end]))
    assert set(statuses(plan)) == {status.MAPPED}
    assert not any(p.doubts for p in plan.placements)


def pairs(folder: Path) -> list[tuple[Graph, Graph]]:
    files = sorted((folder / "edgetpu").glob("*_edgetpu.tflite"))
    return [(read_graph(f.with_name(f.name.removesuffix("_edgetpu.tflite") + ".tflite")), read_graph(f)) for f in files]


def test_real_compiler_did_the_same(edgecompile_data: Path) -> None:
    found = pairs(edgecompile_data)
    assert len(found) == 29
    for source, compiled in found:
        assert plan_mapping(source).on_tpu == recover(source, compiled).inside


def test_verdicts_do_not_look_at_names(edgecompile_data: Path) -> None:
    for source, _ in pairs(edgecompile_data):
        nameless = dataclasses.replace(
            source, tensors=tuple(dataclasses.replace(t, name=f"t{t.index}") for t in source.tensors), description=""
        )
        assert plan_mapping(nameless).on_tpu == plan_mapping(source).on_tpu


MAPPED_OPS = ("RELU", "RELU6", "LOGISTIC", "TANH", "ADD", "MUL", "MAXIMUM", "SUB")
LACKING = ("LEAKY_RELU", "HARD_SWISH", "ELU", "EXP", "DIV", "ABS", "NEG", "SQRT")


@pytest.mark.parametrize("seed", range(40))
def test_new_graphs_of_every_rank_and_order(seed: int) -> None:
    """Chains of ops drawn by seed, in ranks 1 to 5 and every order, with ops between that the Edge TPU lacks.

    Expected by the documents alone: with more than three dimensions above 1 nothing is mapped; otherwise what comes
    before the first op that is lacking, and with `-a` everything but those that are.
    """
    dice = random.Random(seed)
    rank = seed % 5 + 1
    shape = tuple([1] * max(0, rank - 3) + [dice.randint(2, 9) for _ in range(min(rank, 3))])
    wide = rank > 3 and dice.random() < 0.25
    shape = (2, *shape[1:]) if wide else shape
    names = [dice.choice(MAPPED_OPS) for _ in range(dice.randint(3, 9))]
    for _ in range(dice.randint(0, 2)):
        names.insert(dice.randint(0, len(names)), dice.choice(LACKING))
    build = Builder()
    here = start = build.tensor(shape)
    for name in names:
        inputs = [here, start if dice.random() < 0.5 else here] if name in {"ADD", "MUL", "MAXIMUM", "SUB"} else [here]
        here = build.op(name, inputs, [build.tensor(shape)])
    graph = build.graph([start], [here])
    lacking = {i for i, name in enumerate(names) if name in LACKING}
    first = min(lacking - {i for i in lacking if all(k in lacking for k in range(i))}, default=len(names))
    begin = next((i for i in range(len(names)) if i not in lacking), 0)  # a CPU op at the start uses up no subgraph
    for several, expected in ((False, set(range(begin, first)) - lacking), (True, set(range(len(names))) - lacking)):
        plan = plan_mapping(graph, several=several)
        assert plan.on_tpu == (set() if wide else expected), names
        for placement in plan.placements:
            said = placement.breach and identifier(placement.breach.rule)
            assert said == (
                "edgetpu-inner-dimensions" if wide else "edgetpu-op" if placement.op.index in lacking else None
            )
