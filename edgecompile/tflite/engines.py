"""The two quantizers that turn a float `.tflite` and ranges into an integer one.

litert-quantizer is Google's current tool. LiteRT's own, which its wheel carries for TensorFlow's converter, knows more
ops (LSTM, LEAKY_RELU, PRELU, MINIMUM, reductions …) and keeps biases of near-zero channels within int32. On models that
both take, their outputs are equal. What LiteRT's quantizer does not take it may answer with a crash, so it runs in a
process of its own.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgecompile import tools
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ToolError
from edgecompile.tflite import aliases
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.feeds import match
from edgecompile.tflite.fixed import state_ranges
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.inline import inline
from edgecompile.tflite.interpreter import allocated
from edgecompile.tflite.ranges import Range
from edgecompile.tflite.values import Array

_TIMEOUT_S = 1800.0
"""A bound: 0.1 s for ResNet8; feeding an LSTM its rows takes as long as running it on them."""

_REFUSALS = (ValueError, RuntimeError, LookupError, TypeError, AttributeError, NotImplementedError, AssertionError)
"""What litert-quantizer ends with on models that it does not take."""

_RUNTIME_MODULE = "edgecompile.tflite.runtime_quantizer"


class RefusedError(Exception):
    """A quantizer does not take a model; the message says why, in the quantizer's words."""


@dataclass(frozen=True)
class Settings:
    """How to store a model as integers."""

    activation_bits: Literal[8, 16] = 8
    float_io: bool = False
    """Leave inputs and outputs float32."""
    dense_per_channel: bool = True
    """One scale per output of a FULLY_CONNECTED, instead of one for its whole kernel."""


def litert_quantizer_name() -> str:
    """Return `litert-quantizer` and its version, `0.11`."""
    return f"litert-quantizer {'.'.join(version('litert-quantizer').split('.')[:2])}"


RUNTIME_NAME = "litert runtime quantizer"


def litert_quantizer(model: Path, ranges: Mapping[str, Range], settings: Settings) -> bytes:
    """Return model with integer weights and activations, by litert-quantizer.

    Args:
        model: a float `.tflite` with a signature, whose tensors have names of their own.
        ranges: tensor name → range, for every float activation of the main graph.
        settings: how to store it.

    Raises:
        RefusedError: litert-quantizer does not take the model, or LiteRT does not load what it made.
    """
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName

    bits = {"activation_num_bits": settings.activation_bits, "weight_num_bits": 8}
    with _refusals_named(), _silence():
        source, names = read_model(model), aliases.LITERT_QUANTIZER[settings.activation_bits]
        worn = aliases.put_on(source, names)
        quantizer = _quantizer(write_model(source) if worn else model.read_bytes())
        quantizer.add_static_config(regex=".*", operation_name=TFLOperationName.ALL_SUPPORTED, **bits)
        if not settings.dense_per_channel:
            quantizer.add_static_config(
                regex=".*",
                operation_name=TFLOperationName.FULLY_CONNECTED,
                weight_granularity=QuantGranularity.TENSORWISE,
                **bits,
            )
        if settings.float_io:
            for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
                quantizer.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
        _leave_bodies(quantizer, read_graph(model))
        made = _quantized(quantizer, ranges)
        if worn:
            result = read_model(made)
            aliases.take_off(result, names, worn)
            made = write_model(result)
        allocated(made, "builtin")
    return made


def litert_weights(model: Path, *, to: Literal["int8", "float16"], dense_per_channel: bool = True) -> bytes:
    """Return model with its kernels stored as int8 (computed with as such) or float16, by litert-quantizer.

    Args:
        model: as for `litert_quantizer`.
        to: how kernels are stored; other constants and all activations stay float32.
        dense_per_channel: as in `Settings`; of no meaning for float16.

    Raises:
        RefusedError: litert-quantizer does not take the model.
    """
    from litert_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        QuantGranularity,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )

    with _refusals_named(), _silence():
        quantizer = _quantizer(model.read_bytes())
        if to == "int8":
            quantizer.add_dynamic_config(regex=".*", operation_name=TFLOperationName.ALL_SUPPORTED, num_bits=8)
            if not dense_per_channel:
                quantizer.add_dynamic_config(
                    regex=".*",
                    operation_name=TFLOperationName.FULLY_CONNECTED,
                    num_bits=8,
                    granularity=QuantGranularity.TENSORWISE,
                )
        else:
            half = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
            how = OpQuantizationConfig(weight_tensor_config=half, compute_precision=ComputePrecision.FLOAT)
            quantizer.update_quantization_recipe(
                ".*", TFLOperationName.ALL_SUPPORTED, op_config=how, algorithm_key="float_casting"
            )
        return _quantized(quantizer, None)


