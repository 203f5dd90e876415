"""The Edge TPU backend: what it will do with a model, and Coral's `edgetpu_compiler` where it is installed.

Source: Coral, “TensorFlow models on the Edge TPU” (https://coral.ai/docs/edgetpu/models-intro/), model requirements.
"""

from __future__ import annotations

from pathlib import Path

from edgecompile.artifact import Artifact, hash_path
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.edgetpu.compiler import COMPILER, INSTALL, CompilerError, find_compiler, run_compiler
from edgecompile.backends.edgetpu.failure import explained
from edgecompile.backends.edgetpu.findings import compiler_layout, mapping_findings, refusals, sections, status_line
from edgecompile.backends.edgetpu.modelrules import MODEL_RULES
from edgecompile.backends.edgetpu.outcome import compared, compiler_name, counted, of_the_model, sharing, told
from edgecompile.backends.edgetpu.planner import Plan, plan_mapping
from edgecompile.backends.edgetpu.settings import EdgetpuOptions
from edgecompile.backends.edgetpu.tail import cut_at
from edgecompile.config import parse
from edgecompile.errors import ConfigError
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tools import fingerprint

NOT_COMPILED = f"not compiled for the Edge TPU: {COMPILER} not found"


class Edgetpu(Backend):
    """Coral Edge TPU."""

    name = "edgetpu"
    summary = (
        "Coral Edge TPU: says which ops it takes and why not the others; runs edgetpu_compiler where it is installed."
    )
    Options = EdgetpuOptions
    unrolls = True

    def outside(self, target: Target) -> str:
        """Return which edgetpu_compiler there is, and the models that are compiled together with this one."""
        others = " ".join(hash_path(Path(file)) for file in _options(target).compile_with)
        return f"{fingerprint(find_compiler())} {others}".rstrip()

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what keeps the model, or parts of it, off the Edge TPU."""
        whole = tuple(f for rule in MODEL_RULES if (f := rule.finding(graph)) is not None)
        plan = _plan(graph, _options(target))
        if not plan.cut:
            whole += refusals(graph)
        if any(found.severity == "error" for found in whole):
            return whole
        return (*whole, *mapping_findings(plan))

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Compile model with edgetpu_compiler; without the compiler return the model and a status that says so.

        Raises:
            ToolError: the compiler is there and cannot be started, fails, hangs, or leaves no model.
        """
        options = _options(target)
        plan = _plan(read_graph(model.path), options)
        together = {Path(file).stem: Path(file) for file in options.compile_with}
        if name in together:
            raise ConfigError(
                f"`compile_with` names a model that is called `{name}` too",
                where=str(together[name]),
                hint="rename the file: the compiler names what it writes after it",
            )
        others = [_plan(read_graph(file), options) for file in together.values()]
        shares = sharing([name, *together], [plan, *others]) if others else {}
        plain = f"{name}.tflite"
        halves = cut_at(model.path, plan.given, len(plan.placements) - 1, name=name, out=out) if plan.cut else None
        given = model.path if halves is None else halves.head
        head = plan if halves is None else _plan(read_graph(given), options)
        compiler = find_compiler()
        if compiler is None:
            expected = out / f"{name}_edgetpu_expected.log"
            expected.write_text(compiler_layout(head), "utf-8")
            return Compiled(
                files={plain: model.path, expected.name: expected},
                model=plain,
                status=f"{NOT_COMPILED}; {status_line(plan)} → {INSTALL}",
                complete=False,
                extra={**sections(plan), **shares},
            )
        flags = options.flags()
        try:
            models = [(name, given), *together.items()]
            made = run_compiler(compiler, models, flags, work=out / COMPILER)
        except CompilerError as error:
            raise explained(error, compiler, given, head.graph, flags, name=name, work=out) from None
        if others:
            shares = sharing([name, *together], [plan, *others], made.said)
        beside = compared(made, head, others, options.segments)
        tail = () if halves is None else (halves.tail,)
        own = made.models if options.segments else made.models[:1]
        status = counted(of_the_model(made, options.segments), head)
        if halves is not None:
            status += f", {len(plan.placements) - plan.given} behind them cut off for the CPU"
        return Compiled(
            files={plain: model.path, **{file.name: file for file in (*made.models, *tail, *made.logs)}},
            model=made.models[0].name,
            chain=tuple(file.name for file in (*own, *tail)) if len(own) + len(tail) > 1 else (),
            status=f"compiled for the Edge TPU by {compiler_name(made)}: {status}",
            findings=told(beside),
            extra={**sections(plan), **shares, **beside},
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
    plan = plan_mapping(graph, several=options.several_subgraphs, runtime=options.min_runtime_version)
    return plan.without_tail() if options.cut_tail else plan
