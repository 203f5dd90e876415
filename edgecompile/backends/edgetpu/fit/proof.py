"""How far a rewrite changes what its ops compute: both are run, cut out of the model, on codes of all values."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.backends.edgetpu.fit.forms import Rewrite
from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.draft import Draft
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.interpreter import allocated
from edgecompile.tflite.values import Array

_CODES = 65_536
"""Input codes that a rewrite is tried on, at least: every code some 256 times, in all places."""

_LEAST_RUNS = 8
_MOST_RUNS = 64
_WHOLE_RANGE = 0.5
"""Share of the runs that have codes of the whole range."""


def difference(model: bytes, rewrite: Rewrite, first: int, last: int, *, seed: int) -> int | None:
    """Return the largest difference of an output code that a rewrite of op first makes; None where it cannot be run.

    Args:
        model: the file before the rewrite.
        rewrite: what was made of op first and of nothing behind op last.
        first: number of the op that is rewritten.
        last: number of the last op that is touched.
        seed: of the codes that both are run on.
    """
    before = cut_ops(model, first, last)
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        file = Path(folder) / "ops.tflite"
        file.write_bytes(before)
        graph = read_graph(file)
        draft = Draft(before)
        if not rewrite.apply(draft, graph, graph.ops[0]):
            return None
        after, _ = draft.finish()
    return compared(before, after, seed=seed)


def compared(before: bytes, after: bytes, *, seed: int, runs: int | None = None) -> int | None:
    """Return the largest difference of an output code between two models with the same inputs and outputs.

    Both run on reference kernels on the same random codes.

    Args:
        before: a `.tflite` file.
        after: another one.
        seed: of the codes.
        runs: how often; by default until every code was there many times.

    Returns:
        None where the interpreter does not take one of them.
    """
    try:
        old, new = (allocated(content, "reference") for content in (before, after))
        dice = np.random.default_rng(seed)
        largest = 0
        for _ in range(runs or _runs(old)):
            given = {item["name"]: _random(dice, item) for item in old.get_input_details()}
            for was, now in zip(_outputs(old, given), _outputs(new, given), strict=True):
                largest = max(largest, int(np.abs(was.astype(np.int64) - now.astype(np.int64)).max(initial=0)))
    except (ValueError, RuntimeError):
        return None
    return largest


def _runs(interpreter: Any) -> int:
    smallest = min((int(np.prod(item["shape"])) for item in interpreter.get_input_details()), default=_CODES)
    return int(np.clip(-(-_CODES // max(smallest, 1)), _LEAST_RUNS, _MOST_RUNS))


def _random(dice: np.random.Generator, item: Any) -> Array:
    """Return content for an input: codes between two that are drawn too, so that means take every value."""
    if item["dtype"] not in (np.int8, np.uint8):
        return np.asarray(dice.normal(size=item["shape"]), item["dtype"])
    bounds = np.iinfo(item["dtype"])
    low, high = sorted(dice.integers(bounds.min, bounds.max, 2, endpoint=True))
    low, high = (bounds.min, bounds.max) if dice.random() < _WHOLE_RANGE else (low, high)
    return np.asarray(dice.integers(low, high, item["shape"], item["dtype"], endpoint=True))


def _outputs(interpreter: Any, given: dict[str, Array]) -> list[Array]:
    for item in interpreter.get_input_details():
        interpreter.set_tensor(item["index"], given[item["name"]])
    interpreter.invoke()
    found = sorted(interpreter.get_output_details(), key=lambda item: str(item["name"]))
    return [interpreter.get_tensor(item["index"]) for item in found]
