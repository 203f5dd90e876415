"""What can be read of a compiled model: its package, and which ops went inside."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from darwinn import packed
from graphs import Builder

from edgecompile.backends.edgetpu import cost
from edgecompile.backends.edgetpu.inside import CUSTOM_OP, recover
from edgecompile.backends.edgetpu.payload import Package, PayloadError, read_package
from edgecompile.tflite.graph import Graph, read_graph

SHAPE = (1, 8, 8, 4)


def test_package() -> None:
    found = read_package(packed((2, 100, 64), (1, 3000, 16)))
    assert (found.min_runtime_version, found.compiler_version, found.chip) == (14, "cl/1", "beagle")
    assert [e.type for e in found.executables] == ["execution only", "parameter caching"]
    assert (found.cached_bytes, found.streamed_bytes, found.instruction_bytes) == (3000, 100, 80)
    assert found.activation_bytes_per_tile == 832
    assert {e.token for e in found.executables} == {2**63 + 7}


def test_stand_alone_programs_stream_everything() -> None:
    found = read_package(packed((0, 500, 8)))
    assert (found.executables[0].type, found.cached_bytes, found.streamed_bytes) == ("stand alone", 0, 500)


def test_a_type_that_is_not_published_is_named_by_its_number() -> None:
    assert read_package(packed((9, 1, 1))).executables[0].type == "type 9"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (b"nothing", "no DWN1 package"),
        (b"DWN1", "no DWN1 package"),
        (b"\xff\xff\xff\x7fDWN1", "an offset points outside the package"),
        (packed(), "a package without a program"),
    ],
)
def test_what_is_no_package(options: bytes, what: str) -> None:
    with pytest.raises(PayloadError, match=what):
        read_package(options)


def test_damage_never_ends_in_anything_else() -> None:
    whole = packed((2, 40, 24), (1, 80, 8))
    dice = random.Random(0)
    read = 0
    for _ in range(3_000):
        broken = bytearray(whole[: dice.randrange(8, len(whole) + 1)])
        for _ in range(dice.randrange(4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            read += isinstance(read_package(bytes(broken)), Package)
        except PayloadError:
            continue
    assert 0 < read < 3_000


def test_a_vector_of_a_billion_parts_is_refused() -> None:
    whole = packed((2, 4, 4))
    said = set()
    for place in range(whole.index(b"DWN1"), len(whole) - 4):
        try:
            read_package(whole[:place] + b"\xff\xff\xff\x3f" + whole[place + 4 :])
        except PayloadError as error:
            said.add(str(error))
    assert "1,073,741,823 parts" in said


def compiled(source: Graph, left: list[int], *, names: bool = True) -> Graph:
    """Return source as the compiler would leave it: ops in left stay, one custom op is in place of the others."""
    tensors = source.tensors if names else tuple(replace(t, name="") for t in source.tensors)
    stay = [op for op in source.ops if op.index in left]
    gone = [op for op in source.ops if op.index not in left]
    made = {i for op in gone for i in op.outputs}
    needed = {i for op in gone for i in op.inputs if not source.tensors[i].constant}
    read = {i for op in stay for i in op.inputs} | set(source.outputs)
    custom = replace(
        source.ops[0], name=CUSTOM_OP, custom=True, inputs=tuple(sorted(needed - made)), outputs=tuple(made & read)
    )
    ops = tuple(replace(op, index=n) for n, op in enumerate([custom, *stay]))
    return replace(source, tensors=tensors, ops=ops)


def chain(length: int) -> Graph:
    build = Builder()
    here = start = build.tensor(SHAPE)
    for _ in range(length):
        here = build.op("RELU", [here], [build.tensor(SHAPE)])
    return build.graph([start], [here])


def test_ops_outside_are_found_by_name() -> None:
    source = chain(6)
    found = recover(source, compiled(source, [4, 5]))
    assert (found.inside, found.outside) == (frozenset(range(4)), {4: 1, 5: 2})
    assert found.by_shape == found.removed == found.disputed == frozenset()
    assert found.inserted == ()


def test_ops_without_names_are_found_by_shape_from_the_end_and_said_to_be() -> None:
    source = chain(6)
    found = recover(
        replace(source, tensors=compiled(source, [], names=False).tensors), compiled(source, [4, 5], names=False)
    )
    assert found.inside == frozenset(range(4))
    assert found.by_shape == {4, 5}


def test_ops_that_the_compiler_added_are_not_taken_for_the_models() -> None:
    source = chain(3)
    small = compiled(source, [])
    extra = replace(source.ops[0], name="QUANTIZE", index=1)
    found = recover(source, replace(small, ops=(*small.ops, extra)))
    assert (found.inserted, found.inside) == ((1,), frozenset(range(3)))


def test_ops_that_nothing_needs_were_removed() -> None:
    build = Builder()
    start = build.tensor(SHAPE)
    end = build.op("RELU", [start], [build.tensor(SHAPE)])
    build.op("TANH", [start], [build.tensor(SHAPE)])
    source = build.graph([start], [end])
    small = compiled(source, [])
    small = replace(small, ops=(replace(small.ops[0], inputs=(start,), outputs=(end,)),))
    found = recover(source, small)
    assert (found.inside, found.removed) == (frozenset({0}), frozenset({1}))


def test_real_compiled_models(edgecompile_data: Path) -> None:
    tokens = set()
    for file in sorted((edgecompile_data / "edgetpu").glob("*_edgetpu.tflite")):
        graph = read_graph(file)
        source = read_graph(file.with_name(file.name.removesuffix("_edgetpu.tflite") + ".tflite"))
        found = recover(source, graph)
        assert found.disputed == found.by_shape == found.removed == frozenset()
        assert found.inserted == ()
        (custom,) = (op for op in graph.ops if op.name == CUSTOM_OP)
        assert custom.custom_options is not None
        package = read_package(custom.custom_options.tobytes())
        assert package.min_runtime_version in {12, 13, 14}
        assert package.chip == "beagle"
        assert 0 < package.activation_bytes_per_tile < 196_608
        tokens.add(package.executables[0].token)
        estimate = cost.parameters(source, found.inside).on_chip
        assert estimate.low <= package.cached_bytes + package.streamed_bytes <= estimate.high
    assert len(tokens) == 29


@pytest.mark.parametrize(
    ("name", "shape", "scales", "size"),
    [
        ("FULLY_CONNECTED", (256, 256), 256, 67_584),
        ("FULLY_CONNECTED", (1, 256), 1, 4_160),
        ("CONV_2D", (100, 3, 3, 3), 100, 128 * (9 * 4 + 8)),
        ("CONV_2D", (32, 3, 3, 32), 32, 32 * (9 * 32 + 8)),
        ("DEPTHWISE_CONV_2D", (1, 7, 7, 8), 8, 16 * (49 * 4 + 8)),
        ("RELU", (4,), 1, 0),
    ],
)
def test_parameters_of_one_op(name: str, shape: tuple[int, ...], scales: int, size: int) -> None:
    build = Builder()
    given, made = build.tensor(SHAPE), build.tensor(SHAPE)
    weights = build.tensor(shape, "int8", data=np.zeros(shape, np.int8), channels=scales)
    build.op(name, [given, weights], [made])
    graph = build.graph([given], [made])
    assert cost.on_chip_bytes(graph, graph.ops[0]) == size


def dense(inputs: int, outputs: int, *, layers: int = 1) -> Graph:
    build = Builder()
    here = start = build.tensor((1, inputs))
    for _ in range(layers):
        here = build.op("FULLY_CONNECTED", [here, build.weights(outputs, inputs)], [build.tensor((1, outputs))])
    return build.graph([start], [here])


def test_what_fits_is_cached_and_the_rest_streamed() -> None:
    small = cost.parameters(dense(1024, 1024), [0])
    assert (small.stored, small.streamed) == (1024 * 1024, cost.Range(0, 0))
    assert small.cached == small.on_chip
    several = cost.parameters(dense(2048, 2048, layers=3), range(3))
    assert several.cached == cost.Range(cost.CAPACITY_LOW_BYTES, cost.CAPACITY_HIGH_BYTES)
    assert several.streamed.low > 2.9 * 2**20
    one = cost.parameters(dense(4096, 4096), [0])
    assert (one.cached.low, one.streamed.low > 14 * 2**20) == (0, True), "what does not fit alone is streamed whole"
    assert cost.parameters(dense(8, 8), []).on_chip == cost.Range(0, 0)


def test_very_wide_dense_layers_are_streamed_however_much_room_there_is() -> None:
    found = cost.parameters(dense(16_384, 1), [0])
    assert [op.index for op in found.wide_dense] == [0]
    assert found.cached.low == 0
    assert found.streamed.low > 240_000


def test_models_compiled_together_share_the_room_in_order() -> None:
    mib = 1 << 20

    def needs(size: int, never: int = 0) -> cost.Parameters:
        every, streamed = cost.Range((size + never) * mib, (size + never) * mib), cost.Range(never * mib, never * mib)
        cached, none = cost.Range(size * mib, size * mib), cost.Range(0, 0)
        return cost.Parameters((size + never) * mib, every, cached, streamed, none, ())

    first, second, third = cost.shared([needs(5), needs(2, never=1), needs(3)])
    assert first == needs(5), "as if it were alone"
    low, high = cost.CAPACITY_LOW_BYTES - 5 * mib, cost.CAPACITY_HIGH_BYTES - 5 * mib
    assert second.cached == cost.Range(low, 2 * mib), "all of it, or what the first one leaves at worst"
    assert second.streamed == cost.Range(mib, 3 * mib - low), "a layer that is never kept, and what finds no room"
    assert third.cached == cost.Range(0, high - low)
    assert third.streamed == cost.Range(3 * mib - (high - low), 3 * mib)
    assert cost.shared([]) == ()


@pytest.mark.parametrize("width", [16, 32, 64, 80])
def test_many_small_dense_layers_may_take_more(width: int) -> None:
    """The compiler was seen to take 12 to 17% more than the sum of a hundred layers."""
    build = Builder()
    start = here = build.tensor((1, width))
    for _ in range(100):
        here = build.op("FULLY_CONNECTED", [here, build.weights(width, width)], [build.tensor((1, width))])
    graph = build.graph([start], [here])
    best = sum(cost.on_chip_bytes(graph, op) for op in graph.ops)
    found = cost.parameters(graph, range(100)).on_chip
    assert found.low < best < 1.17 * best < found.high
