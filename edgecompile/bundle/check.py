"""Check a bundle that lies on the disk: is every file as it was written, and does the model still answer the same."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecompile.artifact import hash_path
from edgecompile.bundle.golden import GoldenInfo
from edgecompile.bundle.manifest import MANIFEST, Manifest, read_manifest
from edgecompile.bundle.writer import recover
from edgecompile.config import parse
from edgecompile.errors import ConfigError, ModelError
from edgecompile.report import Check, Report
from edgecompile.runtime import run
from edgecompile.tflite.feeds import stored_rows
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.runner import predict

_CORE = ("io.json", "golden.json", "golden.npz", "report.json")
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, zipfile.BadZipFile)
"""What json, numpy and the interpreter raise on content of another form than ours."""
_NOT_OURS = "the hashes agree, so something else wrote the manifest anew: take the bundle from where it was built"


@dataclass(frozen=True)
class CheckedBundle:
    """What a bundle is and how it stands.

    Attributes:
        manifest: what it should hold, and what it was made from.
        checks: the build's verdict, files, then golden vectors; the latter only if the files they need are as they
            were written.
        report: of the build; None where report.json is not what was written.
        host_model: file that an interpreter on this machine runs; None where it or io.json is not what was written.
    """

    manifest: Manifest
    checks: tuple[Check, ...]
    report: Report | None
    host_model: Path | None

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)


def check_bundle(path: Path) -> CheckedBundle:
    """Compare every file of the bundle with its manifest and replay the golden vectors on reference kernels.

    Nothing of a changed file is run: a model that is not what was built could do anything to the interpreter.

    Raises:
        ConfigError: path is no bundle, or holds what no build writes.
        ModelError: the model is what was built, and no interpreter here runs it.
    """
    recover(path)
    manifest = read_manifest(path)
    _need_core(path, manifest)
    wrong = _wrong_files(path, manifest)
    sound = {name for name in manifest.files if name not in wrong}
    report = read_report(path) if "report.json" in sound else None
    checks = [_build_check(manifest, report), _files_check(manifest, wrong)]
    host_model = None
    if "io.json" in sound:
        model = _model_name(path, manifest)
        host_model = path / model if model in sound else None
    if host_model is not None and {"golden.json", "golden.npz"} <= sound:
        checks += _replay(path)
    return CheckedBundle(manifest, tuple(checks), report, host_model)


def _need_core(path: Path, manifest: Manifest) -> None:
    """Raise ConfigError where the manifest leaves out a file that checks stand on: no check, no `sound`."""
    absent = [name for name in _CORE if name not in manifest.files]
    if absent:
        raise ConfigError(f"lists no {' and no '.join(absent)}", where=str(path / MANIFEST), hint=_NOT_OURS)


def _model_name(path: Path, manifest: Manifest) -> str:
    """Return the name of the file that an interpreter on this machine runs."""
    file = path / "io.json"
    try:
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file), hint=_NOT_OURS) from None
    name = content.get("model") if isinstance(content, dict) else None
    if not isinstance(name, str) or name not in manifest.files:
        raise ConfigError("names no model of this bundle", where=str(file), hint=_NOT_OURS)
    return name


def read_report(bundle: Path) -> Report:
    """Return the report of a bundle.

    Raises:
        ConfigError: report.json cannot be read or is of another version.
    """
    file = bundle / "report.json"
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file)) from None
    return parse(Report, content, where=str(file))


def _wrong_files(path: Path, manifest: Manifest) -> dict[str, str]:
    """Return name → what is wrong with it, of every file that is not as the manifest says."""
    there = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir() or p.is_symlink()}
    wrong = dict.fromkeys(sorted(there - set(manifest.files) - {MANIFEST}), "not of this bundle")
    for name, entry in manifest.files.items():
        file = path / name
        if name not in there:
            wrong[name] = "missing"
        elif file.is_symlink():
            wrong[name] = "a link, which a copy of the bundle would not hold"
        elif not file.is_file() or file.stat().st_size != entry.bytes or hash_path(file) != entry.sha256:
            wrong[name] = "changed"
    # Python writes this beside run.py when it is imported; it is nobody's change.
    return {name: what for name, what in wrong.items() if not name.startswith("__pycache__/")}


def _build_check(manifest: Manifest, report: Report | None) -> Check:
    """Return the check that the build passed: a bundle that is as it was written can be a bad one."""
    passed = manifest.verdict == "pass"
    missed = 1 if report is None else sum(not check.ok for check in report.checks)
    return Check(
        name="build",
        title="checks that the build missed",
        actual=0 if passed else max(1, missed),
        limit=0,
        relation="at most",
        unit="count",
        how="measured",
        detail="the build passed" if passed else manifest.verdict if report is None else report.headline[0],
        remedy="" if passed else "build again; report.html has the whole story",
        missed="not-proven" if manifest.verdict == "not-proven" else "fail",
    )


def _files_check(manifest: Manifest, wrong: dict[str, str]) -> Check:
    listed = "; ".join(f"{name}: {what}" for name, what in wrong.items())
    return Check(
        name="bundle-files",
        title="files of the bundle that are not as they were written",
        actual=len(wrong),
        limit=0,
        relation="at most",
        unit="count",
        how="measured",
        detail=listed or f"sha256 of {len(manifest.files)} files",
        remedy="build again, or copy the bundle again from where it is whole" if wrong else "",
    )


def _replay(path: Path) -> list[Check]:
    file = path / "golden.json"
    try:
        golden = parse(GoldenInfo, json.loads(file.read_text("utf-8")), where=str(file))
        results = _on_tflm(path, golden) if golden.kernels == "tflm" else run.check(path)
    except run.RunError as error:
        raise ModelError(str(error), where=str(path)) from None
    except _UNREADABLE as error:
        what = f"golden vectors, model and io.json do not fit each other ({type(error).__name__}: {error})"
        raise ConfigError(what, where=str(path), hint=_NOT_OURS) from None
    if not results or any(r.rows == 0 for r in results):
        raise ConfigError("holds no golden vectors", where=str(path / "golden.npz"), hint=_NOT_OURS)
    return [check for result in results for check in _golden_checks(result, golden)]


def _on_tflm(path: Path, golden: GoldenInfo) -> list[run.Replay]:
    """Replay the golden vectors of a model that LiteRT does not run on TFLite Micro."""
    model = path / json.loads((path / "io.json").read_text("utf-8"))["model"]
    graph = read_graph(model)
    with np.load(path / "golden.npz", allow_pickle=False) as arrays:
        inputs = [arrays[f"input_{i}"] for i in range(len(graph.inputs))]
        expected = [arrays[f"output_{i}"] for i in range(len(graph.outputs))]
    found = predict(model, stored_rows(graph, inputs), kernels="tflm").values()
    rules = [rule.model_dump(mode="json") for rule in golden.outputs]
    return [run.compare(*one) for one in zip(found, expected, rules, strict=True)]


def _golden_checks(result: run.Replay, golden: GoldenInfo) -> list[Check]:
    remedy = "the interpreter computes otherwise than the one that built the bundle: compare their versions"
    by = "TFLite Micro" if golden.kernels == "tflm" else f"{golden.kernels} kernels of {run.interpreter()[0]}"
    on = f"{golden.source}; {by}"
    found = [
        Check(
            name="golden-values",
            title=f"largest difference of the golden vectors' `{result.output}`",
            actual=result.largest,
            limit=result.limit,
            relation="at most",
            unit="codes" if result.unit == "codes" else "output",
            how="measured",
            detail=f"{result.differ} of {result.values} values differ at all; {on}",
            remedy="" if result.largest <= result.limit else remedy,
        )
    ]
    if result.decisions is not None:
        found.append(
            Check(
                name="golden-decisions",
                title=f"golden vectors that `{result.output}` decides otherwise",
                actual=result.rows - result.decisions,
                limit=0,
                relation="at most",
                unit="count",
                how="measured",
                detail=on,
                remedy="" if result.decisions == result.rows else remedy,
            )
        )
    return found
