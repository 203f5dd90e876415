"""The LiteRT backend: what a delegate leaves out, and what the installed XNNPACK really leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphs import Builder, one

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends import xnnpack
from edgecompile.backends.litert import Litert
from edgecompile.backends.rules import breaches, count_partitions
from edgecompile.errors import ConfigError
from edgecompile.target import Target, load_target
from edgecompile.tflite.graph import Graph, read_graph

CPU, GPU, IOS = (load_target(name) for name in ("linux-x86_64", "android-gpu", "ios"))


def classifier(dtype: str = "int8") -> Graph:
    """Convolution, global mean, softmax."""
    build = Builder()
    given = build.tensor((1, 8, 8, 4), dtype, name="given")
    features = build.tensor((1, 8, 8, 4), dtype, name="features")
    pooled = build.tensor((1, 1, 1, 4), dtype, name="pooled")
    made = build.tensor((1, 1, 1, 4), dtype, name="made")
    axes = build.tensor((2,), "int32", data=[1, 2])
    bias = build.weights(4, dtype=dtype)
    build.op("CONV_2D", [given, build.weights(4, 3, 3, 4, dtype=dtype), bias], [features])
    build.op("MEAN", [features, axes], [pooled])
    build.op("SOFTMAX", [pooled], [made], beta=1.0)
    return build.graph([given], [made])


def seen(graph: Graph, target: Target) -> list[tuple[str, str, str]]:
    return [(f.severity, f.rule, f.where) for f in Litert().check(graph, target)]


def test_xnnpack_findings_are_remarks() -> None:
    assert seen(classifier(), CPU) == [("info", "xnnpack-float-only", "SOFTMAX → made")]
    assert seen(classifier("float32"), CPU) == []


def test_gpu_findings_warn_and_say_that_8_bit_models_are_computed_in_float() -> None:
    build = Builder()
    given, made = build.tensor((1, 8)), build.tensor((1,), "int64", name="best")
    build.op("ARG_MAX", [given], [made])
    assert seen(build.graph([given], [made]), GPU) == [("warning", "gpu-op", "ARG_MAX → best")]
    assert seen(classifier(), GPU) == [("info", "gpu-8-bit", "")]
    assert seen(classifier("float32"), GPU) == []
    (remark,) = Litert().check(classifier(), GPU)
    assert remark.remedy == "use `--recipe float16`"


def test_coreml_findings_warn_with_the_way_out() -> None:
    (found,) = Litert().check(classifier("float32"), IOS)
    assert (found.severity, found.rule, found.where) == ("warning", "coreml-mean", "MEAN → pooled")
    assert "slower than the CPU alone" in found.consequence
    assert "the Core ML delegate" in found.remedy


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (CPU, "as on the device"),
        (GPU, "cannot run LiteRT's GPU delegate"),
        (IOS, "cannot run LiteRT's Core ML delegate"),
    ],
)
def test_stands_for_the_device_on_xnnpack(target: Target, words: str, tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(b"x")
    stand_in = Litert().runnable(Artifact.of(file, Kind.TFLITE), target)
    assert (stand_in.model, stand_in.kernels) == (file, "xnnpack")
    assert words in stand_in.fidelity


def test_options_are_a_closed_schema() -> None:
    odd = CPU.model_copy(update={"options": {"delegat": "gpu"}})
    with pytest.raises(ConfigError, match="unknown key `delegat`\n  → did you mean `delegate`") as caught:
        Litert().check(one("RELU")[0], odd)
    assert caught.value.problems[0].where == "target linux-x86_64, [options]"


MODELS = [
    "ic/pretrainedResnet.tflite",
    "ic/pretrainedResnet_quant.tflite",
    "kws/kws_ref_model.tflite",
    "kws/kws_ref_model_float32.tflite",
    "edgetpu/bright_128x128.tflite",
    "edgetpu/deeplabv3_mnv2_dm05_pascal_quant.tflite",
    "edgetpu/keras_lstm_mnist_ptq.tflite",
    "edgetpu/looming_64x64_3x3.tflite",
    "edgetpu/mobilenet_v1_0.25_128_quant.tflite",
    "edgetpu/split_concat.tflite",
    "micro/hello_world_int8.tflite",
    "micro/keyword_scrambled_8bit.tflite",
]


@pytest.mark.parametrize("model", MODELS)
def test_rules_agree_with_the_installed_xnnpack(model: str, edgecompile_data: Path) -> None:
    assert_rules_agree(edgecompile_data / model)


@pytest.mark.parametrize(
    "name", ["image_float", "image_int8", "image_int8_float_io", "loop", "lstm", "two_inputs"], ids=str
)
def test_rules_agree_on_small_models(name: str) -> None:
    assert_rules_agree(Path(__file__).parent.parent / "data" / f"{name}.tflite")


def assert_rules_agree(model: Path) -> None:
    graph = read_graph(model)
    found = breaches(graph, xnnpack.RULES, unlisted=xnnpack.UNLISTED, always=xnnpack.ALWAYS)
    left_out = frozenset(b.op.index for b in found)
    taken, pieces = delegated(model, graph)
    assert taken == {op.index for op in graph.ops} - left_out
    assert count_partitions(graph, left_out) == pieces


def delegated(model: Path, graph: Graph) -> tuple[set[int], int]:
    """Return the indices of the ops that the runtime's XNNPACK took, and in how many pieces."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    pieces: list[Any] = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    taken: set[int] = set()
    for piece in pieces:
        given = {int(i) for i in piece["inputs"]}
        todo = [int(i) for i in piece["outputs"]]
        while todo:
            op = graph.producers.get(todo.pop())
            if op is not None and op.index not in taken:
                taken.add(op.index)
                todo += [i for i in op.inputs if i >= 0 and i not in given]
    return taken, len(pieces)


def test_compiles_to_the_file_itself_with_a_forecast_of_the_split(tmp_path: Path) -> None:
    model = Artifact.of(Path(__file__).parent.parent / "data" / "image_int8.tflite", Kind.TFLITE)
    done = Litert().compile(model, CPU, name="net", out=tmp_path)
    assert (dict(done.files), done.model, done.complete) == ({"net.tflite": model.path}, "net.tflite", True)
    graph = read_graph(model.path)
    taken, pieces = delegated(model.path, graph)
    assert done.extra["delegate"] == {
        "name": "xnnpack",
        "ops": len(graph.ops),
        "ops_left_to_cpu_kernels": len(graph.ops) - len(taken),
        "partitions": pieces,
        "how": "modelled",
    }
    assert list(tmp_path.iterdir()) == []
