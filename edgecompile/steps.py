"""Run steps through the cache: passes (in a worker process where they need TensorFlow) and predictions.

The key of a step is a digest of everything that shapes its result: fields, input content, data, seed, edgecompile's
own code and the versions of the libraries that it uses. Nothing else decides, so several targets share their common
steps, and a rebuild with nothing changed imports neither TensorFlow nor LiteRT.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.artifact import Artifact, Kind, hash_path
from edgecompile.cache import Cache, code_version, library_version
from edgecompile.config import digest
from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError, ToolError
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.progress import Progress
from edgecompile.recipe import Recipe
from edgecompile.tflite.inline import ensure_inline

LIBRARIES: Mapping[str | None, tuple[str, ...]] = {
    None: ("numpy", "ai-edge-litert", "litert-quantizer"),
    "tensorflow": ("numpy", "tensorflow", "keras", "tf-keras", "tensorflow-model-optimization"),
}
"""The extra a pass needs → the distributions whose version shapes its result."""

PYTHON = ".".join(str(part) for part in sys.version_info[:2])
"""Version of Python, as keys hold it."""

_LATE = (
    "ai_edge_litert.interpreter",
    "litert_quantizer.quantizer",
    "jinja2",
    "edgecompile.tflite.runner",
    "edgecompile.assemble",
)
"""What later steps need, slowest first."""

_WORKER_TIMEOUT_S = 7 * 24 * 3600.0
"""A bound, so that nothing waits for ever; training a large model for days is legitimate."""
_OUTCOME = "outcome.json"
_KILLED = "was ended by SIGKILL"
_MEMORY = "a machine that runs out of memory ends processes so: give it more, or a pass that trains a smaller `batch`; "
_INSTALL = "this is the Python that runs edgecompile; is the installation whole?"


@dataclass(frozen=True)
class Rows:
    """A dataset and its digest, computed once."""

    dataset: Dataset
    sha256: str

    @classmethod
    def of(cls, dataset: Dataset) -> Rows:
        """Return dataset with its digest."""
        return cls(dataset, dataset.sha256())


@dataclass
class Steps:
    """Runs steps of one build.

    Attributes:
        cache: where results are kept; its session must be open.
        recipe: seed, model section and metric.
        log: file for everything that workers and libraries print.
        calibration, train: preprocessed rows, or None.
        source: the untouched model of the build, which training passes take for their teacher.
        base: folder that relative paths in the recipe start from.
        ran: names of steps that were not in the cache, in order.
    """

    cache: Cache
    recipe: Recipe
    log: Path
    progress: Progress
    calibration: Rows | None = None
    train: Rows | None = None
    source: Artifact | None = None
    base: Path = Path()
    ran: list[str] = field(default_factory=list)

    def run(self, step: Pass, model: Artifact) -> Outcome:
        """Return the outcome of step on model, from the cache when it is there.

        Raises:
            EdgeCompileError: as the pass raises; PassError with the log's path when its worker broke down.
        """
        self.progress.start(step.name, detail=model.path.name)
        key = self._key(step, model)
        entry = self.cache.get(key)
        cached = entry is not None
        if entry is None:
            self.ran.append(step.name)
            with self.cache.scratch() as scratch:
                outcome = self._in_worker(step, model, scratch) if step.needs else self._here(step, model, scratch)
                if outcome.artifact.kind is Kind.TFLITE:
                    ensure_inline(outcome.artifact.path, where=step.name)
                _seal(outcome, scratch / "files")
                entry = self.cache.put(key, scratch / "files")
        outcome = _unseal(entry)
        self.progress.finish(step.name, cached=cached)
        return outcome

    def predict(self, name: str, model: Artifact, rows: Rows, *, kernels: str) -> dict[str, npt.NDArray[Any]]:
        """Return output name → [n, ...] of model on rows, in stored dtypes, from the cache when it is there."""
        self.progress.start(name, detail=f"{len(rows.dataset):,} rows on {kernels} kernels")
        key = digest(
            {
                "step": "predict",
                "model": model.sha256,
                "rows": rows.sha256,
                "kernels": kernels,
                "code": code_version(),
                "libraries": {p: library_version(p) for p in _interpreter(kernels)},
            }
        )
        entry = self.cache.get(key)
        cached = entry is not None
        if entry is None:
            from edgecompile.tflite.runner import predict

            self.ran.append(name)
            outputs = predict(model.path, rows.dataset, kernels=kernels, progress=self.progress, step=name)  # type: ignore[arg-type]
            with self.cache.scratch() as scratch:
                (scratch / "files").mkdir()
                names = list(outputs)
                for number, output in enumerate(names):
                    np.save(scratch / "files" / f"{number}.npy", outputs[output], allow_pickle=False)
                (scratch / "files" / "names.json").write_text(json.dumps(names), "utf-8")
                entry = self.cache.put(key, scratch / "files")
        names = json.loads((entry / "names.json").read_text("utf-8"))
        self.progress.finish(name, cached=cached)
        return {n: np.load(entry / f"{i}.npy", allow_pickle=False) for i, n in enumerate(names)}

    def _key(self, step: Pass, model: Artifact) -> str:
        data = {"calibration": self.calibration, "train": self.train}
        return digest(
            {
                "step": step.name,
                "fields": step.model_dump(mode="json"),
                "input": model.sha256,
                "data": {role: rows.sha256 for role, rows in data.items() if role in step.uses and rows is not None},
                "seed": self.recipe.data.seed,
                "model": self.recipe.model.model_dump(mode="json", exclude={"path", "name"}),
                "metric": self.recipe.data.metric if step.takes is Kind.KERAS else None,
                "source": self.source.sha256 if self.source is not None and "train" in step.uses else None,
                "output": self.recipe.data.output if "train" in step.uses else None,
                "files": [hash_path(file) for file in step.files(self.base)],
                "code": code_version(),
                "python": PYTHON,
                "libraries": {p: library_version(p) for p in LIBRARIES[step.needs]},
            }
        )

    def _here(self, step: Pass, model: Artifact, scratch: Path) -> Outcome:
        out = scratch / "files"
        out.mkdir()
        return step.run(
            model,
            Context(
                out=out,
                seed=self.recipe.data.seed,
                model=self.recipe.model,
                calibration=self.calibration.dataset if self.calibration else None,
                train=self.train.dataset if self.train else None,
                metric=self.recipe.data.metric,
                output=self.recipe.data.output,
                source=self.source,
                base=self.base,
                progress=self.progress,
                log=self.log,
            ),
        )

    def _in_worker(self, step: Pass, model: Artifact, scratch: Path) -> Outcome:
        from edgecompile.data.store import save_dataset
        from edgecompile.tools import run_module
        from edgecompile.worker import MARK, Job, Result, unwrap

        (scratch / "files").mkdir()
        folders: dict[str, Path] = {}
        for role, rows in (("calibration", self.calibration), ("train", self.train)):
            if role in step.uses and rows is not None:
                folders[role] = scratch / role
                save_dataset(rows.dataset, folders[role])
        job = Job(
            name=step.name,
            fields=step.model_dump(mode="json"),
            artifact=model.model_copy(update={"path": model.path.absolute()}),
            out=scratch / "files",
            result=scratch / "result.json",
            seed=self.recipe.data.seed,
            model=self.recipe.model,
            metric=self.recipe.data.metric,
            output=self.recipe.data.output,
            source=self.source,
            base=self.base.absolute(),
            **folders,
        )
        (scratch / "job.json").write_text(job.model_dump_json(), "utf-8")
        try:
            with warm_imports():
                run_module(
                    "edgecompile.worker",
                    [str(scratch / "job.json")],
                    timeout_s=_WORKER_TIMEOUT_S,
                    log=self.log,
                    install=_INSTALL,
                    on_line=self._relay,
                    mark=MARK,
                )
        except ToolError as error:
            raise PassError(
                f"`{step.name}` broke down: {error.problems[0].what}",
                where=str(self.log),
                hint=f"{_MEMORY if _KILLED in error.problems[0].what else ''}the log has what TensorFlow said",
            ) from None
        return unwrap(Result.model_validate_json(job.result.read_text("utf-8")))

    def _relay(self, line: str) -> None:
        """Pass a worker's progress line on; other lines are a library's and stay in the log."""
        from edgecompile.worker import MARK

        if line.startswith(MARK):
            event = json.loads(line.removeprefix(MARK))
            getattr(self.progress, event.pop("call"))(event.pop("step"), **event)


@contextmanager
def warm_imports() -> Iterator[None]:
    """Import what later steps need while the block waits for a worker process and a core idles."""
    thread = threading.Thread(target=_import_all, daemon=True)
    thread.start()
    yield
    thread.join()


def _import_all() -> None:
    for module in _LATE:
        importlib.import_module(module)


def _interpreter(kernels: str) -> tuple[str, str]:
    """Return the distributions whose version shapes what a model answers on kernels."""
    return "numpy", "tflite-micro" if kernels == "tflm" else "ai-edge-litert"


def _seal(outcome: Outcome, files: Path) -> None:
    """Write outcome beside its files with relative paths, so that the folder may move."""
    relative = outcome.model_copy(
        update={
            "artifact": outcome.artifact.model_copy(update={"path": outcome.artifact.path.relative_to(files)}),
            "extras": {role: path.relative_to(files) for role, path in outcome.extras.items()},
        }
    )
    (files / _OUTCOME).write_text(relative.model_dump_json(), "utf-8")


def _unseal(entry: Path) -> Outcome:
    outcome = Outcome.model_validate_json((entry / _OUTCOME).read_text("utf-8"))
    return outcome.model_copy(
        update={
            "artifact": outcome.artifact.model_copy(update={"path": entry / outcome.artifact.path}),
            "extras": {role: entry / path for role, path in outcome.extras.items()},
        }
    )
