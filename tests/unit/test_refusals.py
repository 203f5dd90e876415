"""Refusals of LiteRT that are the user's to mend name the op, the reason and the remedy; nothing is called damaged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import Net, written

import edgecompile
from edgecompile.errors import ModelError, TextRowsError
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.probe import ensure_runs


def spectrum(length: int) -> bytes:
    net = Net()
    x = net.input("x", [1, 1, length])
    y = net.op("RFFT2D", [x, net.constant([1, length])], [1, 1, length // 2 + 1], schema.Rfft2dOptionsT())
    net.graph.tensors[y].type = schema.TensorType.COMPLEX64
    return net.done({"y": net.op("COMPLEX_ABS", [y], [1, 1, length // 2 + 1])})


def looked_up() -> bytes:
    net = Net()
    x = net.input("x", [1, 4])
    at = net.op("CAST", [net.op("ADD", [x, net.constant(9.0)], [1, 4], schema.AddOptionsT())], [1, 4])
    net.graph.tensors[at].type = schema.TensorType.INT32
    return net.done({"y": net.op("GATHER", [net.constant(net.weights(3, 2)), at], [1, 4, 2], schema.GatherOptionsT())})


def divided() -> bytes:
    net = Net()
    x = net.input("x", [1, 4])
    ints = net.op("CAST", [x], [1, 4])
    zero = net.op("SUB", [ints, ints], [1, 4], schema.SubOptionsT())
    y = net.op("FLOOR_DIV", [ints, zero], [1, 4], schema.FloorDivOptionsT())
    for tensor in (ints, zero, y):
        net.graph.tensors[tensor].type = schema.TensorType.INT32
    return net.done({"y": y})


def narrow() -> bytes:
    """A convolution whose kernel takes other channels than its input has."""
    net = Net()
    x = net.conv(net.input("x", [1, 4, 4, 3]), 2)
    model = read_model(net.done({"y": x}))
    kernel = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    kernel.shape = [1, 1, 1, 6]
    return write_model(model)


@pytest.mark.parametrize(
    ("content", "what", "where", "hint"),
    [
        (spectrum(200), "RFFT2D takes powers of two, and the FFT length is 200", "op 0 `RFFT2D`", "`fft_length` 256"),
        (looked_up(), "GATHER looks for an entry that its table of 3 does not have", "`GATHER`", "keep the index"),
        (divided(), "FLOOR_DIV divides by 0", "`FLOOR_DIV`", "let the divisor be at least 1"),
        (narrow(), "refuse the model", "`CONV_2D`", "no kernel set of LiteRT takes this CONV_2D: change the layer"),
    ],
    ids=["fft", "gather", "division", "other"],
)
def test_the_message_names_op_reason_and_remedy(
    tmp_path: Path, content: bytes, what: str, where: str, hint: str
) -> None:
    with pytest.raises(ModelError) as caught:
        ensure_runs(written(content, tmp_path), log=tmp_path / "log")
    (problem,) = caught.value.problems
    assert what in problem.what
    assert where in problem.where
    assert hint in problem.hint
    assert "damaged" not in str(caught.value)


def test_powers_of_two_run(tmp_path: Path) -> None:
    assert "builtin" in ensure_runs(written(spectrum(256), tmp_path), log=tmp_path / "log")


def test_rows_of_text_are_the_models_fault_where_it_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes text is refused as such, before its rows are; rows of text alone are told to be text."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "rows.npz", text=np.array(["a b", "c"] * 20), y=np.arange(40) % 2)
    for length, error, what in (
        (200, ModelError, "RFFT2D takes powers"),
        (256, TextRowsError, "rows hold text (`text`)"),
    ):
        model = written(spectrum(length), tmp_path, f"fft{length}.tflite")
        with pytest.raises(error, match=re.escape(what)):
            edgecompile.build(model, target="linux-x86_64", data=tmp_path / "rows.npz", out=tmp_path / "out")
