"""The Edge TPU backend: what keeps a model off the chip, and edgetpu_compiler present, absent and broken."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import Builder, one

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.edgetpu import Edgetpu
from edgecompile.backends.edgetpu.compiler import INSTALL
from edgecompile.backends.edgetpu.log import parse_log
from edgecompile.errors import ToolError
from edgecompile.target import Target, load_target
from edgecompile.tflite.graph import Graph, read_graph

CORAL = load_target("coral")
MODEL = (Path(__file__).parent.parent / "data" / "image_int8.tflite").read_bytes()

GOOD = r"""
echo "Edge TPU Compiler version 16.0.384591198"
printf '\034\0\0\0TFL3 compiled' > "${@: -1:1}"_
mv "${@: -1:1}"_ net_edgetpu.tflite
printf 'Input: %s\narguments: %s\n' "${@: -1:1}" "$*" > net_edgetpu.log
"""

FakeCompiler = Callable[[str], Path]


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    file = tmp_path / "in" / "model.tflite"
    file.parent.mkdir()
    file.write_bytes(MODEL)
    return Artifact.of(file, Kind.TFLITE)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    """Puts a shell script of that text into EDGETPU_COMPILER."""

    def put(text: str) -> Path:
        file = tmp_path / "edgetpu_compiler"
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        monkeypatch.setenv("EDGETPU_COMPILER", str(file))
        monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
        return file

    return put


def with_options(**options: object) -> Target:
    return CORAL.model_copy(update={"options": options})


def rules(graph: Graph) -> list[str]:
    return [f.rule for f in Edgetpu().check(graph, CORAL)]


def int8_graph(*, float_io: bool = False, sizes: tuple[int, ...] | None = None, rows: int = 1) -> Graph:
    build = Builder()
    given = build.tensor((rows, 8, 8, 4), "int8", name="given", open_shape=sizes)
    made = build.tensor((rows, 8, 8, 4), "int8", name="made", open_shape=sizes)
    if not float_io:
        build.op("CONV_2D", [given, build.weights(4, 3, 3, 4)], [made])
        return build.graph([given], [made])
    before, after = (build.tensor((rows, 8, 8, 4), "float32", name=n) for n in ("before", "after"))
    build.op("QUANTIZE", [before], [given])
    build.op("CONV_2D", [given, build.weights(4, 3, 3, 4)], [made])
    build.op("DEQUANTIZE", [made], [after])
    return build.graph([before], [after])


def test_full_integer_model_gives_no_finding() -> None:
    assert rules(int8_graph()) == []


def test_edgetpu_quantized() -> None:
    (found,) = Edgetpu().check(one("RELU", dtype="float32")[0], CORAL)
    assert found.severity == "error"
    assert found.rule == "edgetpu-quantized"
    assert found.what == (
        "The Edge TPU takes only models whose tensors are 8-bit quantized: "
        "2 of this model's do not keep to it, first float32 1×8×8×4"
    )
    assert found.where == "t0, t1"
    assert found.remedy == "use `--recipe int8`"


def test_edgetpu_8_bit_names_the_tensors_that_leave_the_chip() -> None:
    build = Builder()
    given, made = build.tensor((1, 10)), build.tensor((1,), "int64", name="best")
    build.op("ARG_MAX", [given], [made])
    (found,) = Edgetpu().check(build.graph([given], [made]), CORAL)
    assert (found.rule, found.severity, found.where) == ("edgetpu-8-bit", "warning", "ARG_MAX → best")
    assert found.what == "The Edge TPU computes 8-bit tensors: ARG_MAX with int64 1"
    assert found.remedy == "give the scores and take the largest in the application"


def test_edgetpu_integer_io_is_a_remark_on_float_doors_only() -> None:
    (found,) = Edgetpu().check(int8_graph(float_io=True), CORAL)
    assert (found.rule, found.severity, found.where) == ("edgetpu-integer-io", "info", "before, after")


def test_edgetpu_constant_sizes() -> None:
    (found,) = Edgetpu().check(int8_graph(sizes=(-1, -1, 8, 4)), CORAL)
    assert (found.rule, found.severity) == ("edgetpu-constant-sizes", "error")
    assert "first int8 -1×-1×8×4" in found.what
    assert rules(int8_graph(sizes=(-1, 8, 8, 4))) == []


def test_uint8_inputs_and_the_state_of_an_lstm_are_taken() -> None:
    build = Builder()
    given, inner, made = build.tensor((1, 4), "uint8"), build.tensor((1, 4)), build.tensor((1, 4))
    state = build.tensor((1, 4), "int16")
    build.tensors[state] = replace(build.tensors[state], is_variable=True)
    build.op("QUANTIZE", [given], [inner])
    build.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [inner, state], [made])
    assert rules(build.graph([given], [made])) == []


def test_edgetpu_inner_dimensions() -> None:
    (found,) = Edgetpu().check(int8_graph(rows=2), CORAL)
    assert (found.rule, found.severity) == ("edgetpu-inner-dimensions", "warning")
    assert found.what.endswith("CONV_2D with a tensor of 2×8×8×4")
    assert found.remedy.startswith("build with batch 1")


def test_long_lists_of_tensors_are_cut() -> None:
    build = Builder()
    here = build.tensor((1, 4), "float32")
    for _ in range(5):
        there = build.tensor((1, 4), "float32")
        build.op("RELU", [here], [there])
        here = there
    assert Edgetpu().check(build.graph([0], [here]), CORAL)[0].where == "t0, t1, t2 and 3 more"


def test_without_compiler_the_model_is_given_and_the_status_says_where_to_get_it(
    model: Artifact, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = Edgetpu().compile(model, CORAL, name="net", out=out)
    assert not done.complete
    assert done.status == (
        "not compiled for the Edge TPU: edgetpu_compiler not found; 4 of 4 ops expected on the Edge TPU, 100.0% of the "
        f"multiply-accumulates → {INSTALL}"
    )
    assert "apt repository" in INSTALL
    expected = out / "net_edgetpu_expected.log"
    assert (dict(done.files), done.model) == ({"net.tflite": model.path, expected.name: expected}, "net.tflite")
    said = parse_log(expected.read_text("utf-8"))
    assert (said.version, said.subgraphs, said.ops, said.ops_on_tpu, said.ops_on_cpu) == ("", 1, 4, 4, 0)
    assert said.operators == {
        (name, "Mapped to Edge TPU"): 1 for name in ("CONV_2D", "FULLY_CONNECTED", "RESHAPE", "SOFTMAX")
    }


@pytest.mark.parametrize("channels", [1, 4])
def test_edgetpu_cpu_dense_scales(channels: int) -> None:
    build = Builder()
    given, middle, made = build.tensor((1, 16)), build.tensor((1, 16)), build.tensor((1, 4), name="scores")
    weights = build.tensor((4, 16), data=np.zeros((4, 16), np.int8), channels=channels)
    build.op("ELU", [given], [middle])
    build.op("FULLY_CONNECTED", [middle, weights], [made])
    plan = build.graph([given], [made])
    late = replace(plan, ops=(*plan.ops[:1], replace(plan.ops[1], version=9)))  # which the CPU has to take
    told = [f for f in Edgetpu().check(late, CORAL) if f.rule == "edgetpu-cpu-dense-scales"]
    assert [f.what.rpartition(": ")[2] for f in told] == (["4 scales"] if channels == 4 else [])


def test_edgetpu_large_activations() -> None:
    """YOLOv3-tiny's first layer compiled at 608×608 and did not at 1024×1024."""
    found = {}
    for size in (608, 1024):
        build = Builder()
        given, made = build.tensor((1, size, size, 3)), build.tensor((1, size, size, 16), name="first")
        build.op("CONV_2D", [given, build.weights(16, 3, 3, 3)], [made])
        found[size] = Edgetpu().check(build.graph([given], [made]), CORAL)
    assert found[608] == ()
    (told,) = found[1024]
    assert (told.rule, told.severity, told.where) == ("edgetpu-large-activations", "info", "CONV_2D → first")
    assert told.what.endswith("CONV_2D reads and writes 19,922,944 B (19.00 MiB)")


