"""Weights of TFLite's sparse format, written out in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import Net, written

from edgecompile.agree import agreeing
from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.intake import Intake
from edgecompile.passes.quantize import Quantize
from edgecompile.target import Scheme, load_target
from edgecompile.tflite.densify import densify, sparse_places
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import KERNELS, predict
from edgecompile.tflite.values import Array


def index_vector(values: Sequence[int], kind: str) -> tuple[int, Any]:
    made = getattr(schema, f"{kind}VectorT")(values=np.asarray(values, kind.lower()))
    return getattr(schema.SparseIndexVector, f"{kind}Vector"), made


def encoded(
    dense: Array, *, blocks: dict[int, int], order: Sequence[int], compressed: Sequence[int], kind: str = "Uint8"
) -> tuple[Array, Any]:
    """Return the values and the parameters of dense in the sparse format, by walking it place by place.

    Args:
        dense: the tensor.
        blocks: dimension → size of its blocks.
        order: how the dimensions, then those of blocks, are walked.
        compressed: those that list their indices.
        kind: of the vectors that hold them.
    """
    rank = dense.ndim
    extents = [size // blocks.get(d, 1) for d, size in enumerate(dense.shape)] + list(blocks.values())
    segments: dict[int, list[int]] = {d: [0] for d in compressed}
    indices: dict[int, list[int]] = {d: [] for d in compressed}
    values = []

    def part(fixed: dict[int, int]) -> Array:
        slices = []
        for d, size in enumerate(dense.shape):
            step = blocks.get(d, 1)
            within = rank + list(blocks).index(d) if d in blocks else -1
            places = np.arange(size)
            places = places[[d not in fixed or fixed[d] == p // step for p in places]]
            places = places[[within not in fixed or fixed[within] == p % step for p in places]]
            slices.append(places)
        return dense[np.ix_(*slices)]

    def walk(fixed: dict[int, int], level: int) -> None:
        if level == len(order):
            values.append(part(fixed).item())
            return
        d = order[level]
        for i in range(extents[d]):
            if d not in compressed or part({**fixed, d: i}).any():
                if d in compressed:
                    indices[d].append(i)
                walk({**fixed, d: i}, level + 1)
        if d in compressed:
            segments[d].append(len(indices[d]))

    walk({}, 0)
    levels = []
    for d in order:
        level = schema.DimensionMetadataT(format=int(d in compressed), denseSize=0 if d in compressed else extents[d])
        if d in compressed:
            level.arraySegmentsType, level.arraySegments = index_vector(segments[d], kind)
            level.arrayIndicesType, level.arrayIndices = index_vector(indices[d], kind)
        levels.append(level)
    how = schema.SparsityParametersT(traversalOrder=list(order), blockMap=list(blocks), dimMetadata=levels)
    return np.asarray(values, dense.dtype), how


def few(*shape: int, share: float = 0.2) -> Array:
    dice = np.random.default_rng(math.prod(shape))
    return np.asarray(dice.normal(size=shape) * (dice.random(shape) < share), np.float32)


FORMS = [
    ((6, 8), {}, (0, 1), (1,)),
    ((6, 8), {}, (1, 0), (0,)),
    ((6, 8), {}, (0, 1), (0, 1)),
    ((6, 8), {1: 4}, (0, 1, 2), (1,)),
    ((8, 6), {0: 4}, (1, 0, 2), (0,)),
    ((8, 8), {0: 2, 1: 4}, (0, 1, 2, 3), (1,)),
    ((8, 8), {1: 4, 0: 2}, (0, 1, 3, 2), (1,)),
    ((3, 2, 2, 8), {}, (0, 1, 2, 3), (3,)),
    ((4, 2, 2, 8), {3: 4}, (0, 2, 1, 3, 4), (1, 3)),
]


@pytest.mark.parametrize(("shape", "blocks", "order", "compressed"), FORMS)
@pytest.mark.parametrize("kind", ["Uint8", "Uint16", "Int32"])
def test_every_value_gets_its_place(
    shape: tuple[int, ...], blocks: dict[int, int], order: tuple[int, ...], compressed: tuple[int, ...], kind: str
) -> None:
    dense = few(*shape)
    values, how = encoded(dense, blocks=blocks, order=order, compressed=compressed, kind=kind)
    whole = np.zeros(dense.size, np.float32)
    whole[sparse_places(shape, how)] = values
    np.testing.assert_array_equal(whole.reshape(shape), dense)


def sparse_model(folder: Path, *, dtype: str = "float32") -> tuple[Path, Path]:
    """Return a model of two 1×1 convolutions whose kernels lie behind DENSIFY, and the same with dense kernels."""
    nets, paths = (Net(), Net()), []
    for sparse, net in enumerate(nets):
        x = net.input("x", [1, 6, 6, 16])
        for number in range(2):
            kernel = few(16, 1, 1, 16, share=0.3)
            weights = net.constant(kernel)
            if dtype == "float16" or sparse:
                tensor = net.graph.tensors[weights]
                half = kernel.astype(dtype)
                tensor.type = {"float32": 0, "float16": 1}[dtype]
                content: Array = half.reshape(-1)
                if sparse:
                    content, tensor.sparsity = encoded(half, blocks={}, order=(0, 1, 2, 3), compressed=(3,))
                net.model.buffers[tensor.buffer].data = np.frombuffer(content.tobytes(), np.uint8)
            if sparse:
                weights = net.op("DENSIFY", [weights], [16, 1, 1, 16], schema.DensifyOptionsT())
                net.graph.tensors[weights].type = {"float32": 0, "float16": 1}[dtype]
            if dtype == "float16":
                weights = net.op("DEQUANTIZE", [weights], [16, 1, 1, 16], schema.DequantizeOptionsT())
            how = schema.Conv2DOptionsT(strideH=1, strideW=1, fusedActivationFunction=1 - number)
            bias = net.constant(np.zeros(16, np.float32))
            x = net.op("CONV_2D", [x, weights, bias], [1, 6, 6, 16], how)
        paths.append(written(net.done({"y": x}), folder, f"{'sparse' if sparse else 'dense'}.tflite"))
    return paths[1], paths[0]


def rows() -> Dataset:
    return Dataset(inputs={"x": np.random.default_rng(0).normal(size=(16, 6, 6, 16)).astype(np.float32)})


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_densified_models_answer_as_litert_does(tmp_path: Path, dtype: str) -> None:
    sparse, dense = sparse_model(tmp_path, dtype=dtype)
    model = read_model(sparse)
    assert densify(model) == 2
    made = written(write_model(model), tmp_path, "made.tflite")
    assert "DENSIFY" not in {op.name for op in read_graph(made).ops}
    for kernels in KERNELS:
        expected = predict(sparse, rows(), kernels=kernels)["y"]
        np.testing.assert_array_equal(predict(made, rows(), kernels=kernels)["y"], expected)
    np.testing.assert_array_equal(
        predict(made, rows(), kernels="builtin")["y"], predict(dense, rows(), kernels="builtin")["y"]
    )


def taken(model: Path, folder: Path, **fields: bool) -> Outcome:
    folder.mkdir()
    ctx = Context(out=folder, log=folder.parent / "log")
    return Intake(**fields).run(Artifact.of(model, Kind.TFLITE), ctx)


@pytest.mark.parametrize(
    ("dtype", "scheme"), [("float32", "int8"), ("float16", "float16"), ("float16", "int8"), ("float16", "float32")]
)
def test_sparse_models_are_built_as_dense_ones(tmp_path: Path, dtype: str, scheme: Scheme) -> None:
    found = []
    for model in sparse_model(tmp_path, dtype=dtype):
        door = taken(model, tmp_path / f"{model.stem}-in")
        rules = {finding.rule for finding in door.findings}
        assert ("sparse-weights" in rules) == (model.stem == "sparse")
        out = tmp_path / f"{model.stem}-out"
        out.mkdir()
        ctx = Context(out=out, calibration=rows(), log=tmp_path / "log")
        made = Quantize(scheme=scheme).run(door.artifact, ctx).artifact.path
        found.append(predict(made, rows(), kernels="builtin")["y"])
    np.testing.assert_array_equal(found[0], found[1])


def test_float32_stays_sparse_where_the_cpu_computes_with_it(tmp_path: Path) -> None:
    model, _ = sparse_model(tmp_path)
    door = taken(model, tmp_path / "in", keep_sparse=True)
    assert door.artifact.path.read_bytes() == model.read_bytes()
    half, _ = sparse_model(tmp_path, dtype="float16")
    assert "DENSIFY" not in {
        op.name for op in read_graph(taken(half, tmp_path / "half", keep_sparse=True).artifact.path).ops
    }
    for target, scheme, kept in [
        ("linux-x86_64", "float32", True),
        ("linux-x86_64", "int8", False),
        ("ios", "float32", False),
        ("nucleo-l4r5zi", "float32", False),
    ]:
        told = agreeing((Intake(), Quantize(scheme=scheme)), load_target(target))
        assert told[0] == Intake(tflm=target.startswith("nucleo"), keep_sparse=kept)


def damaged(change: Any) -> Any:
    values, how = encoded(few(6, 8), blocks={1: 4}, order=(0, 1, 2), compressed=(1,))
    change(how)
    return values, how


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda how: setattr(how, "traversalOrder", [0, 1, 1]), "are walked in the order"),
        (lambda how: setattr(how, "blockMap", [7]), "its blocks lie in"),
        (lambda how: setattr(how.dimMetadata[2], "denseSize", 3), "do not divide"),
        (lambda how: setattr(how.dimMetadata[0], "denseSize", 1 << 30), "is said to have"),
        (lambda how: setattr(how.dimMetadata[1], "arraySegments", None), "is damaged"),
        (lambda how: setattr(how.dimMetadata[1].arrayIndices, "values", [200] * 99), "indices in"),
        (lambda how: how.dimMetadata[1].arrayIndices.values.fill(200), "an index lies outside"),
        (lambda how: how.dimMetadata[1].arraySegments.values.fill(200), "indices in"),
    ],
)
def test_damaged_sparse_tensors_are_told(tmp_path: Path, change: Any, why: str) -> None:
    values, how = damaged(change)
    net = Net()
    x = net.input("x", [1, 8])
    y = net.dense(x, 6, weights=few(6, 8))
    model = read_model(net.done({"y": y}))
    kernel = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    kernel.sparsity = how
    model.buffers[kernel.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    with pytest.raises(ModelError, match=why):
        densify(model)
