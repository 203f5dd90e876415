"""Run one pass in a process of its own: `python -m edgecompile.worker JOB.json`.

TensorFlow needs an environment set before it is imported, prints to both streams from C++, holds gigabytes and can
take its process down; none of that may happen to the caller, who may even have another Keras imported already.

The job file names the pass and its files; the result file holds the `Outcome`, or the problems. Progress goes to
stdout, one JSON line each, behind a mark, since libraries print there too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.artifact import Artifact
from edgecompile.config import Frozen
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError, PassError, Problem, ToolError
from edgecompile.passes import PASSES
from edgecompile.passes.base import Context, Outcome
from edgecompile.recipe import ModelSection

MARK = "@edgecompile "
_ERRORS = {cls.__name__: cls for cls in (ConfigError, ModelError, PassError, ToolError)}


class Job(Frozen):
    """What a worker is asked to do."""

    name: str
    """Name of the pass."""
    fields: Mapping[str, Any]
    """Fields of the pass."""
    artifact: Artifact
    out: Path
    """Empty folder for the pass's files."""
    result: Path
    """Where the result is written; its presence means that the pass came to an end."""
    seed: int
    model: ModelSection
    calibration: Path | None = None
    """Folder of a stored dataset."""
    train: Path | None = None
    metric: str | None = None
    output: str | None = None
    source: Artifact | None = None
    base: Path = Path()


class Failure(Frozen):
    """The problems that a pass raised."""

    error: str
    problems: tuple[tuple[str, str, str], ...]


class Result(Frozen):
    """Exactly one of the two is set."""

    outcome: Outcome | None = None
    failure: Failure | None = None


def unwrap(result: Result) -> Outcome:
    """Return the outcome, or raise the error that the pass raised in the worker."""
    if result.failure is not None:
        problems = [Problem(*p) for p in result.failure.problems]
        raise _ERRORS[result.failure.error].of(problems)
    assert result.outcome is not None, "a result holds an outcome or a failure"
    return result.outcome


class _Lines:
    """Progress as JSON lines on the given descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _send(self, **event: Any) -> None:
        os.write(self._descriptor, (MARK + json.dumps(event) + "\n").encode())

    def start(self, step: str, *, detail: str = "") -> None:
        self._send(call="start", step=step, detail=detail)

    def update(self, step: str, *, done: int, total: int, note: str = "") -> None:
        self._send(call="update", step=step, done=done, total=total, note=note)

    def finish(self, step: str, *, cached: bool = False, note: str = "") -> None:
        self._send(call="finish", step=step, cached=cached, note=note)


def run_job(job: Job, progress_fd: int) -> Result:
    """Return what the pass gave; an error that is the user's to mend becomes a Failure."""
    from edgecompile.data.store import open_dataset

    ctx = Context(
        out=job.out,
        seed=job.seed,
        model=job.model,
        calibration=open_dataset(job.calibration) if job.calibration else None,
        train=open_dataset(job.train) if job.train else None,
        metric=job.metric,
        output=job.output,
        source=job.source,
        base=job.base,
        progress=_Lines(progress_fd),
    )
    try:
        return Result(outcome=PASSES[job.name].model_validate(dict(job.fields)).run(job.artifact, ctx))
    except EdgeCompileError as error:
        problems = tuple((p.what, p.where, p.hint) for p in error.problems)
        return Result(failure=Failure(error=type(error).__name__, problems=problems))


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: nobody would read the result, and the cores are wanted."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(job_file: str) -> int:
    """Run the job in job_file; 0 when a result was written, 1 when the pass broke down (traceback on stderr)."""
    _die_with(os.getppid())
    progress_fd = os.dup(1)
    os.dup2(2, 1)
    job = Job.model_validate_json(Path(job_file).read_text("utf-8"))
    try:
        result = run_job(job, progress_fd)
    except Exception:  # noqa: BLE001 - the boundary of the process: the parent turns it into an error with the log's path
        traceback.print_exc()
        return 1
    job.result.write_text(result.model_dump_json(), "utf-8")
    return 0


if __name__ == "__main__":
    # os._exit: TensorFlow's threads can hang in interpreter shutdown, and everything is on disk by now.
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)
