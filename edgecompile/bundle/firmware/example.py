"""`firmware/example`: a program that replays the golden vectors and runs the model, for the host or an emulated core.

Startup code and memory map are those of QEMU's board mps2-an386 and its sisters (code at 0, data at 0x20000000, 4 MB
each; QEMU documentation, “Arm MPS2 and MPS3 boards”). Printing goes through semihosting (newlib's rdimon).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.firmware.text import NOTICE, c_type
from edgecompile.report import TensorInfo

FOLDER = "example"
_HASH_NOTICE = "# Written by edgecompile; changes are lost with the next build."


def example(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], io: str, names: Names, *, labels: bool, core: str
) -> Mapping[str, str]:
    """Return name below `firmware/` → text.

    Args:
        inputs: of the model, in order.
        outputs: likewise.
        io: the text of `model_io.h`, whose functions the program calls.
        names: prefix of everything.
        labels: whether `model_label` is there.
        core: of the device, as TFLite Micro's makefile names it; empty: Cortex-M4 with floating point.
    """
    return {
        f"{FOLDER}/main.c": _main(inputs, outputs, io, names, labels=labels),
        f"{FOLDER}/CMakeLists.txt": _CMAKE.replace("@low@", names.low),
        f"{FOLDER}/cortex-m.cmake": _TOOLCHAIN.replace("@core@", _gcc(core or "cortex-m4+fp")),
        f"{FOLDER}/startup.c": _STARTUP,
        f"{FOLDER}/mps2.ld": _LINKER,
    }


def _gcc(core: str) -> str:
    """Return GCC's options for a core of TFLite Micro's makefile (targets/cortex_m_generic_makefile.inc)."""
    cpu, _, float_unit = core.partition("+")
    abi = "hard" if float_unit == "fp" or cpu in {"cortex-m33", "cortex-m55", "cortex-m85"} else "soft"
    plain = abi == "soft" and cpu in {"cortex-m4", "cortex-m7"}
    return f"-mcpu={cpu}{'+nofp' if plain else ''} -mthumb -mfloat-abi={abi} -mfpu=auto"


def _main(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], io: str, names: Names, *, labels: bool) -> str:
    low, up = names.low, names.up
    buffers, fills = [], []
    for i, tensor in enumerate(inputs):
        suffix, kind = next(
            (s, k) for s, k in (("_u8", "uint8_t"), ("_s8", "int8_t"), ("", "float"), ("=", c_type(tensor.dtype)))
            if s == "=" or f"{low}_fill_input{i}{s}(" in io
        )  # fmt: skip
        buffers.append(f"static {low}_input{i}_t input{i}[{up}_INPUT{i}_SIZE];")
        if suffix != "=":
            buffers.append(f"static {kind} sensor{i}[{up}_INPUT{i}_SIZE]; /* values as the validation data has them */")
            fills.append(f"    {low}_fill_input{i}{suffix}(sensor{i}, input{i});")
    buffers += [f"static {low}_output{i}_t output{i}[{up}_OUTPUT{i}_SIZE];" for i in range(len(outputs))]
    arguments = ", ".join([*(f"input{i}" for i in range(len(inputs))), *(f"output{i}" for i in range(len(outputs)))])
    best = f"{low}_argmax_output0(output0)"
    printed = f'printf("largest of output 0: %u\\n", (unsigned){best});'
    if labels:
        printed = f'printf("largest of output 0: %u, %s\\n", (unsigned){best}, {low}_label({best}));'
    return (
        f'{NOTICE}\n#include <stdio.h>\n\n#include "{low}.h"\n#include "{low}_io.h"\n\n'
        "#ifdef __arm__ /* TFLite Micro's messages go where the application wants them */\n"
        '#include "tensorflow/lite/micro/cortex_m_generic/debug_log_callback.h"\n'
        "static void log_message(const char *text) { fputs(text, stdout); }\n#endif\n\n"
        + "\n".join(buffers)
        + "\n\nint main(void)\n{\n    int code;\n#ifdef __arm__\n    RegisterDebugLogCallback(log_message);\n#endif\n"
        f"    code = {low}_selftest();\n"
        f'    printf("{low}_selftest: %d\\n", code);\n    if (code != 0) {{ return 1; }}\n'
        + "".join(f"{line}\n" for line in fills)
        + f"    code = {low}_run({arguments});\n"
        f'    printf("{low}_run: %d\\n", code);\n    if (code != 0) {{ return 1; }}\n    {printed}\n    return 0;\n}}\n'
    )


_CMAKE = f"""{_HASH_NOTICE}
cmake_minimum_required(VERSION 3.16)
project(@low@_example C CXX)

