"""What a model keeps from run to run, and what follows for its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecompile.backends.base import Firmware
from edgecompile.bundle.golden_rows import make_golden
from edgecompile.data.dataset import Dataset
from edgecompile.recipe import Preprocess
from edgecompile.report import TensorInfo
from edgecompile.tflite import tflm
from edgecompile.tflite.graph import Op, read_graph
from edgecompile.tflite.state import State, state_of

DATA = Path(__file__).parent.parent / "data"


def with_op(name: str, **options: object) -> State:
    graph = read_graph(DATA / "image_int8.tflite")
    kept = Op(99, name, 1, (), (), dict(options))
    return state_of(replace(graph, ops=(*graph.ops, kept)))


def test_models_are_told_apart_by_what_they_keep() -> None:
    assert not state_of(read_graph(DATA / "image_int8.tflite"))
    lstm = state_of(read_graph(DATA / "lstm.tflite"))
    assert (bool(lstm.variables), lstm.stream, lstm.reset_each_row) == (True, False, True)
    streaming = with_op("VAR_HANDLE", container="", shared_name="stream/states")
    assert (streaming.resources, streaming.stream, streaming.reset_each_row) == (("stream/states",), True, False)
    assert with_op("CIRCULAR_BUFFER").stream
    assert with_op("SignalFramer").stream


def test_golden_rows_of_a_stream_are_its_first_rows_in_order() -> None:
    """Rows picked out of a stream could not be replayed: each answer depends on all rows before it."""
    graph = read_graph(DATA / "image_int8.tflite")
    graph = replace(graph, ops=(*graph.ops, Op(99, "VAR_HANDLE", 1, (), (), {"shared_name": "s"})))
    rows = np.arange(40, dtype=np.float32)[:, None]
    ends = [TensorInfo(name="x", shape=(1, 1), dtype="float32")], [TensorInfo(name="y", shape=(1, 1), dtype="float32")]

    def predict(data: Dataset, kernels: str) -> dict[str, np.ndarray]:
        x = next(iter(data.inputs.values()))
        return {"y": np.cumsum(x, axis=0) * (1 if kernels == "reference" else 1.5)}  # kernels that disagree

    plain = Dataset(dict.fromkeys(graph.input_names(), rows), preprocess={"*": Preprocess()})
    codes = np.zeros((40, *graph.tensors[graph.inputs[0]].shape[1:]), np.float32)
    plain = replace(plain, inputs=dict.fromkeys(graph.input_names(), codes))
    made = make_golden(graph, plain, inputs=ends[0], outputs=ends[1], decides=frozenset(), predict=predict, seed=3)
    assert made.info.rows == tuple(range(16))
    assert "the first 16 rows of the validation data, in order" in made.info.source


def test_the_revision_of_the_interpreter_is_known() -> None:
    if tflm.installed():
        assert tflm.revision()
    assert Firmware(arena_bytes=16, kernels="reference", resolver=()).revision == ""
