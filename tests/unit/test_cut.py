"""Cutting ops out of a model: what is cut computes what it computed in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.graph import read_graph

DATA = Path(__file__).parent.parent / "data"


def graph_of(content: bytes, tmp_path: Path):  # type: ignore[no-untyped-def]
    file = tmp_path / "cut.tflite"
    file.write_bytes(content)
    return read_graph(file)


def tensors_of(model: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feed[detail["name"]])
    interpreter.invoke()
    found = {}
    for detail in interpreter.get_tensor_details():
        try:
            found[detail["name"]] = interpreter.get_tensor(detail["index"])
        except ValueError:  # scratch memory of a kernel
            continue
    return found


@pytest.mark.parametrize("name", ["image_int8", "image_float", "two_inputs"])
def test_every_run_of_ops_computes_what_it_did_in_its_place(name: str, tmp_path: Path) -> None:
    whole = (DATA / f"{name}.tflite").read_bytes()
    source = read_graph(DATA / f"{name}.tflite")
    dice = np.random.default_rng(0)
    feed = {}
    for i in source.inputs:
        t = source.tensors[i]
        feed[t.name] = (
            dice.normal(size=t.shape).astype(t.dtype) if t.dtype == "float32" else dice.integers(0, 3, t.shape, t.dtype)
        )
    values = tensors_of(whole, feed)
    for first in range(len(source.ops)):
        for last in range(first, len(source.ops)):
            part = cut_ops(whole, first, last)
            graph = graph_of(part, tmp_path)
            assert [op.name for op in graph.ops] == [op.name for op in source.ops[first : last + 1]]
            made = tensors_of(part, values)
            assert graph.outputs
            for i in graph.outputs:
                np.testing.assert_array_equal(made[graph.tensors[i].name], values[graph.tensors[i].name])


def test_what_is_not_needed_is_left_out(tmp_path: Path) -> None:
    source = DATA / "image_int8.tflite"
    last = cut_ops(source, 3, 3)
    graph = graph_of(last, tmp_path)
    assert [op.name for op in graph.ops] == ["SOFTMAX"]
    assert len(graph.tensors) == 2
    assert (graph.signatures, dict(graph.metadata)) == ((), {})
    assert len(last) < source.stat().st_size / 2


def test_the_state_of_an_lstm_stays_inside(tmp_path: Path) -> None:
    source = read_graph(DATA / "lstm.tflite")
    at = next(op.index for op in source.ops if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM")
    graph = graph_of(cut_ops(DATA / "lstm.tflite", at, at), tmp_path)
    assert not any(graph.tensors[i].is_variable for i in graph.inputs)
    assert len(graph.inputs) == 1


def test_models_with_bodies_keep_them(tmp_path: Path) -> None:
    source = read_graph(DATA / "loop.tflite")
    graph = graph_of(cut_ops(DATA / "loop.tflite", 0, len(source.ops) - 1), tmp_path)
    assert graph.subgraphs == source.subgraphs
    assert [op.name for op in graph.ops] == [op.name for op in source.ops]


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (0, 4), (2, 1)])
def test_ops_that_are_not_there(first: int, last: int) -> None:
    with pytest.raises(ValueError, match=f"ops {first} to {last} of 4"):
        cut_ops(DATA / "image_int8.tflite", first, last)
