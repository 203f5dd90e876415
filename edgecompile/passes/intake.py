"""Intake: a `.tflite` that a user brings, made ready for every later step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError, near_miss
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.recipe import ModelSection
from edgecompile.report import Finding
from edgecompile.tflite import tflm
from edgecompile.tflite.associated import METADATA
from edgecompile.tflite.batch import row_shapes
from edgecompile.tflite.class_names import class_names
from edgecompile.tflite.densify import densify
from edgecompile.tflite.edit import DEFAULT_SIGNATURE, Model, add_signature, read_model, text, write_model
from edgecompile.tflite.feeds import stored_rows
from edgecompile.tflite.flat import load
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.inline import inline
from edgecompile.tflite.interpreter import foreign
from edgecompile.tflite.numerics import form
from edgecompile.tflite.probe import ensure_runs
from edgecompile.tflite.repair import mend_axes
from edgecompile.tflite.runner import AnyKernels, predict
from edgecompile.tflite.shapes import fix_shapes
from edgecompile.units import show_bytes


class Intake(Pass):
    """The door for models that are `.tflite` already; a build puts it first by itself.

    The file is run once in a process of its own, since a damaged one can take its process down. Then dimensions that
    the model leaves open are fixed, and inputs and outputs get a signature where the file has none.
    """

    name: ClassVar[str] = "intake"
    summary: ClassVar[str] = "Makes a .tflite that was brought along ready: proved to run, sizes fixed, inputs named."
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE

    tflm: bool = False
    """Take models that TFLite Micro alone runs; a build sets it for targets whose runtime that is."""
    keep_sparse: bool = False
    """Keep float32 weights in TFLite's sparse format; a build sets it where the runtime computes with them and the
    model stays float32. All others are written out in full."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write the ready model below ctx.out; a file that needs nothing keeps its bytes.

        Raises:
            ModelError: the file is damaged, compiled for a device already, or runs on no kernels.
            ToolError: only TFLite Micro could run it, and is not installed.
            ConfigError: dimensions are open that no `--shape` gives, a shape or batch contradicts the model, or the
                signature is not that of the file's first graph.
        """
        ready = ctx.out / "model.tflite"
        graph = read_graph(model.path)
        _check_signature(graph, ctx.model.signature)
        shapes = _shapes(graph, ctx.model)
        content = inline(load(model.path), path=model.path)
        given = read_model(content)
        mended, left_out, full = mend_axes(given), self._left_out(given), self._in_full(given, graph)
        ready.write_bytes(write_model(given) if mended or left_out or full else content)
        try:
            kernels = self._runs_on(ready, ctx)
            content = ready.read_bytes()
            if kernels != ("tflm",):
                content = fix_shapes(ready, shapes, kernels="builtin" if "builtin" in kernels else "reference")
        except ModelError as error:  # about the copy: the user knows the file by another name
            told = [replace(p, where=p.where.replace(str(ready), str(model.path))) for p in error.problems]
            raise ModelError.of(told) from None
        named = False
        if not graph.signatures:
            changed = read_model(content)
            named = add_signature(changed)
            content = write_model(changed)
        ready.write_bytes(content)
        facts = {
            "kernels": ", ".join(kernels),
            "signature": "added" if named else "from the file",
            "operators": len(graph.ops),
            "unchanged": content == model.path.read_bytes(),
        }
        return Outcome(
            artifact=Artifact.of(ready, Kind.TFLITE),
            facts=facts | ({"mended_axes": mended} if mended else {}),
            findings=(*class_names(model.path, graph).findings, *left_out, *full),
        )

    def _left_out(self, given: Model) -> tuple[Finding, ...]:
        """Take off what a model brings along for other software, where TFLite Micro is to run it, and say so."""
        files: Mapping[str, bytes] = getattr(given, "associated", {})
        if not self.tflm or not files:
            return ()
        given.associated = {}
        given.metadata = [entry for entry in given.metadata or [] if text(entry.name) != METADATA] or None
        size = show_bytes(sum(len(content) for content in files.values()))
        return (
            Finding(
                severity="info",
                rule="metadata-left-out",
                what=f"{len(files)} files in the model's metadata are left out: {', '.join(files)}, {size}",
                where=METADATA,
                consequence="Firmware does not read them; they would only take flash.",
            ),
        )

    def _in_full(self, given: Model, graph: Graph) -> tuple[Finding, ...]:
        """Write sparse weights out in full, unless they may stay, and say so."""
        if self.keep_sparse and form(graph) == "float32":
            return ()
        count = densify(given)
        if not count:
            return ()
        return (
            Finding(
                severity="info",
                rule="sparse-weights",
                what=f"{count} weights in TFLite's sparse format are written out in full",
                where="intake",
                consequence="The file holds their zeros too: quantizers and most kernels take no sparse weights.",
                remedy="They stay sparse in float32 models for a CPU target of LiteRT: --recipe float32.",
            ),
        )

    def _runs_on(self, path: Path, ctx: Context) -> tuple[AnyKernels, ...]:
        """Return the kernel sets of LiteRT that run the file at path, or TFLite Micro where none does and it may."""
        try:
            return ensure_runs(path, log=ctx.log)
        except ModelError as refused:
            graph = read_graph(path)
            open_sizes = any(t.open for part in (graph, *graph.bodies) for t in part.tensors)
            if not self.tflm or foreign(graph) or open_sizes or ctx.model.shape:
                raise
            tflm.ensure_installed()
            try:
                predict(path, _zeros(graph), kernels="tflm")
            except ModelError as error:
                raise ModelError.of([*refused.problems, *error.problems]) from None
            return ("tflm",)


def _zeros(graph: Graph) -> Dataset:
    """Return one row of zeros, as graph's inputs store them."""
    ends = [graph.tensors[i] for i in graph.inputs]
    zeros = [0 if t.quantization is None else int(t.quantization.zero_point[0]) for t in ends]
    whole = zip(row_shapes(graph), ends, zeros, strict=True)
    return stored_rows(graph, [np.full((1, *shape), zero, t.dtype) for shape, t, zero in whole])


