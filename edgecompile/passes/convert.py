"""Convert: the door from TensorFlow to the flatbuffer. Everything after it runs without TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Context, Fact, Outcome, Pass
from edgecompile.report import Finding
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.lowering import lower
from edgecompile.tflite.options import schema_names
from edgecompile.training.clustered import ensure_clusters
from edgecompile.training.export import to_tflite
from edgecompile.training.kernels import kernels
from edgecompile.training.learned import with_ranges
from edgecompile.training.models import load_source
from edgecompile.training.naming import with_names
from edgecompile.training.network import read_network
from edgecompile.training.rows import random_rows, spread_rows
from edgecompile.training.source import Source, run_rows
from edgecompile.training.stored import read_notes
from edgecompile.training.tf import start
from edgecompile.training.unroll import recurrent_layers, unrolled

PARITY_ROWS = 32
"""Rows on which source and result are compared; one batch of them costs little even on large models."""

_KEEPS_STATE = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF"})
"""Ops with variable tensors."""

Array = npt.NDArray[Any]


class Convert(Pass):
    """Convert a Keras model or a SavedModel to a float32 `.tflite` with a fixed batch."""

    name: ClassVar[str] = "convert"
    summary: ClassVar[str] = "Converts a Keras model or a SavedModel to a float .tflite with every size fixed."
    takes: ClassVar[Kind] = Kind.KERAS
    gives: ClassVar[Kind] = Kind.TFLITE
    needs: ClassVar[str | None] = "tensorflow"
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset({"calibration"})

    unroll: bool = False
    """Write the steps of recurrent layers one after the other, where they would be a loop (WHILE). A build sets it for
    targets that run loops wrong, slowly, or in float only: TFLite Micro, Ethos-U, Edge TPU."""
    tflm: bool = False
    """Write ops that TFLite Micro takes in small sizes only (CONCATENATION) as several. A build sets it for targets
    whose runtime that is."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.tflite` and `parity.npz` (what the source model gives for up to 32 rows).

        `parity.npz` holds `input:NAME` and `output:NAME`, each [n, ...], in the dtypes of the source model. Rows are
        spread evenly over `ctx.calibration`; without it they are seeded random numbers. Ranges that `qat` learned go
        into the file as minimum and maximum of its tensors, where `quantize` finds them.

        Raises:
            ModelError: the model is unsafe, damaged, or holds ops that TFLite does not have.
            ConfigError: open dimensions without `shape`, or a shape that contradicts the model.
            PassError: the file that was written has other inputs or outputs than the source, or lost its clusters.
        """
        tf = start(seed=ctx.seed)
        source = load_source(model.path, tf, section=ctx.model, seed=ctx.seed)
        rows, reference = _reference(source, tf, ctx)
        names = [port.name for port in source.inputs]
        notes = read_notes(model.path, source=None if ctx.source is None else ctx.source.path)
        flat, steps = self._flat(source, tf, notes.ranges)
        content = self._lowered(with_names(flat, inputs=names, outputs=source.outputs))
        written = ctx.out / "model.tflite"
        written.write_bytes(content)
        parity = ctx.out / "parity.npz"
        np.savez(parity, **_keyed("input", rows), **_keyed("output", reference))
        graph = read_graph(written)
        _ensure_io(graph, source.shapes, source.outputs)
        if notes.clusters:
            ensure_clusters(graph, kernels(read_network(tf, source.model).layers()), notes)
        facts: dict[str, Fact] = {
            "format": source.format,
            "reference": source.reference,
            "route": source.route,
            "layers": source.layers,
            "parameters": source.parameters,
            **({"learned_ranges": len(notes.ranges)} if notes.ranges else {}),
            **({"unrolled_steps": sum(steps.values())} if steps else {}),
            **_facts(graph, written),
        }
        return Outcome(
            artifact=Artifact.of(written, Kind.TFLITE),
            facts=facts,
            findings=(*source.findings, *_findings(graph), *_unrolled_finding(graph, written, steps)),
            extras={"parity": parity},
        )

    def _lowered(self, content: bytes) -> bytes:
        model = read_model(content)
        return write_model(model) if lower(model, tflm=self.tflm) else content

    def _flat(
        self, source: Source, tf: Any, ranges: Mapping[str, tuple[float, float]]
    ) -> tuple[bytes, Mapping[str, int]]:
        """Return the flatbuffer of source, and the steps of layers that were written out.

        LSTM layers are written out only where a loop is left without: most become one op.
        """

        def written(layers: Sequence[Any]) -> tuple[bytes, Mapping[str, int]]:
            with unrolled(layers) as steps:
                return (with_ranges(source, tf, ranges) if ranges else to_tflite(source, tf)), steps

        if not self.unroll:
            return written(())
        content, steps = written(recurrent_layers(source.owner, fused=False))
        left = recurrent_layers(source.owner, fused=True)
        if left and _has_loops(content):
            return written(left)
        return content, steps


def _reference(source: Source, tf: Any, ctx: Context) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return rows by input name, and what the source model gives for them by output name."""
    if ctx.calibration is not None:
        rows = spread_rows(source.inputs, source.shapes, ctx.calibration, most=PARITY_ROWS)
        return rows, run_rows(source, tf, rows)
    rows = random_rows(source.inputs, source.shapes, seed=ctx.seed, n=PARITY_ROWS)
    try:
        return rows, run_rows(source, tf, rows)
    except ModelError:
        # Random numbers can fall outside of a table that the model looks them up in; zeros and ones do not.
        rows = random_rows(source.inputs, source.shapes, seed=ctx.seed, n=PARITY_ROWS, bits=True)
        return rows, run_rows(source, tf, rows)


