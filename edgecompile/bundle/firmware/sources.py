"""The other files of a firmware bundle: model, sizes, resolver, golden vectors, two functions, self test, CMake."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.bundle.firmware.text import NOTICE, array, c_type, comment, float_literal, header, quoted
from edgecompile.report import TensorInfo

Array = npt.NDArray[Any]


_NPU_CACHE = (
    "/* Bytes of SRAM of the NPU's own: give them to ethosu_init as fast_memory, aligned to 16. */\n"
    "#define MODEL_NPU_CACHE_BYTES {}u\n"
)
_GOLDEN = "What the model must answer, byte for byte with int8 kernels of TFLite Micro and CMSIS-NN."


def data_header() -> str:
    """Return `model_data.h`."""
    return header(
        "model_data.h",
        "#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\n"
        'extern "C" {\n#endif\n\n/* The model, 16-byte aligned: TFLite Micro reads it where it lies. */\n'
        "extern const uint8_t model_data[];\nextern const size_t model_data_size;\n\n#ifdef __cplusplus\n}\n#endif\n",
    )


def data_source(model: bytes, *, section: str = "") -> str:
    """Return `model_data.cc`."""
    content = array(np.frombuffer(model, np.uint8))
    placed, where = _placed("MODEL_DATA_SECTION", section)
    return (
        f'{NOTICE}\n#include "model_data.h"\n\n{placed}alignas(16) {where}const uint8_t model_data[] = {{\n'
        f"{content}\n}};\n"
        f"const size_t model_data_size = {len(model)};\n"
    )


def _placed(macro: str, section: str) -> tuple[str, str]:
    """Return a macro for a section of the linker script, which a build may set otherwise, and the attribute."""
    if not section:
        return "", ""
    return (
        f'#ifndef {macro}\n#define {macro} "{section}"\n#endif\n',
        f"__attribute__((section({macro}))) ",
    )


def config_header(
    *,
    arena_bytes: int,
    kernels: str,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    labels: Sequence[str],
    npu_cache_bytes: int = 0,
) -> str:
    """Return `model_config.h`: arena, shapes, scales, zero points, labels."""
    lines = [
        "#include <stddef.h>\n",
        f"/* Bytes for the tensor arena with {comment(kernels)} kernels. Align it to 16. */",
        f"#define MODEL_ARENA_BYTES {arena_bytes}u\n",
        *([_NPU_CACHE.format(npu_cache_bytes)] if npu_cache_bytes else []),
        f"#define MODEL_INPUTS {len(inputs)}u",
        f"#define MODEL_OUTPUTS {len(outputs)}u",
    ]
    for role, tensors in (("INPUT", inputs), ("OUTPUT", outputs)):
        for i, tensor in enumerate(tensors):
            prefix = f"MODEL_{role}{i}"
            lines.append(f"\n/* {comment(tensor.name)}: {tensor.dtype} {list(tensor.shape)} */")
            lines.append(f"#define {prefix}_SIZE {math.prod(tensor.shape)}u")
            lines += [f"#define {prefix}_DIM{axis} {size}" for axis, size in enumerate(tensor.shape)]
            if tensor.scale is not None:
                lines.append(f"#define {prefix}_SCALE {float_literal(tensor.scale)}")
                lines.append(f"#define {prefix}_ZERO_POINT ({tensor.zero_point})")
    if labels:
        lines.append(f"\n#define MODEL_LABELS {len(labels)}u")
        listed = ",\n".join(f"    {quoted(label)}" for label in labels)
        lines.append(
            "static inline const char *model_label(size_t i)\n{\n"
            f"    static const char *const names[] = {{\n{listed}\n"
            '    };\n    return i < MODEL_LABELS ? names[i] : "";\n}'
        )
    return header("model_config.h", "\n".join(lines) + "\n")


def ops_header(resolver: Sequence[tuple[str, str]]) -> str:
    """Return `model_ops.h`: a resolver with exactly these ops, (method, registration)."""
    calls = "\n".join(f"  TF_LITE_ENSURE_STATUS(ops.{method}({how}));" for method, how in resolver)
    return header(
        "model_ops.h",
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        f"using ModelOps = tflite::MicroMutableOpResolver<{len(resolver)}>;\n\n"
        f"inline TfLiteStatus RegisterModelOps(ModelOps& ops) {{\n{calls}\n  return kTfLiteOk;\n}}\n",
    )


def golden_header(
    inputs: Sequence[Array], outputs: Sequence[Array], raw: Sequence[Array | None], *, source: str = ""
) -> str:
    """Return `golden.h`: inputs as the model takes them, outputs of TFLite Micro, and stored values that are 8-bit.

    Args:
        inputs: for each input [rows, ...].
        outputs: for each output [rows, ...].
        raw: for each input its stored 8-bit values [rows, ...], or None.
        source: where the outputs come from; empty: TFLite Micro.
    """
    rows = len(inputs[0])
    parts = [
        "#include <stdint.h>\n",
        f"/* {comment(source or _GOLDEN)} */",
        f"#define GOLDEN_ROWS {rows}u\n",
    ]
    named: list[tuple[str, Array]] = [(f"golden_input{i}", x) for i, x in enumerate(inputs)]
    named += [(f"golden_output{i}", y) for i, y in enumerate(outputs)]
    named += [(f"golden_raw{i}", x) for i, x in enumerate(raw) if x is not None]
    for name, values in named:
        size = values[0].size
        listed = ",\n".join(f"  {{\n{array(row)}\n  }}" for row in values)
        parts.append(f"static const {c_type(values.dtype.name)} {name}[GOLDEN_ROWS][{size}] = {{\n{listed}\n}};\n")
    return header("golden.h", "\n".join(parts))


def api_header(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> str:
    """Return `model.h`: the two functions that an application calls."""
    arguments = _arguments(inputs, outputs)
    return header(
        "model.h",
        '#include <stdint.h>\n\n#include "model_config.h"\n\n#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        "/* Call once. Returns 0, or a negative number: -1 schema, -2 ops, -3 arena, -4 shapes. */\n"
        "int model_setup(void);\n\n"
        "/* Runs the model once. Returns 0, or -5. Sizes are MODEL_INPUTi_SIZE and MODEL_OUTPUTi_SIZE. */\n"
        f"int model_run({arguments});\n\n"
        "/* Replays golden.h. Returns how many rows differ (0: all as measured), or what the functions above\n"
        "   returned. In a source of its own: without it the golden vectors take no flash. */\n"
        "int model_selftest(void);\n\n#ifdef __cplusplus\n}\n#endif\n",
    )


def _arguments(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> str:
    given = [f"const {c_type(t.dtype)} *input{i}" for i, t in enumerate(inputs)]
    return ", ".join([*given, *(f"{c_type(t.dtype)} *output{i}" for i, t in enumerate(outputs))])


def api_source(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], *, section: str = "") -> str:
    """Return `model.cc`, on top of TFLite Micro."""
    placed, where = _placed("MODEL_ARENA_SECTION", section)
    checks = [f"interpreter->input({i})->bytes != sizeof(*input{i}) * MODEL_INPUT{i}_SIZE" for i in range(len(inputs))]
    sizes = [c.replace(f"sizeof(*input{i})", f"sizeof({c_type(inputs[i].dtype)})") for i, c in enumerate(checks)]
    copies = [
        f"  memcpy(interpreter->input({i})->data.raw, input{i}, sizeof(*input{i}) * MODEL_INPUT{i}_SIZE);"
        for i in range(len(inputs))
    ]
    results = [
        f"  memcpy(output{i}, interpreter->output({i})->data.raw, sizeof(*output{i}) * MODEL_OUTPUT{i}_SIZE);"
        for i in range(len(outputs))
    ]
    return "\n".join(
        [
            NOTICE,
            '#include "model.h"\n',
            "#include <string.h>\n",
            '#include "model_data.h"\n#include "model_ops.h"',
            '#include "tensorflow/lite/micro/micro_interpreter.h"',
            '#include "tensorflow/lite/schema/schema_generated.h"\n',
            f"{placed}namespace {{\nalignas(16) {where}uint8_t arena[MODEL_ARENA_BYTES];",
            "tflite::MicroInterpreter* interpreter = nullptr;\n}  // namespace\n",
            "int model_setup(void) {",
            "  if (interpreter != nullptr) return 0;",
            "  const tflite::Model* model = tflite::GetModel(model_data);",
            "  if (model->version() != TFLITE_SCHEMA_VERSION) return -1;",
            "  static ModelOps ops;",
            "  if (RegisterModelOps(ops) != kTfLiteOk) return -2;",
            "  static tflite::MicroInterpreter instance(model, ops, arena, sizeof(arena));",
            "  if (instance.AllocateTensors() != kTfLiteOk) return -3;",
            "  interpreter = &instance;",
            f"  if ({' || '.join(sizes)}) return -4;",
            "  return 0;\n}\n",
            f"int model_run({_arguments(inputs, outputs)}) {{",
            "  if (interpreter == nullptr) return -5;",
            *copies,
            "  if (interpreter->Invoke() != kTfLiteOk) return -5;",
            *results,
            "  return 0;\n}\n",
        ]
    )


def selftest_source(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> str:
    """Return `selftest.cc`: replays the golden vectors on the device."""
    buffers = "\n".join(f"  static {c_type(t.dtype)} output{i}[MODEL_OUTPUT{i}_SIZE];" for i, t in enumerate(outputs))
    arguments = ", ".join(
        [*(f"golden_input{i}[row]" for i in range(len(inputs))), *(f"output{i}" for i in range(len(outputs)))]
    )
    equal = " ||\n        ".join(
        f"memcmp(output{i}, golden_output{i}[row], sizeof(output{i})) != 0" for i in range(len(outputs))
    )
    return "\n".join(
        [
            NOTICE,
            '#include <string.h>\n\n#include "golden.h"\n#include "model.h"\n',
            "int model_selftest(void) {",
            buffers,
            "  int wrong = 0;",
            "  const int ready = model_setup();",
            "  if (ready != 0) return ready;",
            "  for (unsigned row = 0; row < GOLDEN_ROWS; ++row) {",
            f"    const int ran = model_run({arguments});",
            "    if (ran != 0) return ran;",
            f"    if ({equal}) ++wrong;",
            "  }\n  return wrong;\n}\n",
        ]
    )


def cmake() -> str:
    """Return `CMakeLists.txt`."""
    return (
        "# Written by edgecompile. In your project: add_subdirectory(firmware), then link `model`.\n"
        "# TFLITE_MICRO names your target or library of TFLite Micro, whose include folders come with it.\n"
        "cmake_minimum_required(VERSION 3.16)\n"
        "project(model C CXX)\n\n"
        "add_library(model STATIC model.cc model_data.cc)\n"
        "target_include_directories(model PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})\n"
        "target_compile_features(model PUBLIC cxx_std_17)\n\n"
        "add_library(model_selftest STATIC selftest.cc)\n"
        "target_link_libraries(model_selftest PUBLIC model)\n\n"
        "if(TFLITE_MICRO)\n  target_link_libraries(model PUBLIC ${TFLITE_MICRO})\nendif()\n"
    )
