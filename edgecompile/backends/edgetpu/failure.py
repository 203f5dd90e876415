"""A compilation that failed, as an error that says what is known, and files that outlive the build."""

from __future__ import annotations

from pathlib import Path

from edgecompile.backends.edgetpu.bisect import Culprit, find_culprit
from edgecompile.backends.edgetpu.compiler import COMPILER, CompilerError, Flags
from edgecompile.backends.edgetpu.log import diagnose
from edgecompile.cache import default_root
from edgecompile.errors import ToolError
from edgecompile.tflite.graph import Graph

_SHOWN = 3


def explained(
    error: CompilerError, compiler: Path, model: Path, graph: Graph, flags: Flags, *, name: str, work: Path
) -> ToolError:
    """Return the error to raise for a compilation that failed.

    Where the compiler gives no reason, the smallest part of the model that it fails on is searched, and kept as a
    `.tflite` file for a bug report. It lies beside the compiler's output in the `logs` folder of the cache.

    Args:
        error: how it failed.
        compiler: the program.
        model: what it was given.
        graph: the same, read.
        flags: how.
        name: stem for the files that are kept.
        work: folder for what is tried.
    """
    logs = default_root() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    printed = logs / f"{name}-{COMPILER}.txt"
    printed.write_text(error.text, "utf-8")
    first = error.problems[0]
    where = str(printed) if error.text or first.where.startswith(str(work)) else first.where
    if error.hung or diagnose(error.text) is not None or not error.text:
        return ToolError(first.what, where=where, hint=first.hint)
    culprit = find_culprit(compiler, model, graph, flags, work=work / "search")
    if culprit is None:
        return ToolError(first.what, where=where, hint=f"{first.hint}; the search found no part at fault")
    kept = logs / f"{name}-{COMPILER}-fails.tflite"
    kept.write_bytes(culprit.model)
    return ToolError(
        f"{first.what}; it fails on {_named(culprit, graph)}",
        where=where,
        hint=f"replace this part of the model; for a bug report it is kept alone in {kept}",
    )


def _named(culprit: Culprit, graph: Graph) -> str:
    shown = [
        f"{op.name} → {graph.tensors[op.outputs[0]].name}" if op.outputs else op.name for op in culprit.ops[-_SHOWN:]
    ]
    more = len(culprit.ops) - len(shown)
    return (f"{more} ops and then " if more else "") + ", ".join(shown)