def test_compiled_model_log_and_source_are_bundle_files(model: Artifact, out: Path, compiler: FakeCompiler) -> None:
    compiler(GOOD)
    done = Edgetpu().compile(model, with_options(min_runtime_version=13), name="net", out=out)
    assert done.complete
    assert done.status == (
        "compiled for the Edge TPU by Edge TPU Compiler version 16.0.384591198: "
        "4 of 4 ops expected on the Edge TPU, 100.0% of the multiply-accumulates"
    )
    assert list(done.files) == ["net.tflite", "net_edgetpu.tflite", "net_edgetpu.log"]
    assert done.model == "net_edgetpu.tflite"
    assert done.files["net_edgetpu.tflite"].read_bytes().endswith(b"compiled")
    log = done.files["net_edgetpu.log"].read_text()
    assert log == "Input: ./net.tflite\narguments: -s -m 13 -o . ./net.tflite\n"
    assert model.path.read_bytes() == MODEL


def test_compiler_is_found_on_path(
    model: Artifact, out: Path, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = compiler(GOOD).parent
    monkeypatch.delenv("EDGETPU_COMPILER")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    assert Edgetpu().compile(model, CORAL, name="net", out=out).complete


def test_compiler_that_keeps_no_log_and_gives_no_version(model: Artifact, out: Path, compiler: FakeCompiler) -> None:
    compiler("printf '\\034\\0\\0\\0TFL3' > net_edgetpu.tflite")
    done = Edgetpu().compile(model, CORAL, name="net", out=out)
    assert list(done.files) == ["net.tflite", "net_edgetpu.tflite"]
    assert done.status.startswith("compiled for the Edge TPU by edgetpu_compiler: 4 of 4 ops expected")


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("echo 'Internal compiler error. Aborting!' >&2; exit 1", "exited 1: Internal compiler error. Aborting!"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("sleep 60", "gave no answer in 0.3 s and was stopped"),
        ("exit 0", "reported success and wrote no model"),
        ("echo no flatbuffer > net_edgetpu.tflite", "wrote a file that is no TFLite model"),
    ],
)
def test_failing_compiler(script: str, what: str, model: Artifact, out: Path, compiler: FakeCompiler) -> None:
    compiler(script)
    with pytest.raises(ToolError, match=re.escape(f"`edgetpu_compiler` {what}")) as caught:
        Edgetpu().compile(model, with_options(timeout_s=0.3 if "sleep" in script else 30), name="net", out=out)
    (problem,) = caught.value.problems
    assert Path(problem.where).is_file()
    assert "EDGETPU_COMPILER unset" in problem.hint


