"""Find out in a process of its own whether a `.tflite` runs: a damaged file can take LiteRT's C++ code down with it.

`python -m edgecompile.tflite.probe MODEL KERNELS…` loads the model, allocates its memory and runs it once on zeros
(or ones), for each kernel set in turn.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgecompile import tools
from edgecompile.errors import ModelError, ToolError
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.interpreter import KERNELS, Kernels, advice, allocated, ensure_known_ops, ensure_safe, refusal

_TIMEOUT_S = 120.0
"""The reference kernels need 1.2 s for the slowest of 60 real models (DeepLabV3 at 513×513) on one core."""

_MARK = "@edgecompile-probe "
"""Before the line that holds the verdict: libraries print to stdout too."""


@dataclass(frozen=True)
class _Fault:
    """Why a kernel set does not run a model."""

    message: str
    """LiteRT's own words, or how the process came to its end."""
    refused: bool
    """Whether LiteRT said no; otherwise the process died or was too slow."""


def ensure_runs(
    path: Path, *, log: Path, kernels: Sequence[Kernels] = KERNELS, timeout_s: float = _TIMEOUT_S
) -> tuple[Kernels, ...]:
    """Return those of kernels that run the model at path once on zeros, in the order given; at least one.

    Args:
        path: a `.tflite` file from anywhere.
        log: file that receives what the processes print.
        kernels: kernel sets to try: one process for all, 0.3 s, and one run each.
        timeout_s: wall seconds for a process.

    Raises:
        ModelError: the file is damaged, is compiled for another device already, or none of kernels runs it: LiteRT
            refuses, crashes, or gives no answer in time. The hint names other kernel sets that do run it.
    """
    graph = read_graph(path)
    ensure_known_ops(graph, where=str(path))
    ensure_safe(graph, where=str(path))
    faults = _probe(path, kernels, log=log, timeout_s=timeout_s)
    works = tuple(k for k in kernels if faults[k] is None)
    if works:
        return works
    untried = [k for k in KERNELS if k not in kernels]
    tried = _probe(path, untried, log=log, timeout_s=timeout_s)
    others = [k for k in untried if tried[k] is None]
    first, fault = next(iter(faults.items()))
    assert fault is not None
    if fault.refused:
        raise refusal(path, first, fault.message, others=others)
    raise ModelError(
        f"a process that runs the model on LiteRT's {first} kernels {fault.message} (log: {log})",
        where=str(path),
        hint=advice(others),
    )


def _probe(path: Path, kernels: Sequence[Kernels], *, log: Path, timeout_s: float) -> dict[Kernels, _Fault | None]:
    """Return for each kernel set why it does not run the model, or None where it does."""
    if not kernels:
        return {}
    try:
        said = tools.run_module("edgecompile.tflite.probe", [str(path), *kernels], timeout_s=timeout_s, log=log)
    except ToolError as error:
        if len(kernels) > 1:  # One kernel set may have broken another's memory: only apart can the blame be laid.
            apart = [_probe(path, [k], log=log, timeout_s=timeout_s) for k in kernels]
            return {k: fault for one in apart for k, fault in one.items()}
        ending = error.problems[0].what.partition("` ")[2].partition(":")[0]
        return {kernels[0]: _Fault(ending, refused=False)}
    verdicts = dict(json.loads(line.removeprefix(_MARK)) for line in said.splitlines() if line.startswith(_MARK))
    messages = {k: verdicts.get(k, "no verdict") for k in kernels}
    return {k: None if message is None else _Fault(message, refused=True) for k, message in messages.items()}


def main(argv: Sequence[str]) -> None:
    """Run the model argv[0] once on each kernel set of argv[1:].

    Writes to stdout a line each: a mark and, as JSON, the kernel set and LiteRT's message, or null where all went well.
    """
    _limit_memory()
    for kernels in argv[1:]:
        message: str | None = None
        try:
            _run_once(Path(argv[0]), cast("Kernels", kernels))
        except (ValueError, RuntimeError) as error:
            message = str(error)
        except MemoryError:
            message = "it needs more memory than this machine has"
        sys.stdout.write(f"{_MARK}{json.dumps([kernels, message])}\n")


def _run_once(path: Path, kernels: Kernels) -> None:
    """Run the model on zeros; where it refuses them, on ones.

    A model that takes a mean over what is not 0, such as one of padded texts, divides by 0 on zeros.
    """
    interpreter = allocated(path, kernels)
    inputs = [d for d in interpreter.get_input_details() if d["dtype"] is not np.bytes_]  # texts stay empty
    zeros = [d["quantization"][1] for d in inputs]
    try:
        _invoke(interpreter, inputs, zeros)
    except RuntimeError as error:
        try:
            _invoke(interpreter, inputs, [int(zero != 1) for zero in zeros])
        except RuntimeError:
            raise error from None


def _invoke(interpreter: Any, inputs: Sequence[Mapping[str, Any]], values: Sequence[int]) -> None:
    for detail, value in zip(inputs, values, strict=True):
        interpreter.set_tensor(detail["index"], np.full(detail["shape"], value, detail["dtype"]))
    interpreter.invoke()


def _limit_memory() -> None:
    """Let an absurd size fail at once, and keep a crash from leaving a core file."""
    if sys.platform == "linux":
        import resource

        machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (machine_bytes, machine_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
