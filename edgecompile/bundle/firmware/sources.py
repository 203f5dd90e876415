"""The model, its sizes, its resolver and its golden vectors as C and C++ sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware.api import DYNAMIC
from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.firmware.text import NOTICE, array, c_type, comment, float_literal, header, quoted
from edgecompile.report import TensorInfo

Array = npt.NDArray[Any]


_NPU_CACHE = (
    "/* Bytes of SRAM of the NPU's own: give them to ethosu_init as fast_memory, aligned to 16. */\n"
    "#define {}_NPU_CACHE_BYTES {}u\n"
)
_RESOURCES = (
    "/* Variables that the model assigns (VAR_HANDLE); they lie in the arena. */\n#define {}_RESOURCE_VARIABLES {}\n"
)
_GOLDEN = "What the model must answer, byte for byte with int8 kernels of TFLite Micro and CMSIS-NN."


def data_header(names: Names) -> str:
    """Return `model_data.h`."""
    low = names.low
    return header(
        f"{low}_data.h",
        "#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\n"
        'extern "C" {\n#endif\n\n/* The model, 16-byte aligned: TFLite Micro reads it where it lies. */\n'
        f"extern const uint8_t {low}_data[];\nextern const size_t {low}_data_size;\n\n"
        "#ifdef __cplusplus\n}\n#endif\n",
    )


def data_source(model: bytes, names: Names, *, section: str = "") -> str:
    """Return `model_data.cc`."""
    low, macro = names.low, f"{names.up}_DATA_SECTION"
    content = array(np.frombuffer(model, np.uint8))
    placed = f'#ifndef {macro}\n#define {macro} "{section}"\n#endif\n' if section else ""
    where = f"__attribute__((section({macro}))) " if section else ""
    return (
        f'{NOTICE}\n#include "{low}_data.h"\n\n{placed}alignas(16) {where}const uint8_t {low}_data[] = {{\n'
        f"{content}\n}};\n"
        f"const size_t {low}_data_size = {len(model)};\n"
    )


def config_header(
    firmware: Firmware,
    names: Names,
    *,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    labels: Sequence[str],
) -> str:
    """Return `model_config.h`: arena, types, shapes, scales, zero points, labels."""
    low, up = names.low, names.up
    lines = [
        "#include <stddef.h>\n#include <stdint.h>\n",
        *_arena(firmware, up),
        *([_NPU_CACHE.format(up, firmware.npu_cache_bytes)] if firmware.npu_cache_bytes else []),
        *([_RESOURCES.format(up, firmware.resources)] if firmware.resources else []),
        f"#define {up}_INPUTS {len(inputs)}u",
        f"#define {up}_OUTPUTS {len(outputs)}u",
    ]
    for role, tensors in (("INPUT", inputs), ("OUTPUT", outputs)):
        for i, tensor in enumerate(tensors):
            prefix = f"{up}_{role}{i}"
            lines.append(f"\n/* {comment(tensor.name)}: {tensor.dtype} {list(tensor.shape)} */")
            lines.append(f"typedef {c_type(tensor.dtype)} {low}_{role.lower()}{i}_t;")
            lines.append(f"#define {prefix}_SIZE {math.prod(tensor.shape)}u")
            lines += [f"#define {prefix}_DIM{axis} {size}" for axis, size in enumerate(tensor.shape)]
            if tensor.scale is not None:
                lines.append(f"#define {prefix}_SCALE {float_literal(tensor.scale)}")
                lines.append(f"#define {prefix}_ZERO_POINT ({tensor.zero_point})")
    if labels:
        lines.append(f"\n#define {up}_LABELS {len(labels)}u")
        listed = ",\n".join(f"    {quoted(label)}" for label in labels)
        lines.append(
            f"static inline const char *{low}_label(size_t i)\n{{\n"
            f"    static const char *const names[] = {{\n{listed}\n"
            f'    }};\n    return i < {up}_LABELS ? names[i] : "";\n}}'
        )
    return header(f"{low}_config.h", "\n".join(lines) + "\n")


def _arena(firmware: Firmware, up: str) -> list[str]:
    """Return the lines on the arena's size, which a build may set otherwise."""
    sizes = [
        (f"!defined({DYNAMIC})", firmware.arena_bytes, ""),
        ("", firmware.arena_bytes + firmware.dynamic_bytes, "  /* larger structures */"),
    ]
    if firmware.host_arena_bytes:
        host = firmware.host_arena_bytes + 2 * firmware.dynamic_bytes
        sizes.insert(0, ("UINTPTR_MAX > 0xffffffffu", host, "  /* wider pointers: a test on a PC */"))
    lines = []
    for n, (condition, size, why) in enumerate(sizes):
        directive = f"#else{why}" if not condition else f"{'#elif' if n else '#if'} {condition}{why}"
        lines += [directive, f"#define {up}_ARENA_BYTES {size}u"]
    return [
        f"/* Bytes for the tensor arena with {comment(firmware.kernels)} kernels. -D{up}_ARENA_BYTES=N sets",
        f"   another size, {up}_ARENA_ATTRIBUTE its place; with {up}_ARENA_EXTERN the application gives the memory. */",
        f"#ifndef {up}_ARENA_BYTES",
        *lines,
        "#endif\n#endif\n",
    ]


def ops_header(resolver: Sequence[tuple[str, str]], names: Names) -> str:
    """Return `model_ops.h`: a resolver with exactly these ops, (method, registration)."""
    calls = "\n".join(f"  TF_LITE_ENSURE_STATUS(ops.{method}({how}));" for method, how in resolver)
    ops = f"{names.camel}Ops"
    return header(
        f"{names.low}_ops.h",
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        f"using {ops} = tflite::MicroMutableOpResolver<{len(resolver)}>;\n\n"
        f"inline TfLiteStatus Register{ops}({ops}& ops) {{\n{calls}\n  return kTfLiteOk;\n}}\n",
    )


def golden_header(
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    raw: Sequence[Array | None],
    firmware: Firmware,
    names: Names,
) -> str:
    """Return `model_golden.h`: inputs as the model takes them, outputs of TFLite Micro, and stored 8-bit values.

    Args:
        inputs: for each input [rows, ...].
        outputs: for each output [rows, ...].
        raw: for each input its stored 8-bit values [rows, ...], or None.
        firmware: where the outputs come from, and whether rows are a stream.
        names: prefix of everything.
    """
    rows, low, up = len(inputs[0]), names.low, names.up
    parts = [
        "#include <stdint.h>\n",
        f"/* {comment(firmware.golden or _GOLDEN)} */",
        f"#define {up}_GOLDEN_ROWS {rows}u\n",
        "/* 1: rows are a stream, each continues where the one before it ended; 0: reset the model before each. */",
        f"#define {up}_GOLDEN_STREAM {int(firmware.stream)}\n",
    ]
    named: list[tuple[str, Array]] = [(f"{low}_golden_input{i}", x) for i, x in enumerate(inputs)]
    named += [(f"{low}_golden_output{i}", y) for i, y in enumerate(outputs)]
    named += [(f"{low}_golden_raw{i}", x) for i, x in enumerate(raw) if x is not None]
    for name, values in named:
        size = values[0].size
        listed = ",\n".join(f"  {{\n{array(row)}\n  }}" for row in values)
        parts.append(f"static const {c_type(values.dtype.name)} {name}[{up}_GOLDEN_ROWS][{size}] = {{\n{listed}\n}};\n")
    return header(f"{low}_golden.h", "\n".join(parts))
