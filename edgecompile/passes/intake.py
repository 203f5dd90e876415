"""Intake: a `.tflite` that a user brings, made ready for every later step."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ConfigError, near_miss
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.recipe import ModelSection
from edgecompile.tflite.edit import DEFAULT_SIGNATURE, add_signature, read_model, write_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.probe import ensure_runs
from edgecompile.tflite.shapes import fix_shapes


class Intake(Pass):
    """The door for models that are `.tflite` already; a build puts it first by itself.

    The file is run once in a process of its own, since a damaged one can take its process down. Then dimensions that
    the model leaves open are fixed, and inputs and outputs get a signature where the file has none.
    """

    name: ClassVar[str] = "intake"
    summary: ClassVar[str] = "Makes a .tflite that was brought along ready: proved to run, sizes fixed, inputs named."
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write the ready model below ctx.out; a file that needs nothing keeps its bytes.

        Raises:
            ModelError: the file is damaged, compiled for a device already, or runs on no kernels.
            ConfigError: dimensions are open that no `--shape` gives, a shape or batch contradicts the model, or the
                signature is not that of the file's first graph.
        """
        kernels = ensure_runs(model.path, log=ctx.log)
        graph = read_graph(model.path)
        _check_signature(graph, ctx.model.signature)
        content = fix_shapes(
            model.path, _shapes(graph, ctx.model), kernels="builtin" if "builtin" in kernels else "reference"
        )
        named = False
        if not graph.signatures:
            changed = read_model(content)
            named = add_signature(changed)
            content = write_model(changed)
        ready = ctx.out / "model.tflite"
        ready.write_bytes(content)
        return Outcome(
            artifact=Artifact.of(ready, Kind.TFLITE),
            facts={
                "kernels": ", ".join(kernels),
                "signature": "added" if named else "from the file",
                "operators": len(graph.ops),
                "unchanged": content == model.path.read_bytes(),
            },
        )


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
