"""From the models of one target to its report and the files of its bundle."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgecompile import __version__, measure, verify
from edgecompile.artifact import Artifact
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Backend, Compiled
from edgecompile.bundle.files import Content, bundle_files
from edgecompile.bundle.firmware.layouts import unsuited
from edgecompile.bundle.golden_rows import as_dataset, make_golden
from edgecompile.cache import library_version
from edgecompile.data.lint import lint_model
from edgecompile.errors import ToolError
from edgecompile.finished import Finished
from edgecompile.inputs import Inputs
from edgecompile.measure import Model
from edgecompile.passes import PASSES
from edgecompile.passes.base import Outcome, Pass
from edgecompile.payoff import Payoff, runtime_note
from edgecompile.plan import Plan, TargetPlan
from edgecompile.report import (
    Accuracy,
    Finding,
    ModelInfo,
    Parity,
    Report,
    Sizes,
    Step,
    TargetInfo,
    TensorInfo,
)
from edgecompile.steps import LIBRARIES, Rows, Steps
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.inline import ensure_inline


@dataclass(frozen=True)
class _Evidence:
    """Everything that the report speaks about, before it is put into words."""

    plan: Plan
    target: TargetPlan
    source_sha256: str
    inputs: Inputs
    reference: Model
    result: Model
    steps: tuple[Step, ...]
    compiled: Compiled
    sizes: Sizes
    findings: tuple[Finding, ...]
    parity: Parity | None
    accuracy: Accuracy | None
    payoff: Payoff | None
    keras: Path | None


def input_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return input name → shape with batch."""
    return {name: graph.tensors[i].shape for name, i in zip(graph.input_names(), graph.inputs, strict=True)}


def finish(
    plan: Plan,
    target: TargetPlan,
    inputs: Inputs,
    steps: Steps,
    *,
    source: Artifact,
    door: Outcome,
    reference: Model,
    result: Model,
    done: Sequence[tuple[Pass, Outcome]],
    stages: Mapping[str, Path],
    out: Path,
) -> Finished:
    """Lower the result, measure it, and return its report and its files.

    Args:
        plan: the build.
        target: its part for one target.
        inputs: rows, fitted to the model.
        steps: runs what must be run.
        source: the model that the user gave.
        door: what conversion (or intake) gave.
        reference: the float model that accuracy is held against.
        result: the model after all passes.
        done: each pass with its outcome, in order.
        stages: pass that trains → the float `.tflite` of what it gave, in order.
        out: empty folder for the backend's files; may be deleted afterwards.

    Raises:
        ToolError: the target's own compiler failed, or is required and missing.
    """
    backend = BACKENDS[target.target.backend]
    compiled = _lower(plan, target, backend, result=result, out=out, steps=steps)
    findings = [*inputs.findings, *(f for _, outcome in done for f in outcome.findings)]
    if compiled.firmware is not None:
        findings += unsuited(plan.recipe.build.layout, compiled.firmware, title=target.target.title)
    accuracy = None
    sets = verify.kernel_sets(outcome.facts for _, outcome in done)
    if inputs.validation is not None:
        findings += lint_model(inputs.validation.dataset, reference.graph)
        accuracy, suspicious = measure.accuracy(
            plan,
            steps,
            reference=reference,
            result=result,
            runnable=sets.instead(compiled.runs or backend.runnable(result.artifact, target.target)),
            rows=inputs.validation,
            works=str(door.facts.get("kernels", "")),
        )
        findings += suspicious
    evidence = _Evidence(
        plan=plan,
        target=target,
        source_sha256=source.sha256,
        inputs=inputs,
        reference=reference,
        result=result,
        steps=tuple(_step(p, outcome) for p, outcome in done),
        compiled=compiled,
        sizes=_sizes(plan, reference, result),
        # Several passes may have found the same.
        findings=tuple(dict.fromkeys((*findings, *backend.check(result.graph, target.target), *compiled.findings))),
        parity=measure.parity(steps, door, reference.graph),
        accuracy=accuracy,
        payoff=_payoff(backend, reference, stages, result) if stages else None,
        keras=next((o.extras["keras"] for _, o in reversed(done) if "keras" in o.extras), None),
    )
    report = _report(evidence)
    return Finished(report, bundle_files(_content(evidence, report, steps)))


def _lower(plan: Plan, target: TargetPlan, backend: Backend, *, result: Model, out: Path, steps: Steps) -> Compiled:
    steps.progress.start("lower", detail=target.target.name)
    compiled = backend.compile(result.artifact, target.target, name=plan.name, out=out)
    for name, path in compiled.files.items():
        if path.suffix == ".tflite":
            ensure_inline(path, where=name)
    steps.progress.finish("lower")
    if plan.recipe.build.require_compiled and not compiled.complete:
        raise ToolError(
            compiled.status,
            where=f"target {target.target.name}",
            hint="leave out --require-compiled to build without it",
        )
    return compiled


def _step(step: Pass, outcome: Outcome) -> Step:
    return Step(
        name=step.name,
        fields=step.told(),
        facts=dict(outcome.facts),
        bytes=measure.size_of(outcome.artifact.path),
    )


