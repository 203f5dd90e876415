"""Rewrites for the Edge TPU: each has a model that needs it, and keeps what the model computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from edgetpu_needs import NEEDS
from flat_models import FlatModel

from edgecompile.backends.edgetpu.fit.apply import Fitted, fit
from edgecompile.backends.edgetpu.fit.proof import compared
from edgecompile.backends.edgetpu.fit.table import ENTRIES, Entry
from edgecompile.backends.edgetpu.versions import edgetpu_readable
from edgecompile.backends.rules import sentence

NONE, RELU, RELU6 = (getattr(schema.ActivationFunctionType, n) for n in ("NONE", "RELU", "RELU6"))
SIGNS = pytest.mark.parametrize("dtype", ["int8", "uint8"])


def middle(dtype: str) -> int:
    """Return the code of zero that keeps a range centred."""
    return 0 if dtype == "int8" else 128


def framed(dtype: str, write: Callable[[FlatModel, int], int], *, shape: tuple[int, ...] = (1, 8, 8, 4)) -> bytes:
    """Return a model of a convolution, what write adds behind it, and one more convolution behind 4 dimensions."""
    model = FlatModel(dtype)
    here = write(model, model.convolution(model.input(shape, zero_point=middle(dtype)), shape[-1]))
    if len(model.tensors[here].shape) == 4:
        here = model.convolution(here, 6)
    return model.finish(here)


def made_by(found: Fitted) -> list[str]:
    return [one.rewrite.apply.__name__ for one in found.made]


def names(found: Fitted) -> list[str]:
    return [p.op.name for p in found.after.placements]


def fitted(content: bytes, *rewrites: str, codes: int = 0) -> Fitted:
    """Return what fit makes of content, checked: these rewrites, all on the Edge TPU, outputs within codes."""
    found = fit(content)
    assert made_by(found) == list(rewrites)
    assert found.refused == ()
    assert len(found.after.on_tpu) == len(found.after.placements)
    difference = compared(content, found.content, seed=1)
    assert difference is not None
    assert difference <= codes
    assert fit(found.content).made == (), "it is done"
    return found


def gains(found: Fitted) -> None:
    """Assert that the Edge TPU has more of the work than before."""
    before, after = found.before.share_of_macs, found.after.share_of_macs
    assert before is not None
    assert after == 1.0
    assert before < after


@SIGNS
@pytest.mark.parametrize("scale", [0.01, 0.04, 0.3])
def test_hard_swish(dtype: str, scale: float) -> None:
    def write(model: FlatModel, here: int) -> int:
        x = model.tensor((1, 8, 8, 4), scale=scale, zero_point=middle(dtype) - 20)
        model.op("QUANTIZE", [here], [x])
        low = -0.375
        step = (127 * scale - low) / 255
        zero = round(-low / step) + (-128 if dtype == "int8" else 0)
        return model.op("HARD_SWISH", [x], [model.tensor((1, 8, 8, 4), scale=step, zero_point=zero)])

    content = framed(dtype, write)
    found = fit(content)
    assert made_by(found) == ["hard_swish"]
    assert names(found) == ["CONV_2D", "QUANTIZE", "MUL", "ADD", "MUL", "CONV_2D"]
    assert found.made[0].codes is not None
    assert found.made[0].codes <= 1
    gains(found)


@SIGNS
@pytest.mark.parametrize("shape", [(1, 8, 8, 4), (1, 6, 4), (1, 12)])
@pytest.mark.parametrize("slope", [0.01, 0.2, 1.5])
def test_leaky_relu(dtype: str, shape: tuple[int, ...], slope: float) -> None:
    model = FlatModel(dtype)
    x = model.input(shape, zero_point=middle(dtype) + 3)
    y = model.tensor(shape, scale=0.04, zero_point=middle(dtype) - 90)
    model.op("LEAKY_RELU", [x], [y], options=schema.LeakyReluOptionsT(alpha=slope))
    found = fitted(model.finish(y), "leaky_relu", codes=1)
    assert names(found) == ["PRELU"]


def test_leaky_relu_in_a_network() -> None:
    def write(model: FlatModel, here: int) -> int:
        y = model.tensor((1, 8, 8, 4), scale=0.05, zero_point=-90)
        return model.op("LEAKY_RELU", [here], [y], options=schema.LeakyReluOptionsT(alpha=0.3))

    found = fit(framed("int8", write))
    gains(found)


def pool(model: FlatModel, here: int, name: str, activation: int, zero_point: int) -> int:
    x = model.tensor((1, 8, 8, 4), zero_point=zero_point)
    model.op("QUANTIZE", [here], [x])
    options = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID,
        strideH=2,
        strideW=2,
        filterHeight=2,
        filterWidth=2,
        fusedActivationFunction=activation,
    )
    y = model.tensor((1, 4, 4, 4), zero_point=zero_point)
    return model.op(name, [x], [y], options=options, version=2 if model.dtype == "int8" else 1)


@SIGNS
@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_unfused_activation(dtype: str, name: str) -> None:
    content = framed(dtype, lambda model, here: pool(model, here, name, RELU6, middle(dtype) - 40))
    found = fitted(content, "unfused_activation")
    assert names(found) == ["CONV_2D", "QUANTIZE", name, "RELU6", "CONV_2D"]
    gains(found)


@pytest.mark.parametrize("bias", [True, False])
def test_unfused_activation_of_a_transposed_convolution(bias: bool) -> None:
    """Version 4, which the compiler cannot read, brought it."""
    dice = np.random.default_rng(3)

    def write(model: FlatModel, here: int) -> int:
        size = model.constant(np.array([1, 16, 16, 6], np.int32))
        weights = model.constant(dice.integers(-127, 128, (6, 2, 2, 4)).astype(np.int8), scale=[0.01] * 6)
        added = [model.constant(np.arange(-300, 300, 100, np.int32), scale=[0.0005] * 6)] if bias else []
        options = schema.TransposeConvOptionsT(
            padding=schema.Padding.SAME, strideH=2, strideW=2, fusedActivationFunction=RELU
        )
        made = model.tensor((1, 16, 16, 6), zero_point=-50)
        return model.op("TRANSPOSE_CONV", [size, weights, here, *added], [made], options=options, version=4)

    found = fitted(framed("int8", write), "unfused_activation")
    assert [(p.op.name, p.op.version) for p in found.after.placements[1:3]] == [
        ("TRANSPOSE_CONV", 3 if bias else 2),
        ("RELU", 2),
    ]


@SIGNS
def test_a_fused_activation_that_cuts_nothing_off_goes(dtype: str) -> None:
    low = -128 if dtype == "int8" else 0
    found = fitted(framed(dtype, lambda model, here: pool(model, here, "MAX_POOL_2D", RELU, low)), "unfused_activation")
    assert names(found) == ["CONV_2D", "QUANTIZE", "MAX_POOL_2D", "CONV_2D"]


@SIGNS
@pytest.mark.parametrize("keep", [True, False])
def test_mean_in_steps(dtype: str, keep: bool) -> None:
    def write(model: FlatModel, here: int) -> int:
        axes = model.constant(np.array([1, 2], np.int32))
        y = model.tensor((1, 1, 1, 4) if keep else (1, 4), zero_point=middle(dtype))
        version = 2 if dtype == "int8" else 1
        return model.op("MEAN", [here, axes], [y], options=schema.ReducerOptionsT(keepDims=keep), version=version)

    content = framed(dtype, write, shape=(1, 256, 128, 4))
    found = fit(content)
    assert made_by(found) == ["mean_in_steps"]
    assert [n for n in names(found) if n == "MEAN"] == ["MEAN", "MEAN"]
    assert len(found.after.on_tpu) == len(found.after.placements) > len(found.before.on_tpu) + 1
    assert found.made[0].codes is not None
    assert found.made[0].codes <= 1


@SIGNS
@pytest.mark.parametrize("name", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_resize_in_steps(dtype: str, name: str) -> None:
    model = FlatModel(dtype)
    x = model.convolution(model.input((1, 1, 1, 8), zero_point=middle(dtype)), 8)
    size = model.constant(np.array([33, 5], np.int32))
    y = model.tensor((1, 33, 5, 8), zero_point=middle(dtype))
    options = schema.ResizeBilinearOptionsT() if "BILINEAR" in name else schema.ResizeNearestNeighborOptionsT()
    model.op(name, [x, size], [y], options=options, version=2 if dtype == "int8" else 1)
    found = fitted(model.finish(model.convolution(y, 3)), "resize_in_steps")
    shapes = [found.after.graph.tensors[p.op.outputs[0]].shape[1:3] for p in found.after.placements[1:-1]]
    assert shapes == [(2, 2), (3, 3), (5, 5), (9, 5), (17, 5), (33, 5)]
    gains(found)


def test_a_resize_of_more_than_a_pixel_stays() -> None:
    model = FlatModel()
    x = model.input((1, 2, 2, 8))
    y = model.tensor((1, 66, 66, 8))
    size = model.constant(np.array([66, 66], np.int32))
    model.op("RESIZE_BILINEAR", [x, size], [y], options=schema.ResizeBilinearOptionsT(), version=2)
    content = model.finish(y)
    found = fit(content)
    assert (found.made, found.refused, found.content) == ((), (), content)


def dense(
    model: FlatModel,
    here: int,
    *,
    made: tuple[int, ...],
    scales: int = 1,
    version: int = 4,
    bias: bool = True,
    **options: Any,
) -> int:
    dice = np.random.default_rng(5)
    inputs, outputs = model.tensors[here].shape[-1], made[-1]
    scale = dice.uniform(0.002, 0.02, scales)
    if model.dtype == "int8":
        weights = model.constant(dice.integers(-127, 128, (outputs, inputs)).astype(np.int8), scale=scale)
    else:
        codes = dice.integers(0, 256, (outputs, inputs)).astype(np.uint8)
        weights = model.constant(codes, scale=scale, zero_point=120)
    added = model.constant(dice.integers(-900, 900, outputs).astype(np.int32), scale=scale * 0.05) if bias else -1
    y = model.tensor(made, scale=0.06, zero_point=middle(model.dtype) + 5)
    settings = schema.FullyConnectedOptionsT(**options)
    return model.op("FULLY_CONNECTED", [here, weights, added], [y], options=settings, version=version)


@SIGNS
@pytest.mark.parametrize("bias", [True, False])
def test_dense_as_convolution_for_several_rows(dtype: str, bias: bool) -> None:
    model = FlatModel(dtype)
    x = model.input((1, 7, 16), zero_point=middle(dtype) + 2)
    version = 5 if dtype == "int8" else 1
    y = dense(model, x, made=(1, 7, 9), version=version, bias=bias, keepNumDims=True, fusedActivationFunction=RELU)
    found = fitted(model.finish(y), "dense_as_convolution", codes=1)
    assert names(found) == ["RESHAPE", "CONV_2D", "RESHAPE"]
    gains(found)


def test_dense_as_convolution_for_a_version_that_the_compiler_does_not_map() -> None:
    model = FlatModel()
    y = dense(model, model.input((1, 1, 16)), made=(1, 1, 9), version=9, keepNumDims=True)
    found = fitted(model.finish(y), "dense_as_convolution", codes=1)
    assert "FULLY_CONNECTED" not in names(found)
    gains(found)


@pytest.mark.parametrize("scales", [1, 9])
def test_dense_as_convolution_for_a_version_that_the_compiler_cannot_read(scales: int) -> None:
    model = FlatModel()
    content = model.finish(dense(model, model.input((1, 16)), made=(1, 9), scales=scales, version=12))
    found = fitted(content, "dense_as_convolution", codes=1)
    assert any(edgetpu_readable(found.before.graph, op) for op in found.before.graph.ops)
    assert not any(edgetpu_readable(found.after.graph, op) for op in found.after.graph.ops)


@pytest.mark.parametrize(("dtype", "scales"), [("int8", 1), ("int8", 100_003), ("uint8", 1)])
def test_dense_in_parts(dtype: str, scales: int) -> None:
    model = FlatModel(dtype)
    x = model.convolution(model.input((1, 1, 1, 6), zero_point=middle(dtype)), 6)
    flat = model.tensor((1, 6), zero_point=middle(dtype))
    model.op("RESHAPE", [x, model.constant(np.array([1, 6], np.int32))], [flat])
    version = 4 if dtype == "int8" else 1
    y = dense(model, flat, made=(1, 100_003), scales=scales, version=version, fusedActivationFunction=RELU)
    found = fitted(model.finish(y), "dense_in_parts")
    assert names(found) == ["CONV_2D", "RESHAPE", *["FULLY_CONNECTED"] * 13, "CONCATENATION"]
    gains(found)


def test_a_dense_layer_with_a_scale_an_output_stays() -> None:
    """The compiled pair dense_256 holds a multiplier of its own for every output."""
    model = FlatModel()
    content = model.finish(dense(model, model.input((1, 16)), made=(1, 9), scales=9))
    assert fit(content).content == content


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolution(groups: int) -> None:
    model = FlatModel()
    x = model.input((1, 6, 6, 8), zero_point=-4)
    dice = np.random.default_rng(2)
    scale = dice.uniform(0.002, 0.02, 12)
    weights = model.constant(dice.integers(-127, 128, (12, 3, 3, 8 // groups)).astype(np.int8), scale=scale)
    bias = model.constant(dice.integers(-900, 900, 12).astype(np.int32), scale=scale * 0.05)
    y = model.tensor((1, 3, 3, 12), scale=0.1)
    options = schema.Conv2DOptionsT(padding=schema.Padding.SAME, strideH=2, strideW=2, fusedActivationFunction=RELU)
    model.op("CONV_2D", [x, weights, bias], [y], options=options, version=6)
    found = fitted(model.finish(y), "grouped_convolution")
    assert names(found) == ["SPLIT", *["CONV_2D"] * groups, "CONCATENATION"]
    assert all(edgetpu_readable(found.before.graph, op) for op in found.before.graph.ops)


def transposed(model: FlatModel, here: int, order: tuple[int, ...]) -> int:
    shape = model.tensors[here].shape
    y = model.tensor([int(shape[a]) for a in order], zero_point=middle(model.dtype))
    order_at = model.constant(np.asarray(order, np.int32))
    return model.op("TRANSPOSE", [here, order_at], [y], options=schema.TransposeOptionsT(), version=2)


def test_cancelled_transposes() -> None:
    model = FlatModel()
    here = transposed(model, model.convolution(model.input((1, 224, 224, 3)), 3), (0, 3, 1, 2))
    y = model.tensor((1, 3, 224, 224), scale=1 / 256, zero_point=-128)
    model.op("LOGISTIC", [here], [y], version=2)
    z = model.tensor((1, 3, 224, 224), scale=1 / 256, zero_point=-128)
    model.op("RELU", [y], [z], version=2)
    end = model.tensor((1, 224, 224, 3), scale=1 / 256, zero_point=-128)
    model.op("TRANSPOSE", [z, model.constant(np.array([0, 2, 3, 1], np.int32))], [end], version=2)
    found = fitted(model.finish(model.convolution(end, 2)), "cancelled_transposes")
    assert names(found) == ["CONV_2D", "LOGISTIC", "RELU", "CONV_2D"]
    gains(found)


def test_cancelled_transposes_with_nothing_between() -> None:
    model = FlatModel()
    here = transposed(model, model.input((1, 224, 224, 3)), (0, 3, 1, 2))
    found = fit(model.finish(transposed(model, here, (0, 2, 3, 1))))
    assert made_by(found) == ["cancelled_transposes"]
    assert names(found) == ["RESHAPE"]


def test_transpose_first() -> None:
    """As google-coral/edgetpu #433 had it: one op on the Edge TPU, all the others behind a transpose."""
    found = fit(NEEDS["transpose_first"]())
    assert [p.subgraph for p in found.before.placements] == [0, None, None, None]
    assert names(found) == ["TRANSPOSE", "QUANTIZE", "CONV_2D", "CONV_2D"]
    assert [p.subgraph for p in found.after.placements] == [None, None, 0, 0], "QUANTIZE follows the CPU here"
    assert found.before.share_of_macs == 0.0
    assert fit(found.content).made == (), "it is done"


