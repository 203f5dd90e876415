"""Quantize: store a float `.tflite` in smaller numbers. Works on the flatbuffer; TensorFlow is not needed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Context, Fact, Outcome, Pass
from edgecompile.passes.quantize_check import ensure_kept, ensure_written, facts_of, findings_of, learned_for_nothing
from edgecompile.passes.quantize_choice import best
from edgecompile.passes.quantize_columns import take_off_ends
from edgecompile.passes.quantize_equalize import equalize_dense
from edgecompile.passes.quantize_kernels import Tried, try_kernels
from edgecompile.report import Finding
from edgecompile.target import Scheme
from edgecompile.tflite import correct, engines, numerics, rewrite, shared
from edgecompile.tflite.associated import keep_archive
from edgecompile.tflite.columns import Columns, both, end_widths
from edgecompile.tflite.edit import add_signature, make_names_unique, read_model, write_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.learned import learned_ranges
from edgecompile.tflite.ranges import Method, Range, Recorder
from edgecompile.tflite.runner import activations
from edgecompile.tflite.shared_scales import widened
from edgecompile.tflite.short_scales import with_short_scales
from edgecompile.tflite.unused import drop_dead_ops

_STATIC: Mapping[str, tuple[Literal[8, 16], Method]] = {"int8": (8, "percentile"), "int16x8": (16, "minmax")}
"""Schemes with integer activations → their bits, and the ranges that lose least (docs/quantization.md has the figures).
With 65,536 codes the extremes cost nothing."""

PERCENTILE = 99.99
"""Loses least on the real models that were measured; docs/quantization.md."""


class Quantize(Pass):
    """Store weights, and with int8 and int16x8 activations too, in fewer bits."""

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = "Stores weights and activations in fewer bits: int8, int16x8, float16, dynamic or float32."
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset({"calibration"})

    scheme: Scheme = "int8"
    """int8: all integer. int16x8: int16 activations, int8 weights. float16: half-size weights, computed in float32.
    dynamic: int8 weights, activations made int8 while the model runs. float32: nothing is quantized."""
    io: Literal["same", "float32"] = "same"
    """Type of inputs and outputs: as the activations inside, or float32 around an integer model."""
    ranges: Method | None = None
    """How calibration rows set the range of an activation: minmax, percentile or mse. By default percentile for int8
    and minmax for int16x8; the other schemes have no ranges. For int8, ranges that `qat` learned come first."""
    percentile: float = Field(default=PERCENTILE, ge=50, le=100)
    """Percent of a tensor's non-zero values that its range keeps, with ranges = percentile; the rest is clipped."""
    dense_per_channel: bool = True
    """One scale per output of a fully connected layer. false: one for the layer, for runtimes older than 2024
    (NNAPI, TFLite Micro), which compute wrong or refuse otherwise."""
    pool_as_mean: bool = True
    """With int8, compute global average pooling as a mean, which may have a finer scale than its input."""
    bias_correction: bool = True
    """Let biases take back the mean error of rounded weights, as calibration rows show it. Not where `qat` has taught
    the biases to do so."""

    equalize: bool = True
    """With int8 and one scale for a dense layer (`dense_per_channel = false`), even out the weights of dense layers
    that follow one another, where calibration rows show that it helps. Not where `qat` has learned ranges."""

    @model_validator(mode="after")
    def _only_what_counts(self) -> Quantize:
        if self.ranges is not None and not self.calibrated:
            raise ValueError(f"`ranges` has no meaning with scheme {self.scheme}: its activations stay float")
        if self.percentile != PERCENTILE and (not self.calibrated or self.method != "percentile"):
            raise ValueError("`percentile` has no meaning unless ranges = percentile")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether calibration rows set the ranges of activations."""
        return self.scheme in _STATIC

    @property
    def method(self) -> Method:
        """How ranges are set, the default of the scheme filled in."""
        return self.ranges or _STATIC[self.scheme][1]

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write `model.tflite`.

        A model that holds integers already is kept when it is what the fields ask for; float32 ends around it are
        taken off where int8 ends are asked for.

        Raises:
            PassError: no calibration data for a scheme that needs it, NaN in activations, or the file that was written
                does not hold what was asked for.
            ModelError: the model is quantized already, to something else; or what was made of it runs nowhere.
        """
        source = read_graph(model.path)
        written = ctx.out / "model.tflite"
        form = numerics.form(source)
        if form in ("int8", "uint8", "int16"):
            return self._keep(model, source, written, ctx)
        with _prepared(model.path) as (prepared, unpacked), _named(prepared, model.path):
            made = self._static(prepared, ctx) if self.calibrated else self._weights(prepared, model.path)
        written.write_bytes(keep_archive(made.content, of=model.path.read_bytes()))
        graph = read_graph(written)
        ensure_written(graph, source, scheme=self.scheme, io=self.io)
        tried = try_kernels(written, ctx, integer=self.calibrated)
        facts: dict[str, Fact] = {"scheme": self.scheme, "io": self.io, **made.facts, **tried.facts}
        if unpacked:
            facts["unpacked_weights"] = unpacked
        return Outcome(
            artifact=Artifact.of(written, Kind.TFLITE),
            facts={**facts, **facts_of(graph)},
            findings=(
                *findings_of(
                    graph, scheme=self.scheme, io=self.io, unused=made.unused, faint=made.faint, apart=made.in_float
                ),
                *made.findings,
                *learned_for_nothing(learned_ranges(model.path), scheme=self.scheme, source=ctx.source),
                *tried.findings,
            ),
        )

    def _keep(self, model: Artifact, source: Graph, written: Path, ctx: Context) -> Outcome:
        """Write a model that holds integers already."""
        content = model.path.read_bytes()
        stripped = 0
        if self.io == "same":
            changed = read_model(content)
            stripped = rewrite.strip_float_ends(changed)
            content = write_model(changed) if stripped else content
        written.write_bytes(content)
        graph = read_graph(written)
        ensure_kept(graph, scheme=self.scheme, io=self.io)
        try:
            tried = try_kernels(written, ctx, integer=True)
        except ModelError:  # TFLite Micro alone runs it, as `intake` found out
            tried = Tried({}, ())
        facts: dict[str, Fact] = {"scheme": self.scheme, "io": self.io, "already_quantized": True, **tried.facts}
        if stripped:
            facts["float_ends_removed"] = stripped
        return Outcome(
            artifact=Artifact.of(written, Kind.TFLITE),
            facts={**facts, **facts_of(graph)},
            findings=(*findings_of(graph, scheme=self.scheme, io=self.io, kept=True), *tried.findings),
        )

    def _weights(self, prepared: Path, original: Path) -> _Made:
        """Return a model that computes in floats, its weights stored as the scheme says."""
        if self.scheme == "float32":
            packed = numerics.form(read_graph(original)) != "float32"
            return _Made((prepared if packed else original).read_bytes(), {})
        to: Literal["int8", "float16"] = "int8" if self.scheme == "dynamic" else "float16"
        try:
            content = engines.litert_weights(prepared, to=to, dense_per_channel=self.dense_per_channel)
        except engines.RefusedError as refused:
            raise PassError(f"litert-quantizer does not take the model: {refused}", where="quantize") from refused
        return _Made(content, {"engine": engines.litert_quantizer_name()})

    def _static(self, prepared: Path, ctx: Context) -> _Made:
        """Return an integer model, by the quantizer that leaves fewer ops in float."""
        if ctx.calibration is None:
            raise PassError(
                f"{self.scheme} needs calibration data to set the ranges of activations",
                where="quantize",
                hint="give --data or --calibration (rows without labels will do)",
            )
        bits = _STATIC[self.scheme][0]
        pools = self._rewrite_pools(prepared) if bits == 8 else 0
        shortened = self._shorten_scales(prepared) if bits == 8 else 0
        graph, learned = read_graph(prepared), learned_ranges(prepared) if bits == 8 else {}
        levelled = 0
        if bits == 8 and self.equalize and not self.dense_per_channel and not learned:
            levelled = equalize_dense(
                prepared, ctx.calibration, method=self.method, percent=self.percentile, correct=self.bias_correction
            )
            graph = read_graph(prepared)
        correcting = self.bias_correction and not learned  # rounding has been part of what was learned
        recorder = Recorder(where="quantize", widths=correct.input_widths(graph) if correcting else {})
        columns = Columns(end_widths(graph))
        consume = both(recorder, columns)
        activations(prepared, ctx.calibration, consume=consume, progress=ctx.progress, step=self.name)
        steps = 2**bits - 1
        ranges = recorder.ranges(self.method, percent=self.percentile, steps=steps, exact=_exact(graph))
        ends = take_off_ends(prepared, columns, ranges, bits=bits, float_io=self.io == "float32")
        graph = read_graph(prepared)
        ranges = recorder.ranges(self.method, percent=self.percentile, steps=steps, exact=_exact(graph))
        ranges = widened(graph, {**ranges, **ends.ranges})
        ranges |= {name: Range(*bounds) for name, bounds in learned.items()}
        biases = correct.corrected_biases(
            graph, recorder.means(), recorder.half_means(), dense_per_channel=self.dense_per_channel
        )
        prepared.write_bytes(rewrite.with_constants(prepared, biases))
        copied = shared.own_biases(prepared)
        settings = engines.Settings(
            activation_bits=bits, float_io=self.io == "float32", dense_per_channel=self.dense_per_channel
        )
        kept = best(prepared, ranges, settings, rows=ends.rows(ctx.calibration), log=ctx.log)
        facts: dict[str, Fact] = {
            "engine": kept.engine,
            "ranges": self.method,
            "calibration_rows": len(ctx.calibration),
            "pools_as_mean": pools,
            "corrected_biases": len(biases),
        }
        if shortened:
            facts["short_scales"] = shortened
        if levelled:
            facts["equalized_layers"] = levelled
        if learned:
            facts["learned_ranges"] = len(learned)
        if self.method == "percentile":
            facts["percentile"] = self.percentile
        content = shared.with_shared_biases(kept.content) if copied else kept.content
        faint = recorder.faint(steps=steps)
        return _Made(ends.restored(content), facts, recorder.unused(), faint, ends.findings(), ends.in_float)

    def _shorten_scales(self, prepared: Path) -> int:
        """Give kernels of few values scales that gzip can squeeze, in place; return how many there were."""
        found = with_short_scales(read_graph(prepared), dense_per_channel=self.dense_per_channel)
        if found:
            prepared.write_bytes(rewrite.with_constants(prepared, found))
        return len(found)

    def _rewrite_pools(self, prepared: Path) -> int:
        """Rewrite global average pools in place; return how many there were."""
        if not self.pool_as_mean:
            return 0
        model = read_model(prepared)
        pools = rewrite.pool_as_mean(model)
        prepared.write_bytes(write_model(model))
        return pools


