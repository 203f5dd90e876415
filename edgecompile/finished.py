"""Finished bundles in the cache: a build with nothing changed repeats the bytes and computes nothing.

The key covers what the keys of all steps cover, so a hit here is a hit there; it saves reading the models, scoring
again and drawing the report, which would import much more than it takes to copy a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecompile.artifact import Artifact, hash_path
from edgecompile.backends import BACKENDS
from edgecompile.cache import Cache, code_version, library_version
from edgecompile.config import digest
from edgecompile.data.load import source_digest
from edgecompile.data.usercode import is_function
from edgecompile.plan import Plan, TargetPlan
from edgecompile.report import Report
from edgecompile.steps import LIBRARIES, PYTHON

_ROLES = ("validation", "calibration", "train")


@dataclass(frozen=True)
class Finished:
    """What is written for one target."""

    report: Report
    files: Mapping[str, bytes]
    """Relative name → content."""


def data_digests(plan: Plan) -> Mapping[str, str] | None:
    """Return role → digest of its source; None where a user's function has a say, whose code has no digest.

    Raises:
        ConfigError: a source cannot be read.
    """
    how = plan.recipe.data
    sources = {role: getattr(how, role) for role in _ROLES}
    if any(source is not None and is_function(source) for source in (*sources.values(), how.metric)):
        return None
    return {r: source_digest(s, how, base=plan.base) for r, s in sources.items() if s is not None}


def finished_key(plan: Plan, target: TargetPlan, source: Artifact, data: Mapping[str, str]) -> str:
    """Return the key of everything that shapes the bundle of target."""
    packages = sorted({p for step in target.passes for p in LIBRARIES[step.needs]} | {"jinja2"})
    return digest(
        {
            "step": "finished",
            "source": [source.sha256, plan.format, plan.name],
            "data": dict(data),
            "recipe": [target.recipe, plan.recipe.model_dump(mode="json", exclude={"build": {"out", "targets"}})],
            "passes": [[step.name, step.model_dump(mode="json")] for step in target.passes],
            "files": [hash_path(file) for step in target.passes for file in step.files(plan.base)],
            "target": target.target.model_dump(mode="json"),
            "outside": BACKENDS[target.target.backend].outside(target.target),
            "code": code_version(),
            "python": PYTHON,
            "libraries": {p: library_version(p) for p in packages},
        }
    )


def recall(cache: Cache, key: str) -> Finished | None:
    """Return the finished bundle of key, or None."""
    entry = cache.get(key)
    if entry is None:
        return None
    bundle = entry / "bundle"
    files = {p.relative_to(bundle).as_posix(): p.read_bytes() for p in sorted(bundle.rglob("*")) if p.is_file()}
    return Finished(Report.model_validate_json(files["report.json"]), files)


def keep(cache: Cache, key: str, finished: Finished) -> None:
    """Put finished into the cache."""
    with cache.scratch() as scratch:
        for name, content in finished.files.items():
            file = scratch / "files" / "bundle" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        cache.put(key, scratch / "files")
