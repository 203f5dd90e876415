"""A few of the generated models of `benchmarks/differential.py`, which has 200, beside TensorFlow's own quantizer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import libraries

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context
from edgecompile.passes.convert import Convert
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.numerics import float_ops

pytestmark = [pytest.mark.tf, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # TensorFlow's advice to itself

SEEDS = (0, 9, 10, 20, 30, 45, 59, 64)


@pytest.fixture(scope="module")
def differential() -> Iterator[Any]:
    """The benchmark's module."""
    libraries()
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import differential

        yield differential
    finally:
        sys.path.remove(folder)


def generated(seed: int, differential: Any, folder: Path) -> Any:
    return differential.generate(
        seed, folder, keras=differential.keras, tf_keras=differential.tf_keras, tf=differential.tf
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_is_no_worse_than_tensorflows_quantizer(seed: int, differential: Any, tmp_path: Path) -> None:
    made = differential.generate(
        seed, tmp_path, keras=differential.keras, tf_keras=differential.tf_keras, tf=differential.tf
    )
    theirs = tmp_path / "theirs.tflite"
    theirs.write_bytes(differential.by_tensorflow(made, tmp_path / "exported"))
    rows = Dataset(dict(made.calibration) if len(made.calibration) > 1 else {"*": made.calibration["input_0"]})
    model = Artifact.of(made.file, Kind.KERAS)
    for step in (Convert(), Quantize()):
        out = tmp_path / step.name
        out.mkdir()
        model = step.run(model, Context(out=out, calibration=rows, log=tmp_path / "log")).artifact
    ours = {k: differential.quality(model.path, made.held, made.outputs, k) for k in ("xnnpack", "builtin")}
    reached = max(differential.quality(theirs, made.held, made.outputs, k) for k in ("xnnpack", "builtin"))
    assert min(ours.values()) >= min(reached, differential.ENOUGH_DB) - differential.MOST_DB
    assert len(float_ops(read_graph(model.path))) <= len(float_ops(read_graph(theirs)))


def test_the_same_seed_gives_the_same_model(differential: Any, tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(
            differential.generate(
                0, tmp_path / name, keras=differential.keras, tf_keras=differential.tf_keras, tf=differential.tf
            )
        )
    first, second = made
    assert first.kinds == second.kinds
    for name, values in first.outputs.items():
        np.testing.assert_array_equal(values, second.outputs[name])
