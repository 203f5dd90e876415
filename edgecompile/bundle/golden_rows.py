"""Which rows become golden vectors, and how far a replay may be off.

Rows are drawn by seed, in turns from every class, whether the model is right on them or not. Two kinds are passed
over, because they test an interpreter's rounding and not the deployment; `golden.json` counts them:

- near ties: the two highest scores are so close that differences within the limit could change the decision;
- rows on which the reference kernels, which round sums twice, differ by more than the limit from exact sums that are
  rounded once (`tflite.fixed.integers`): the two ways in which kernels round. Which of them a machine has depends on
  its processor; the choice of rows does not.

The limit for integer outputs is 2 codes. Measured: ResNet8 and DS-CNN int8 of MLPerf Tiny, 1,000 rows each, reference
kernels of tflite-runtime 2.14 against ai-edge-litert 2.3: 0.4% and 0.2% of all rows differ by more than 2 codes, by up
to 11 (one rounds FULLY_CONNECTED twice, the other once). Of 300 seeds, 16 and 9 would have drawn such a row without
looking; with the rule none did, nor one on which XNNPACK is more than 2 codes off (299 and 292 without it). LiteRT's
built-in kernels, which round in yet other ways, are so on 131 draws of the ResNet and none of the other (297 and 9).
Passed over were 33% and 19% of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.bundle.golden import Decision, Golden, GoldenInfo, GoldenKernels, GoldenOutput
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.report import TensorInfo
from edgecompile.tflite.batch import row_shapes
from edgecompile.tflite.feeds import match
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.runner import AnyKernels
from edgecompile.tflite.state import state_of

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]
Bools = npt.NDArray[np.bool_]
Predict = Callable[[Dataset, AnyKernels], Mapping[str, Array]]
"""Rows of stored codes, kernels → output name → [n, ...] in stored dtypes."""

ROWS, FEWEST_ROWS, MOST_BYTES = 16, 8, 2 << 20
"""Sixteen rows, fewer (not under eight) where sixteen rows of input would take more than 2 MiB in the bundle."""
_INSTEAD = "; outputs of LiteRT's built-in kernels: its reference kernels do not run the model, or compute an op wrong"
CANDIDATES_PER_ROW = 2
"""Candidates that are run for each row that is wanted."""
CODES, CODES_16 = 2, 32
"""Largest difference of integer outputs, in codes of 8 and of 16 bits.

8 bits: see the module's docstring. 16 bits: the ResNet8 as int16x8 differs by up to 6 codes between the two
interpreters; 32 codes of 16 bits are an eighth of one of 8 bits.
"""
FLOAT_SHARE = 1e-4
"""Largest difference of float arithmetic, as a share of the output's range: sums in another order, 1e-6 to 1e-5."""
HYBRID_SHARE = 2 / 255
"""The same for float outputs of ops with 8-bit weights and ranges found at run time: two steps of an 8-bit range."""
PROBABILITY_SLACK = 1e-3
"""A lone output within [0, 1], give or take this, is a probability and decides at 0.5; any other is a logit."""