@pytest.mark.parametrize("small", [True, False])
def test_a_transpose_that_cuts_nothing_off_is_not_moved(small: bool) -> None:
    """One that the Edge TPU takes, and one behind a float input, which the CPU quantizes anyway."""
    model = FlatModel()
    shape = (1, 3, 16, 16) if small else (1, 3, 224, 224)
    given = model.input(shape, dtype="uint8" if small else "float32", zero_point=128)
    here = transposed(model, model.op("QUANTIZE", [given], [model.tensor(shape)]), (0, 2, 3, 1))
    content = model.finish(model.convolution(here, 4))
    assert fit(content).content == content


def test_transposes_that_others_read_or_that_do_not_cancel_stay() -> None:
    model = FlatModel()
    here = transposed(model, model.input((1, 224, 224, 3)), (0, 3, 1, 2))
    there = transposed(model, here, (0, 2, 3, 1))
    other = FlatModel()
    turned = transposed(other, transposed(other, other.input((1, 224, 224, 3)), (0, 3, 1, 2)), (0, 2, 1, 3))
    for content in (model.finish(here, there), other.finish(turned)):
        assert fit(content).content == content


@SIGNS
def test_transpose_as_reshape(dtype: str) -> None:
    model = FlatModel(dtype)
    y = transposed(model, model.input((1, 400, 1, 500), zero_point=middle(dtype)), (0, 2, 1, 3))
    found = fit(model.finish(y))
    assert made_by(found) == ["transpose_as_reshape"]
    assert names(found) == ["RESHAPE"]
    assert compared(model.finish(y), found.content, seed=0) == 0


