"""TFLite Micro's interpreter on the host, over many rows; `tflm_trials` has what else it is asked.

The interpreter is the `tflite-micro` wheel's: reference kernels, whose int8 results equal those of the CMSIS-NN kernels
on Cortex-M bit for bit (MLPerf Tiny's four models, emulated M4 and M55). It runs in processes of its own, see
`tflm_child`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgecompile import tools
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, ToolError, missing_extra
from edgecompile.progress import Progress
from edgecompile.tflite.feeds import Feed
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.state import state_of
from edgecompile.tflite.tflm_child import MARK
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape

_TIMEOUT_S = 24 * 3600.0
"""A bound, so that nothing waits for ever: a large model on many rows may take hours on reference kernels."""
_SOURCE = re.compile(r"^\S+/\S+\.(?:cc|h)(?::\d+)?\s+", re.MULTILINE)
_NODE = re.compile(r"^Node (?P<op>\S+) \(number (?P<number>[0-9a-f]+)f?\) failed to .*$", re.MULTILINE)
UNREGISTERED = re.compile(r"Didn.t find op for builtin opcode .(?P<op>\w*).|registration from op code CUSTOM")
_COMMIT = re.compile(r"built from commit\s+\[(?P<commit>[0-9a-f]{7,40})\]")
"""In the description of the wheel (python/tflite_micro, its README and BUILD)."""
_NO_ANSWER = "TFLM failed to"
_MOST_REASON_CHARS = 200


def installed() -> bool:
    """Return whether TFLite Micro's interpreter is installed."""
    return find_spec("tflite_micro") is not None


def revision() -> str:
    """Return the commit of tflite-micro that the installed interpreter was built from; empty where it does not say."""
    try:
        said = metadata("tflite-micro")["Description"]
    except PackageNotFoundError:
        return ""
    found = _COMMIT.search(said or "")
    return found["commit"] if found else ""


def ensure_installed() -> None:
    """Raise ToolError with the pip line unless TFLite Micro's interpreter is installed."""
    if not installed():
        raise missing_extra("micro", needed_for="running models on TFLite Micro")