def make_golden(
    graph: Graph,
    data: Dataset | None,
    *,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    decides: frozenset[str],
    predict: Predict,
    seed: int,
    kernels: GoldenKernels = "reference",
) -> Golden:
    """Return golden vectors of the model; the module's docstring says which rows.

    Args:
        graph: of the model.
        data: validation rows, before preprocessing; None: seeded random inputs.
        inputs: tensors of the model in graph order.
        outputs: likewise.
        decides: names of outputs whose rows are decisions.
        predict: runs the model on rows of stored codes.
        seed: of every choice.
        kernels: that the outputs come from.

    Raises:
        ModelError: kernels do not run the model.
        ConfigError: data does not fit the inputs.
    """
    shapes = row_shapes(graph)
    row_bytes = sum(int(np.prod(s)) * np.dtype(t.dtype).itemsize for s, t in zip(shapes, inputs, strict=True))
    wanted = max(FEWEST_ROWS, min(ROWS, MOST_BYTES // max(1, row_bytes)))
    drawn = CANDIDATES_PER_ROW * wanted
    stream = state_of(graph).stream
    rows = _first(data, drawn) if data is None or stream else _in_turns(data, seed)[:drawn]
    codes = _random(inputs, shapes, drawn, seed) if data is None else _codes(graph, data.take(rows))
    found, others = _run_all(codes, inputs, outputs, predict, kernels)
    rules = tuple(
        _rule(graph, i, tensor, y, decides=tensor.name in decides)
        for i, (tensor, y) in enumerate(zip(outputs, found, strict=True))
    )
    near_tie = np.any([_near_tie(y, rule) for y, rule in zip(found, rules, strict=True)], axis=0)
    excess = np.max([_excess(y, z, rule) for y, z, rule in zip(found, others, rules, strict=True)], axis=0)
    chosen = np.arange(min(wanted, len(rows))) if stream else _choose(near_tie, excess, wanted=wanted)
    labels = None if data is None else _classes(data)
    info = GoldenInfo(
        kernels=kernels,
        source=_sentence(chosen, data, near_tie, excess, seed=seed, stream=stream)
        + (_INSTEAD if kernels == "builtin" else ""),
        seed=seed,
        rows=() if data is None else tuple(rows[chosen].tolist()),
        labels=() if labels is None else tuple(labels[rows[chosen]].tolist()),
        near_ties=0 if stream else int(near_tie.sum()),
        rounding=0 if stream else int((~near_tie & (excess > 1)).sum()),
        outputs=rules,
    )
    return Golden(info, tuple(x[chosen] for x in codes), tuple(y[chosen] for y in found))


def _first(data: Dataset | None, count: int) -> npt.NDArray[np.intp]:
    """Return the numbers of the first rows, in order: all that a stream can be replayed from."""
    return np.arange(count if data is None else min(count, len(data)))


def _classes(data: Dataset) -> Array | None:
    """Return labels where they are class numbers, int [n]; None where they are anything else."""
    labels = data.labels
    return labels if labels is not None and labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) else None


def _in_turns(data: Dataset, seed: int) -> npt.NDArray[np.intp]:
    """Return all row numbers in a seeded order that goes through the classes in turns."""
    order = np.random.default_rng(seed).permutation(len(data))
    labels = _classes(data)
    if labels is None:
        return order
    shuffled = labels[order]
    turn = np.zeros(len(order), np.intp)
    for label in np.unique(shuffled):
        of_label = shuffled == label
        turn[of_label] = np.arange(of_label.sum())
    return order[np.argsort(turn, kind="stable")]


def _codes(graph: Graph, rows: Dataset) -> Arrays:
    """Return what each input takes for rows, [n, ...] in its dtype."""
    named = rows.renamed(graph.input_names())
    return tuple(feed.content(named, slice(None)) for feed in match(graph, named, where="golden vectors"))


def _random(inputs: Sequence[TensorInfo], rows: Sequence[tuple[int, ...]], n: int, seed: int) -> Arrays:
    """Return seeded inputs: every code of a quantized input alike, 0 and 1 for plain integers, normal floats."""
    rng = np.random.default_rng(seed)
    drawn: list[Array] = []
    for tensor, row in zip(inputs, rows, strict=True):
        shape = (n, *row)
        if tensor.scale is not None:
            limits = np.iinfo(tensor.dtype)
            drawn.append(rng.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True))
        elif tensor.dtype.startswith("float"):
            drawn.append(rng.standard_normal(shape).astype(tensor.dtype))
        else:  # row numbers of a table, say: 0 and 1 are in any table
            drawn.append(rng.integers(0, 2, shape).astype(tensor.dtype))
    return tuple(drawn)


def _run_all(
    codes: Arrays,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    predict: Predict,
    kernels: GoldenKernels,
) -> tuple[Arrays, Arrays]:
    """Return the outputs of kernels, and those of exact sums rounded once.

    The latter only where they run the model, and stand for the kernels: those of the reference set; else the former.
    """
    rows = as_dataset(codes, inputs)
    found = other = predict(rows, kernels)
    if kernels == "reference":
        with suppress(ModelError):
            other = predict(rows, "exact")
    return tuple(found[t.name] for t in outputs), tuple(other[t.name] for t in outputs)


def as_dataset(codes: Arrays, inputs: Sequence[TensorInfo]) -> Dataset:
    """Return rows of stored codes, one array for each input, as a dataset that quantizes to the same codes."""
    return Dataset(
        inputs={t.name: x for t, x in zip(inputs, codes, strict=True)},
        preprocess={t.name: _as_stored(t) for t in inputs},
        source="golden vectors",
    )


def _as_stored(tensor: TensorInfo) -> Preprocess:
    """Return the preprocessing under which codes come out of quantization as they went in."""
    if tensor.scale is None or tensor.zero_point is None:
        return Preprocess()
    return Preprocess(quantized=Quantized(scale=tensor.scale, zero_point=tensor.zero_point))