def runtime_quantizer(
    model: Path, ranges: Mapping[str, Range], settings: Settings, *, rows: Dataset, log: Path
) -> bytes:
    """Return model with integer weights and activations, by LiteRT's own quantizer in a process of its own.

    Args:
        model: as for `litert_quantizer`.
        ranges: as for `litert_quantizer`.
        settings: how to store it.
        rows: calibration rows. Only recurrent models are fed them: the state inside their ops has ranges too, which the
            quantizer must see for itself where `fixed` has no form of the op.
        log: file that receives what the process prints.

    Raises:
        RefusedError: the quantizer does not take the model, crashes, is not in this LiteRT, or made a file that LiteRT
            does not run.
    """
    graph = read_graph(model)
    job: dict[str, Any] = {
        "model": str(model),
        "ranges": {name: list(found) for name, found in ranges.items()},
        "activations": f"int{settings.activation_bits}",
        "io": "float32" if settings.float_io else f"int{settings.activation_bits}",
        "dense_per_channel": settings.dense_per_channel,
    }
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as name:
        folder = Path(name)
        if any(t.is_variable for t in graph.tensors):
            runs = _runs(graph, rows, where=str(model))
            job["states"] = state_ranges(model, graph, zip(*runs, strict=True))
            if job["states"] is None:
                np.savez(folder / "rows.npz", *runs)
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        try:
            tools.run_module(_RUNTIME_MODULE, [name], timeout_s=_TIMEOUT_S, log=log)
        except ToolError as error:
            raise RefusedError(f"its process {error.problems[0].what.partition('` ')[2]}") from None
        made, refusal = folder / "quantized.tflite", folder / "refusal.txt"
        if not made.exists():
            raise RefusedError(refusal.read_text("utf-8"))
        return made.read_bytes()


def _runs(graph: Graph, rows: Dataset, *, where: str) -> list[Array]:
    """Return for each input what it takes at every run, [runs, shape of the tensor].

    A last incomplete batch is left out; fewer rows than one batch are filled up with the last one.
    """
    rows = rows.renamed(graph.input_names())
    made = []
    for feed in match(graph, rows, where=where):
        x, size = feed.content(rows, slice(0, len(rows))), feed.rows_per_run
        if len(x) < size:
            x = np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])
        made.append(x[: len(x) // size * size].reshape(-1, *feed.shape))
    return made


def _quantizer(content: bytes) -> Any:
    from litert_quantizer.quantizer import Quantizer

    return Quantizer(content)


def _leave_bodies(quantizer: Any, graph: Graph) -> None:
    """Leave what loops and branches run in float: only the main graph's activations have ranges."""
    from litert_quantizer.qtyping import TFLOperationName

    names = {re.escape(t.name) for body in graph.bodies for t in body.tensors if t.name}
    if names:
        # A scope is the names of an op's outputs, each with a semicolon behind it.
        scope = f"(^|;)({'|'.join(sorted(names))});"
        quantizer.update_quantization_recipe(scope, TFLOperationName.ALL_SUPPORTED, algorithm_key="no_quantize")


def _quantized(quantizer: Any, ranges: Mapping[str, Range] | None) -> bytes:
    given = (
        None
        if ranges is None
        else {
            name: {"min": np.asarray([found.low], np.float32), "max": np.asarray([found.high], np.float32)}
            for name, found in ranges.items()
        }
    )
    result = quantizer.quantize(given, enable_progress_bar=False, enable_progress_report=False)
    return inline(bytes(result.quantized_model))  # litert-quantizer writes larger constants behind the flatbuffer


@contextmanager
def _refusals_named() -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Python warnings and log lines of a library from the user's terminal."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
