"""Google Coral Edge TPU: full-integer models, compiled by Coral's `edgetpu_compiler` where it is installed.

Sources: Coral documentation, "TensorFlow models on the Edge TPU" (https://coral.ai/docs/edgetpu/models-intro/), model
requirements; "Edge TPU Compiler" (https://coral.ai/docs/edgetpu/compiler/), options and output files.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from edgecompile import tools
from edgecompile.artifact import Artifact
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.rules import ModelRule, activations
from edgecompile.config import Frozen, parse
from edgecompile.errors import ToolError
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, Tensor

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
    """Oldest Edge TPU runtime that must load the model (`edgetpu_compiler -m`); the compiler's own by default."""
    timeout_s: PositiveFloat = 600.0
    """Seconds after which the compiler is stopped; its own limit is 180 s."""


class Edgetpu(Backend):
    """Coral Edge TPU."""

    name = "edgetpu"
    summary = "Coral Edge TPU: checks that the model is full-integer, and runs edgetpu_compiler where it is installed."
    Options = EdgetpuOptions

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what keeps the model, or parts of it, off the Edge TPU."""
        return tuple(found for rule in MODEL_RULES if (found := rule.finding(graph)) is not None)

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
        made, by = _run(compiler, model.path, options, name=name, work=out / COMPILER)
        return Compiled(
            files={plain: model.path, **{file.name: file for file in made}},
            model=made[0].name,
            status=f"compiled for the Edge TPU by {by}",
        )

    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the uncompiled int8 model on reference kernels."""
        # Not the built-in kernels, five times faster: on ResNet8 (MLPerf Tiny) and 3,000 CIFAR-10 images 13% of the
        # output codes differ from the reference kernels', by up to 79, and 1.1% of the decisions.
        return Runnable(
            model=model.path,
            kernels="reference",
            fidelity="no Edge TPU on this host: the int8 model before compilation, on LiteRT's reference kernels",
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


def _run(
    compiler: Path, model: Path, options: EdgetpuOptions, *, name: str, work: Path
) -> tuple[tuple[Path, ...], str]:
    """Return what the compiler wrote into the folder work, the model first, and the version that it says it is."""
    # The compiler names its files after its input and writes the path of both into its log: a relative name in a
    # folder of its own keeps the log free of this machine's paths. "./" keeps a name like "-s" from being an option.
    work.mkdir(parents=True)
    shutil.copyfile(model, work / f"{name}.tflite")
    version = [] if options.min_runtime_version is None else ["-m", str(options.min_runtime_version)]
    chatter = work / "output.txt"
    skip = f"read the log; without the compiler ({COMPILER_VARIABLE} unset, not on PATH) the int8 model is built alone"
    try:
        said = tools.run(
            [str(compiler.absolute()), *version, "-o", ".", f"./{name}.tflite"],
            timeout_s=options.timeout_s,
            log=chatter,
            install=INSTALL,
            cwd=work,
        )
    except ToolError as error:
        first = error.problems[0]
        raise ToolError(first.what, where=first.where, hint=first.hint or skip) from None
    compiled, log = work / f"{name}_edgetpu.tflite", work / f"{name}_edgetpu.log"
    if not compiled.is_file():
        raise ToolError(f"`{COMPILER}` reported success and wrote no model", where=str(chatter), hint=skip)
    if compiled.read_bytes()[4:8] != _TFLITE_IDENTIFIER:
        raise ToolError(f"`{COMPILER}` wrote a file that is no TFLite model", where=str(compiled), hint=skip)
    by = next((line.strip() for line in said.splitlines() if line.startswith("Edge TPU Compiler version")), COMPILER)
    return (compiled, log) if log.is_file() else (compiled,), by


def _inner(graph: Graph) -> tuple[Tensor, ...]:
    """Return what is computed or given, but not the float side of a float input or output.

    The state of an LSTM, which the chip keeps in 16 bits, does not count either.
    """
    doors = {i for op in graph.ops if op.name == "QUANTIZE" for i in op.inputs}
    doors |= {i for op in graph.ops if op.name == "DEQUANTIZE" for i in op.outputs}
    ends = {*graph.inputs, *graph.outputs}
    seen = (t for t in activations(graph) if t.index not in doors or t.index not in ends)
    return tuple(t for t in seen if not t.is_variable)


def edgetpu_quantized(graph: Graph) -> tuple[Tensor, ...]:
    """The Edge TPU takes only models whose tensors are 8-bit quantized."""
    inner = _inner(graph)
    return () if any(t.dtype in _EIGHT_BIT for t in inner) else inner


def edgetpu_8_bit(graph: Graph) -> tuple[Tensor, ...]:
    """The Edge TPU computes 8-bit tensors."""
    wide = tuple(t for t in _inner(graph) if t.dtype not in _EIGHT_BIT)
    return () if edgetpu_quantized(graph) else wide


def edgetpu_integer_io(graph: Graph) -> tuple[Tensor, ...]:
    """The Edge TPU takes and gives 8-bit tensors."""
    inner = {t.index for t in _inner(graph)}
    ends = (graph.tensors[i] for i in dict.fromkeys((*graph.inputs, *graph.outputs)))
    return tuple(t for t in ends if t.index not in inner and t.dtype not in _EIGHT_BIT)


def edgetpu_constant_sizes(graph: Graph) -> tuple[Tensor, ...]:
    """Tensor sizes must be constant for the Edge TPU; an open batch is compiled as 1."""
    return tuple(t for t in activations(graph) if -1 in t.shape_signature[1:])


def edgetpu_inner_dimensions(graph: Graph) -> tuple[Tensor, ...]:
    """On the Edge TPU only the three innermost dimensions of a tensor can be larger than 1."""
    return tuple(t for t in activations(graph) if any(d > 1 for d in t.shape[:-_INNER_DIMENSIONS]))


MODEL_RULES = (
    ModelRule(
        edgetpu_quantized,
        severity="error",
        consequence="edgetpu_compiler refuses the model",
        remedy="use `--recipe int8`",
    ),
    ModelRule(
        edgetpu_8_bit,
        severity="warning",
        consequence="the op that makes the first of them, and every op after it, runs on the host's CPU",
        remedy="take these ops out of the model and run them in the application",
    ),
    ModelRule(
        edgetpu_integer_io,
        severity="info",
        consequence="the host's CPU quantizes or dequantizes them at every inference",
        remedy="build without `--float-io`",
    ),
    ModelRule(
        edgetpu_constant_sizes,
        severity="error",
        consequence="edgetpu_compiler refuses the model, or leaves the ops that touch them to the host's CPU",
        remedy="give the size with `--shape`",
    ),
    ModelRule(
        edgetpu_inner_dimensions,
        severity="warning",
        consequence="the ops that touch them run on the host's CPU",
        remedy="build with batch 1",
    ),
)
