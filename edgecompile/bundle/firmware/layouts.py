"""Layouts of the firmware sources: the same C and C++ in the folders and with the manifests of one build tool each.

- ESP-IDF: a component; ESP-IDF Programming Guide, “Build System”, and IDF Component Manager, “idf_component.yml”.
- Zephyr: a module; Zephyr documentation, “Modules (External projects)”, and scripts/zephyr_module.py.
- Arduino: a library; Arduino CLI, “Library specification” 1.5, rev. 2.2. Older builders take `.cpp`, not `.cc`.
- PlatformIO: a library; PlatformIO documentation, “library.json”.

TF_LITE_STATIC_MEMORY changes TFLite Micro's structures, so sources are compiled with it where TFLite Micro is:

- its own makefile: with (tools/make/Makefile); esp-tflite-micro: with, for whoever links it (CMakeLists.txt, 1.4.0).
- Zephyr: without (modules/tflite-micro/CMakeLists.txt at 1e914c4); Arduino_TensorFlowLite: without (no flags are set).
- PlatformIO: whatever `build_flags` says, which holds for all libraries of a project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware.api import DYNAMIC
from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.firmware.text import NOTICE, comment, header
from edgecompile.recipe import Layout
from edgecompile.report import Finding

VERSION = "1.0.0"
"""In manifests, which demand one; the user's to count."""
_HASH_NOTICE = "# Written by edgecompile; changes are lost with the next build."

Texts = Mapping[str, str]
"""Name → text."""


def arranged(layout: Layout, texts: Texts, firmware: Firmware, names: Names, *, title: str) -> dict[str, str]:
    """Return path below `firmware/` → text: the sources in the folders of layout, with its manifests.

    Args:
        layout: which build tool the sources are for.
        texts: headers (`.h`) and sources (`.cc`), by name.
        firmware: which kernels run.
        names: prefix of everything.
        title: one line about the model, for manifests.
    """
    made = _LAYOUTS[layout](texts, firmware, names, " ".join(comment(title).split()))
    return made if layout == "cmake" else {f"{names.library}/{path}": text for path, text in made.items()}


def unsuited(layout: Layout, firmware: Firmware, *, title: str) -> tuple[Finding, ...]:
    """Return a finding where layout's build tool has no compiler for the device; none where nothing speaks against it.

    ESP-IDF builds for Espressif's chips alone (ESP-IDF Programming Guide, “Selection of the Target”), none of which has
    a Cortex-M; CMSIS-NN is for those only.
    """
    if layout != "esp-idf" or not (firmware.core or firmware.cmsis_nn):
        return ()
    return (
        Finding(
            severity="warning",
            rule="firmware-layout",
            what=f"ESP-IDF builds for Espressif's chips only, and {title} has a Cortex-M",
            where="build.layout",
            consequence="the component that was written does not build for this device",
            remedy="choose another --layout: arduino, platformio, zephyr, or cmake",
        ),
    )


def _cmake(texts: Texts, firmware: Firmware, names: Names, title: str) -> dict[str, str]:
    del title
    low = names.low
    cmsis = 'option(TFLITE_MICRO_CMSIS_NN "TFLite Micro was built with CMSIS_NN" ON)\n' if firmware.cmsis_nn else ""
    defined = f"if(TFLITE_MICRO_CMSIS_NN)\n  target_compile_definitions({low} PUBLIC CMSIS_NN)\nendif()\n"
    return {
        **texts,
        "CMakeLists.txt": f"{_HASH_NOTICE}\n"
        f"# In your project: add_subdirectory(firmware), then link `{low}`; `{low}_selftest` adds the golden vectors.\n"
        "# TFLITE_MICRO names your target of TFLite Micro, whose include folders come with it.\n"
        "cmake_minimum_required(VERSION 3.16)\n"
        f"project({low} C CXX)\n\n"
        "if(NOT TFLITE_MICRO)\n"
        '  message(FATAL_ERROR "Set TFLITE_MICRO to your CMake target of TFLite Micro; README.md of the bundle and "\n'
        '                      "example/CMakeLists.txt show how.")\nendif()\n'
        "# OFF where TFLite Micro was built without a define that its own makefile sets.\n"
        'option(TFLITE_MICRO_STATIC_MEMORY "TFLite Micro was built with TF_LITE_STATIC_MEMORY" ON)\n'
        f"{cmsis}\n"
        f"add_library({low} STATIC {low}.cc {low}_data.cc)\n"
        f"target_include_directories({low} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})\n"
        f"target_compile_features({low} PUBLIC cxx_std_17)\n"
        f"target_link_libraries({low} PUBLIC ${{TFLITE_MICRO}})\n"
        "if(TFLITE_MICRO_STATIC_MEMORY)\n"
        f"  target_compile_definitions({low} PUBLIC TF_LITE_STATIC_MEMORY)\n"
        f"else()\n  target_compile_definitions({low} PUBLIC {DYNAMIC})\nendif()\n"
        f"{defined if cmsis else ''}\n"
        f"add_library({low}_selftest STATIC {low}_selftest.cc)\n"
        f"target_link_libraries({low}_selftest PUBLIC {low})\n",
    }


