"""Small float `.tflite` models, written op by op: what converters make, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.tflite.edit import write_model
from edgecompile.tflite.values import Array

ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}


class Net:
    """A graph under construction. Methods return tensor numbers; weights are seeded normal numbers."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = schema.SubGraphT(name=b"main", tensors=[], operators=[], inputs=[], outputs=[])
        self.model = schema.ModelT(
            version=3, operatorCodes=[], subgraphs=[self.graph], buffers=[schema.BufferT(), schema.BufferT()]
        )
        self.names: dict[str, int] = {}

    def tensor(self, shape: Sequence[int], name: str = "", values: Array | None = None) -> int:
        dtype = {"float32": 0, "int32": 2}[str(values.dtype) if values is not None else "float32"]
        number = len(self.graph.tensors)
        buffer = 0
        if values is not None:
            buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        made = schema.TensorT(name=(name or f"t{number}").encode(), shape=list(shape), type=dtype, buffer=buffer)
        made.hasRank = True
        self.graph.tensors.append(made)
        return number

    def input(self, name: str, shape: Sequence[int]) -> int:
        number = self.tensor(shape, name)
        self.names[name] = number
        self.graph.inputs.append(number)
        return number

    def constant(self, values: Any, name: str = "") -> int:
        array = np.asarray(values)
        array = array.astype(np.int32 if array.dtype.kind == "i" else np.float32)
        return self.tensor(array.shape, name, array)

    def weights(self, *shape: int, scale: float = 0.3) -> Array:
        return self.random.normal(0, scale, shape).astype(np.float32)

    def shape(self, number: int) -> list[int]:
        return list(self.graph.tensors[number].shape)

    def op(self, name: str, inputs: Sequence[int], shape: Sequence[int], options: Any = None, version: int = 1) -> int:
        code = getattr(schema.BuiltinOperator, name)
        self.model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
        )
        output = self.tensor(shape, f"{name.lower()}{len(self.graph.operators)}")
        made = schema.OperatorT(opcodeIndex=len(self.model.operatorCodes) - 1, inputs=list(inputs), outputs=[output])
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(made)
        return output

    def conv(
        self,
        x: int,
        channels: int,
        kernel: int = 1,
        act: str = "none",
        weights: Array | None = None,
        bias: Array | None = None,
    ) -> int:
        n, h, w, c = self.shape(x)
        weights = self.weights(channels, kernel, kernel, c) if weights is None else weights
        bias = self.weights(channels) if bias is None else bias
        how = schema.Conv2DOptionsT(strideH=1, strideW=1, fusedActivationFunction=ACTIVATIONS[act])
        return self.op("CONV_2D", [x, self.constant(weights), self.constant(bias)], [n, h, w, channels], how)

    def depthwise(self, x: int, kernel: int = 3) -> int:
        c = self.shape(x)[3]
        how = schema.DepthwiseConv2DOptionsT(strideH=1, strideW=1, depthMultiplier=1)
        inputs = [x, self.constant(self.weights(1, kernel, kernel, c)), self.constant(self.weights(c))]
        return self.op("DEPTHWISE_CONV_2D", inputs, self.shape(x), how)

    def dense(self, x: int, units: int, weights: Array | None = None, bias: Array | None = None) -> int:
        size = int(np.prod(self.shape(x)[1:]))
        weights = self.weights(units, size) if weights is None else weights
        bias = self.weights(units) if bias is None else bias
        inputs = [x, self.constant(weights), self.constant(bias)]
        return self.op("FULLY_CONNECTED", inputs, [1, units], schema.FullyConnectedOptionsT())

    def pool(self, x: int, kind: str, size: tuple[int, int], stride: tuple[int, int] | None = None) -> int:
        n, h, w, c = self.shape(x)
        stride = stride or size
        out = [n, (h - size[0]) // stride[0] + 1, (w - size[1]) // stride[1] + 1, c]
        how = schema.Pool2DOptionsT(
            padding=1, strideH=stride[0], strideW=stride[1], filterHeight=size[0], filterWidth=size[1]
        )
        return self.op(f"{kind}_POOL_2D", [x], out, how)

    def flat(self, x: int) -> int:
        size = int(np.prod(self.shape(x)[1:]))
        return self.op("RESHAPE", [x, self.constant([1, size])], [1, size], schema.ReshapeOptionsT(newShape=[1, size]))

    def add(self, a: int, b: int) -> int:
        return self.op("ADD", [a, b], self.shape(a), schema.AddOptionsT())

    def softmax(self, x: int) -> int:
        return self.op("SOFTMAX", [x], self.shape(x), schema.SoftmaxOptionsT(beta=1.0))

    def done(self, outputs: Mapping[str, int], *, signature: bool = True) -> bytes:
        self.graph.outputs = list(outputs.values())
        if signature:
            ends = [
                [schema.TensorMapT(name=n.encode(), tensorIndex=i) for n, i in one.items()]
                for one in (self.names, outputs)
            ]
            self.model.signatureDefs = [
                schema.SignatureDefT(signatureKey=b"serving_default", subgraphIndex=0, inputs=ends[0], outputs=ends[1])
            ]
        return write_model(self.model)


def residual(seed: int = 0) -> bytes:
    """Image to classes and a score: convolutions, a residual add, concat, pools, dense, softmax and logistic."""
    net = Net(seed)
    x = net.input("image", [1, 8, 8, 3])
    a = net.conv(x, 8, 3, "relu")
    b = net.add(net.depthwise(net.conv(a, 8, 3, "relu6")), a)
    c = net.op("CONCATENATION", [b, net.conv(b, 4)], [1, 8, 8, 12], schema.ConcatenationOptionsT(axis=3))
    d = net.flat(net.pool(net.pool(c, "MAX", (2, 2)), "AVERAGE", (4, 4)))
    return net.done({"classes": net.softmax(net.dense(d, 5)), "score": net.op("LOGISTIC", [net.dense(d, 1)], [1, 1])})


def chain(*ops: str) -> bytes:
    """A convolution, the named ops one behind the other, and another convolution."""
    net = Net()
    x = net.conv(net.input("x", [1, 6, 6, 3]), 8, 3)
    for name in ops:
        x = _one(net, name, x)
    return net.done({"y": net.conv(x, 4)})


def _one(net: Net, name: str, x: int) -> int:
    shape = net.shape(x)
    if name == "LEAKY_RELU":
        return net.op(name, [x], shape, schema.LeakyReluOptionsT(alpha=0.2))
    if name == "PRELU":
        return net.op(name, [x, net.constant(net.weights(1, 1, shape[3]))], shape)
    if name == "MINIMUM":
        return net.op(name, [x, net.constant(0.5)], shape, schema.MaximumMinimumOptionsT())
    return net.op(name, [x], shape)


def written(content: bytes, folder: Path, name: str = "source.tflite") -> Path:
    """Return the path of a file that holds content."""
    path = folder / name
    path.write_bytes(content)
    return path
