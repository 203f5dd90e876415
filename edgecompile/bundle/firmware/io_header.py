"""`model_io.h`: from stored values to what the model takes, and from what it gives to real numbers. C99.

Preprocessing is folded in. Stored 8-bit values become one table (or one addition), computed by the same numpy code that
the report was measured with; floats go through the same steps in the same order, each rounded to float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.firmware.text import array, c_type, comment, float_literal, header
from edgecompile.data.preprocess import apply
from edgecompile.recipe import Preprocess
from edgecompile.report import TensorInfo
from edgecompile.tflite.feeds import quantize_rows

_MOST_TABLES = 4  # channels with preprocessing of their own: a table of 256 bytes each

_ROUND = """/* Rounds half away from zero and clips to [low, high]; NaN becomes low. */
static inline int32_t model_round(float steps, int32_t zero_point, int32_t low, int32_t high)
{
    int32_t whole;
    float fraction;
    if (!(steps > -131072.0f)) { return low; }
    if (steps > 131072.0f) { return high; }
    whole = (int32_t)steps;
    fraction = steps - (float)whole;
    if (fraction >= 0.5f) { whole += 1; }
    if (fraction <= -0.5f) { whole -= 1; }
    whole += zero_point;
    return whole < low ? low : whole > high ? high : whole;
}
"""


def io_header(
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    *,
    preprocess: Mapping[str, Preprocess],
    stored: Mapping[str, str],
    names: Names,
) -> str:
    """Return the text of the header.

    Args:
        inputs: of the model, in order.
        outputs: likewise.
        preprocess: input name → how stored values become what the float model takes; `*` for all others.
        stored: input name → dtype of the stored values; 8-bit ones get functions of their own.
        names: prefix of everything.
    """
    parts = [f'#include <stddef.h>\n#include <stdint.h>\n\n#include "{names.low}_config.h"\n']
    parts.append(_ROUND.replace("model_", f"{names.low}_"))
    for i, tensor in enumerate(inputs):
        how = preprocess.get(tensor.name, preprocess.get("*", Preprocess()))
        parts.append(_input(i, tensor, how, stored.get(tensor.name, stored.get("*", "")), names))
    parts += [_output(i, tensor, names) for i, tensor in enumerate(outputs)]
    return header(f"{names.low}_io.h", "\n".join(parts))


def _input(i: int, tensor: TensorInfo, how: Preprocess, stored: str, names: Names) -> str:
    if tensor.scale is None and tensor.dtype != "float32":
        return f"/* Input {i} takes {tensor.dtype} values as they are. */\n"
    parts = [f"/* Input {i}: {comment(tensor.name)}. {_steps(how)} */\n", _from_float(i, tensor, how, names)]
    if stored in {"uint8", "int8"} and tensor.dtype in {"int8", "uint8"}:
        parts.append(_from_8_bit(i, tensor, how, stored, names))
    return "".join(parts)


def _steps(how: Preprocess) -> str:
    said = []
    if how.resize is not None:
        said.append(f"resize the image to {how.resize[0]} x {how.resize[1]} yourself (bilinear)")
    if how.quantized is not None:
        said.append(f"(x - {how.quantized.zero_point}) * {how.quantized.scale:g}")
    if how.scale != (1.0,) or how.offset != (0.0,):
        said.append(f"x * {_list(how.scale)} + {_list(how.offset)}")
    if how.mean != (0.0,) or how.std != (1.0,):
        said.append(f"(x - {_list(how.mean)}) / {_list(how.std)}")
    return "Preprocessing: " + ("; then ".join(said) if said else "none") + "."


def _list(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "[" + ", ".join(f"{v:g}" for v in values) + "]"


def _channels(how: Preprocess) -> int:
    return max(len(values) for values in (how.scale, how.offset, how.mean, how.std))


def _from_float(i: int, tensor: TensorInfo, how: Preprocess, names: Names) -> str:
    """Return functions for one value and for a whole input, from float; the steps are those of preprocess.apply."""
    kind, channels, low = c_type(tensor.dtype), _channels(how), names.low
    tables, lines = [], []

    def number(role: str, values: Sequence[float]) -> str:
        if len(values) == 1:
            return float_literal(values[0])
        name = f"{low}_input{i}_{role}"
        listed = ", ".join(float_literal(v) for v in values)
        tables.append(f"static const float {name}[{len(values)}] = {{{listed}}};\n")
        return f"{name}[channel]"

    if how.quantized is not None:
        lines.append(f"x = (x - {float_literal(how.quantized.zero_point)}) * {float_literal(how.quantized.scale)};")
    if how.scale != (1.0,) or how.offset != (0.0,):
        # In memory, so that no compiler fuses product and sum: numpy rounds both.
        lines.append(f"product = x * {number('scale', how.scale)};")
        lines.append(f"x = product + {number('offset', how.offset)};")
    if how.mean != (0.0,) or how.std != (1.0,):
        lines.append(f"x = (x - {number('mean', how.mean)}) / {number('std', how.std)};")
    volatile = ["volatile float product;"] if any("product" in line for line in lines) else []
    per_channel = channels > 1
    signature = f"float x{', size_t channel' if per_channel else ''}"
    body = "".join(f"    {line}\n" for line in [*volatile, *lines, _stored_form(tensor, names)])
    call = f"{low}_quantize_input{i}(from[i]{f', i % {channels}u' if per_channel else ''})"
    return (
        "".join(tables)
        + f"static inline {kind} {low}_quantize_input{i}({signature})\n{{\n{body}}}\n\n"
        + _fill(f"{low}_fill_input{i}(const float *from, {kind} *to)", f"{names.up}_INPUT{i}_SIZE", call)
    )


def _stored_form(tensor: TensorInfo, names: Names) -> str:
    if tensor.scale is None:
        return "return x;"
    limits, low = np.iinfo(tensor.dtype), names.low
    return (
        f"return ({c_type(tensor.dtype)}){low}_round(x / {float_literal(tensor.scale)}, {tensor.zero_point}, "
        f"{limits.min}, {limits.max});"
    )


def _from_8_bit(i: int, tensor: TensorInfo, how: Preprocess, stored: str, names: Names) -> str:
    channels, low = _channels(how), names.low
    if channels > _MOST_TABLES:
        return ""
    assert tensor.scale is not None
    assert tensor.zero_point is not None
    raw = np.arange(np.iinfo(stored).min, np.iinfo(stored).max + 1).astype(stored)
    every = np.repeat(raw[:, None], channels, axis=1)
    real = apply(how.model_copy(update={"resize": None}), every)
    codes = quantize_rows(real, scale=tensor.scale, zero_point=tensor.zero_point, dtype=tensor.dtype)
    kind, given, suffix = c_type(tensor.dtype), c_type(stored), "u8" if stored == "uint8" else "s8"
    per_channel = channels > 1
    signature = f"{given} x{', size_t channel' if per_channel else ''}"
    call = f"{low}_quantize_input{i}_{suffix}(from[i]{f', i % {channels}u' if per_channel else ''})"
    return (
        "\n"
        + _lookup(f"{low}_input{i}_codes", codes, raw, kind, f"{low}_quantize_input{i}_{suffix}({signature})")
        + _fill(f"{low}_fill_input{i}_{suffix}(const {given} *from, {kind} *to)", f"{names.up}_INPUT{i}_SIZE", call)
    )


def _lookup(table: str, codes: npt.NDArray[np.generic], raw: npt.NDArray[np.generic], kind: str, signature: str) -> str:
    """Return the function from a stored 8-bit value to its code: an addition where that is all, else a table."""
    channels = codes.shape[1]
    steps = codes.astype(np.int32) - raw.astype(np.int32)[:, None]
    if np.all(steps == steps[0, 0]):
        unused = "    (void)channel;\n" if channels > 1 else ""
        return (
            f"static inline {kind} {signature}\n{{\n{unused}    return ({kind})((int32_t)x + ({steps[0, 0]}));\n}}\n\n"
        )
    first = int(raw.astype(np.int32)[0])
    where = "x" if first == 0 else f"(int32_t)x + {-first}"
    at = f"channel * 256u + (size_t)({where})" if channels > 1 else where
    return (
        f"static const {kind} {table}[{codes.size}] = {{\n{array(codes.T)}\n}};\n\n"
        f"static inline {kind} {signature}\n{{\n    return {table}[{at}];\n}}\n\n"
    )


def _fill(signature: str, size: str, call: str) -> str:
    return (
        f"static inline void {signature}\n{{\n"
        f"    size_t i;\n    for (i = 0; i < {size}; ++i) {{ to[i] = {call}; }}\n}}\n"
    )


def _output(i: int, tensor: TensorInfo, names: Names) -> str:
    kind, low, up = c_type(tensor.dtype), names.low, names.up
    lines = [f"/* Output {i}: {comment(tensor.name)}. */\n"]
    if tensor.scale is not None:
        lines.append(
            f"static inline float {low}_dequantize_output{i}({kind} code)\n{{\n"
            f"    return {float_literal(tensor.scale)} * (float)((int32_t)code - ({tensor.zero_point}));\n}}\n\n"
        )
    lines.append(
        f"/* Returns the index of the largest value; of equal ones the first. */\n"
        f"static inline size_t {low}_argmax_output{i}(const {kind} *values)\n{{\n"
        f"    size_t i, best = 0;\n    for (i = 1; i < {up}_OUTPUT{i}_SIZE; ++i) {{\n"
        f"        if (values[i] > values[best]) {{ best = i; }}\n    }}\n    return best;\n}}\n"
    )
    return "".join(lines)
