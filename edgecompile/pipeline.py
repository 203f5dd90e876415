"""Build: from a plan to verified bundles.

One target after the other; what they share comes from the cache the second time. A missed gate is a result: the
bundle is written as `…-FAILED` and the report says which.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgecompile.artifact import Artifact
from edgecompile.bundle.writer import write_bundle
from edgecompile.cache import Cache, default_root
from edgecompile.errors import PassError, TextRowsError, ToolError
from edgecompile.finished import Finished, data_digests, finished_key, keep, recall
from edgecompile.inputs import Inputs, load_inputs
from edgecompile.logs import new_log
from edgecompile.passes.base import Outcome, Pass
from edgecompile.plan import Plan, TargetPlan
from edgecompile.progress import Progress, Silent
from edgecompile.report import Report
from edgecompile.steps import Steps
from edgecompile.tflite.graph import read_graph


@dataclass(frozen=True)
class BuildResult:
    """What a build gave for one target."""

    target: str
    report: Report
    path: Path
    """The bundle."""
    ran: tuple[str, ...]
    """Steps whose result was not in the cache."""
    seconds: float

    @property
    def cached(self) -> bool:
        """Whether every step came from the cache."""
        return not self.ran


def build(plan: Plan, *, progress: Progress | None = None, log: Path | None = None) -> tuple[BuildResult, ...]:
    """Build plan and return one result per target, in order.

    Args:
        plan: from `plan.resolve`.
        progress: told of every step.
        log: file for what libraries and programs print; a new one beside the cache by default.

    Raises:
        EdgeCompileError: there is no answer for a target. Bundles of earlier targets stay.
    """
    cache = Cache(default_root())
    listener = progress or Silent()
    with _disk_errors(), cache.session():
        log = log or new_log("build")
        source = Artifact.of(plan.source.absolute(), plan.kind)
        data = data_digests(plan)
        inputs: Inputs | None = None
        results = []
        for target in plan.targets:
            began = time.monotonic()
            key = None if data is None else finished_key(plan, target, source, data)
            ran: tuple[str, ...] = ()
            finished = None if key is None else recall(cache, key)
            if finished is None:
                steps = Steps(cache, plan.recipe, log, listener, source=source, base=plan.base)
                inputs = inputs or _inputs(plan, target, source, steps)
                steps.calibration, steps.train = inputs.calibration, inputs.train
                finished = _finish_target(plan, target, source, inputs, steps)
                ran = tuple(steps.ran)
                if key is not None:
                    keep(cache, key, finished)
            path = _write(plan, target, finished, listener, cached=not ran)
            results.append(BuildResult(target.target.name, finished.report, path, ran, time.monotonic() - began))
        return tuple(results)


def _inputs(plan: Plan, target: TargetPlan, source: Artifact, steps: Steps) -> Inputs:
    """Return the rows of plan; rows of text for a model that takes text are that model's error, not the data's."""
    try:
        return load_inputs(plan, steps.progress)
    except TextRowsError:
        steps.run(target.door, source)
        raise


def _write(plan: Plan, target: TargetPlan, finished: Finished, progress: Progress, *, cached: bool) -> Path:
    progress.start("bundle")
    path = write_bundle(plan.out, plan.bundle(target.target).name, finished.files, verdict=finished.report.verdict)
    progress.finish("bundle", cached=cached, note=str(path))
    return path


def _finish_target(plan: Plan, target: TargetPlan, source: Artifact, inputs: Inputs, steps: Steps) -> Finished:
    """Run the chain of one target and measure what came out."""
    from edgecompile import assemble
    from edgecompile.measure import Model, check_gate

    done: list[tuple[Pass, Outcome]] = []  # no mapping: a recipe may hold two equal passes
    door = steps.run(target.door, source)
    reference = Model(door.artifact, read_graph(door.artifact.path))
    inputs = inputs.fitted(assemble.input_shapes(reference.graph))
    check_gate(plan, inputs.validation, reference.graph)  # before hours of training
    steps.calibration, steps.train = inputs.calibration, inputs.train
    artifact = source
    stages: dict[str, Path] = {}
    for step in target.passes:
        outcome = door if step == target.door and artifact is source else _run(steps, step, artifact, done)
        done.append((step, outcome))
        artifact = outcome.artifact
        if "train" in step.uses:  # measured in the form that devices get; the last of them is converted anyway
            number = sum(name.partition(" ")[0] == step.name for name in stages) + 1
            name = step.name if number == 1 else f"{step.name} {number}"
            stages[name] = _run(steps, target.door, artifact, done).artifact.path
    result = Model(artifact, read_graph(artifact.path))
    with steps.cache.scratch() as scratch:
        return assemble.finish(
            plan,
            target,
            inputs,
            steps,
            source=source,
            door=door,
            reference=reference,
            result=result,
            done=done,
            stages=stages,
            out=scratch,
        )


def _run(steps: Steps, step: Pass, artifact: Artifact, done: Sequence[tuple[Pass, Outcome]]) -> Outcome:
    """Run step; an error of the pass also names what came before it."""
    try:
        return steps.run(step, artifact)
    except PassError as error:
        if not done:
            raise
        before = " → ".join(p.name for p, _ in done)
        first, *others = error.problems
        raise PassError(
            first.what, where=f"{first.where or step.name} (after {before})", hint=first.hint, also=others
        ) from None


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn a full or forbidden disk into the user's error; anything else is ours."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or "")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError("the disk is full", where=where, hint="free some space and build again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ToolError(f"cannot write: {error.strerror}", where=where) from error
        raise