@pytest.mark.parametrize("zero", [True, False])
def test_plain_pad(zero: bool) -> None:
    def write(model: FlatModel, here: int) -> int:
        paddings = model.constant(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))
        value = model.constant(np.array(0 if zero else 3, np.int8), scale=0.05)
        return model.op(
            "PADV2",
            [here, paddings, value],
            [model.tensor((1, 10, 10, 4))],
            options=schema.PadV2OptionsT(),
            version=2,
        )

    content = framed("int8", write)
    if zero:
        gains(fitted(content, "plain_pad"))
    else:
        assert fit(content).content == content


def test_slices() -> None:
    model = FlatModel()
    here = model.convolution(model.input((1, 4, 4, 4)), 8)
    parts = [model.tensor((1, 4, 4, n)) for n in (5, 3)]
    lengths, axis = model.constant(np.array([5, 3], np.int32)), model.constant(np.array(-1, np.int32))
    model.op("SPLIT_V", [here, lengths, axis], parts, options=schema.SplitVOptionsT(numSplits=2), version=2)
    found = fitted(model.finish(*(model.convolution(part, 2) for part in parts)), "slices")
    assert names(found) == ["CONV_2D", "SLICE", "SLICE", "CONV_2D", "CONV_2D"]
    gains(found)


def test_unpack_as_split() -> None:
    model = FlatModel()
    here = model.convolution(model.input((1, 3, 4, 4)), 6)
    parts = [model.tensor((1, 4, 6)) for _ in range(3)]
    model.op("UNPACK", [here], parts, options=schema.UnpackOptionsT(num=3, axis=1), version=2)
    found = fitted(model.finish(*parts), "unpack_as_split")
    assert names(found) == ["CONV_2D", "SPLIT", "RESHAPE", "RESHAPE", "RESHAPE"]