def _rule(graph: Graph, position: int, tensor: TensorInfo, found: Array, *, decides: bool) -> GoldenOutput:
    """Return the limit of one output, and how it decides."""
    decision = None
    if decides and int(np.prod(found.shape[1:])) > 1:
        decision = Decision(by="argmax")
    elif decides:
        decision = Decision(by="threshold", threshold=_threshold(tensor, found))
    if tensor.scale is not None:
        return GoldenOutput(name=tensor.name, unit="codes", limit=_codes_limit(tensor.dtype), decision=decision)
    limit = _float_limit(graph, graph.outputs[position], found)
    return GoldenOutput(name=tensor.name, unit="real", limit=limit, decision=decision)


def _codes_limit(dtype: str) -> int:
    return CODES if np.dtype(dtype).itemsize == 1 else CODES_16


def _float_limit(graph: Graph, output: int, found: Array) -> float:
    maker = graph.producers.get(output)
    behind = graph.tensors[maker.inputs[0]] if maker is not None and maker.name == "DEQUANTIZE" else None
    if behind is not None and behind.quantization is not None:
        # A quarter of a code on top: differences of whole codes stay on their side of the limit in float arithmetic.
        return (_codes_limit(behind.dtype) + 0.25) * float(behind.quantization.scale[0])
    hybrid = any(t.constant and t.dtype == "int8" for t in graph.tensors)
    return (HYBRID_SHARE if hybrid else FLOAT_SHARE) * max(float(np.ptp(found)), 1e-6)


def _threshold(tensor: TensorInfo, found: Array) -> float:
    """Return the stored value that decides for class 1, as the metrics do: 0.5 of a probability, 0 of a logit."""
    scale, zero = (1.0, 0) if tensor.scale is None else (tensor.scale, tensor.zero_point or 0)
    real = (found.astype(np.float64) - zero) * scale
    probability = real.min() >= -PROBABILITY_SLACK and real.max() <= 1 + PROBABILITY_SLACK
    return (0.5 if probability else 0.0) / scale + zero


def _near_tie(found: Array, rule: GoldenOutput) -> Bools:
    """Return which rows could decide otherwise although every difference is within the limit."""
    flat = found.reshape(len(found), -1).astype(np.float64)
    if rule.decision is None:
        return np.zeros(len(flat), np.bool_)
    if rule.decision.threshold is not None:
        return np.abs(flat[:, 0] - rule.decision.threshold) <= rule.limit
    top = np.sort(flat, axis=1)
    return top[:, -1] - top[:, -2] <= 2 * rule.limit


def _excess(found: Array, other: Array, rule: GoldenOutput) -> npt.NDArray[np.float64]:
    """Return the largest difference of each row as a share of the limit."""
    apart = np.abs(found.astype(np.float64) - other.astype(np.float64))
    worst: npt.NDArray[np.float64] = apart.reshape(len(found), -1).max(axis=1) / rule.limit
    return worst


def _choose(near_tie: Bools, excess: npt.NDArray[np.float64], *, wanted: int) -> npt.NDArray[np.intp]:
    """Return which candidates to take, in their order: those that are fit; the least unfit where these are too few."""
    fit = np.flatnonzero(~near_tie & (excess <= 1))[:wanted]
    if len(fit) >= min(FEWEST_ROWS, len(excess)):
        return fit
    best = np.lexsort((np.arange(len(excess)), excess, near_tie))
    return np.sort(best[:FEWEST_ROWS])


def _sentence(
    chosen: npt.NDArray[np.intp],
    data: Dataset | None,
    near_tie: Bools,
    excess: npt.NDArray[np.float64],
    *,
    seed: int,
    stream: bool,
) -> str:
    n = len(chosen)
    if data is None:
        what = f"{n} random inputs (seed {seed}): no data was given"
    elif stream:
        what = f"the first {n} rows of the validation data, in order, from a fresh state"
    else:
        turns = ", in turns from every class" if _classes(data) is not None else ""
        what = f"{n} rows of the validation data, drawn with seed {seed}{turns}"
    unfit = near_tie | (excess > 1)
    if unfit[chosen].any():
        return f"{what}; too few rows are fit: on {int(unfit[chosen].sum())} of these an interpreter's rounding decides"
    if stream or not unfit.any():
        return what
    return (
        f"{what}; passed over, of {len(unfit)} drawn: {int(near_tie.sum())} near ties, "
        f"{int((~near_tie & unfit).sum())} that depend on how kernels round"
    )
