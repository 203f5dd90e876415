"""Which of the two quantizers' files is kept: the one with fewer ops in float, if it computes as well as the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, PassError
from edgecompile.tflite import engines, numerics
from edgecompile.tflite.fidelity import real_outputs, some_rows, sqnr_db
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.ranges import Range

BROKEN_DB = 10.0
"""Signal to noise below which a file computes something wrong: a third of its outputs is error. An int8 LSTM, which
loses more than other ops and is wanted all the same, keeps 20 dB and more."""

MARGIN_DB = 6.0
"""How much nearer to the float model another file must come to be kept instead: one bit of its outputs."""

_ROWS = 32
"""Calibration rows that two files are compared on."""


@dataclass(frozen=True)
class Candidate:
    """What one quantizer made."""

    content: bytes
    engine: str
    unsound: int
    """Tensors whose quantization does not stand for their values."""
    float_ops: int
    """Ops that still compute in float."""


def best(
    model: Path, ranges: Mapping[str, Range], settings: engines.Settings, *, rows: Dataset, log: Path
) -> Candidate:
    """Return the integer model that is kept, with fewest unsound tensors and then ops in float.

    Where the first quantizer leaves ops in float, the other is tried, and both run on some calibration rows: one that
    comes out broken (`BROKEN_DB`), and the other `MARGIN_DB` nearer to the float model, is not kept.

    Raises:
        PassError: no quantizer takes the model.
    """
    makers: Mapping[str, Callable[[], bytes]] = {
        engines.litert_quantizer_name(): lambda: engines.litert_quantizer(model, ranges, settings),
        engines.RUNTIME_NAME: lambda: engines.runtime_quantizer(model, ranges, settings, rows=rows, log=log),
    }
    refusals = []
    found: list[Candidate] = []
    for name, make in makers.items():
        try:
            content = make()
        except engines.RefusedError as refused:
            refusals.append(f"{name}: {refused}")
            continue
        graph = read_graph(_stored(content, model))
        found.append(Candidate(content, name, len(numerics.unsound(graph)), len(numerics.float_ops(graph))))
        if not found[-1].unsound and not found[-1].float_ops:
            break
    if not found:
        raise PassError(
            f"no quantizer takes the model: {'; '.join(refusals)}",
            where="quantize",
            hint="use scheme dynamic or float16, or export the model anew",
        )
    return _nearest(model, sorted(found, key=lambda c: (c.unsound, c.float_ops)), rows)


def _nearest(model: Path, found: list[Candidate], calibration: Dataset) -> Candidate:
    """Return the first of found, unless another that is as sound computes better."""
    first, *others = found
    rivals = [c for c in others if c.unsound == first.unsound]
    if not rivals:
        return first
    rows = some_rows(calibration, _ROWS)
    try:
        wanted = real_outputs(model, rows, "builtin")
        ratios = [sqnr_db(wanted, real_outputs(_stored(c.content, model), rows, "builtin")) for c in (first, *rivals)]
    except ModelError:  # a file that does not run is refused by name further on
        return first
    if ratios[0] >= BROKEN_DB:
        return first
    return next((c for c, db in zip(rivals, ratios[1:], strict=True) if db > ratios[0] + MARGIN_DB), first)


def _stored(content: bytes, model: Path) -> Path:
    """Return the path of a file beside model that holds content."""
    path = model.with_name("candidate.tflite")
    path.write_bytes(content)
    return path