def _check_signature(graph: Graph, wanted: str) -> None:
    """Raise ConfigError unless the first graph, which is what interpreters run, is what wanted names.

    A file with one signature only is taken under any name while the recipe asks for none.
    """
    first = [s.key for s in graph.signatures]
    others = [s.key for body in graph.bodies for s in body.signatures]
    if wanted in first or (wanted == DEFAULT_SIGNATURE and not others):
        return
    if wanted in others:
        what = f"the signature `{wanted}` is not the file's first graph, and only that one is compiled"
        raise ConfigError(what, where="model.signature", hint="convert the model with this signature alone")
    known = near_miss(wanted, [*first, *others]) if first or others else "leave it out: the file has no signatures"
    raise ConfigError(f"the model has no signature `{wanted}`", where="model.signature", hint=known)


def _shapes(graph: Graph, section: ModelSection) -> dict[str, tuple[int, ...]]:
    """Return input name → full shape, for the inputs whose shape is given or whose batch is open."""
    names = graph.input_names()
    shapes = dict(section.shape)
    if "*" in shapes:
        if len(names) != 1:
            raise ConfigError(
                f"the shape names no input, and the model has {len(names)}: {', '.join(names)}",
                where="--shape",
                hint=f"--shape {names[0]}=…",
            )
        shapes[names[0]] = shapes.pop("*")
    for name, index in zip(names, graph.inputs, strict=True):
        open_shape = graph.tensors[index].shape_signature
        if name not in shapes and open_shape[:1] == (-1,) and -1 not in open_shape[1:]:
            shapes[name] = (section.batch, *open_shape[1:])
        elif name not in shapes and section.batch != 1 and open_shape[:1] not in ((), (-1,), (section.batch,)):
            raise ConfigError(
                f"input `{name}` has a fixed batch of {open_shape[0]}, and {section.batch} was asked for",
                where="model.batch",
                hint="leave out `batch`, or convert the model with an open batch",
            )
    return shapes
