"""README of a bundle for a microcontroller: from TFLite Micro's sources to a self-test that returns 0."""

from __future__ import annotations

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware.api import CODES, DYNAMIC
from edgecompile.bundle.firmware.names import Names
from edgecompile.recipe import Layout

_SOURCES = "https://github.com/tensorflow/tflite-micro"
_MACHINES = {
    "cortex-m0plus": "mps2-an385",
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
}
"""Core → QEMU's board with the memory map of `example/mps2.ld`."""
_PACKAGES = "cmake make git wget unzip python3-numpy python3-pil"
_CROSS = "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib qemu-system-arm"


def into_firmware(firmware: Firmware, names: Names, layout: Layout, *, has_example: bool) -> list[str]:
    """Return the section's lines.

    Args:
        firmware: kernels, core, revision of TFLite Micro, state.
        names: prefix of the sources' names.
        layout: which build tool the sources are arranged for.
        has_example: whether there is a folder `firmware/example`.
    """
    low, up = names.low, names.up
    tested = f"commit `{firmware.revision}`" if firmware.revision else "the version that `report.json` names"
    steps = _LAYOUTS[layout](firmware, names) if layout != "cmake" else []
    return [
        "## Into your firmware",
        "",
        f"`firmware/` runs on [TFLite Micro]({_SOURCES}); its golden outputs are those of {tested}.",
        "The self-test tells whether yours agrees.",
        "",
        *steps,
        *(_example(firmware, names) if has_example else []),
        *(_cmake(firmware, names) if layout == "cmake" else []),
        "Call it from C or C++:",
        "",
        "```c",
        f'#include "{low}.h"',
        f"#include \"{low}_io.h\"   /* {low}_fill_input0…(): from your sensor's values to the model's */",
        f"static {low}_input0_t input[{up}_INPUT0_SIZE];",
        f"static {low}_output0_t output[{up}_OUTPUT0_SIZE];",
        "",
        f"int code = {low}_selftest();          /* once, while you bring the board up: must be 0 */",
        f"if (code == 0) {{ code = {low}_setup(); }}",
        f"if (code == 0) {{ code = {low}_run(input, output); }}",
        "```",
        "",
        *_state(firmware, names),
        "| code | cause | remedy |",
        "|---|---|---|",
        "| > 0 | so many golden rows differ (self-test) | take the revision and the kernels named here; look for what "
        "overwrites memory, the stack first |",
        *(f"| {code} | {cause} | {remedy} |".format(low=low, up=up) for code, cause, remedy in CODES),
        "",
        "- **DebugLog**: TFLite Micro says through it what went wrong. On Cortex-M give `RegisterDebugLogCallback`",
        "  your function (`cortex_m_generic/debug_log_callback.h`); elsewhere define `DebugLog` yourself.",
        f"- **Arena**: {firmware.arena_bytes:,} bytes for {firmware.kernels} kernels. `-D{up}_ARENA_BYTES=N` sets its",
        f"  size, `{up}_ARENA_ATTRIBUTE` its section; with `{up}_ARENA_EXTERN` the application gives the memory: it",
        f"  defines `uint8_t *{low}_arena`, aligned to 16, and sets it before `{low}_setup()`.",
        "- **Two models in one firmware**: build one with `--prefix NAME`; all its names then start with it.",
        "",
    ]


def _state(firmware: Firmware, names: Names) -> list[str]:
    if not firmware.stateful:
        return []
    low = names.low
    if firmware.stream:
        return [
            f"The model keeps a state: each `{low}_run` continues where the last one ended, as rows were measured.",
            f"`{low}_reset()` starts a new stream.",
            "",
        ]
    return [
        "The model keeps a state from run to run, and was measured with a fresh one for each row: call "
        f"`{low}_reset()`",
        "before each sequence.",
        "",
    ]


