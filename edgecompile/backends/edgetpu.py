"""Google Coral Edge TPU: full-integer models, compiled by Coral's `edgetpu_compiler` where it is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from edgecompile import tools
from edgecompile.artifact import Artifact
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.rules import activations
from edgecompile.config import Frozen, parse
from edgecompile.errors import ToolError
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, Tensor
from edgecompile.units import show_shape

COMPILER = "edgetpu_compiler"
COMPILER_VARIABLE = "EDGETPU_COMPILER"
INSTALL = (
    "edgetpu_compiler runs on x86-64 Linux: the Debian package `edgetpu-compiler` of Coral's apt repository "
    "(https://coral.ai/docs/edgetpu/compiler/#download); put it on PATH, or its path into EDGETPU_COMPILER"
)
NOT_COMPILED = f"not compiled for the Edge TPU: edgetpu_compiler not found; {INSTALL}"

_EIGHT_BIT = {"int8", "uint8"}
_INNER_DIMENSIONS = 3
_TFLITE_IDENTIFIER = b"TFL3"  # bytes 4..8 of the file, schema.fbs file_identifier


class EdgetpuOptions(Frozen):
    """Settings of an Edge TPU target."""

    min_runtime_version: PositiveInt | None = None
    """Oldest Edge TPU runtime the compiled model must load on (`edgetpu_compiler -m`); the compiler's own by default."""
    timeout_s: PositiveFloat = 600.0
    """Seconds after which the compiler is stopped; its own limit is 180 s."""


class Edgetpu(Backend):
    """Coral Edge TPU."""

    name = "edgetpu"
    summary = "Coral Edge TPU: checks that the model is full-integer, and runs edgetpu_compiler where it is installed."
    Options = EdgetpuOptions

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what keeps the model, or parts of it, off the Edge TPU."""
        found = (
            _float_model(graph) or _float_parts(graph),
            _float_io(graph),
            _open_shapes(graph),
            _outer_dimensions(graph),
        )
        return tuple(finding for finding in found if finding is not None)

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Compile model with edgetpu_compiler; without the compiler return the model and a status that says so.

        Raises:
            ToolError: the compiler is there and cannot be started, fails, hangs, or leaves no model.
        """
        plain = f"{name}.tflite"
        compiler = find_compiler()
        if compiler is None:
            return Compiled(files={plain: model.path}, model=plain, status=NOT_COMPILED, complete=False)
        options = parse(EdgetpuOptions, target.options, where=f"target {target.name}, [options]")
        compiled, log = _run(compiler, model.path, options, name=name, out=out)
        return Compiled(
            files={plain: model.path, compiled.name: compiled, **({log.name: log} if log.is_file() else {})},
            model=compiled.name,
            status=f"compiled for the Edge TPU by {COMPILER}",
        )

    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the uncompiled int8 model on reference kernels."""
        # Not the built-in kernels, five times faster: on ResNet8 (MLPerf Tiny, 300 CIFAR-10 images) they differ from
        # the reference kernels in 12% of the output codes, by up to 53.
        return Runnable(
            model=model.path,
            kernels="reference",
            fidelity="this host cannot run an Edge TPU: the int8 model before compilation, on LiteRT's reference kernels",
        )


def find_compiler() -> Path | None:
    """Return the path of edgetpu_compiler: EDGETPU_COMPILER, else PATH; None where it is not installed.

    Raises:
        ToolError: EDGETPU_COMPILER names no file.
    """
    named = os.environ.get(COMPILER_VARIABLE)
    if not named:
        return tools.which(COMPILER)
    if not Path(named).is_file():
        raise ToolError("no such file", where=f"{COMPILER_VARIABLE}={named}", hint=INSTALL)
    return Path(named)


def _run(compiler: Path, model: Path, options: EdgetpuOptions, *, name: str, out: Path) -> tuple[Path, Path]:
    """Return the compiled model and the compiler's log below out."""
    # The compiler names its files after its input and writes the path of both into its log: a short relative name
    # in a folder of its own keeps the log free of this machine's paths.
    shutil.copyfile(model, out / f"{name}.tflite")
    version = [] if options.min_runtime_version is None else ["-m", str(options.min_runtime_version)]
    chatter = out / f"{COMPILER}.txt"
    skip = f"read the log; without the compiler ({COMPILER_VARIABLE} unset, not on PATH) the int8 model is built alone"
    try:
        tools.run(
            [str(compiler.absolute()), *version, "-o", ".", f"{name}.tflite"],
            timeout_s=options.timeout_s,
            log=chatter,
            install=INSTALL,
            cwd=out,
        )
    except ToolError as error:
        first = error.problems[0]
        raise ToolError(first.what, where=first.where, hint=first.hint or skip) from None
    compiled = out / f"{name}_edgetpu.tflite"
    if not compiled.is_file():
        raise ToolError(f"`{COMPILER}` reported success and wrote no model", where=str(chatter), hint=skip)
    if compiled.read_bytes()[4:8] != _TFLITE_IDENTIFIER:
        raise ToolError(f"`{COMPILER}` wrote a file that is no TFLite model", where=str(compiled), hint=skip)
    return compiled, out / f"{name}_edgetpu.log"


