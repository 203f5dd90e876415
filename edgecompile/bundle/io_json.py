"""`io.json`: what goes into the model and what comes out, exactly enough to write the code that calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecompile.recipe import Preprocess
from edgecompile.report import TensorInfo
from edgecompile.runtime import run

IO_FORMAT_VERSION = 1


def json_bytes(value: Any) -> bytes:
    """Return value as a JSON file: keys sorted, indented, one newline at the end; equal values give equal bytes."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def describe_io(
    *,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    batched: Sequence[bool],
    preprocess: Mapping[str, Preprocess],
    labels: Sequence[str],
    host_model: str,
    device_model: str,
    device_chain: Sequence[str],
    chain_ends: tuple[Sequence[str], Sequence[str]],
    examples: Mapping[str, float],
) -> dict[str, Any]:
    """Return the content of `io.json`.

    Args:
        inputs: tensors of the result in graph order.
        outputs: likewise.
        batched: for each input, whether the first axis of its shape counts rows.
        preprocess: input name → preprocessing; `*` for all others.
        labels: class names in output order; empty when unknown.
        host_model: file that any LiteRT interpreter runs.
        device_model: file that the device loads; the same where nothing was compiled further.
        device_chain: files that the device runs one behind the other; empty: device_model alone.
        chain_ends: names that inputs and outputs have as tensors of these files.
        examples: input name → the stored value that the worked example starts from.
    """
    return {
        "format": "edgecompile io",
        "format_version": IO_FORMAT_VERSION,
        "model": host_model,
        "device_model": device_model,
        "device_chain": list(device_chain),
        "chain_inputs": list(chain_ends[0]),
        "chain_outputs": list(chain_ends[1]),
        "labels": list(labels),
        "inputs": [
            {**_input(t, preprocess_of(t.name, preprocess), examples.get(t.name, 1.0)), "batched": first}
            for t, first in zip(inputs, batched, strict=True)
        ],
        "outputs": [_output(t) for t in outputs],
    }


def preprocess_of(name: str, preprocess: Mapping[str, Preprocess]) -> Preprocess:
    """Return the preprocessing of one input; `*` stands for all that are not named."""
    return preprocess.get(name, preprocess.get("*", Preprocess()))


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return tensor.model_dump(mode="json")


def _input(tensor: TensorInfo, how: Preprocess, stored: float) -> dict[str, Any]:
    steps = how.model_dump(mode="json")
    return {
        **_tensor(tensor),
        "preprocess": steps,
        "formula": input_formula(tensor, how),
        "example": _worked_input(tensor, steps, stored),
    }


def _output(tensor: TensorInfo) -> dict[str, Any]:
    described = {**_tensor(tensor), "formula": output_formula(tensor)}
    if tensor.scale is not None:
        code = int(np.iinfo(tensor.dtype).max)
        real = float(run.dequantize(np.array([code], tensor.dtype), _tensor(tensor))[0])
        described["example"] = {"code": code, "real": real, "text": f"code {code} means {show_number(real)}"}
    return described


def input_formula(tensor: TensorInfo, how: Preprocess) -> str:
    """Return how a stored value x becomes what the input takes, as one line; steps that do nothing are left out."""
    real = "x"
    if how.quantized is not None:
        real = _applied(f"(x - {how.quantized.zero_point})", "*", how.quantized.scale)
    real = _applied(real, "*", how.scale, without=1.0)
    real = _applied(real, "+", how.offset, without=0.0)
    if how.mean != (0.0,):
        real = f"({_applied(real, '-', how.mean)})"
    real = _applied(real, "/", how.std, without=1.0)
    resized = "" if how.resize is None else f"resize to {how.resize[0]}×{how.resize[1]}, bilinear; "
    if tensor.scale is None:
        return f"{resized}{real}, as {tensor.dtype}"
    limits = np.iinfo(tensor.dtype)
    code = f"round(({real}) / {tensor.scale!r})" if tensor.scale != 1.0 else f"round({real})"
    shifted = f"{code} + {tensor.zero_point}".replace("+ -", "- ")
    return f"{resized}{shifted}, halves away from zero, clipped to {limits.min}..{limits.max}, as {tensor.dtype}"


def output_formula(tensor: TensorInfo) -> str:
    """Return how an output code becomes a real value, as one line."""
    if tensor.scale is None:
        return f"{tensor.dtype}, as it is"
    return f"real = {tensor.scale!r} * (code - {tensor.zero_point})".replace("- -", "+ ")


def _applied(term: str, sign: str, numbers: float | tuple[float, ...], *, without: float | None = None) -> str:
    if isinstance(numbers, float):
        numbers = (numbers,)
    if numbers == (without,):
        return term
    shown = show_number(numbers[0]) if len(numbers) == 1 else f"[{', '.join(show_number(v) for v in numbers)}]"
    return f"{term} {sign} {shown}"


def _worked_input(tensor: TensorInfo, steps: dict[str, Any], stored: float) -> dict[str, Any]:
    """Return the example of one stored value, computed by run.py; of per-channel numbers the first channel's."""
    first = {k: v[:1] if isinstance(v, list) and k != "resize" else v for k, v in steps.items()}
    real = run.preprocess(np.array([stored], np.float32), first)
    code = run.quantize(real, _tensor(tensor))[0].item()
    text = f"stored {show_number(stored)} is {show_number(float(real[0]))} for the model"
    if tensor.scale is not None:
        text += f" and goes in as {code}"
    return {"stored": stored, "real": float(real[0]), "code": code, "text": text}


def show_number(value: float) -> str:
    """Return value with at most 7 significant digits, as many as float32 holds: 0.58470291 → `0.5847029`."""
    return f"{value:.7g}"