def _example(firmware: Firmware, names: Names) -> list[str]:
    """Return how to build and run the example: on QEMU where it has a board for the core, else on the host."""
    core, low = firmware.core, names.low
    machine = _MACHINES.get(core.partition("+")[0], "")
    checkout = f" && git -C tflite-micro checkout {firmware.revision}" if firmware.revision else ""
    cmsis = firmware.cmsis_nn and bool(machine)
    kernels = " OPTIMIZED_KERNEL_DIR=cmsis_nn" if cmsis else ""
    made = (
        f"cortex_m_generic_{core}_default_{'cmsis_nn_' if cmsis else ''}gcc"
        if machine
        else "linux_$(uname -m)_default_gcc"
    )
    target = f" TARGET=cortex_m_generic TARGET_ARCH={core} TARGET_TOOLCHAIN_ROOT={kernels}" if machine else ""
    options = " -DCMAKE_TOOLCHAIN_FILE=cortex-m.cmake" if machine else ""
    if firmware.cmsis_nn and not cmsis:
        options += " -DTFLITE_MICRO_CMSIS_NN=OFF"
    where = f"an emulated {core.partition('+')[0].title()}" if machine else "this machine"
    run = f"qemu-system-arm -M {machine} -nographic -semihosting-config enable=on,target=native -kernel "
    return [
        f"See it work first, on {where}, in the bundle's folder. Debian's packages: {_PACKAGES}"
        f"{f' {_CROSS}' if machine else ' g++'}.",
        "",
        "```sh",
        f"git clone {_SOURCES}{checkout}",
        "make -C tflite-micro -j4 -f tensorflow/lite/micro/tools/make/Makefile \\",
        f"    {target.strip()} microlite" if target else "    microlite",
        f"cmake -S firmware/example -B build{options} -DTFLITE_MICRO_SOURCES=$PWD/tflite-micro \\",
        f"    -DTFLITE_MICRO_LIBRARY=$PWD/tflite-micro/gen/{made}/lib/libtensorflow-microlite.a",
        "cmake --build build",
        f"{run if machine else ''}build/{low}_example   # {low}_selftest: 0",
        "```",
        "",
        "`example/main.c` is yours to start from; `startup.c` and `mps2.ld` are the emulated board's: take your own.",
        "",
    ]


def _cmake(firmware: Firmware, names: Names) -> list[str]:
    low = names.low
    defines = "-DTF_LITE_STATIC_MEMORY" + (" -DCMSIS_NN" if firmware.cmsis_nn else "")
    return [
        "In your project, with CMake:",
        "",
        "```cmake",
        "set(TFLITE_MICRO tflite_micro)       # your target of TFLite Micro, include folders and all",
        f"add_subdirectory(firmware)           # gives {low} and {low}_selftest",
        f"target_link_libraries(app PRIVATE {low} {low}_selftest)",
        "```",
        "",
        f"With another build tool compile `firmware/*.cc` as C++17 with `{defines}`, the defines of TFLite Micro's own",
        f"makefile. If TFLite Micro was built without the first, set `TFLITE_MICRO_STATIC_MEMORY=OFF` (`-D{DYNAMIC}`)"
        + ("; without CMSIS-NN, `TFLITE_MICRO_CMSIS_NN=OFF`." if firmware.cmsis_nn else "."),
        "",
    ]


def _esp_idf(firmware: Firmware, names: Names) -> list[str]:
    del firmware
    return [
        f"Copy `firmware/{names.library}` into `components/` of your project and run `idf.py build`: it brings",
        "`espressif/esp-tflite-micro` with it, and its defines.",
        "",
    ]


def _zephyr(firmware: Firmware, names: Names) -> list[str]:
    del firmware
    symbol = names.library.upper()
    return [
        f"Name `firmware/{names.library}` in `ZEPHYR_EXTRA_MODULES`; in `prj.conf`: `CONFIG_CPP=y`,",
        f"`CONFIG_STD_CPP17=y`, `CONFIG_TENSORFLOW_LITE_MICRO=y`, and for the self-test `CONFIG_{symbol}_SELFTEST=y`.",
        "",
    ]


def _arduino(firmware: Firmware, names: Names) -> list[str]:
    del firmware
    return [
        "Install [Arduino_TensorFlowLite](https://github.com/tensorflow/tflite-micro-arduino-examples) by hand, copy",
        f"`firmware/{names.library}` into `libraries/` of your sketchbook, and run its example SelfTest.",
        "",
    ]


def _platformio(firmware: Firmware, names: Names) -> list[str]:
    del firmware
    return [
        f"Copy `firmware/{names.library}` into `lib/` of your project. In `platformio.ini`: a library of TFLite",
        "Micro for your board in `lib_deps`, and `build_flags = -DTF_LITE_STATIC_MEMORY`: all libraries are to agree.",
        "",
    ]


_LAYOUTS = {"esp-idf": _esp_idf, "zephyr": _zephyr, "arduino": _arduino, "platformio": _platformio}
