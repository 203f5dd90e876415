"""The C++ sources at work: compiled and run with `tflm_running_stub.cc`, which states what its model does."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_firmware import ARM, DATA, HOWS, STATIC, STRICT, STUBBED, build, content, need, write

from edgecompile.bundle.firmware import FirmwareContent, firmware_files
from edgecompile.bundle.firmware.api import DYNAMIC
from edgecompile.report import TensorInfo

ROOT = Path(__file__).parent.parent.parent
FIRST = np.array([3, -4, 7], np.int8)
"""First value of each golden row's input."""
FRESH_EACH = FIRST
AS_A_STREAM = np.array([3 + 5, -4 + 8, 7 + 4], np.int8)
"""What the stub's model answers from the state 5: that of its resource variables when fresh."""


def model(outputs: np.ndarray = FRESH_EACH, *, prefix: str = "model", **firmware: object) -> FirmwareContent:
    """Return sources whose golden rows are those of the stub's model."""
    made = content(HOWS["raw"])
    inputs = made.golden_inputs[0].copy()
    inputs[:, 0, 0, 0] = FIRST
    return replace(
        made,
        firmware=made.firmware.model_copy(update=firmware),
        golden_inputs=(inputs,),
        golden_outputs=(np.repeat(outputs[:, None], 5, axis=1),),
        golden_raw=(None,),
        prefix=prefix,
    )


