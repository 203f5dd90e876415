"""Measure: the float model against the result on the same rows, and the source against its float `.tflite`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile import compare
from edgecompile.compare import Bools
from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.errors import ConfigError, ModelError, pick
from edgecompile.metrics import Metric
from edgecompile.recipe import GateSection
from edgecompile.report import Accuracy, Parity, PerClass
from edgecompile.tflite.graph import Graph
from edgecompile.verify.chance import find_chance
from edgecompile.verify.pairs import Pair, pair_outputs, real_outputs
from edgecompile.verify.scores import right_rows, score_shares, score_values
from edgecompile.verify.worst import worst_rows

Array = npt.NDArray[Any]

PARITY_TOLERANCE = 1e-4
"""Largest difference between source and float `.tflite`, relative to the largest output, and at least this much.

Both compute in float32 (24 bits: 6e-8) and sum in different orders; over the thousands of terms and tens of layers of
a network that comes to 1e-6 to 1e-5 of the largest output. Ten times that is still far below one step of an int8
output (4e-3 of its range).
"""

PARITY_SHARE = 0.1
"""Share of the tolerance that a smaller difference is told as; one between is told as the tolerance itself."""
_PARITY_DIGITS = 4
"""Significant digits of a tolerance, which the largest output of the source model has a part in."""


def accuracy(
    *,
    float_outputs: Mapping[str, Array],
    result_outputs: Mapping[str, Array],
    float_graph: Graph,
    result_graph: Graph,
    data: Dataset,
    metric: Metric,
    kernels: str,
    fidelity: str,
    reference: str = "float model",
    output: str | None = None,
    gate: GateSection | None = None,
    against: float | None = None,
    seed: int = 0,
) -> Accuracy:
    """Return how the result stands to the float model on the rows of data.

    Args:
        float_outputs: output name → [n, ...] of the float model, as the runner gives them.
        result_outputs: output name → [n, ...] of the result, likewise; integers become reals by its graph.
        float_graph: the float model.
        result_graph: the result.
        data: the n rows that both ran on, with labels.
        metric: scores one output.
        kernels: the interpreter that the result ran on.
        fidelity: how faithfully that interpreter stands for the device.
        reference: what the float model is called: `source model` where the source is quantized already.
        output: the output that the metric reads; None is the first.
        gate: what will be decided on the scores, which are rounded so that they keep its limits if and only if the
            unrounded ones do; None is the default one.
        against: the float model's score, where both outputs are the result's.
        seed: of the bootstrap.

    Raises:
        ConfigError: no rows, an unknown output, or rows that the metric cannot score.
        ModelError: the outputs of the two do not fit each other, or one gives no numbers.
    """
    if not len(data):
        raise ConfigError("there are no rows to measure on", where=f"data.validation = {data.source}")
    pairs = pair_outputs(
        real_outputs(float_outputs, float_graph), real_outputs(result_outputs, result_graph), rows=len(data)
    )
    name = next(iter(pairs)) if output is None else pick(output, pairs, what="output", where="data.output")
    pair = pairs[name]
    _need_float_numbers(pair, name)
    right, decisions = right_rows(pair, data, metric), _decisions(pair, metric)
    if right is not None and metric.unit == "fraction":
        scores = score_shares(*right, data, seed=seed)
    else:
        scores = score_values(pair, data, metric, gate=gate or GateSection(), against=against, seed=seed)
    worst, worst_by = worst_rows(pair, data, right=right, decisions=decisions)
    return Accuracy(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        output=name,
        reference=reference,
        **vars(scores),
        flips=None if right is None else compare.flips(*right),
        agreement=None if decisions is None else compare.agreement(*decisions, finite=pair.after_finite),
        per_class=_per_class(right, data),
        outputs=tuple(
            compare.output_error(n, p.before[p.both_finite], p.after[p.both_finite])
            for n, p in pairs.items()
            if p.both_finite.any()
        ),
        worst=worst,
        worst_by=worst_by,
        tied_rows=0 if decisions is None else compare.ties(pair.after[pair.after_finite]),
        nonfinite_rows=int(np.any([p.before_finite & ~p.after_finite for p in pairs.values()], axis=0).sum()),
        kernels=kernels,
        fidelity=fidelity,
        chance=find_chance(pair.before, data, metric, seed=seed),
    )


def _need_float_numbers(pair: Pair, name: str) -> None:
    bad = np.flatnonzero(~pair.before_finite)
    if len(bad):
        raise ModelError(
            f"the float model gives NaN or infinity on {len(bad)} of {len(pair.before)} rows, first on row {bad[0]}",
            where=f"output `{name}`",
            hint="look at that row and at data.preprocess; a float model without numbers is nothing to compare with",
        )


def _decisions(pair: Pair, metric: Metric) -> tuple[Array, Array] | None:
    before, after = metric.decide(pair.before), metric.decide(pair.after)
    return None if before is None or after is None else (before, after)


def _per_class(right: tuple[Bools, Bools] | None, data: Dataset) -> tuple[PerClass, ...]:
    numbers = class_numbers(data.labels)
    if right is None or numbers is None:
        return ()
    return compare.per_class(*right, numbers, data.class_names)


def parity_rows(file: Path) -> Dataset:
    """Return the rows of a parity file as a dataset, ready for the runner: they are preprocessed already."""
    with np.load(file, allow_pickle=False) as held:
        inputs = {k.removeprefix("input:"): held[k] for k in held.files if k.startswith("input:")}
    return Dataset(inputs=inputs, source=file.name)


def parity(file: Path, outputs: Mapping[str, Array], *, graph: Graph, reference: str) -> Parity:
    """Return how far the float `.tflite` is from the source model on the same rows.

    Args:
        file: the `.npz` that convert wrote: `input:NAME` rows and `output:NAME`, what the source gave, [n, ...].
        outputs: output name → [n, ...] that the float `.tflite` gave for `parity_rows(file)`.
        graph: the float `.tflite`.
        reference: what the source ran on.

    Raises:
        ModelError: outputs do not fit each other, or only one side gives numbers.
    """
    with np.load(file, allow_pickle=False) as held:
        source = {k.removeprefix("output:"): held[k].astype(np.float32) for k in held.files if k.startswith("output:")}
    rows = len(next(iter(source.values())))
    found = []
    for name, pair in pair_outputs(source, real_outputs(outputs, graph), rows=rows).items():
        odd = np.flatnonzero(pair.before_finite != pair.after_finite)
        if len(odd):
            raise ModelError(
                f"only one of {reference} and the float .tflite gives numbers on row {odd[0]}",
                where=f"output `{name}`",
                hint="the conversion changed the model: report it with the model",
            )
        found.append(_parity(name, pair, reference))
    return max(found, key=lambda p: p.max_abs / p.tolerance)


def _parity(name: str, pair: Pair, reference: str) -> Parity:
    largest = float(np.abs(pair.before).max(initial=0.0))
    limit = PARITY_TOLERANCE * max(1.0, largest)
    apart = float(compare.row_sums(pair.before, pair.after).max_abs.max(initial=0.0))
    return Parity(
        reference=reference,
        rows=len(pair.before),
        output=name,
        max_abs=_at_most(apart, limit),
        tolerance=compare.significant(limit, _PARITY_DIGITS),
        reason=f"float32 sums in another order: {PARITY_TOLERANCE:g} of the largest output ({largest:.4g}), "
        f"at least {PARITY_TOLERANCE:g}",
    )


def _at_most(apart: float, limit: float) -> float:
    """Return a bound of apart that does not depend on the processor: a share of limit; beyond it, apart itself.

    Below its limit the difference is noise of float sums, on either side, and is another one on every processor.
    """
    told = compare.significant(limit, _PARITY_DIGITS)
    if apart > limit:
        return max(apart, math.nextafter(told, math.inf))
    return compare.significant(PARITY_SHARE * told, _PARITY_DIGITS) if apart <= PARITY_SHARE * limit else told
