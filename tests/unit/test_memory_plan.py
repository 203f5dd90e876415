"""Buffers, TFLite Micro's own planner, and the plans that beat it; models are built from op tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import Graph, Op, Tensor, read_graph
from edgecompile.tflite.greedy import greedy, height
from edgecompile.tflite.lifetimes import Buffer, buffers, may_be_reordered, peak, tensor_bytes
from edgecompile.tflite.memory_plan import METADATA, apply_plan, plan_memory
from edgecompile.tflite.order import best_order
from edgecompile.tflite.placement import place

DATA = Path(__file__).parent.parent / "data"


def graph_of(sizes: Sequence[int], ops: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]], **ends: int) -> Graph:
    """Return a graph of int8 tensors of so many bytes; ops are (name, inputs, outputs)."""
    tensors = tuple(
        Tensor(i, f"t{i}", (1, size), (1, size), "int8", quantization=None, data=None) for i, size in enumerate(sizes)
    )
    made = tuple(Op(i, name, 1, inputs, outputs, {}) for i, (name, inputs, outputs) in enumerate(ops))
    return Graph(
        tensors=tensors,
        ops=made,
        inputs=(ends.get("first", 0),),
        outputs=(ends.get("last", len(sizes) - 1),),
        signatures=(),
        subgraphs=1,
        description="",
        metadata={},
    )


def chain(*sizes: int) -> Graph:
    return graph_of(sizes, [("CONV_2D", (i,), (i + 1,)) for i in range(len(sizes) - 1)])


def overlaps(found: Sequence[Buffer], offsets: Sequence[int]) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, a in enumerate(found)
        for j, b in enumerate(found)
        if i < j and a.meets(b) and offsets[i] < offsets[j] + b.size and offsets[j] < offsets[i] + a.size
    ]


def test_buffers_live_from_writer_to_last_reader() -> None:
    graph = graph_of([100, 32, 16, 48], [("CONV_2D", (0,), (1,)), ("CONV_2D", (1,), (2,)), ("ADD", (1, 2), (3,))])
    assert buffers(graph) == (
        Buffer(112, 0, 1, (0,)),
        Buffer(32, 1, 3, (1,)),
        Buffer(16, 2, 3, (2,)),
        Buffer(48, 3, 3, (3,)),
    )
    assert peak(buffers(graph)) == 144
    assert buffers(graph, scratch={1: (5, 20)})[4:] == (Buffer(16, 2, 2), Buffer(32, 2, 2))


def test_an_unused_tensor_gets_a_time_of_its_own_and_constants_get_no_place() -> None:
    graph = graph_of([16, 16, 999], [("CONV_2D", (0,), (1,))], last=1)
    assert buffers(graph)[2] == Buffer(1008, -1, -1, (2,))
    real = read_graph(DATA / "image_int8.tflite")
    placed = {i for b in buffers(real) for i in b.tensors}
    assert placed.isdisjoint(t.index for t in real.tensors if t.constant)


@pytest.mark.parametrize(
    ("dtype", "size"), [("int8", 6), ("int16", 12), ("float32", 24), ("int64", 48), ("int4", 3), ("bool", 6)]
)
def test_bytes_of_a_tensor(dtype: str, size: int) -> None:
    assert tensor_bytes(Tensor(0, "t", (2, 3), (2, 3), dtype, quantization=None, data=None)) == size


def test_greedy_wastes_memory_on_a_chain_and_the_plan_does_not() -> None:
    # MobileNetV1's first layers, in 16-byte units: the largest buffer goes first, and splits what is left.
    sizes = [s * 16 for s in (27, 18, 18, 36, 9, 18)]
    graph = chain(*sizes)
    found = plan_memory(graph)
    assert found.bound == max(a + b for a, b in pairwise(sizes))
    assert found.height == found.bound
    assert found.greedy >= found.height
    assert found.gap == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=14))
def test_a_chain_is_always_planned_at_its_largest_pair(units: list[int]) -> None:
    sizes = [16 * u for u in units]
    found = plan_memory(chain(*sizes), in_place=False)
    assert found.height == max(a + b for a, b in pairwise(sizes))


intervals = st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 6))


@settings(max_examples=60, deadline=None)
@given(st.lists(intervals, min_size=1, max_size=16))
def test_plans_never_overlap_and_never_beat_the_bound(drawn: list[tuple[int, int, int]]) -> None:
    found = [Buffer(16 * size, first, first + length) for size, first, length in drawn]
    ours, theirs = place(found), greedy(found)
    assert overlaps(found, ours) == overlaps(found, theirs) == []
    assert peak(found) <= height(found, ours)
    assert all(offset % 16 == 0 for offset in ours)


@st.composite
def branching(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(3, 9))
    sizes = [16 * draw(st.integers(1, 30)) for _ in range(count)]
    ops = []
    for i in range(1, count):
        inputs = draw(st.lists(st.integers(0, i - 1), min_size=1, max_size=2, unique=True))
        ops.append((draw(st.sampled_from(["CONV_2D", "ADD", "CONCATENATION"])), tuple(inputs), (i,)))
    return graph_of(sizes, ops)


@settings(max_examples=60, deadline=None)
@given(branching())
def test_a_plan_is_never_above_the_greedy_one(graph: Graph) -> None:
    found = plan_memory(graph)
    assert found.bound <= found.height <= found.greedy
    assert sorted(op.index for op in found.order) == list(range(len(graph.ops)))
    written = set(graph.inputs)
    for op in found.order:
        assert written >= set(op.inputs)
        written |= set(op.outputs)


def test_ops_are_reordered_where_that_lowers_the_peak() -> None:
    # Two branches that grow and shrink: each is best run to its end before the other begins.
    graph = graph_of(
        [16, 800, 16, 800, 16, 16],
        [("A", (0,), (1,)), ("A", (0,), (3,)), ("A", (1,), (2,)), ("A", (3,), (4,)), ("ADD", (2, 4), (5,))],
    )
    assert peak(buffers(graph)) == 1616
    found = plan_memory(graph, in_place=False)
    assert [op.index for op in found.order] in ([0, 2, 1, 3, 4], [1, 3, 0, 2, 4])
    assert (found.height, found.reordered, found.order_proven) == (832, True, True)
    assert plan_memory(graph, reorder=False, in_place=False).height == 1616


def test_ops_that_act_by_more_than_their_outputs_keep_their_order() -> None:
    graph = graph_of([16, 800, 16], [("READ_VARIABLE", (0,), (1,)), ("A", (1,), (2,)), ("ASSIGN_VARIABLE", (2,), ())])
    assert not may_be_reordered(graph)
    assert not best_order(graph).changed


def test_elementwise_results_take_the_place_of_inputs_that_die() -> None:
    graph = graph_of([64, 64, 64], [("CONV_2D", (0,), (1,)), ("ADD", (0, 1), (2,))])
    assert plan_memory(graph).shared == ((0, 2),)
    assert plan_memory(graph).height == 128
    assert plan_memory(graph, in_place=False).height == 192
    kept = graph_of([64, 64, 64, 64], [("A", (0,), (1,)), ("ADD", (0, 1), (2,)), ("CONCAT", (0, 2), (3,))])
    assert all(0 not in shared for shared in plan_memory(kept).shared), "an input that is read later stays"


def test_a_plan_is_written_as_metadata_and_read_back(tmp_path: Path) -> None:
    model = read_model(DATA / "image_int8.tflite")
    graph = read_graph(DATA / "image_int8.tflite")
    stock = plan_memory(graph)
    apply_plan(model, stock)
    (tmp_path / "stock.tflite").write_bytes(write_model(model))
    assert METADATA not in read_graph(tmp_path / "stock.tflite").metadata, "TFLite Micro's own plan needs no words"
    fixed = plan_memory(graph, scratch={0: (100_000,)})
    apply_plan(model, replace(fixed, fixed=True))
    (tmp_path / "planned.tflite").write_bytes(write_model(model))
    words = read_graph(tmp_path / "planned.tflite").metadata[METADATA].view(np.int32)
    assert words[:3].tolist() == [1, 0, len(graph.tensors)]
    offsets = dict(zip([b.tensors for b in fixed.buffers if b.tensors], fixed.offsets, strict=False))
    assert all(words[3 + tensors[0]] == offset for tensors, offset in offsets.items())
    assert {int(words[3 + t.index]) for t in graph.tensors if t.constant} <= {-1}
