"""Build: from a plan to verified bundles.

One target after the other; what they share comes from the cache the second time. A missed gate is a result: the
bundle is written as `…-FAILED` and the report says which.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgecompile.artifact import Artifact
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Backend, Compiled
from edgecompile.bundle.writer import write_bundle
from edgecompile.cache import Cache, default_root
from edgecompile.errors import ToolError
from edgecompile.inputs import Inputs, load_inputs
from edgecompile.measure import Measured, measure
from edgecompile.passes.base import Outcome
from edgecompile.plan import Plan, TargetPlan
from edgecompile.progress import Progress, Silent
from edgecompile.report import Report
from edgecompile.steps import Steps


@dataclass(frozen=True)
class BuildResult:
    """What a build gave for one target."""

    target: str
    report: Report
    path: Path
    """The bundle."""
    cached: bool
    """Whether every step came from the cache."""
    seconds: float


def build(plan: Plan, *, progress: Progress | None = None, log: Path | None = None) -> tuple[BuildResult, ...]:
    """Build plan and return one result per target, in order.

    Args:
        plan: from `plan.resolve`.
        progress: told of every step.
        log: file for what libraries and programs print; `logs/NAME.log` in the cache folder by default.

    Raises:
        EdgeCompileError: there is no answer for a target. Bundles of earlier targets stay.
    """
    cache = Cache(default_root())
    listener = progress or Silent()
    with _disk_errors(), cache.session():
        log = log or cache.root / "logs" / f"{plan.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        inputs = load_inputs(plan, listener)
        return tuple(_build_target(plan, target, inputs, cache, listener, log) for target in plan.targets)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn a full or forbidden disk into the user's error; anything else is ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolError(
                "the disk is full", where=str(error.filename or ""), hint="free some space; nothing was left half-written"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ToolError(f"cannot write: {error.strerror}", where=str(error.filename or "")) from error
        raise
