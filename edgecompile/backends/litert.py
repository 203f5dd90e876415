"""LiteRT: phones and Linux boards. The device loads the `.tflite` itself; a delegate takes the ops that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgecompile.artifact import Artifact
from edgecompile.backends import coreml, gpu, xnnpack
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.rules import Breach, breaches, count_partitions, findings
from edgecompile.config import Frozen, parse
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, read_graph

Delegate = Literal["xnnpack", "gpu", "coreml"]

_TITLE = {"xnnpack": "XNNPACK", "gpu": "the GPU delegate", "coreml": "the Core ML delegate"}

_FIDELITY = {
    "xnnpack": (
        "LiteRT with XNNPACK, as on the device; integer results can differ by a few codes between processors and "
        "between releases of the runtime"
    ),
    "gpu": (
        "this host cannot run LiteRT's GPU delegate, which computes in 16- or 32-bit float: LiteRT with XNNPACK stands "
        "for it"
    ),
    "coreml": (
        "this host cannot run LiteRT's Core ML delegate, which computes in 16-bit float: LiteRT with XNNPACK stands "
        "for it"
    ),
}


class LitertOptions(Frozen):
    """Settings of a target that LiteRT serves."""

    delegate: Delegate
    """What takes the ops that it knows: `xnnpack` (CPU), `gpu` (Android, iOS), `coreml` (iOS)."""


class Litert(Backend):
    """LiteRT on CPU, GPU or Core ML."""

    name = "litert"
    summary = "LiteRT on phones and Linux boards: CPU (XNNPACK), GPU delegate, Core ML delegate."
    Options = LitertOptions
    weights_note = (
        "LiteRT stores and computes every weight, zero or not: scattered zeros and shared values make the download "
        "shorter, not the file, the memory or the time; XNNPACK leaves zeros out only in float models of 1×1 "
        "convolutions with two thirds of zeros and more, stored in TFLite's sparse format."
    )

    def sparse_weights(self, target: Target) -> bool:
        """Return whether kernels run on the CPU: the delegates for GPU and Core ML do not take DENSIFY."""
        return _options(target).delegate == "xnnpack"

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return which ops the delegate leaves to the CPU's built-in kernels, by which of its documented rules."""
        delegate = _options(target).delegate
        broken = _broken(graph, delegate)
        if delegate == "xnnpack":
            return findings(
                graph,
                broken,
                severity="info",
                consequence="runs on the runtime's built-in CPU kernels, which are slower",
            )
        split = findings(
            graph,
            broken,
            severity="warning",
            consequence="runs on the CPU; a graph split between accelerator and CPU is often slower than the CPU alone",
            remedy=f"replace the op, or measure a build for the CPU against {_TITLE[delegate]} on the device",
        )
        return (*_eight_bit_on_gpu(graph), *split) if delegate == "gpu" else split

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Return the model file as it is, and how the delegate is going to cut it by its documented rules."""
        delegate = _options(target).delegate
        graph = read_graph(model.path)
        left_out = frozenset(breach.op.index for breach in _broken(graph, delegate))
        file = f"{name}.tflite"
        return Compiled(
            files={file: model.path},
            model=file,
            extra={
                "delegate": {
                    "name": delegate,
                    "ops": len(graph.ops),
                    "ops_left_to_cpu_kernels": len(left_out),
                    "partitions": count_partitions(graph, left_out),
                    "how": "modelled",
                }
            },
        )

    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the model on XNNPACK; for GPU and Core ML the sentence says that these cannot be run here."""
        return Runnable(model=model.path, kernels="xnnpack", fidelity=_FIDELITY[_options(target).delegate])


def _options(target: Target) -> LitertOptions:
    return parse(LitertOptions, target.options, where=f"target {target.name}, [options]")


def _broken(graph: Graph, delegate: Delegate) -> tuple[Breach, ...]:
    table = {"xnnpack": xnnpack, "gpu": gpu, "coreml": coreml}[delegate]
    return breaches(graph, table.RULES, unlisted=table.UNLISTED, always=table.ALWAYS)


def _eight_bit_on_gpu(graph: Graph) -> tuple[Finding, ...]:
    made = [graph.tensors[i] for op in graph.ops for i in op.outputs]
    if not any(t.dtype in {"int8", "uint8"} and t.quantization is not None for t in made):
        return ()
    return (
        Finding(
            severity="info",
            rule="gpu-8-bit",
            what="The GPU computes 8-bit models in 16- or 32-bit float",
            consequence="int8 saves storage but no time, and outputs on the device can differ from the int8 ones",
            remedy="use `--recipe float16`",
        ),
    )