@dataclass(frozen=True)
class _Made:
    """A model, and what its making was."""

    content: bytes
    facts: Mapping[str, Fact]
    unused: tuple[str, ...] = ()
    """Names of activations that were 0 on every calibration row."""
    faint: tuple[str, ...] = ()
    """Names of activations that are smaller than the finest step of integers."""
    findings: tuple[Finding, ...] = ()
    """What its making found."""
    in_float: frozenset[str] = frozenset()
    """Names of what ops write that stay float on request."""


@contextmanager
def _prepared(model: Path) -> Iterator[tuple[Path, int]]:
    """Give a copy of a float model that quantizers take: float weights, names told apart, a signature.

    Also gives how many packed weights were made float again.
    """
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        changed = read_model(model)
        rewrite.fill_op_codes(changed)
        unpacked = rewrite.float_weights(changed)
        add_signature(changed)
        drop_dead_ops(changed)  # litert-quantizer writes a model that ends the process when it is loaded
        make_names_unique(changed)
        path = Path(folder) / "float.tflite"
        path.write_bytes(write_model(changed))
        yield path, unpacked


@contextmanager
def _named(prepared: Path, model: Path) -> Iterator[None]:
    """Let errors about the prepared copy name the model that the user knows."""
    try:
        yield
    except ModelError as error:
        told = [replace(p, where=p.where.replace(str(prepared), str(model))) for p in error.problems]
        raise ModelError.of(told) from None


def _exact(graph: Graph) -> frozenset[str]:
    """Return the names of tensors that are never clipped.

    Inputs and outputs, which belong to the user: a clipped regression loses what it was built for. Outputs of recurrent
    ops, which they read again: the int8 LSTM kernel takes them to have the range of its hidden state, to within 0.1%.
    """
    recurrent = [op for op in graph.ops if any(i >= 0 and graph.tensors[i].is_variable for i in op.inputs)]
    kept = (*graph.inputs, *graph.outputs, *(i for op in recurrent for i in op.outputs))
    return frozenset(graph.tensors[i].name for i in kept)
