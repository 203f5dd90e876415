"""Run LiteRT's own quantizer on one model: `python -m edgecompile.tflite.runtime_quantizer FOLDER`.

The folder holds `job.json` and, for recurrent models, `rows.npz`; the result in it is `quantized.tflite`, or
`refusal.txt` with the quantizer's words. The quantizer is a private module of the LiteRT wheel, made for TensorFlow's
converter: only `engines` uses it, and can do without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.tflite import aliases
from edgecompile.tflite.edit import Model, read_model, text, write_model
from edgecompile.tflite.fixed import recurrent
from edgecompile.tflite.interpreter import allocated
from edgecompile.tflite.values import Array

_BITS = {"int8": 8, "int16": 16}
"""Dtype of activations → its bits."""

_HIDDEN = 4
"""Which intermediate of an LSTM is its output in front of a projection: LiteRT, unidirectional_sequence_lstm.cc."""


def main(folder: Path) -> None:
    """Quantize the model that the job in folder names."""
    try:
        made = _made(folder)
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        # The first three: a LiteRT without this quantizer, or with another form of it.
        (folder / "refusal.txt").write_text(" ".join(str(error).split()), "utf-8")
    else:
        (folder / "quantized.tflite").write_bytes(made)


def _made(folder: Path) -> bytes:
    job = json.loads((folder / "job.json").read_text("utf-8"))
    content = Path(job["model"]).read_bytes()
    if (folder / "rows.npz").exists():
        stored = np.load(folder / "rows.npz", allow_pickle=False)
        content = with_state_ranges(content, [stored[name] for name in stored.files])
    elif job.get("states"):
        content = with_lstm_states(content, {int(op): ends for op, ends in job["states"].items()})
    names = aliases.RUNTIME_QUANTIZER[_BITS[job["activations"]]]
    source = read_model(content)
    write_ranges(source, job["ranges"])
    worn = aliases.put_on(source, names)
    settings = {"io": job["io"], "activations": job["activations"], "dense_per_channel": job["dense_per_channel"]}
    result = read_model(quantize(write_model(source), **settings))
    drop_ranges(result)
    aliases.take_off(result, names, worn)
    made = write_model(result)
    _ensure_runs(made)
    return made


def _ensure_runs(content: bytes) -> None:
    """Let out what the runtime says about the model: this quantizer also makes files that it refuses (int16 LSTM)."""
    interpreter = allocated(content, "builtin")
    for detail in interpreter.get_input_details():
        # Memory that nothing wrote is no row number of a table.
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()


def with_state_ranges(content: bytes, inputs: Sequence[Array]) -> bytes:
    """Return the model with the ranges that its tensors, the state inside recurrent ops among them, have on rows.

    Args:
        content: a float `.tflite`.
        inputs: for each input in graph order what it takes at every run, [runs, shape of the tensor].
    """
    wrapper = _wrapper()
    prepared = wrapper.AddIntermediateTensors(content)
    # The wrapper reads these very bytes until the end: the name keeps them alive.
    calibration = wrapper.CalibrationWrapper(prepared, [], [])
    for run in zip(*inputs, strict=True):
        calibration.Prepare([list(x.shape) for x in run])  # resets the state: rows are independent
        calibration.FeedTensor(list(run))
    return bytes(calibration.Calibrate())


def with_lstm_states(content: bytes, states: Mapping[int, Sequence[float]]) -> bytes:
    """Return the model with the ranges of the state inside its LSTMs.

    Args:
        content: a float `.tflite`.
        states: op of the main graph → what `fixed.state_ranges` gives for it.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(bytes(_wrapper().AddIntermediateTensors(content)))
    main = model.subgraphs[0]
    for at, (low, high, *hidden) in states.items():
        op = main.operators[at]
        for index, ends in (
            (op.inputs[recurrent.CELL_STATE], [low, high]),
            (op.inputs[recurrent.OUTPUT_STATE], hidden),
            (op.intermediates[_HIDDEN], hidden),
        ):
            main.tensors[index].quantization = schema.QuantizationParametersT(min=[ends[0]], max=[ends[1]])
    return write_model(model)


def write_ranges(model: Model, ranges: Mapping[str, Sequence[float]]) -> None:
    """Write ranges to the main graph of model, in place; state keeps what it has."""
    from ai_edge_litert import schema_py_generated as schema

    for tensor in model.subgraphs[0].tensors:
        found = ranges.get(text(tensor.name))
        if found is not None and not tensor.isVariable:
            tensor.quantization = schema.QuantizationParametersT(min=[found[0]], max=[found[1]])


def drop_ranges(model: Model) -> None:
    """Take out the ranges that scales were made from, in place: nothing reads them, and they cost bytes."""
    for tensor in (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors):
        if tensor.quantization is not None:
            tensor.quantization.min = tensor.quantization.max = None


def quantize(content: bytes, *, io: str, activations: str, dense_per_channel: bool) -> bytes:
    """Return the model in integers; ops without an integer kernel stay float.

    Args:
        content: a float `.tflite` whose activations have ranges.
        io: dtype of inputs and outputs: `float32` or that of activations.
        activations: `int8` or `int16`.
        dense_per_channel: see `engines.Settings`.
    """
    calibration = _wrapper().CalibrationWrapper(content, [], [])
    ends, inside = np.dtype(io).num, np.dtype(activations).num  # the wrapper takes numpy's numbers of dtypes
    bias = np.dtype(np.int64 if activations == "int16" else np.int32).num
    allow_float, disable_per_channel = True, False
    made = calibration.QuantizeModel(ends, ends, allow_float, inside, bias, disable_per_channel, not dense_per_channel)
    return bytes(made)


def _wrapper() -> Any:
    from ai_edge_litert import _pywrap_tensorflow_lite_calibration_wrapper as wrapper

    return wrapper


if __name__ == "__main__":
    main(Path(sys.argv[1]))
