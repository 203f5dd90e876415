"""Pack: the same model in fewer bytes, for a runtime that never reads names, ranges and signatures."""

from __future__ import annotations

import shutil
from typing import ClassVar

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import PassError
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.tflite.edit import read_model
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.pack import Runtime, least_bytes, pack_model


class Pack(Pass):
    """Stores the same model in fewer bytes."""

    name: ClassVar[str] = "pack"
    summary: ClassVar[str] = "Drop what a device never reads (names, ranges, signatures) and store equal parts once."
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE
    after: ClassVar[tuple[str, ...]] = ("convert", "intake", "quantize")

    runtime: Runtime = "any"
    """What the file is for: every runtime that takes the model, or TFLite Micro alone, which needs a little less."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write the packed model, and beside it, under the role `debug`, the one that it was made from.

        Raises:
            PassError: the packed file does not hold the same ops and constants.
        """
        packed, debug = ctx.out / "model.tflite", ctx.out / "debug.tflite"
        changed = read_model(model.path)
        content = pack_model(changed, runtime=self.runtime)
        packed.write_bytes(content)
        shutil.copyfile(model.path, debug)
        before, after = read_graph(model.path), read_graph(packed)
        if _essence(before) != _essence(after):
            raise PassError("the packed model is not the same model", where=self.name, hint="leave the pass out")
        was = model.path.stat().st_size
        return Outcome(
            artifact=Artifact.of(packed, Kind.TFLITE),
            facts={
                "bytes_before": was,
                "bytes_after": len(content),
                "share": round(len(content) / was, 4),
                "least_bytes": least_bytes(changed),
                "constant_bytes": sum({t.buffer: t.raw.nbytes for t in after.tensors if t.raw is not None}.values()),
            },
            extras={"debug": debug},
        )


def _essence(graph: Graph) -> list[object]:
    """Return what must stay: each op with its options, and shape, dtype and content of what it reads and writes."""
    return [
        (op.name, op.options, [_tensor(g, i) for i in (*op.inputs, *op.outputs)])
        for g in (graph, *graph.bodies)
        for op in g.ops
    ]


def _tensor(graph: Graph, i: int) -> object:
    if i < 0:
        return None
    tensor = graph.tensors[i]
    return tensor.shape, tensor.dtype, None if tensor.raw is None else tensor.raw.tobytes()