def _apart(texts: Texts) -> dict[str, str]:
    """Return headers below `include/` and sources below `src/`."""
    return {f"{'include' if name.endswith('.h') else 'src'}/{name}": text for name, text in texts.items()}


def _umbrella(names: Names) -> tuple[str, str]:
    """Return name and text of the header with all that an application needs."""
    name = f"{names.library}.h"
    return name, header(name, f'#include "{names.low}.h"\n#include "{names.low}_io.h"\n')


def _esp_idf(texts: Texts, firmware: Firmware, names: Names, title: str) -> dict[str, str]:
    del firmware, names
    listed = " ".join(f'"src/{name}"' for name in sorted(texts) if name.endswith(".cc"))
    return {
        **_apart(texts),
        "CMakeLists.txt": f"{_HASH_NOTICE}\nidf_component_register(SRCS {listed}\n                       INCLUDE_DIRS "
        '"include")\ntarget_compile_definitions(${COMPONENT_LIB} PUBLIC TF_LITE_STATIC_MEMORY)\n',
        "idf_component.yml": f"{_HASH_NOTICE}\nversion: {json.dumps(VERSION)}\ndescription: {json.dumps(title)}\n"
        'dependencies:\n  idf:\n    version: ">=4.4"\n  espressif/esp-tflite-micro:\n    version: "^1.3.1"\n',
    }


def _zephyr(texts: Texts, firmware: Firmware, names: Names, title: str) -> dict[str, str]:
    del firmware  # whether CMSIS-NN runs is Kconfig's to say
    symbol, low = names.library.upper(), names.low
    return {
        **_apart(texts),
        "zephyr/module.yml": f"{_HASH_NOTICE}\nname: {names.library}\nbuild:\n  cmake: .\n  kconfig: Kconfig\n",
        "CMakeLists.txt": f"{_HASH_NOTICE}\nif(CONFIG_{symbol})\n"
        "  zephyr_include_directories(include)\n"
        f"  zephyr_library_named({names.library})\n"
        f"  zephyr_library_sources(src/{low}.cc src/{low}_data.cc)\n"
        f"  zephyr_library_sources_ifdef(CONFIG_{symbol}_SELFTEST src/{low}_selftest.cc)\n"
        "  # Zephyr builds TFLite Micro without TF_LITE_STATIC_MEMORY.\n"
        f"  zephyr_library_compile_definitions({DYNAMIC})\n"
        "  zephyr_library_compile_definitions_ifdef(CONFIG_TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS CMSIS_NN)\n"
        "endif()\n",
        "Kconfig": f"{_HASH_NOTICE}\n"
        f'config {symbol}\n\tbool "Model built by edgecompile"\n\tdefault y\n'
        "\tdepends on CPP && TENSORFLOW_LITE_MICRO\n"
        f"\thelp\n\t  {title}\n\n"
        f'config {symbol}_SELFTEST\n\tbool "{low}_selftest() with its golden vectors"\n\tdepends on {symbol}\n',
    }


def _arduino(texts: Texts, firmware: Firmware, names: Names, title: str) -> dict[str, str]:
    del firmware
    low = names.low
    placed = {f"src/{name.replace('.cc', '.cpp')}": text for name, text in texts.items()}
    # The builder finds a library by the headers in its root alone: this one puts TFLite Micro's folders on the path.
    placed[f"src/{low}.cpp"] = placed[f"src/{low}.cpp"].replace(
        f'#include "{low}.h"\n',
        f'#define {DYNAMIC} /* as Arduino_TensorFlowLite */\n#include <TensorFlowLite.h>\n\n#include "{low}.h"\n',
    )
    included, umbrella = _umbrella(names)
    return {
        **placed,
        f"src/{included}": umbrella,
        "library.properties": f"name={names.library}\nversion={VERSION}\nauthor=edgecompile\nmaintainer=edgecompile\n"
        f"sentence={title}\n"
        "paragraph=Needs the library Arduino_TensorFlowLite, by hand from the address below.\n"
        "category=Data Processing\nurl=https://github.com/tensorflow/tflite-micro-arduino-examples\n"
        f"architectures=*\nincludes={included}\ndot_a_linkage=true\n",
        "examples/SelfTest/SelfTest.ino": f"{NOTICE}\n#include <{included}>\n\n"
        "void setup() {\n  Serial.begin(115200);\n  while (!Serial) {\n  }\n"
        f'  Serial.print("{low}_selftest (0: as measured): ");\n  Serial.println({low}_selftest());\n}}\n\n'
        "void loop() {}\n",
    }


def _platformio(texts: Texts, firmware: Firmware, names: Names, title: str) -> dict[str, str]:
    del firmware
    included, umbrella = _umbrella(names)
    manifest = {
        "name": names.library,
        "version": VERSION,
        "description": title,
        "headers": [included],
        "frameworks": "*",
        "platforms": "*",
        "build": {"includeDir": "include", "srcDir": "src"},
    }
    return {
        **_apart(texts),
        f"include/{included}": umbrella,
        "library.json": json.dumps(manifest, indent=2) + "\n",
    }


_LAYOUTS: Mapping[Layout, Callable[[Texts, Firmware, Names, str], dict[str, str]]] = {
    "cmake": _cmake,
    "esp-idf": _esp_idf,
    "zephyr": _zephyr,
    "arduino": _arduino,
    "platformio": _platformio,
}