# TFLITE_MICRO_SOURCES: a clone of tflite-micro.
# TFLITE_MICRO_LIBRARY: libtensorflow-microlite.a, which its makefile made.
if(NOT EXISTS "${{TFLITE_MICRO_SOURCES}}/tensorflow/lite/micro")
  message(FATAL_ERROR "TFLITE_MICRO_SOURCES is no clone of tflite-micro: README.md of the bundle says how to get one.")
endif()
if(NOT EXISTS "${{TFLITE_MICRO_LIBRARY}}")
  message(FATAL_ERROR "TFLITE_MICRO_LIBRARY is no library: README.md of the bundle says how to make it.")
endif()
set(downloads "${{TFLITE_MICRO_SOURCES}}/tensorflow/lite/micro/tools/make/downloads")
add_library(tflite_micro INTERFACE)
target_include_directories(tflite_micro SYSTEM INTERFACE
  "${{TFLITE_MICRO_SOURCES}}" "${{downloads}}/flatbuffers/include" "${{downloads}}/gemmlowp" "${{downloads}}/ruy"
  "${{downloads}}/kissfft")
target_link_libraries(tflite_micro INTERFACE "${{TFLITE_MICRO_LIBRARY}}" m)
set(TFLITE_MICRO tflite_micro)
add_subdirectory(.. @low@)

add_executable(@low@_example main.c)
set_target_properties(@low@_example PROPERTIES LINKER_LANGUAGE CXX)
target_link_libraries(@low@_example PRIVATE @low@_selftest)
if(CMAKE_SYSTEM_NAME STREQUAL Generic)
  # An emulated board. On yours, take its startup code and its linker script instead.
  target_sources(@low@_example PRIVATE startup.c)
  target_link_options(@low@_example PRIVATE
    -T "${{CMAKE_CURRENT_SOURCE_DIR}}/mps2.ld" -nostartfiles --specs=rdimon.specs -Wl,--gc-sections)
endif()
"""
_TOOLCHAIN = f"""{_HASH_NOTICE}
# For CMake's --toolchain. -DCORE="…" sets other options for the core.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CORE "@core@" CACHE STRING "GCC's options for the core")
set(CMAKE_C_FLAGS_INIT "${{CORE}} -Os -ffunction-sections -fdata-sections")
set(CMAKE_CXX_FLAGS_INIT "${{CORE}} -Os -ffunction-sections -fdata-sections -fno-exceptions -fno-rtti")
"""
_STARTUP = f"""{NOTICE}
/* Startup of QEMU's boards mps2-an385, -an386 and -an500; prints and exits by semihosting. */
#include <stdint.h>
#include <stdlib.h>

int main(void);
void initialise_monitor_handles(void);
void __libc_init_array(void);
void _init(void);
void _fini(void);
void reset(void);
extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

void _init(void) {{}}
void _fini(void) {{}}

void reset(void)
{{
    const uint32_t *from = data_load;
    uint32_t *to;
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the floating-point unit is off at reset */
    __asm__ volatile("dsb\\n isb");
#endif
    for (to = data_start; to < data_end; ++to) {{ *to = *from++; }}
    for (to = bss_start; to < bss_end; ++to) {{ *to = 0; }}
    initialise_monitor_handles();
    __libc_init_array();
    exit(main());
}}

static void fault(void) {{ _Exit(99); }}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {{
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
}};
"""
_LINKER = f"""{NOTICE}
MEMORY
{{
    code (rx) : ORIGIN = 0x00000000, LENGTH = 4M
    ram (rwx) : ORIGIN = 0x20000000, LENGTH = 4M
}}
ENTRY(reset)
SECTIONS
{{
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }} > code
    .init_array : {{
        __preinit_array_start = .; __preinit_array_end = .;
        __init_array_start = .; KEEP(*(SORT(.init_array.*))) KEEP(*(.init_array)) __init_array_end = .;
        __fini_array_start = .; KEEP(*(.fini_array*)) __fini_array_end = .;
    }} > code
    .ARM.extab : {{ *(.ARM.extab*) }} > code
    .ARM.exidx : {{ __exidx_start = .; *(.ARM.exidx*) __exidx_end = .; }} > code
    .data : ALIGN(8) {{ data_start = .; *(.data*) . = ALIGN(8); data_end = .; }} > ram AT > code
    data_load = LOADADDR(.data);
    .bss : {{ bss_start = .; *(.bss*) *(COMMON) . = ALIGN(8); bss_end = .; }} > ram
    end = .;
    stack_top = ORIGIN(ram) + LENGTH(ram);
}}
"""