def run(
    tmp_path: Path, contents: Mapping[str, FirmwareContent], main: str, *defines: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Return what a program of main and the sources prints; its defines go to every file."""
    gcc = need("g++", "g++")
    sources = [DATA / "tflm_running_stub.cc", tmp_path / "main.cc"]
    flags: list[str | Path] = ["-I", tmp_path / "stub", "-DSTUB_INPUTS=48", "-DSTUB_OUTPUTS=5", *defines]
    for name, made in contents.items():
        folder = write(tmp_path / name, made)
        sources += sorted(folder.glob("*.cc"))
        flags += ["-I", folder]
    for header in STUBBED:
        path = tmp_path / "stub" / "tensorflow" / "lite" / header
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((DATA / "tflm_stub.h").read_text("utf-8"), "utf-8")
    (tmp_path / "main.cc").write_text(main)
    argv = [gcc, "-std=c++17", *STRICT, *flags, *sources, "-o", tmp_path / "main"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        done = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


SELF_TEST = '#include <stdio.h>\n#include "model.h"\nint main() { printf("%d\\n", model_selftest()); }\n'
TWICE = SELF_TEST.replace("printf", 'model_setup(); printf("%d ", model_selftest()); printf')


@pytest.mark.tool
def test_the_self_test_starts_each_row_from_a_fresh_state(tmp_path: Path) -> None:
    assert run(tmp_path, {"a": model(stateful=True)}, TWICE, STATIC).stdout == "0 0\n"
    carried = model(np.cumsum(FIRST).astype(np.int8), stateful=True)
    assert run(tmp_path, {"b": carried}, SELF_TEST, STATIC).stdout == "2\n"


@pytest.mark.tool
def test_a_stream_starts_fresh_and_its_variables_get_their_first_values_again(tmp_path: Path) -> None:
    made = model(AS_A_STREAM, stateful=True, stream=True, resources=1)
    assert run(tmp_path, {"a": made}, TWICE, STATIC).stdout == "0 0\n"
    texts = {name: data.decode() for name, data in firmware_files(made).items()}
    assert "MicroResourceVariables::Create(allocator, MODEL_RESOURCE_VARIABLES)" in texts["firmware/model.cc"]
    assert "#define MODEL_RESOURCE_VARIABLES 1" in texts["firmware/model_config.h"]
    assert "#define MODEL_GOLDEN_STREAM 1" in texts["firmware/model_golden.h"]


@pytest.mark.tool
def test_without_the_define_of_tflite_micro_nothing_compiles_unless_it_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, {"a": model()}, SELF_TEST, check=False)
    assert done.returncode
    assert "#error" in done.stderr
    assert "TF_LITE_STATIC_MEMORY" in done.stderr
    assert run(tmp_path, {"a": model()}, SELF_TEST, f"-D{DYNAMIC}").stdout == "0\n"


@pytest.mark.tool
def test_structures_of_another_build_are_found_at_setup(tmp_path: Path) -> None:
    """What lies where the type should is another field: the quantization's type (1), or an empty pointer (0)."""
    for found in ("kTfLiteFloat32", "kTfLiteNoType"):
        assert run(tmp_path, {"a": model()}, SELF_TEST, STATIC, f"-DSTUB_TYPE={found}").stdout == "-6\n"


@pytest.mark.tool
def test_two_models_live_in_one_firmware(tmp_path: Path) -> None:
    main = (
        '#include <stdio.h>\n#include "kws.h"\n#include "kws_io.h"\n#include "ic_2.h"\n#include "ic_2_io.h"\n'
        'int main() { printf("%d %d %u\\n", kws_selftest(), ic_2_selftest(), KWS_LABELS + IC_2_LABELS); }\n'
    )
    both = {"a": model(prefix="kws"), "b": model(prefix="ic_2")}
    assert run(tmp_path, both, main, STATIC).stdout == "0 0 10\n"


def test_every_name_follows_the_prefix() -> None:
    made = firmware_files(model(prefix="kws", stateful=True, resources=1, cmsis_nn=True))
    for path, data in made.items():
        assert not re.search(r"\bmodel[_.]\w|\bMODEL_|\bModel[A-Z]|[^_]\bgolden_|\bGOLDEN_", data.decode()), path
    assert {Path(path).stem for path in made if path.endswith(".cc")} == {"kws", "kws_data", "kws_selftest"}


@pytest.mark.tool
def test_size_and_place_of_the_arena_are_the_users(tmp_path: Path) -> None:
    made = {"a": model(host_arena_bytes=4096)}
    assert run(tmp_path, made, SELF_TEST, STATIC, "-DMODEL_ARENA_BYTES=999").stdout == "0\n"
    own = (
        '#include <stdio.h>\n#include "model.h"\nalignas(16) static uint8_t mine[MODEL_ARENA_BYTES];\n'
        'extern "C" { uint8_t *model_arena; }\n'
        'int main() { model_arena = mine; int code = model_selftest(); printf("%d %d\\n", code, mine[999]); }\n'
    )
    assert run(tmp_path, made, own, STATIC, "-DMODEL_ARENA_EXTERN").stdout == "0 1\n"
    placed = '-DMODEL_ARENA_ATTRIBUTE=__attribute__((section(".slow")))'
    assert run(tmp_path, made, SELF_TEST, STATIC, placed).stdout == "0\n"
    assert b".slow" in (tmp_path / "main").read_bytes()


def int_model() -> FirmwareContent:
    ids = TensorInfo(name="ids", shape=(1, 7), dtype="int32")
    made = model()
    return replace(made, inputs=(ids,), golden_inputs=(np.zeros((3, 1, 7), np.int32),), labels=())


@pytest.mark.tool
@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
def test_the_example_of_the_docs_and_the_bundles_own_compile_for_every_model(compiler: str, tmp_path: Path) -> None:
    gcc = need(compiler, "gcc" if compiler == "gcc" else "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    page = (ROOT / "docs" / "microcontrollers.md").read_text("utf-8")
    (shown,) = re.findall(r"^```c\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "docs.c").write_text(shown)
    for number, made in enumerate((model(), replace(model(), labels=()), int_model())):
        folder = write(tmp_path / str(number), made)
        flags = [*STRICT, *(ARM if compiler != "gcc" else []), "-std=c99", "-fsyntax-only", "-I", folder]
        build([gcc, *flags, tmp_path / "docs.c"])
        build([gcc, *flags, "-I", tmp_path / str(number) / "stub", folder / "example" / "main.c"])


@pytest.mark.tool
def test_cmake_wants_tflite_micro_and_hands_the_defines_on(tmp_path: Path) -> None:
    cmake = need("cmake", "cmake")
    folder = write(tmp_path, model())
    for source, missing in ((folder, "Set TFLITE_MICRO"), (folder / "example", "TFLITE_MICRO_SOURCES is no clone")):
        argv = [cmake, "-S", source, "-B", tmp_path / "made" / source.name]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
        assert done.returncode
        assert missing in done.stderr
    text = (folder / "CMakeLists.txt").read_text("utf-8")
    for define in ("TF_LITE_STATIC_MEMORY", "CMSIS_NN", DYNAMIC):
        assert f"target_compile_definitions(model PUBLIC {define})" in text
    plain = firmware_files(model(cmsis_nn=False))["firmware/CMakeLists.txt"].decode()
    assert "CMSIS" not in plain


@pytest.mark.tool
@pytest.mark.slow
def test_real_tflite_micro_replays_the_rows_of_a_model_with_state(tmp_path: Path) -> None:
    """TFLITE_MICRO_SOURCES names a clone, TFLITE_MICRO_LIBRARY its library for this machine, built by its makefile."""
    sources, library = (os.environ.get(f"TFLITE_MICRO_{name}", "") for name in ("SOURCES", "LIBRARY"))
    if not sources or not library:
        pytest.skip("TFLITE_MICRO_SOURCES and TFLITE_MICRO_LIBRARY name no TFLite Micro")
    from edgecompile import build_all

    path = ROOT / "tests" / "data" / "lstm.tflite"
    (result,) = build_all(path, targets=["esp32"], out=tmp_path, recipe="float32")
    folder = result.path / "firmware" / "example"
    named = [f"-DTFLITE_MICRO_SOURCES={sources}", f"-DTFLITE_MICRO_LIBRARY={library}"]
    for argv in (["cmake", "-S", str(folder), "-B", str(tmp_path / "b"), *named], ["cmake", "--build", tmp_path / "b"]):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([str(tmp_path / "b" / "model_example")], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("model_selftest: 0\n")
