"""What tests of bundles share: real models described, run and wrapped into content without the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecompile.bundle.files import Content
from edgecompile.bundle.golden_rows import make_golden
from edgecompile.data.dataset import Dataset
from edgecompile.recipe import Preprocess, Quantized, Recipe
from edgecompile.report import ModelInfo, Report, Sizes, TargetInfo, TensorInfo
from edgecompile.target import Source, Target
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.runner import predict

Array = npt.NDArray[Any]
TARGET = Target(
    name="board", title="A Board", summary="Runs LiteRT.", backend="litert", recipe="int8", schemes=("int8",),
    sources=(Source(what="everything", document="made up"),),
)  # fmt: skip


def describe(graph: Graph) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return inputs and outputs of a model as a report names them."""

    def info(name: str, index: int) -> TensorInfo:
        tensor = graph.tensors[index]
        how = tensor.quantization if tensor.dtype.startswith(("int", "uint")) else None
        scale, zero = (None, None) if how is None else (float(how.scale[0]), int(how.zero_point[0]))
        return TensorInfo(name=name, shape=tensor.shape, dtype=tensor.dtype, scale=scale, zero_point=zero)

    inputs, outputs = (
        zip(graph.input_names(), graph.inputs, strict=True),
        zip(graph.output_names(), graph.outputs, strict=True),
    )
    return tuple(info(*pair) for pair in inputs), tuple(info(*pair) for pair in outputs)


def plain_report(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], **more: Any) -> Report:
    """Return a report with nothing in it but what must be."""
    given = {
        "edgecompile": "0.1.0",
        "verdict": "pass",
        "headline": ("int8 keeps what the float model has",),
        "model": ModelInfo(name="m", format="tflite", sha256="0" * 64, bytes=1000),
        "target": TargetInfo(name="board", title="A Board", backend="litert"),
        "recipe": "int8",
        "checks": (),
        "inputs": tuple(inputs),
        "outputs": tuple(outputs),
        "sizes": Sizes(source_bytes=4000, float_bytes=3900, result_bytes=1000, result_gzip_bytes=800),
    }
    return Report.model_validate(given | more)


def content_of(model: Path, data: Dataset | None, *, decides: bool = True, seed: int = 0) -> Content:
    """Return content around a real model file and real rows."""
    graph = read_graph(model)
    inputs, outputs = describe(graph)
    golden = make_golden(
        graph,
        data,
        inputs=inputs,
        outputs=outputs,
        decides=frozenset(t.name for t in outputs) if decides else frozenset(),
        predict=lambda rows, kernels: predict(model, rows, kernels=kernels),
        seed=seed,
    )
    return Content(
        report=plain_report(inputs, outputs),
        models={"m.tflite": model.read_bytes()},
        host_model="m.tflite",
        device_model="m.tflite",
        golden=golden,
        recipe=Recipe(),
        target=TARGET,
        data=data,
    )


KEYWORDS = ("Down", "Go", "Left", "No", "Off", "On", "Right", "Stop", "Up", "Yes", "Silence", "Unknown")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def resnet8(folder: Path) -> tuple[Path, Dataset]:
    """Return the int8 image classifier of MLPerf Tiny and CIFAR-10 test images."""
    with np.load(folder / "ic" / "cifar10_test_3000.npz") as arrays:
        x, y = arrays["x"], arrays["y"].astype(np.int64)
    data = Dataset({"*": x}, y, class_names=CIFAR10, preprocess={"*": Preprocess()}, source="cifar10_test_3000.npz")
    return folder / "ic" / "pretrainedResnet_quant.tflite", data


def keywords(folder: Path) -> tuple[Path, Dataset]:
    """Return the int8 keyword spotter of MLPerf Tiny and its clips."""
    with np.load(folder / "kws" / "kws01_mfcc_int8_1000.npz") as arrays:
        x, y = arrays["x"], arrays["y"].astype(np.int64)
    how = Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83))
    data = Dataset({"*": x}, y, class_names=KEYWORDS, preprocess={"*": how}, source="kws01_mfcc_int8_1000.npz")
    return folder / "kws" / "kws_ref_model.tflite", data


def float_model(weights: Array) -> bytes:
    """Return a float model `x` [1, n] → `y` [1, m], one FULLY_CONNECTED with these weights [m, n]."""
    m, n = weights.shape
    tensors_ = [
        _tensor("x", (1, n), schema.TensorType.FLOAT32),
        _tensor("w", (m, n), schema.TensorType.FLOAT32, buffer=1),
        _tensor("y", (1, m), schema.TensorType.FLOAT32),
    ]
    op = _op(0, [0, 1, -1], [2], schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
    return _model(
        tensors_,
        [op],
        codes=[schema.BuiltinOperator.FULLY_CONNECTED],
        inputs=[0],
        outputs=[2],
        constants=[weights.astype("<f4").tobytes()],
    )


def two_by_two_model(batch: tuple[int, ...] = (1,)) -> bytes:
    """Return an int8 model with inputs `a`, `b` [*batch, 4], outputs `sum` = a + b, `double` = a + a; steps of 0.5."""
    int8 = schema.TensorType.INT8
    tensors_ = [
        _tensor("a", (*batch, 4), int8, scale=0.5, zero_point=-3),
        _tensor("b", (*batch, 4), int8, scale=0.5, zero_point=2),
        _tensor("sum", (*batch, 4), int8, scale=0.5, zero_point=0),
        _tensor("double", (*batch, 4), int8, scale=0.5, zero_point=0),
    ]
    ops = [
        _op(0, [0, 1], [2], schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
        _op(0, [0, 0], [3], schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
    ]
    return _model(tensors_, ops, codes=[schema.BuiltinOperator.ADD], inputs=[0, 1], outputs=[2, 3])


def _tensor(
    name: str, shape: Sequence[int], kind: int, *, buffer: int = 0, scale: float = 0.0, zero_point: int = 0
) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), kind, buffer
    if scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
    return tensor


def _op(code: int, inputs: Sequence[int], outputs: Sequence[int], kind: int, options: Any) -> Any:
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = code, list(inputs), list(outputs)
    op.builtinOptionsType, op.builtinOptions = kind, options
    return op


def _model(
    tensors_: Sequence[Any],
    ops: Sequence[Any],
    *,
    codes: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    constants: Sequence[bytes] = (),
) -> bytes:
    import flatbuffers

    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = list(tensors_), list(ops), list(inputs), list(outputs)
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], [schema.BufferT()]
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 2 if code == schema.BuiltinOperator.ADD else 1
        model.operatorCodes.append(entry)
    for data in constants:
        buffer = schema.BufferT()
        buffer.data = list(data)
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
