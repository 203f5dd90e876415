"""Run the models of a build on its rows and compare them: every run through the cache."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile import compare, verify
from edgecompile.artifact import Artifact
from edgecompile.backends.base import Kernels, Runnable
from edgecompile.backends.macs import macs
from edgecompile.bundle.golden_rows import Predict
from edgecompile.data.dataset import Dataset
from edgecompile.data.lint import candidates, far_better, is_poor, lint_score, near_guess
from edgecompile.errors import ConfigError, ModelError
from edgecompile.metrics import Metric, default_metric, load_metric
from edgecompile.passes.base import Outcome
from edgecompile.payoff import KernelInfo, Stage
from edgecompile.plan import Plan
from edgecompile.report import Accuracy, Finding, Parity
from edgecompile.steps import Rows, Steps
from edgecompile.tflite.batch import with_batch
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.kernels import kernel_contents, parameters

Outputs = Mapping[str, npt.NDArray[Any]]

_TRIAL_ROWS = 100
"""Rows that other preprocessing is tried on when the score is near chance: enough to see a right guess."""

_TFLM: Kernels = "tflm"
_FASTEST_FIRST: tuple[Kernels, ...] = ("xnnpack", "builtin", "reference")


@dataclass(frozen=True)
class Model:
    """A `.tflite` and what its file says."""

    artifact: Artifact
    graph: Graph


def parity(steps: Steps, converted: Outcome, graph: Graph) -> Parity | None:
    """Return how the float `.tflite` stands to the model it came from; None where nothing was converted."""
    file = converted.extras.get("parity")
    if file is None:
        return None
    rows = Rows.of(verify.parity_rows(file))
    outputs, _ = run_float(steps, "conversion parity", converted.artifact, rows)
    return verify.parity(file, outputs, graph=graph, reference=str(converted.facts["reference"]))


def run_float(steps: Steps, name: str, model: Artifact, rows: Rows, *, works: str = "") -> tuple[Outputs, Kernels]:
    """Return outputs of a model that no device stands behind, and the first of the kernel sets that runs it.

    Args:
        steps: runs it through the cache.
        name: of the step, for people.
        model: the model.
        rows: what it is run on.
        works: `tflm` where TFLite Micro alone runs it: LiteRT is not tried then, which may not survive it.

    Raises:
        ModelError: none of the kernel sets runs it.
    """
    refusals: list[ModelError] = []
    for kernels in (_TFLM,) if works == _TFLM else _FASTEST_FIRST:
        try:
            return steps.predict(name, model, rows, kernels=kernels), kernels
        except ModelError as error:
            refusals.append(error)
    raise refusals[0]


def accuracy(
    plan: Plan, steps: Steps, *, reference: Model, result: Model, runnable: Runnable, rows: Rows, works: str = ""
) -> tuple[Accuracy, tuple[Finding, ...]]:
    """Return how the result stands to the reference on rows, and what is suspicious about the scores.

    For works see `run_float`.
    """
    metric = _metric(plan, rows.dataset, reference.graph)
    before, kernels = run_float(steps, "measure float", reference.artifact, rows, works=works)
    after = stand_in_outputs(steps, "measure result", runnable, result, rows)
    found = verify.accuracy(
        float_outputs=before,
        result_outputs=after,
        float_graph=reference.graph,
        result_graph=result.graph,
        data=rows.dataset,
        metric=metric,
        kernels=runnable.kernels,
        fidelity=runnable.fidelity,
        reference="float model" if is_float(reference.graph) else "source model",
        output=plan.recipe.data.output,
        gate=plan.recipe.gate,
        seed=plan.recipe.data.seed,
    )
    return _suspicions(steps, reference, rows.dataset, metric=metric, found=found, kernels=kernels)


def stand_in_outputs(steps: Steps, name: str, runnable: Runnable, result: Model, rows: Rows) -> Outputs:
    """Return the outputs of what stands for the device, under the names of result; its file may have lost them."""
    artifact = Artifact.of(runnable.model, result.artifact.kind)
    if artifact.sha256 != result.artifact.sha256 and "*" not in rows.dataset.inputs:
        named = rows.dataset
        ours, theirs = result.graph.input_names(), read_graph(runnable.model).input_names()
        rows = Rows.of(
            replace(
                named,
                inputs={there: named.raw(here) for here, there in zip(ours, theirs, strict=True)},
                preprocess={there: named.how(here) for here, there in zip(ours, theirs, strict=True)},
            )
        )
    found = steps.predict(name, artifact, rows, kernels=runnable.kernels)
    return dict(zip(result.graph.output_names(), found.values(), strict=True))


def is_float(graph: Graph) -> bool:
    """Return whether a model takes and computes floats, so that it can serve as the float reference."""
    return all(graph.tensors[i].quantization is None for op in graph.ops for i in op.outputs)


def _suspicions(
    steps: Steps, reference: Model, data: Dataset, *, metric: Metric, found: Accuracy, kernels: Kernels
) -> tuple[Accuracy, tuple[Finding, ...]]:
    """Return found and what is suspicious about its float score.

    Where it is near chance or poor, the usual preprocessings are tried on some rows; found tells those that do better.
    """
    score, chance = found.float_score.value, found.chance
    findings = lint_score(metric.name, score, data, chance=chance)
    if chance is None or not (findings or is_poor(metric.name, score, chance.guess)):
        return found, findings
    tried: dict[str, float] = {}
    some = np.linspace(0, len(data) - 1, min(len(data), _TRIAL_ROWS)).astype(np.intp)
    for text, other in candidates(data):
        rows = other.take(some)
        try:
            outputs = steps.predict("try preprocessing", reference.artifact, Rows.of(rows), kernels=kernels)
            value = metric.score(verify.real_outputs(outputs, reference.graph)[found.output], rows)
            tried[text] = compare.significant(value, compare.SCORE_DIGITS)
        except (ConfigError, ModelError):  # a guess of ours that the model cannot take, or rows of one class only
            continue
    better = far_better(metric.name, far_better(metric.name, tried, score), chance.guess)
    if better or near_guess(metric.name, score, chance.guess):
        found = found.model_copy(update={"chance": chance.model_copy(update={"tried": better})})
    return found, lint_score(metric.name, score, data, chance=chance, tried=tried)


def check_gate(plan: Plan, rows: Rows | None, graph: Graph) -> None:
    """Raise ConfigError where the gate does not fit the metric of rows, or no metric fits rows and outputs of graph."""
    if rows is not None:
        verify.check_gate(plan.recipe.gate, metric=_metric(plan, rows.dataset, graph).name)


def _metric(plan: Plan, data: Dataset, graph: Graph) -> Metric:
    """Return the metric that was asked for, or the one that fits labels and output."""
    names = graph.output_names()
    wanted = plan.recipe.data.output
    index = names.index(wanted) if wanted in names else 0
    wanted_metric = plan.recipe.data.metric or default_metric(data, with_batch(graph, index))
    return load_metric(wanted_metric, base=plan.base)


def golden_predictor(steps: Steps, model: Artifact, *, sets: verify.KernelSets) -> Predict:
    """Return the function that runs model on rows of stored codes, as golden vectors need it.

    Args:
        steps: runs it through the cache.
        model: the result.
        sets: the kernel sets that run it.
    """

    def predict(rows: Dataset, kernels: Kernels) -> Outputs:
        if not sets.sound("reference" if kernels == "exact" else kernels):
            raise ModelError(
                f"{kernels} kernels do not run the result, or compute an op of it wrong; of those that run it "
                f"({', '.join(sets.works)}) none can make golden vectors",
                where=model.path.name,
                hint="replace the op that the findings name, or try another scheme",
            )
        return steps.predict("golden vectors", model, Rows.of(rows), kernels=kernels)

    return predict


def stage(name: str, path: Path) -> Stage:
    """Return what the `.tflite` at path holds, as the stage called name."""
    graph, content = read_graph(path), path.read_bytes()
    found = kernel_contents(graph)
    weights = sum(kernel.weights for kernel in found)
    in_op = Counter[int]()
    for kernel in found:
        in_op.update({op.index: kernel.weights for op in kernel.ops})
    return Stage(
        name=name,
        parameters=parameters(graph),
        macs=sum(macs(graph, op) for op in graph.ops),
        zeros=round(sum(kernel.zeros for kernel in found) / max(weights, 1), 6),
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        kernels=tuple(
            KernelInfo(
                layer=kernel.layer,
                op=kernel.ops[0].name,
                dtype=kernel.dtype,
                weights=kernel.weights,
                # An op with several kernels (an LSTM has eight) uses each of their weights equally often.
                macs=sum(macs(graph, op) * kernel.weights // in_op[op.index] for op in kernel.ops),
                zeros=round(kernel.zeros / max(kernel.weights, 1), 6),
                distinct=kernel.distinct,
            )
            for kernel in found
        ),
    )


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