def predict_rows(
    model: Path, graph: Graph, rows: Dataset, feeds: Sequence[Feed], *, progress: Progress, step: str, workers: int
) -> list[Array]:
    """Return each output for all rows, in graph order, [n, ...] in its stored dtype.

    Args:
        model: a `.tflite` file.
        graph: what it holds.
        rows: named as graph's inputs are.
        feeds: how rows become inputs, in graph order.
        progress: told of rows that are done.
        step: the step name for progress.
        workers: processes that share the rows.

    Raises:
        ModelError: TFLite Micro refuses the model (which op, why) or crashes on it; sizes do not fit.
        ToolError: TFLite Micro is not installed.
    """
    ensure_installed()
    joined = _ensure_shapes(model, graph, feeds)
    size = feeds[0].rows_per_run
    shares = np.linspace(0, -(-len(rows) // size), workers + 1).astype(int) * size
    parts = [(int(a), int(min(b, len(rows)))) for a, b in pairwise(shares) if b > a]
    tally = _Tally(progress, step, len(rows))
    with TemporaryDirectory(prefix="edgecompile-tflm-") as name:
        folder = Path(name)
        for i, feed in enumerate(feeds):
            np.save(folder / f"input_{i}.npy", feed.content(rows, slice(None)))
        job = {
            "do": "run",
            "model": str(model.absolute()),
            "batched": [feed.batched for feed in feeds],
            "rows_per_run": size,
            "outputs": len(graph.outputs),
            "joined": joined,
            "reset_each_row": state_of(graph).reset_each_row,
        }
        with ThreadPoolExecutor(len(parts)) as pool:
            jobs = [
                pool.submit(child, folder, {**job, "start": a, "stop": b}, on_answer=tally.listener(a))
                for a, b in parts
            ]
            for one in jobs:
                ensure_taken(model, one.result())
        pieces = [[np.load(folder / f"output_{i}_{a}.npy") for a, _ in parts] for i in range(len(graph.outputs))]
    return [np.concatenate(piece) for piece in pieces]


def reason(said: str) -> str:
    """Return why TFLite Micro refuses something, from what it printed: no source paths, no summing up."""
    if unknown := UNREGISTERED.search(said):
        return f"it has no op {unknown['op']}" if unknown["op"] else "it has no such custom op"
    lines = [line.strip() for line in _SOURCE.sub("", _NODE.sub("", said)).splitlines()]
    told = [line for line in lines if line and not line.startswith(_NO_ANSWER)]
    return "; ".join(dict.fromkeys(told))[:_MOST_REASON_CHARS] or "no reason given"


def child(
    folder: Path, job: Mapping[str, Any], *, on_answer: Callable[[Mapping[str, Any]], None] | None = None
) -> list[Mapping[str, Any]]:
    """Return the answers of a process that does job; they end early where it crashed."""
    number = job.get("start", job.get("first", 0))
    file, log = folder / f"job_{number}.json", folder / f"log_{number}.txt"
    file.write_text(json.dumps({**job, "folder": str(folder), "chatter": str(folder / f"said_{number}.txt")}), "utf-8")
    answers: list[Mapping[str, Any]] = []

    def listen(line: str) -> None:
        if line.startswith(MARK):
            answers.append(json.loads(line.removeprefix(MARK)))
            if on_answer is not None:
                on_answer(answers[-1])

    try:
        tools.run_module("edgecompile.tflite.tflm_child", [str(file)], timeout_s=_TIMEOUT_S, log=log, on_line=listen)
    except ToolError as error:
        if "was ended by" not in error.problems[0].what:
            said = log.read_text("utf-8", "replace") + (folder / f"said_{number}.txt").read_text("utf-8", "replace")
            raise ToolError(
                f"TFLite Micro's process failed: {said.strip().splitlines()[-1:]}", hint="is the wheel whole?"
            ) from None
    return answers


def ensure_taken(model: Path, answers: Sequence[Mapping[str, Any]]) -> None:
    """Raise ModelError unless the process came to its end without a refusal."""
    said = next((str(a["refused"]) for a in answers if "refused" in a), None)
    if said is not None:
        node = _NODE.search(said)
        where = f"{model}, op `{node['op']}`" if node else str(model)
        raise ModelError(f"TFLite Micro refuses the model: {reason(said)}", where=where)
    if not answers or not answers[-1].get("finished"):
        raise ModelError("TFLite Micro crashes on the model", where=str(model), hint="is the file damaged?")


def _ensure_shapes(model: Path, graph: Graph, feeds: Sequence[Feed]) -> list[bool]:
    """Return for each output whether its first axis counts rows; raise ModelError where rows cannot be told apart."""
    for feed in feeds:
        if feed.shape != feed.tensor.shape:
            raise ModelError(
                f"TFLite Micro cannot resize: input `{feed.name}` takes {show_shape(feed.tensor.shape)}, "
                f"and the data has {show_shape(feed.shape)}",
                where=str(model),
                hint="fix the size with --shape",
            )
    size = feeds[0].rows_per_run
    joined = [graph.tensors[i].shape[:1] == (size,) for i in graph.outputs]
    if size > 1 and not all(joined):
        raise ModelError(
            f"takes {size} rows at once, and not every output is one per row",
            where=str(model),
            hint="export the model with a batch of 1",
        )
    return joined


class _Tally:
    """Rows that are done, over all processes."""

    def __init__(self, progress: Progress, step: str, total: int) -> None:
        self._progress, self._step, self._total = progress, step, total
        self._done: dict[int, int] = {}
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def listener(self, worker: int) -> Callable[[Mapping[str, Any]], None]:
        """Return what takes the answers of one process."""

        def listen(answer: Mapping[str, Any]) -> None:
            if "done" not in answer:
                return
            with self._lock:
                self._done[worker] = answer["done"]
                done = sum(self._done.values())
                rate = done / max(time.monotonic() - self._began, 1e-9)
                self._progress.update(self._step, done=done, total=self._total, note=f"{rate:,.0f} rows/s")

        return listen