def test_compiler_that_cannot_be_started(model: Artifact, out: Path, compiler: FakeCompiler) -> None:
    file = compiler("exit 0")
    file.chmod(file.stat().st_mode & ~(stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))
    with pytest.raises(ToolError, match="cannot be started: Permission denied") as caught:
        Edgetpu().compile(model, CORAL, name="net", out=out)
    assert caught.value.problems[0].where == str(file)
    assert "apt repository" in caught.value.problems[0].hint


def test_variable_that_names_no_file(model: Artifact, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETPU_COMPILER", "/no/such/compiler")
    with pytest.raises(ToolError, match="EDGETPU_COMPILER=/no/such/compiler: no such file") as caught:
        Edgetpu().compile(model, CORAL, name="net", out=out)
    assert "apt repository" in caught.value.problems[0].hint


def test_stands_for_the_chip_on_reference_kernels(model: Artifact) -> None:
    stand_in = Edgetpu().runnable(model, CORAL)
    assert (stand_in.model, stand_in.kernels) == (model.path, "reference")
    assert "no Edge TPU on this host" in stand_in.fidelity


COMPILED = [
    "N32-nMACs41287680_quant",
    "bodypix_mobilenet_v1_075_512_512_16_quant_decoder",
    "bright_128x128",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "dense_256",
    "firstTest_quant",
    "gabor_64x64_p4",
    "keras_lstm_mnist_ptq",
    "mobilenet_edgetpu_0.75_224_post_training_quant",
    "mobilenet_v1_0.25_128_quant",
    "posenet_mobilenet_v1_075_353_481_16_quant_decoder",
    "split_concat",
]


@pytest.mark.parametrize("name", COMPILED)
def test_rules_agree_with_what_the_real_compiler_did(name: str, edgecompile_data: Path) -> None:
    folder = edgecompile_data / "edgetpu"
    found = {f.rule: f.severity for f in Edgetpu().check(read_graph(folder / f"{name}.tflite"), CORAL)}
    left = [op.name for op in read_graph(folder / f"{name}_edgetpu.tflite").ops if op.name != "edgetpu-custom-op"]
    assert "error" not in found.values(), "the compiler took it"
    doors = [op for op in left if op in {"QUANTIZE", "DEQUANTIZE"}]
    assert ("edgetpu-8-bit" in found) == (left != doors)
    assert ("edgetpu-integer-io" in found) == (left == ["QUANTIZE"])


@pytest.mark.tool
def test_real_compiler(edgecompile_data: Path, out: Path) -> None:
    from edgecompile.backends.edgetpu import find_compiler

    if find_compiler() is None:
        pytest.skip("edgetpu_compiler is not installed")
    file = edgecompile_data / "ic" / "pretrainedResnet_quant.tflite"
    done = Edgetpu().compile(Artifact.of(file, Kind.TFLITE), CORAL, name="net", out=out)
    assert done.complete
    assert "Mapped to Edge TPU" in done.files["net_edgetpu.log"].read_text()