def _show(tensors: list[Tensor]) -> str:
    names = ", ".join(t.name for t in tensors[:3])
    return names if len(tensors) <= 3 else f"{names} and {len(tensors) - 3} more"


def _inner(graph: Graph) -> list[Tensor]:
    """Return what ops compute and what the model is given, without the float side of a float input or output."""
    doors = {i for op in graph.ops if op.name == "QUANTIZE" for i in op.inputs}
    doors |= {i for op in graph.ops if op.name == "DEQUANTIZE" for i in op.outputs}
    ends = {*graph.inputs, *graph.outputs}
    return [t for t in activations(graph) if not (t.index in doors and t.index in ends)]


def _float_model(graph: Graph) -> Finding | None:
    if any(t.dtype in _EIGHT_BIT for t in _inner(graph)):
        return None
    return Finding(
        severity="error",
        rule="edgetpu-not-quantized",
        what="The Edge TPU takes only models that are fully 8-bit quantized: no tensor of this one is",
        consequence="edgetpu_compiler refuses the model",
        remedy="use `--recipe int8`",
    )


def _float_parts(graph: Graph) -> Finding | None:
    wide = [t for t in _inner(graph) if t.dtype not in _EIGHT_BIT]
    if not wide:
        return None
    dtypes = ", ".join(sorted({t.dtype for t in wide}))
    return Finding(
        severity="warning",
        rule="edgetpu-8-bit",
        what=f"The Edge TPU computes 8-bit tensors only: {len(wide)} of this model's are {dtypes}",
        where=_show(wide),
        consequence="the op that makes the first of them, and every op after it, runs on the host's CPU",
        remedy="take these ops out of the model and run them in the application",
    )


def _float_io(graph: Graph) -> Finding | None:
    ends = [graph.tensors[i] for i in dict.fromkeys((*graph.inputs, *graph.outputs))]
    inner = {t.index for t in _inner(graph)}
    wide = [t for t in ends if t.dtype not in _EIGHT_BIT and t.index not in inner]
    if not wide:
        return None
    return Finding(
        severity="info",
        rule="edgetpu-float-io",
        what=f"Float inputs and outputs are quantized outside the Edge TPU: {len(wide)} of this model's",
        where=_show(wide),
        consequence="the host's CPU quantizes or dequantizes them at every inference",
        remedy="build without `--float-io`",
    )


def _open_shapes(graph: Graph) -> Finding | None:
    open_ones = [t for t in activations(graph) if -1 in t.shape_signature]
    if not open_ones:
        return None
    return Finding(
        severity="error",
        rule="edgetpu-static-shapes",
        what=f"Tensor sizes must be constant for the Edge TPU: {len(open_ones)} of this model's are open",
        where=_show(open_ones),
        consequence="edgetpu_compiler refuses the model",
        remedy="give the size with `--shape`",
    )


def _outer_dimensions(graph: Graph) -> Finding | None:
    deep = [t for t in activations(graph) if any(d > 1 for d in t.shape[:-_INNER_DIMENSIONS])]
    if not deep:
        return None
    return Finding(
        severity="warning",
        rule="edgetpu-inner-dimensions",
        what=(
            "Only the three innermost dimensions of a tensor can be larger than 1 on the Edge TPU: "
            f"one of this model's is {show_shape(deep[0].shape)}"
        ),
        where=_show(deep),
        consequence="the ops that touch it run on the host's CPU",
        remedy="build with batch 1",
    )
