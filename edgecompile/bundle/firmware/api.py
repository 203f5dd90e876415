"""`model.h`, `model.cc` and the self test: what an application calls, on top of TFLite Micro."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.firmware.text import NOTICE, c_type, header, tflite_type
from edgecompile.report import TensorInfo

DYNAMIC = "EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY"
"""Macro for builds of TFLite Micro that leave TF_LITE_STATIC_MEMORY out."""

CODES = (
    (-1, "another version of the model's schema", "TFLite Micro is older than the model: take the revision above"),
    (-2, "an op could not be added", "TFLite Micro is older than the model: take the revision above"),
    (
        -3,
        "the arena is too small, or a kernel refuses its op",
        "send TFLite Micro's messages somewhere (DebugLog): they name the op or the missing bytes; a build with other "
        "kernels may need a larger {up}_ARENA_BYTES",
    ),
    (-4, "sizes of inputs or outputs are not those of {low}_config.h", "take all files from one bundle"),
    (-5, "not set up, or a run failed", "call {low}_setup() first; DebugLog names the op"),
    (
        -6,
        "{low}.cc and TFLite Micro were compiled with different defines",
        "give both TF_LITE_STATIC_MEMORY, or neither and {low}.cc EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY",
    ),
)
"""What the functions return: code, cause, remedy."""


def api_header(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], names: Names) -> str:
    """Return `model.h`: the functions that an application calls."""
    low, up = names.low, names.up
    causes = "".join(f"\n     {code}  {cause}" for code, cause, _ in CODES).format(low=low, up=up)
    return header(
        f"{low}.h",
        f'#include <stdint.h>\n\n#include "{low}_config.h"\n\n#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        f"/* All return 0, or a negative number:{causes} */\n\n"
        f"/* Call once, before the others. */\nint {low}_setup(void);\n\n"
        f"/* Runs the model once. Sizes are {up}_INPUTi_SIZE and {up}_OUTPUTi_SIZE. */\n"
        f"int {low}_run({_arguments(inputs, outputs)});\n\n"
        "/* Makes what the model keeps from run to run as it was after setup. Models without state need it never. */\n"
        f"int {low}_reset(void);\n\n"
        f"/* Replays {low}_golden.h and resets the model. Returns how many rows differ (0: all as measured), or what\n"
        "   the functions above returned. In a source of its own: without it the golden vectors take no flash. */\n"
        f"int {low}_selftest(void);\n\n#ifdef __cplusplus\n}}\n#endif\n",
    )


def _arguments(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> str:
    given = [f"const {c_type(t.dtype)} *input{i}" for i, t in enumerate(inputs)]
    return ", ".join([*given, *(f"{c_type(t.dtype)} *output{i}" for i, t in enumerate(outputs))])


def api_source(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], firmware: Firmware, names: Names, *, before: str = ""
) -> str:
    """Return `model.cc`.

    Args:
        inputs: of the model, in order.
        outputs: likewise.
        firmware: its section for the arena, its resource variables.
        names: prefix of everything.
        before: lines to put first.
    """
    low, up = names.low, names.up
    ends = [(role, i, t) for role, tensors in (("input", inputs), ("output", outputs)) for i, t in enumerate(tensors)]
    types = [f"interpreter->{role}({i})->type != {tflite_type(t.dtype)}" for role, i, t in ends]
    sizes = [
        f"interpreter->{role}({i})->bytes != sizeof({c_type(t.dtype)}) * {up}_{role.upper()}{i}_SIZE"
        for role, i, t in ends
    ]
    copies = [
        f"  memcpy(interpreter->input({i})->data.raw, input{i}, sizeof(*input{i}) * {up}_INPUT{i}_SIZE);"
        for i in range(len(inputs))
    ]
    results = [
        f"  memcpy(output{i}, interpreter->output({i})->data.raw, sizeof(*output{i}) * {up}_OUTPUT{i}_SIZE);"
        for i in range(len(outputs))
    ]
    either = " ||\n      ".join
    resources = bool(firmware.resources)
    return "\n".join(
        [
            NOTICE,
            before + f'#include "{low}.h"\n',
            "#include <string.h>\n\n#include <new>\n",
            f'#include "{low}_data.h"\n#include "{low}_ops.h"',
            *(['#include "tensorflow/lite/micro/micro_allocator.h"'] if resources else []),
            '#include "tensorflow/lite/micro/micro_interpreter.h"',
            *(['#include "tensorflow/lite/micro/micro_resource_variable.h"'] if resources else []),
            '#include "tensorflow/lite/schema/schema_generated.h"\n',
            f"#if !defined(TF_LITE_STATIC_MEMORY) && !defined({DYNAMIC})",
            '#error "Compile this file with the defines of TFLite Micro: TF_LITE_STATIC_MEMORY changes its structures. '
            f'If TFLite Micro was built without it, define {DYNAMIC}."',
            "#endif\n",
            _arena(firmware.arena_section, names),
            "// Makes the interpreter, in the same memory each time.",
            "int Start() {",
            *(_WITH_RESOURCES.format(up=up) if resources else _PLAIN).splitlines(),
            "  if (interpreter->AllocateTensors() != kTfLiteOk) return -3;",
            f"  if ({either(types)}) return -6;",
            f"  if ({either(sizes)}) return -4;",
            "  ready = true;\n  return 0;\n}\n}  // namespace\n",
            f"int {low}_setup(void) {{",
            "  if (ready) return 0;",
            f"  model = tflite::GetModel({low}_data);",
            "  if (model->version() != TFLITE_SCHEMA_VERSION) return -1;",
            f"  ops = ::new (ops_place) {names.camel}Ops;",
            f"  if (Register{names.camel}Ops(*ops) != kTfLiteOk) return -2;",
            "  return Start();\n}\n",
            f"int {low}_run({_arguments(inputs, outputs)}) {{",
            "  if (!ready) return -5;",
            *copies,
            "  if (interpreter->Invoke() != kTfLiteOk) return -5;",
            *results,
            "  return 0;\n}\n",
            f"int {low}_reset(void) {{",
            "  if (!ready) return -5;",
            *(_RESET_RESOURCES if resources else _RESET).splitlines(),
            "}\n",
        ]
    )


_PLAIN = """  interpreter = ::new (place) tflite::MicroInterpreter(model, *ops, arena, arena_bytes);"""
_WITH_RESOURCES = """  tflite::MicroAllocator* allocator = tflite::MicroAllocator::Create(arena, arena_bytes);
  if (allocator == nullptr) return -3;
  tflite::MicroResourceVariables* variables =
      tflite::MicroResourceVariables::Create(allocator, {up}_RESOURCE_VARIABLES);
  interpreter = ::new (place) tflite::MicroInterpreter(model, *ops, allocator, variables);"""
_RESET = """  return interpreter->Reset() == kTfLiteOk ? 0 : -5;"""
_RESET_RESOURCES = """  // Reset() would clear the variables, which CALL_ONCE sets at the first run alone.
  interpreter->~MicroInterpreter();
  ready = false;
  return Start();"""


def _arena(section: str, names: Names) -> str:
    """Return the arena and what holds the interpreter; its size and its place are the user's to set."""
    up, low, ops = names.up, names.low, f"{names.camel}Ops"
    placed = ""
    attribute = ""
    if section:
        placed = f'#ifndef {up}_ARENA_SECTION\n#define {up}_ARENA_SECTION "{section}"\n#endif\n'
        attribute = f" __attribute__((section({up}_ARENA_SECTION)))"
    return (
        f"{placed}#ifndef {up}_ARENA_ATTRIBUTE\n#define {up}_ARENA_ATTRIBUTE{attribute}\n#endif\n\n"
        f"#ifdef {up}_ARENA_EXTERN\n"
        f'extern "C" uint8_t* {low}_arena; // aligned to 16; set by the application before {low}_setup()\n#endif\n\n'
        f"namespace {{\n#ifdef {up}_ARENA_EXTERN\nuint8_t*& arena = {low}_arena;\n#else\n"
        f"alignas(16) {up}_ARENA_ATTRIBUTE uint8_t arena[{up}_ARENA_BYTES];\n#endif\n"
        f"constexpr size_t arena_bytes = {up}_ARENA_BYTES;\n"
        "alignas(tflite::MicroInterpreter) uint8_t place[sizeof(tflite::MicroInterpreter)];\n"
        f"alignas({ops}) uint8_t ops_place[sizeof({ops})];\n"
        f"const tflite::Model* model = nullptr;\n{ops}* ops = nullptr;\n"
        "tflite::MicroInterpreter* interpreter = nullptr;\nbool ready = false;\n"
    )


