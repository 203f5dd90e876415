"""Models whose inputs have no batch axis: the whole input is one row."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import Net, written

import edgecompile
from edgecompile.data.dataset import Dataset
from edgecompile.data.fit import fits
from edgecompile.errors import ConfigError
from edgecompile.tflite import tflm
from edgecompile.tflite.batch import batch_axes, row_shapes, with_batch
from edgecompile.tflite.graph import read_graph


def model(folder: Path, *inputs: tuple[int, ...], output: tuple[int, ...] = (1, 3), name: str = "m") -> Path:
    """Return a model that adds a dense layer of each of inputs, and gives output."""
    net = Net()
    units = output[-1] if output else 1
    parts = []
    for number, shape in enumerate(inputs):
        rows = shape[0] if len(output) > 1 and output[0] > 1 else 1
        size = int(np.prod(shape)) // rows
        x = net.input(f"x{number}", shape)
        flat = net.op("RESHAPE", [x, net.constant([rows, size])], [rows, size], schema.ReshapeOptionsT([rows, size]))
        bias = net.constant(net.weights(units))
        how = schema.FullyConnectedOptionsT()
        kernel = net.constant(net.weights(units, size))
        parts.append(net.op("FULLY_CONNECTED", [flat, kernel, bias], [rows, units], how))
    y = parts[0]
    for part in parts[1:]:
        y = net.add(y, part)
    y = net.op("RESHAPE", [y, net.constant(list(output))], list(output), schema.ReshapeOptionsT(list(output)))
    return written(net.done({"y": y}), folder, f"{name}.tflite")


@pytest.mark.parametrize(
    ("inputs", "output", "axes", "row"),
    [
        ([(600,)], (1, 3), [False], (1, 3)),
        ([(600,)], (3,), [False], (1, 3)),
        ([(49, 40)], (1, 3), [False], (1, 3)),
        ([(600,), (1, 4)], (1, 3), [False, True], (1, 3)),
        ([()], (1, 3), [False], (1, 3)),
        ([(1, 600)], (1, 3), [True], (1, 3)),
        ([(8, 60)], (8, 3), [True], (8, 3)),
        ([(8, 60), (8, 4)], (8, 3), [True, True], (8, 3)),
    ],
)
def test_which_axes_count_rows(
    tmp_path: Path,
    inputs: list[tuple[int, ...]],
    output: tuple[int, ...],
    axes: list[bool],
    row: tuple[int, ...],
) -> None:
    graph = read_graph(model(tmp_path, *inputs, output=output))
    assert list(batch_axes(graph)) == axes
    assert list(row_shapes(graph)) == [s[1:] if first else s for s, first in zip(inputs, axes, strict=True)]
    assert with_batch(graph, 0) == row


def test_rows_of_the_whole_shape_fit_and_others_are_told_the_shape_of_one() -> None:
    rows = Dataset(inputs={"x": np.zeros((5, 600), np.float32)})
    assert fits(rows, {"x": (600,)}, role="validation")[0] is rows
    assert fits(rows, {"x": (1, 600)}, role="validation")[0] is rows
    with pytest.raises(ConfigError, match="takes rows of 700, and the data has rows of 600"):
        fits(rows, {"x": (700,)}, role="validation")
    numbers = Dataset(inputs={"x": np.zeros(5, np.float32)})
    assert fits(numbers, {"x": (1,)}, role="validation")[0] is numbers
    assert fits(numbers, {"x": ()}, role="validation")[0] is numbers


TARGETS = ["linux-x86_64", "nucleo-l4r5zi"]
MODELS = {"wave": [(600,)], "two": [(60,), (1, 4)], "number": [()]}


@pytest.mark.slow
@pytest.mark.skipif(not tflm.installed(), reason="TFLite Micro's interpreter is not installed")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_a_batch_axis_is_built_and_replayed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    inputs = MODELS[name]
    source = model(tmp_path, *inputs, output=(3,) if name == "wave" else (1, 3), name=name)
    dice = np.random.default_rng(0)
    rows = {f"x{i}": dice.uniform(-1, 1, (120, *s[-1:])).astype(np.float32) for i, s in enumerate(inputs)}
    np.savez(tmp_path / "rows.npz", **rows, y=dice.integers(0, 3, 120))
    made = edgecompile.build_all(
        source, targets=TARGETS, data=tmp_path / "rows.npz", max_drop=1, allow_chance=True, out=tmp_path / "out"
    )
    for built in made:
        assert built.report.verdict == "pass"
        io = json.loads((built.path / "io.json").read_text("utf-8"))
        assert [tuple(i["shape"]) for i in io["inputs"]] == inputs
        assert [i["batched"] for i in io["inputs"]] == [len(s) > 1 for s in inputs]
        with np.load(built.path / "golden.npz") as golden:
            shapes = [golden[key].shape[1:] for key in sorted(golden.files)]
        assert shapes == [s[-1:] for s in inputs] + [(3,)]
        check = [sys.executable, str(built.path / "run.py"), "--check"]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if built.target.startswith("nucleo"):
            config = (built.path / "firmware" / "model_config.h").read_text("utf-8")
            golden_h = (built.path / "firmware" / "model_golden.h").read_text("utf-8")
            for number, shape in enumerate(inputs):
                size = int(np.prod(shape))
                assert f"#define MODEL_INPUT{number}_SIZE {size}u" in config
                assert re.search(rf"golden_input{number}\[MODEL_GOLDEN_ROWS\]\[{size}\]", golden_h)


def test_without_data_golden_rows_are_whole_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    source = model(tmp_path, (600,))
    made = edgecompile.build_all(source, targets=["linux-x86_64"], recipe="float32", out=tmp_path / "out")
    with np.load(made[0].path / "golden.npz") as golden:
        (x,) = (golden[key] for key in golden.files if golden[key].shape[-1] == 600)
    assert len(np.unique(x[:, :5])) == x[:, :5].size