@pytest.mark.parametrize(
    ("indices", "made", "ops"),
    [
        (np.array([2, 3, 4], np.int32), (1, 4, 4, 3), ["CONV_2D", "SLICE"]),
        (np.array(2, np.int32), (1, 4, 4), ["CONV_2D", "SLICE", "RESHAPE"]),
        (np.array([2, 4], np.int32), (1, 4, 4, 2), []),
    ],
)
def test_gathered_slice(indices: np.ndarray, made: tuple[int, ...], ops: list[str]) -> None:
    model = FlatModel()
    here = model.convolution(model.input((1, 4, 4, 4)), 6)
    y = model.tensor(made)
    model.op("GATHER", [here, model.constant(indices)], [y], options=schema.GatherOptionsT(axis=3), version=2)
    content = model.finish(y)
    if ops:
        assert names(fitted(content, "gathered_slice")) == ops
    else:
        assert fit(content).content == content


@pytest.mark.parametrize(
    ("name", "old", "new"), [("ADD", 5, 2), ("MUL", 7, 2), ("PAD", 4, 2), ("CONV_2D", 8, 3), ("QUANTIZE", 3, 1)]
)
def test_older_version(name: str, old: int, new: int) -> None:
    model = FlatModel()
    x = model.input((1, 4, 4, 4))
    if name == "CONV_2D":
        y = model.convolution(x, 4)
        model.codes[-1].version = old
    else:
        y = model.tensor((1, 6, 6, 4) if name == "PAD" else (1, 4, 4, 4), scale=0.05 if name == "PAD" else 0.06)
        padding = model.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)) if name == "PAD" else x
        options = {"ADD": schema.AddOptionsT, "MUL": schema.MulOptionsT, "PAD": schema.PadOptionsT}.get(name)
        inputs = [x] if name == "QUANTIZE" else [x, padding]
        model.op(name, inputs, [y], options=options and options(), version=old)
    content = model.finish(y)
    found = fit(content)
    assert made_by(found) == ["older_version"]
    assert [(p.op.name, p.op.version) for p in found.after.placements] == [(name, new)]
    assert found.made[0].codes == 0