def _keyed(role: str, arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {f"{role}:{name}": array for name, array in arrays.items()}


def _ensure_io(graph: Graph, shapes: Mapping[str, tuple[int, ...]], outputs: tuple[str, ...]) -> None:
    """Raise PassError unless the file has exactly these inputs, in these shapes, and these outputs."""
    found = {name: graph.tensors[i].shape for name, i in zip(graph.input_names(), graph.inputs, strict=True)}
    if found != dict(shapes):
        raise PassError(f"the file takes {found}, the model {dict(shapes)}", where="convert")
    if graph.output_names() != outputs:
        raise PassError(f"the file gives {graph.output_names()}, the model {outputs}", where="convert")


def _findings(graph: Graph) -> tuple[Finding, ...]:
    """Return what the user should know about how the written file behaves."""
    stateful = sorted({op.name for op in graph.ops if op.name in _KEEPS_STATE})
    return tuple(
        Finding(
            severity="info",
            rule="keeps-state",
            what=f"`{name}` keeps its state from one invocation to the next",
            consequence="a window that follows another one starts from where that one ended",
            remedy="reset the interpreter's variables before every independent window, as run.py in the bundle does",
        )
        for name in stateful
    )


def _has_loops(content: bytes) -> bool:
    loop = next(number for number, name in schema_names("BuiltinOperator").items() if name == "WHILE")
    return any(code.builtinCode == loop for code in read_model(content).operatorCodes)


def _unrolled_finding(graph: Graph, file: Path, steps: Mapping[str, int]) -> tuple[Finding, ...]:
    """Return what writing out steps costs."""
    if not steps:
        return ()
    weights = sum({t.buffer: t.data.nbytes for t in graph.tensors if t.data is not None}.values())
    total = sum(steps.values())
    return (
        Finding(
            severity="info",
            rule="unrolled",
            what=f"recurrent layers are written out step by step, {total:,} in all, not as loops",
            where=f"layer {', '.join(steps)}",
            consequence=f"{len(graph.ops):,} ops, which take {file.stat().st_size - weights:,} bytes of file beside "
            "the weights",
            remedy="shorter windows make it smaller; an LSTM layer becomes one op",
        ),
    )


def _facts(graph: Graph, file: Path) -> dict[str, Fact]:
    """Return what the written file holds: op counts, and bytes."""
    kinds = Counter(op.name for op in graph.ops)
    return {
        "ops": len(graph.ops),
        "op_kinds": ", ".join(f"{count} {name}" for name, count in sorted(kinds.items())),
        "bytes": file.stat().st_size,
    }
