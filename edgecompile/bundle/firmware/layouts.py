"""Layouts of the firmware sources: the same C and C++ in the folders and with the manifests of one build tool each.

- ESP-IDF: a component; ESP-IDF Programming Guide, “Build System”, and IDF Component Manager, “idf_component.yml”.
- Zephyr: a module; Zephyr documentation, “Modules (External projects)”, and scripts/zephyr_module.py.
- Arduino: a library; Arduino CLI, “Library specification” 1.5, rev. 2.2. Older builders take `.cpp`, not `.cc`.
- PlatformIO: a library; PlatformIO documentation, “library.json”.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from edgecompile.bundle.firmware import sources
from edgecompile.bundle.firmware.text import NOTICE, comment, header
from edgecompile.recipe import Layout

NAME = "edgecompile_model"
"""Name of the component, module or library, and of its folder."""
VERSION = "1.0.0"
"""In manifests, which demand one; the user's to count."""
_HASH_NOTICE = "# Written by edgecompile; changes are lost with the next build."
_INCLUDED = f"{NAME}.h"

Texts = Mapping[str, str]
"""Name → text."""


def arranged(layout: Layout, texts: Texts, *, title: str) -> dict[str, str]:
    """Return path below `firmware/` → text: the sources in the folders of layout, with its manifests.

    Args:
        layout: which build tool the sources are for.
        texts: headers (`.h`) and sources (`.cc`), by name.
        title: one line about the model, for manifests.
    """
    made = _LAYOUTS[layout](texts, " ".join(comment(title).split()))
    return made if layout == "cmake" else {f"{NAME}/{path}": text for path, text in made.items()}


def _cmake(texts: Texts, title: str) -> dict[str, str]:
    del title
    return {**texts, "CMakeLists.txt": sources.cmake()}


def _apart(texts: Texts) -> dict[str, str]:
    """Return headers below `include/` and sources below `src/`."""
    return {f"{'include' if name.endswith('.h') else 'src'}/{name}": text for name, text in texts.items()}


def _umbrella(*headers: str) -> str:
    return header(_INCLUDED, "".join(f'#include "{name}"\n' for name in headers))


def _esp_idf(texts: Texts, title: str) -> dict[str, str]:
    listed = " ".join(f'"src/{name}"' for name in sorted(texts) if name.endswith(".cc"))
    return {
        **_apart(texts),
        "CMakeLists.txt": f"{_HASH_NOTICE}\nidf_component_register(SRCS {listed}\n                       INCLUDE_DIRS "
        '"include")\n',
        "idf_component.yml": f"{_HASH_NOTICE}\nversion: {json.dumps(VERSION)}\ndescription: {json.dumps(title)}\n"
        'dependencies:\n  idf:\n    version: ">=4.4"\n  espressif/esp-tflite-micro:\n    version: "^1.3.1"\n',
    }


def _zephyr(texts: Texts, title: str) -> dict[str, str]:
    symbol = NAME.upper()
    return {
        **_apart(texts),
        "zephyr/module.yml": f"{_HASH_NOTICE}\nname: {NAME}\nbuild:\n  cmake: .\n  kconfig: Kconfig\n",
        "CMakeLists.txt": f"{_HASH_NOTICE}\nif(CONFIG_{symbol})\n"
        "  zephyr_include_directories(include)\n"
        f"  zephyr_library_named({NAME})\n"
        "  zephyr_library_sources(src/model.cc src/model_data.cc)\n"
        f"  zephyr_library_sources_ifdef(CONFIG_{symbol}_SELFTEST src/selftest.cc)\n"
        "endif()\n",
        "Kconfig": f"{_HASH_NOTICE}\n"
        f'config {symbol}\n\tbool "Model built by edgecompile"\n\tdefault y\n'
        "\tdepends on CPP && TENSORFLOW_LITE_MICRO\n"
        f"\thelp\n\t  {title}\n\n"
        f'config {symbol}_SELFTEST\n\tbool "model_selftest() with its golden vectors"\n\tdepends on {symbol}\n',
    }


def _arduino(texts: Texts, title: str) -> dict[str, str]:
    placed = {f"src/{name.replace('.cc', '.cpp')}": text for name, text in texts.items()}
    # The builder finds a library by the headers in its root alone: this one puts TFLite Micro's folders on the path.
    main = placed["src/model.cpp"].replace(
        '#include "model.h"\n', '#include <TensorFlowLite.h>\n\n#include "model.h"\n'
    )
    placed["src/model.cpp"] = main
    return {
        **placed,
        f"src/{_INCLUDED}": _umbrella("model.h", "model_io.h"),
        "library.properties": f"name={NAME}\nversion={VERSION}\nauthor=edgecompile\nmaintainer=edgecompile\n"
        f"sentence={title}\n"
        "paragraph=Needs the library Arduino_TensorFlowLite, by hand from the address below.\n"
        "category=Data Processing\nurl=https://github.com/tensorflow/tflite-micro-arduino-examples\n"
        f"architectures=*\nincludes={_INCLUDED}\ndot_a_linkage=true\n",
        "examples/SelfTest/SelfTest.ino": f"{NOTICE}\n#include <{_INCLUDED}>\n\n"
        "void setup() {\n  Serial.begin(115200);\n  while (!Serial) {\n  }\n"
        '  Serial.print("model_selftest (0: as measured): ");\n  Serial.println(model_selftest());\n}\n\n'
        "void loop() {}\n",
    }


def _platformio(texts: Texts, title: str) -> dict[str, str]:
    manifest = {
        "name": NAME,
        "version": VERSION,
        "description": title,
        "headers": [_INCLUDED],
        "frameworks": "*",
        "platforms": "*",
        "build": {"includeDir": "include", "srcDir": "src"},
    }
    return {
        **_apart(texts),
        f"include/{_INCLUDED}": _umbrella("model.h", "model_io.h"),
        "library.json": json.dumps(manifest, indent=2) + "\n",
    }


_LAYOUTS: Mapping[Layout, Callable[[Texts, str], dict[str, str]]] = {
    "cmake": _cmake,
    "esp-idf": _esp_idf,
    "zephyr": _zephyr,
    "arduino": _arduino,
    "platformio": _platformio,
}
