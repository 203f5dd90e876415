"""Firmware sources in the folders of each build tool: manifests name files that are there, everything compiles."""

from __future__ import annotations

import json
import re
import subprocess
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from test_firmware import ARM, HOWS, STATIC, STRICT, build, content, need, write

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware import firmware_files
from edgecompile.bundle.firmware.layouts import unsuited
from edgecompile.bundle.firmware.names import Names
from edgecompile.recipe import Layout

NAME = Names().library
LAYOUTS: tuple[Layout, ...] = typing.get_args(Layout)
TITLE = 'A "model"\nfor a board'
NEED_TFLM = {"model", "model_ops", "main"}
SOURCES = {"model.cc", "model_data.cc", "model_selftest.cc"}
HEADERS = {"model.h", "model_config.h", "model_data.h", "model_io.h", "model_ops.h", "model_golden.h"}


def texts(layout: Layout) -> dict[str, str]:
    """Return path → text below the layout's own folder."""
    made = firmware_files(replace(content(HOWS["imagenet"]), layout=layout, title=TITLE))
    folder = "firmware/" if layout == "cmake" else f"firmware/{NAME}/"
    return {path.removeprefix(folder): data.decode() for path, data in made.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_every_source_once(layout: Layout) -> None:
    names = [Path(path).name.replace(".cpp", ".cc") for path in texts(layout) if not path.startswith("example/")]
    assert len(set(names)) == len(names)
    assert set(names) >= SOURCES | HEADERS


@pytest.mark.tool
@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_of_every_layout_compiles_without_a_warning(compiler: str, layout: Layout, tmp_path: Path) -> None:
    """Files that need TFLite Micro are checked against the declarations of `tflm_stub.h`."""
    gcc = need(compiler, "gcc g++" if compiler == "gcc" else "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    folder = write(tmp_path, replace(content(HOWS["imagenet"]), layout=layout))
    (tmp_path / "stub" / "TensorFlowLite.h").write_text("#pragma once\n")
    root = folder if layout == "cmake" else folder / NAME
    files = sorted(p for p in root.rglob("*") if p.suffix in {".h", ".c", ".cc", ".cpp"})
    assert len(files) >= 9
    include = {"cmake": root, "arduino": root / "src"}.get(layout, root / "include")
    plain = [p for p in files if (p.suffix == ".h" and p.stem not in NEED_TFLM) or p.name == "model.h"]
    rest = [("c", "gnu11", [p]) if p.suffix == ".c" else ("c++", "c++17", [p]) for p in files if p not in plain]
    units = [("c", "c99", plain), ("c++", "c++17", plain), *rest]
    for language, standard, included in units:
        source = tmp_path / "use.txt"
        source.write_text("".join(f'#include "{file}"\n' for file in included))
        stub = [STATIC, "-I", tmp_path / "stub"] if included[0].stem in NEED_TFLM else []
        build([
            gcc, "-x", language, f"-std={standard}", *STRICT, *(ARM if compiler != "gcc" else []), "-fsyntax-only",
            "-I", include, *stub, source,
        ])  # fmt: skip


@pytest.mark.tool
def test_the_sketch_is_cpp_that_calls_the_self_test(tmp_path: Path) -> None:
    gcc = need("gcc", "g++")
    folder = write(tmp_path, replace(content(HOWS["raw"]), layout="arduino")) / NAME
    sketch = tmp_path / "sketch.cpp"
    told = "struct Port { void begin(long); operator bool(); void print(const char *); void println(int); } Serial;\n"
    sketch.write_text(told + (folder / "examples" / "SelfTest" / "SelfTest.ino").read_text("utf-8"))
    build([gcc, "-std=c++11", *STRICT, "-fsyntax-only", "-I", folder / "src", sketch])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_texts_of_the_layout_are_golden(layout: Layout, golden: Callable[[str, str], None]) -> None:
    """The sources are those of the plain layout, but where a build tool wants more; the rest is text for the tool."""
    plain = texts("cmake")
    for path, text in texts(layout).items():
        if plain.get(Path(path).name.replace(".cpp", ".cc")) != text:
            golden(f"firmware/{layout}/{path}", text)


def test_cmake_of_esp_idf_and_zephyr_names_files_that_are_there() -> None:
    for layout in ("esp-idf", "zephyr"):
        made = texts(layout)
        named = re.findall(r"src/[\w.]+", made["CMakeLists.txt"])
        assert set(named) == {path for path in made if path.startswith("src/")}
        assert "include" in made["CMakeLists.txt"]


def test_the_esp_idf_component_asks_for_tflite_micro() -> None:
    manifest = yaml.safe_load(texts("esp-idf")["idf_component.yml"])
    assert set(manifest["dependencies"]) == {"idf", "espressif/esp-tflite-micro"}
    assert manifest["description"] == 'A "model" for a board'


def test_the_zephyr_module_points_at_its_files() -> None:
    made = texts("zephyr")
    module = yaml.safe_load(made["zephyr/module.yml"])
    assert module["name"] == NAME
    assert f"{module['build']['cmake']}/CMakeLists.txt".removeprefix("./") in made
    symbols = re.findall(r"^config (\w+)$", made[module["build"]["kconfig"]], re.MULTILINE)
    used = set(re.findall(r"CONFIG_(\w+)", made["CMakeLists.txt"]))
    assert used == {*symbols, "TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS"}  # the last is of Zephyr's own module


def test_the_arduino_library_has_what_the_specification_demands() -> None:
    made = texts("arduino")
    fields = dict(line.split("=", 1) for line in made["library.properties"].splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(fields)
    assert f"src/{fields['includes']}" in made
    assert not [path for path in made if path.endswith(".cc")]
    assert "examples/SelfTest/SelfTest.ino" in made
    assert "#include <TensorFlowLite.h>" in made["src/model.cpp"]


def test_the_platformio_library_has_its_manifest() -> None:
    made = texts("platformio")
    manifest = json.loads(made["library.json"])
    assert {"name", "version"} <= set(manifest)
    assert all(f"{manifest['build']['includeDir']}/{name}" in made for name in manifest["headers"])
    assert f"{manifest['build']['srcDir']}/model.cc" in made


@pytest.mark.tool
def test_cmake_builds_the_plain_layout(tmp_path: Path) -> None:
    """CMake itself, with a TFLite Micro of declarations alone: libraries need no more."""
    cmake = need("cmake", "cmake")
    need("g++", "g++")
    folder = write(tmp_path, content(HOWS["raw"]))
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app CXX)\nadd_library(tflm INTERFACE)\n"
        f"target_include_directories(tflm INTERFACE {tmp_path / 'stub'})\n"
        f"set(TFLITE_MICRO tflm)\nadd_subdirectory({folder})\n"
    )
    for argv in ([cmake, "-S", tmp_path, "-B", tmp_path / "b"], [cmake, "--build", tmp_path / "b"]):
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "b").rglob("libmodel.a"))


@pytest.mark.parametrize(
    ("layout", "core", "cmsis_nn", "rules"),
    [
        ("esp-idf", "cortex-m4+fp", True, ["firmware-layout"]),
        ("esp-idf", "cortex-m0plus", False, ["firmware-layout"]),
        ("esp-idf", "", True, ["firmware-layout"]),
        ("esp-idf", "", False, []),
        ("arduino", "cortex-m4+fp", True, []),
        ("cmake", "cortex-m0plus", False, []),
    ],
)
def test_esp_idf_does_not_suit_a_cortex_m(layout: Layout, core: str, *, cmsis_nn: bool, rules: list[str]) -> None:
    device = Firmware(arena_bytes=1024, kernels="reference", resolver=(), core=core, cmsis_nn=cmsis_nn)
    found = unsuited(layout, device, title="Arduino Nano 33 BLE")
    assert [finding.rule for finding in found] == rules
    assert all("Arduino Nano 33 BLE has a Cortex-M" in finding.what for finding in found)
