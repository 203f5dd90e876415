"""The Edge TPU backend: what it will do with a model, and Coral's `edgetpu_compiler` where it is installed.

Source: Coral, “TensorFlow models on the Edge TPU” (https://coral.ai/docs/edgetpu/models-intro/), model requirements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from edgecompile.artifact import Artifact
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.edgetpu.compiler import (
    COMPILER,
    INSTALL,
    Compilation,
    CompilerError,
    Flags,
    find_compiler,
    run_compiler,
)
from edgecompile.backends.edgetpu.failure import explained
from edgecompile.backends.edgetpu.findings import (
    compiler_layout,
    differences,
    mapping_findings,
    refusals,
    sections,
    status_line,
)
from edgecompile.backends.edgetpu.modelrules import MODEL_RULES
from edgecompile.backends.edgetpu.planner import Plan, plan_mapping
from edgecompile.config import Frozen, parse
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tools import fingerprint

NOT_COMPILED = f"not compiled for the Edge TPU: {COMPILER} not found"


class EdgetpuOptions(Frozen):
    """Settings of an Edge TPU target."""

    min_runtime_version: PositiveInt | None = None
    """Oldest Edge TPU runtime that must load the model (`edgetpu_compiler -m`); the compiler's own by default."""
    several_subgraphs: bool = False
    """Use the Edge TPU also behind an op that the CPU must run (`-a`): more ops on the chip, more trips to it."""
    timeout_s: PositiveFloat = 600.0
    """Seconds after which the compiler is stopped; its own limit is 180 s."""
    attempts: PositiveInt = 3
    """How often a compilation that fails without a reason is tried: some succeed the second time."""


class Edgetpu(Backend):
    """Coral Edge TPU."""

    name = "edgetpu"
    summary = (
        "Coral Edge TPU: says which ops it takes and why not the others; runs edgetpu_compiler where it is installed."
    )
    Options = EdgetpuOptions

    def outside(self, target: Target) -> str:
        """Return which edgetpu_compiler there is."""
        del target
        return fingerprint(find_compiler())

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what keeps the model, or parts of it, off the Edge TPU."""
        whole = (*(f for rule in MODEL_RULES if (f := rule.finding(graph)) is not None), *refusals(graph))
        if any(found.severity == "error" for found in whole):
            return whole
        return (*whole, *mapping_findings(_plan(graph, _options(target))))

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Compile model with edgetpu_compiler; without the compiler return the model and a status that says so.

        Raises:
            ToolError: the compiler is there and cannot be started, fails, hangs, or leaves no model.
        """
        options = _options(target)
        plan = _plan(read_graph(model.path), options)
        plain = f"{name}.tflite"
        compiler = find_compiler()
        if compiler is None:
            expected = out / f"{name}_edgetpu_expected.log"
            expected.write_text(compiler_layout(plan), "utf-8")
            return Compiled(
                files={plain: model.path, expected.name: expected},
                model=plain,
                status=f"{NOT_COMPILED}; {status_line(plan)}; {INSTALL}",
                complete=False,
                extra=sections(plan),
            )
        flags = Flags(
            min_runtime_version=options.min_runtime_version,
            several_subgraphs=options.several_subgraphs,
            timeout_s=options.timeout_s,
            attempts=options.attempts,
        )
        try:
            made = run_compiler(compiler, [(name, model.path)], flags, work=out / COMPILER)
        except CompilerError as error:
            raise explained(error, compiler, model.path, plan.graph, flags, name=name, work=out) from None
        return Compiled(
            files={plain: model.path, **{file.name: file for file in (*made.models, *made.logs)}},
            model=made.models[0].name,
            status=f"compiled for the Edge TPU by {_compiler_name(made)}: {_counted(made, plan)}",
            extra={**sections(plan), **_compared(made, plan)},
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


def _options(target: Target) -> EdgetpuOptions:
    return parse(EdgetpuOptions, target.options, where=f"target {target.name}, [options]")


def _plan(graph: Graph, options: EdgetpuOptions) -> Plan:
    return plan_mapping(graph, several=options.several_subgraphs, runtime=options.min_runtime_version)


def _compiler_name(made: Compilation) -> str:
    return f"Edge TPU Compiler version {made.version}" if made.version else COMPILER


def _counted(made: Compilation, plan: Plan) -> str:
    """Return how many ops the compiler mapped; where it does not say, how many are expected."""
    operators = made.said[0].operators
    if not operators:
        return status_line(plan)
    mapped = sum(n for (_, said), n in operators.items() if said == "Mapped to Edge TPU")
    return f"{mapped} of {sum(operators.values())} ops on the Edge TPU"


def _compared(made: Compilation, plan: Plan) -> dict[str, Any]:
    """Return what the compiler said as a section of the report, and where that is not what was expected."""
    said = made.said[0]
    if not said.operators:
        return {"edgetpu_compiler": {"log": "in a form that is not known: it was not compared with what was expected"}}
    found = differences(plan, said)
    summary = {
        "version": made.version,
        "attempts": made.attempts,
        "parameter_bytes_cached": said.cached_bytes,
        "parameter_bytes_room_left": said.room_left_bytes,
        "parameter_bytes_streamed": said.streamed_bytes,
        "edge_tpu_subgraphs": said.subgraphs,
        "as_expected": not found,
    }
    return {"edgetpu_compiler": summary, **({"edgetpu_unexpected": found} if found else {})}