def _sizes(plan: Plan, reference: Model, result: Model) -> Sizes:
    content = result.artifact.path.read_bytes()
    return Sizes(
        source_bytes=measure.size_of(plan.source),
        float_bytes=measure.size_of(reference.artifact.path),
        result_bytes=len(content),
        result_gzip_bytes=len(gzip.compress(content, mtime=0)),
    )


def _payoff(backend: Backend, reference: Model, stages: Mapping[str, Path], result: Model) -> Payoff:
    named = {"source": reference.artifact.path, **stages, "result": result.artifact.path}
    return Payoff(
        stages=tuple(measure.stage(*item) for item in named.items()),
        runtime=runtime_note(stages, backend.weights_note),
    )


def _tensors(graph: Graph, indices: tuple[int, ...], names: tuple[str, ...]) -> tuple[TensorInfo, ...]:
    found = []
    for index, name in zip(indices, names, strict=True):
        tensor = graph.tensors[index]
        how = tensor.quantization
        found.append(
            TensorInfo(
                name=name,
                shape=tensor.shape,
                dtype=tensor.dtype,
                scale=None if how is None else float(how.scale[0]),
                zero_point=None if how is None else int(how.zero_point[0]),
            )
        )
    return tuple(found)


def _report(e: _Evidence) -> Report:
    target, graph = e.target.target, e.result.graph
    checks = verify.checks(
        gate=e.plan.recipe.gate,
        target=target,
        graph=graph,
        sizes=e.sizes,
        steps=e.steps,
        findings=e.findings,
        accuracy=e.accuracy,
        parity=e.parity,
        calibration_rows=len(e.inputs.calibration.dataset) if e.inputs.calibration else 0,
        compiled=e.compiled,
        passes=tuple(PASSES),
    )
    extras = {PASSES[step.name].needs for step in e.steps}
    return Report(
        edgecompile=__version__,
        verdict=verify.verdict(checks),
        headline=verify.headline(
            checks=checks, accuracy=e.accuracy, sizes=e.sizes, compiled=e.compiled, findings=e.findings
        ),
        model=ModelInfo(
            name=e.plan.name,
            format=e.plan.format,
            sha256=e.source_sha256,
            bytes=e.sizes.source_bytes,
        ),
        target=TargetInfo(
            name=target.name, title=target.title, backend=target.backend, memory=target.memory, sources=target.sources
        ),
        recipe=e.target.recipe,
        checks=checks,
        unchecked=verify.unchecked(target=target, accuracy=e.accuracy, parity=e.parity, compiled=e.compiled),
        findings=e.findings,
        steps=e.steps,
        inputs=_tensors(graph, graph.inputs, graph.input_names()),
        outputs=_tensors(graph, graph.outputs, graph.output_names()),
        sizes=e.sizes,
        data=e.inputs.info(e.plan, trained=any("train" in PASSES[step.name].uses for step in e.steps)),
        parity=e.parity,
        accuracy=e.accuracy,
        payoff=e.payoff,
        compiled=e.compiled.status,
        backend=dict(e.compiled.extra),
        libraries={p: library_version(p) for extra in sorted(extras, key=str) for p in LIBRARIES[extra]}
        | dict(e.compiled.libraries),
    )


def _tensor_names(graph: Graph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    inputs, outputs = (tuple(graph.tensors[i].name for i in ends) for ends in (graph.inputs, graph.outputs))
    return inputs, outputs


def _content(e: _Evidence, report: Report, steps: Steps) -> Content:
    data = e.inputs.validation.dataset if e.inputs.validation else None
    decides = frozenset({e.accuracy.output}) if e.accuracy is not None and e.accuracy.flips is not None else frozenset()
    sets = verify.kernel_sets(step.facts for step in e.steps)
    golden = make_golden(
        e.result.graph,
        data,
        inputs=report.inputs,
        outputs=report.outputs,
        decides=decides,
        predict=measure.golden_predictor(steps, e.result.artifact, sets=sets),
        seed=e.plan.recipe.data.seed,
        kernels=sets.golden,
    )
    host = next(name for name, path in e.compiled.files.items() if path == e.result.artifact.path)
    device: tuple[npt.NDArray[Any], ...] = ()
    if e.compiled.firmware is not None and e.compiled.runs is not None:
        rows = Rows.of(as_dataset(golden.inputs, report.inputs))
        found = measure.stand_in_outputs(steps, "golden vectors", sets.instead(e.compiled.runs), e.result, rows)
        device = tuple(found.values())
    return Content(
        report=report,
        models={name: path.read_bytes() for name, path in e.compiled.files.items()},
        host_model=host,
        device_model=e.compiled.model,
        device_chain=e.compiled.chain,
        chain_ends=_tensor_names(e.result.graph) if e.compiled.chain else ((), ()),
        golden=golden,
        recipe=e.plan.recipe,
        target=e.target.target,
        data=data,
        labels=e.inputs.labels,
        firmware=e.compiled.firmware,
        device_outputs=device,
        keras=e.keras.read_bytes() if e.plan.recipe.build.keep_keras and e.keras is not None else None,
    )
