"""Equalize dense layers of one scale each, where calibration rows show that their int8 form comes nearer to float."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.tflite import engines, rewrite
from edgecompile.tflite.correct import corrected_biases, input_widths
from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.edit import add_signature, read_model, write_model
from edgecompile.tflite.equalize import Pair, equalized, pairs
from edgecompile.tflite.feeds import match
from edgecompile.tflite.fidelity import real_outputs, some_rows, sqnr_db
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.ranges import Method, Recorder
from edgecompile.tflite.runner import activations
from edgecompile.tflite.session import Session
from edgecompile.tflite.shared_scales import widened

_ROWS = 64
"""Calibration rows that a chain of layers is quantized and compared on, with and without."""

_MARGIN_DB = 0.5
"""What equalizing must win, far above what the last bits of float kernels change."""

_POWERS = (1.0, 0.5)
"""How far ranges are evened out: see `equalized`. On autoencoders either wins, by up to 2 dB."""

_MOST_WEIGHTS = 4_000_000
"""Of a chain that is tried: it is quantized three times, which takes a second for so many."""

_SETTINGS = engines.Settings(dense_per_channel=False)


def equalize_dense(prepared: Path, rows: Dataset, *, method: Method, percent: float, correct: bool) -> int:
    """Equalize dense layers in place, chain by chain; return how many have other weights now.

    Args:
        prepared: a float `.tflite` whose tensors have names of their own.
        rows: calibration rows.
        method: how ranges are set.
        percent: for `percentile`.
        correct: whether biases take back the mean error of rounded weights.
    """
    make = partial(_quantized, method=method, percent=percent, correct=correct)
    changed = 0
    for chain in _chains(pairs(read_graph(prepared))):
        graph = read_graph(prepared)
        if sum(math.prod(graph.tensors[op.inputs[1]].shape) for pair in chain for op in pair) > 2 * _MOST_WEIGHTS:
            continue
        try:
            won = _won(prepared, graph, chain, some_rows(rows, _ROWS), make)
        except (ModelError, engines.RefusedError):  # not to be had alone: leave it as it is
            continue
        power = max(won, key=lambda power: won[power])
        if won[power] > _MARGIN_DB:
            prepared.write_bytes(_with(prepared, graph, chain, power))
            changed += len(chain) + 1
    return changed


def _chains(found: Sequence[Pair]) -> list[list[Pair]]:
    """Return pairs by the chains they form, each in the order of the graph."""
    chains: list[list[Pair]] = []
    for pair in found:
        chain = next((c for c in chains if c[-1].second.index == pair.first.index), None)
        if chain is None:
            chains.append([pair])
        else:
            chain.append(pair)
    return chains


def _with(file: Path, graph: Graph, chain: Sequence[Pair], power: float) -> bytes:
    """Return the model of file, which graph was read from, with the layers of chain equalized."""
    return rewrite.with_constants(file, equalized(graph, chain, power=power))


def _won(
    prepared: Path, graph: Graph, chain: Sequence[Pair], rows: Dataset, make: Callable[[Path, Dataset], bytes]
) -> dict[float, float]:
    """Return power → by how many dB equalizing brings the int8 form of a chain, run alone, nearer to float."""
    model = read_model(cut_ops(prepared, chain[0].first.index, chain[-1].second.index))
    add_signature(model)
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        plain, tried = Path(folder) / "plain.tflite", Path(folder) / "tried.tflite"
        plain.write_bytes(write_model(model))
        alone = read_graph(plain)
        given = _inputs(prepared, graph, alone, rows)
        wanted = real_outputs(plain, given, "builtin")
        found = {}
        for power in (0.0, *_POWERS):
            tried.write_bytes(_with(plain, alone, pairs(alone)[: len(chain)], power))
            tried.write_bytes(make(tried, given))
            found[power] = sqnr_db(wanted, real_outputs(tried, given, "builtin"))
    return {power: found[power] - found[0.0] for power in _POWERS}


def _inputs(prepared: Path, graph: Graph, alone: Graph, rows: Dataset) -> Dataset:
    """Return what the ops of alone, which were cut out of graph, read on rows."""
    named = rows.renamed(graph.input_names())
    feeds = match(graph, named, where=str(prepared))
    numbers = {t.name: t.index for t in graph.tensors}
    read = [numbers[alone.tensors[i].name] for i in alone.inputs]
    session = Session(prepared, "builtin", graph, feeds, keep_all=True)
    values = session.run([feed.content(named, slice(None)) for feed in feeds], read=read)
    return Dataset(inputs=dict(zip(alone.input_names(), values, strict=True)))


def _quantized(path: Path, rows: Dataset, *, method: Method, percent: float, correct: bool) -> bytes:
    """Return the int8 form of the model at path, as `quantize` would make it."""
    graph = read_graph(path)
    recorder = Recorder(where="quantize", widths=input_widths(graph) if correct else {})
    activations(path, rows, consume=recorder)
    ends = frozenset(graph.tensors[i].name for i in (*graph.inputs, *graph.outputs))
    ranges = widened(graph, recorder.ranges(method, percent=percent, steps=255, exact=ends))
    biases = corrected_biases(graph, recorder.means(), recorder.half_means(), dense_per_channel=False)
    path.write_bytes(rewrite.with_constants(path, biases))
    return engines.litert_quantizer(path, ranges, _SETTINGS)