def test_a_version_that_says_something_stays() -> None:
    """What version 6 of STRIDED_SLICE brought is in use here: nothing older has it."""
    model = FlatModel()
    x = model.input((1, 4, 4, 4))
    begin, end, step = (model.constant(np.array([n, n, n, n], np.int32)) for n in (0, 4, 1))
    options = schema.StridedSliceOptionsT(ellipsisMask=1)
    y = model.op("STRIDED_SLICE", [x, begin, end, step], [model.tensor((1, 4, 4, 4))], options=options, version=6)
    content = model.finish(y)
    assert fit(content).content == content


def test_a_rewrite_behind_an_op_that_stays_is_not_made() -> None:
    """It would only make the CPU slower; with several subgraphs the Edge TPU gets it."""
    model = FlatModel()
    x = model.input((1, 4, 4, 4))
    before = model.op("TANH", [x], [model.tensor((1, 4, 4, 4), scale=1 / 128)], version=2)
    a = model.op("ELU", [before], [model.tensor((1, 4, 4, 4), scale=0.06)])
    b = model.tensor((1, 4, 4, 4), scale=0.06, zero_point=-100)
    content = model.finish(model.op("LEAKY_RELU", [a], [b], options=schema.LeakyReluOptionsT(alpha=0.2)))
    assert fit(content).content == content
    assert made_by(fit(content, several=True)) == ["leaky_relu"]