def selftest_source(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], names: Names) -> str:
    """Return the source that replays the golden vectors on the device."""
    low, up = names.low, names.up
    buffers = "\n".join(f"  static {c_type(t.dtype)} output{i}[{up}_OUTPUT{i}_SIZE];" for i, t in enumerate(outputs))
    arguments = ", ".join([
        *(f"{low}_golden_input{i}[row]" for i in range(len(inputs))),
        *(f"output{i}" for i in range(len(outputs))),
    ])  # fmt: skip
    equal = " ||\n        ".join(
        f"memcmp(output{i}, {low}_golden_output{i}[row], sizeof(output{i})) != 0" for i in range(len(outputs))
    )
    return "\n".join(
        [
            NOTICE,
            f'#include <string.h>\n\n#include "{low}_golden.h"\n#include "{low}.h"\n',
            f"int {low}_selftest(void) {{",
            buffers,
            "  int wrong = 0;",
            f"  int code = {low}_setup();",
            "  if (code != 0) return code;",
            f"  for (unsigned row = 0; row < {up}_GOLDEN_ROWS; ++row) {{",
            f"    if (row == 0 || !{up}_GOLDEN_STREAM) {{",
            f"      code = {low}_reset();\n      if (code != 0) return code;\n    }}",
            f"    code = {low}_run({arguments});",
            "    if (code != 0) return code;",
            f"    if ({equal}) ++wrong;",
            "  }",
            f"  code = {low}_reset();\n  return code != 0 ? code : wrong;\n}}\n",
        ]
    )