def test_a_rewrite_that_would_change_too_much_is_refused_and_told() -> None:
    """An output that has only values just below 0, in very small steps: those of h, 1/255, are too large for it."""
    model = FlatModel()
    x = model.input((1, 8, 8, 4), scale=0.03)
    y = model.tensor((1, 8, 8, 4), scale=0.0005, zero_point=127)
    found = fit(model.finish(model.op("HARD_SWISH", [x], [y])))
    assert found.made == ()
    assert [one.rewrite.apply.__name__ for one in found.refused] == ["hard_swish"]
    assert found.refused[0].codes is not None
    assert found.refused[0].codes > 2


def test_the_pair_deeplab(edgecompile_data: Path) -> None:
    """Its image pooling is resized from one pixel to 33×33, which the compiler leaves to the CPU, and all behind it."""
    content = (edgecompile_data / "edgetpu" / "deeplabv3_mnv2_dm05_pascal_quant.tflite").read_bytes()
    found = fit(content)
    assert made_by(found) == ["resize_in_steps"]
    gains(found)
    # The resize to the size of the image, 5 million values, stays on the CPU too.
    assert [p.op.name for p in found.after.placements if p.subgraph is None] == ["RESIZE_BILINEAR", "ARG_MAX"]
    assert compared(content, found.content, seed=0, runs=1) == 0


def test_every_rewrite_has_a_model_that_needs_it() -> None:
    assert [entry.rewrite.apply.__name__ for entry in ENTRIES] == list(NEEDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.rewrite.apply.__name__)
def test_what_a_rewrite_brings_to_the_model_that_needs_it(entry: Entry) -> None:
    content = NEEDS[entry.rewrite.apply.__name__]()
    found = fit(content)
    assert made_by(found) == [entry.rewrite.apply.__name__]
    assert len(found.before.on_tpu) < len(found.before.placements)
    if entry.rewrite.moves:
        assert len(found.after.on_tpu) > len(found.before.on_tpu)
    else:
        assert len(found.after.on_tpu) == len(found.after.placements)
    assert found.after.share_of_macs == 1.0
    difference = compared(content, found.content, seed=1)
    assert difference is not None
    # Behind the rewrite comes a convolution of at most 8 weights up to 1.27, whose codes are as wide as its input's.
    assert difference <= entry.rewrite.codes * 11


def test_every_rewrite_says_what_it_does() -> None:
    for entry in ENTRIES:
        assert (
            " becomes " in sentence(entry.rewrite.apply)
            or " go" in sentence(entry.rewrite.apply)
            or " moves " in sentence(entry.rewrite.apply)
            or (entry.rewrite.apply.__name__ == "older_version")
        )
    rewrites = {entry.rewrite.apply.__name__ for entry in ENTRIES}
    here = Path(__file__).read_text("utf-8")
    assert [name for name in rewrites if f"def test_{name}" not in here] == []
