"""LiteRT's interpreter with a named set of kernels, and its refusals as errors that say what to try."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from edgecompile.errors import ModelError
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.refusals import remedy, unknown_remedy

Kernels = Literal["xnnpack", "builtin", "reference"]
"""LiteRT kernel sets: XNNPACK delegate, optimized built-in kernels, reference kernels."""

KERNELS: tuple[Kernels, ...] = get_args(Kernels)

_RESOLVERS = {"xnnpack": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Kernel set → member of LiteRT's OpResolverType. AUTO gives XNNPACK what it takes and the rest to built-in kernels."""

_FOREIGN_OPS = {
    "edgetpu-custom-op": ("the model is already compiled for the Edge TPU", "give the .tflite it was compiled from"),
    "ethos-u": ("the model is already compiled for an Ethos-U by Vela", "give the .tflite it was compiled from"),
    "NeutronGraph": ("the model is already compiled for an NXP Neutron NPU", "give the .tflite it was converted from"),
}
"""Custom op → what its presence means, and what to do."""

_SVDF_STATE = 4
"""Which input of SVDF is its state."""

_FAILED_NODE = re.compile(r"Node number (?P<index>\d+) \((?P<op>[^)]*)\) failed to (?P<step>prepare|invoke)")
_UNKNOWN_OP = re.compile(r"unresolved custom op: (?P<op>[^\s]+?)\.?\s")
_NOISE = re.compile(r"\s*See instructions: \S+|(?:\S*/)?\S+\.(?:cc|h):\d+\s*|\s+")
"""Links, source positions and line breaks in LiteRT's messages."""

_REASON_CHARS = 160
"""LiteRT repeats some messages for every tensor."""


def prepare(
    model: Path,
    kernels: Kernels,
    *,
    shapes: Mapping[int, tuple[int, ...]] | None = None,
    threads: int = 1,
    keep_all: bool = False,
) -> Any:
    """Return an interpreter of model with its memory allocated.

    Args:
        model: a file that `read_graph` took. It may still crash LiteRT, unless `probe.ensure_runs` let it pass.
        kernels: which implementations of the ops run.
        shapes: input tensor index → shape to resize it to.
        threads: threads within one op. One is never slow; with more, LiteRT's built-in kernels wait for each other in a
            busy loop, 19 times slower (measured) when another program uses the core.
        keep_all: keep every tensor readable after a run; needs `builtin` or `reference`.

    Raises:
        ModelError: the interpreter refuses; names the op, and the kernel sets that take the model.
    """
    try:
        return allocated(model, kernels, shapes=shapes, threads=threads, keep_all=keep_all)
    except (ValueError, RuntimeError) as error:
        raise refusal(model, kernels, str(error), others=takers(model, kernels)) from None


def allocated(
    model: Path | bytes,
    kernels: Kernels,
    *,
    shapes: Mapping[int, tuple[int, ...]] | None = None,
    threads: int = 1,
    keep_all: bool = False,
) -> Any:
    """As `prepare`, of a file or its bytes, but let LiteRT's own ValueError or RuntimeError out."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        **({"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}),
        num_threads=threads,
        experimental_op_resolver_type=OpResolverType[_RESOLVERS[kernels]],
        experimental_preserve_all_tensors=keep_all,
    )
    for index, shape in (shapes or {}).items():
        interpreter.resize_tensor_input(index, shape)
    interpreter.allocate_tensors()
    return interpreter


def takers(model: Path, kernels: Kernels) -> tuple[Kernels, ...]:
    """Return the kernel sets other than kernels that load model and allocate its memory."""
    return tuple(k for k in KERNELS if k != kernels and _allocates(model, k))


def _allocates(model: Path, kernels: Kernels) -> bool:
    try:
        allocated(model, kernels)
    except (ValueError, RuntimeError):
        return False
    return True


def refusal(model: Path, kernels: Kernels, message: str, *, others: Sequence[Kernels]) -> ModelError:
    """Return the error for a message of LiteRT about model; others are the kernel sets that take it."""
    unknown, node = _UNKNOWN_OP.search(message + " "), _FAILED_NODE.search(message)
    if unknown:
        return unknown_op(unknown["op"], where=str(model))
    if node and node["op"].startswith("Flex"):
        return unknown_op(node["op"], where=str(model))
    words = _NOISE.sub(" ", message[: node.start()] if node else message)
    reason = textwrap.shorten(words, _REASON_CHARS, placeholder=" …") or "no reason given"
    where = f"{model}, op {node['index']} `{node['op']}`" if node else str(model)
    hint = advice(others, op=node["op"] if node else "")
    if node and not others:
        known, what_to_do = remedy(read_graph(model), node["op"], int(node["index"]), message)
        reason, hint = known or reason, what_to_do or hint
    return ModelError(f"LiteRT's {kernels} kernels refuse the model: {reason}", where=where, hint=hint)


def advice(others: Sequence[Kernels], *, op: str = "") -> str:
    """Return what to do about a model that only others take; op is what the kernels that do not have named."""
    return f"other kernels take the model: {', '.join(others)}" if others else unknown_remedy(op)


def ensure_known_ops(graph: Graph, *, where: str) -> None:
    """Raise ModelError where graph holds an op that only a certain device or TensorFlow itself has."""
    for op in graph.every_op():
        if op.custom and (op.name in _FOREIGN_OPS or op.name.startswith("Flex")):
            raise unknown_op(op.name, where=where)


def ensure_safe(graph: Graph, *, where: str) -> None:
    """Raise ModelError where LiteRT's kernels would write beyond a tensor, which they do not always die of.

    LiteRT's integer SVDF takes its state for int16, whatever it is (kernels/internal/reference/svdf.h);
    TFLite Micro has a kernel for states of int8.
    """
    for part in (graph, *graph.bodies):
        for op in part.ops:
            if op.name == "SVDF" and len(op.inputs) > _SVDF_STATE and op.inputs[_SVDF_STATE] >= 0:
                state = part.tensors[op.inputs[_SVDF_STATE]]
                if state.dtype == "int8":
                    raise ModelError(
                        "LiteRT has no SVDF with an int8 state, and would write beyond it",
                        where=f"{where}, op {op.index} `SVDF`",
                        hint="the model was made for TFLite Micro: build it for a microcontroller or an Ethos-U",
                    )


def foreign(graph: Graph) -> bool:
    """Return whether graph is compiled for an accelerator already."""
    return any(op.custom and op.name in _FOREIGN_OPS for op in graph.every_op())


def unknown_op(op: str, *, where: str) -> ModelError:
    """Return the error for a custom op that LiteRT does not have."""
    if op in _FOREIGN_OPS:
        what, hint = _FOREIGN_OPS[op]
        return ModelError(f"{what} (custom op `{op}`)", where=where, hint=hint)
    if op.startswith("Flex"):
        return ModelError(
            f"`{op}` is a TensorFlow op that only TensorFlow's Flex delegate runs",
            where=where,
            hint="convert the model without `SELECT_TF_OPS`",
        )
    return ModelError(
        f"LiteRT has no custom op `{op}`",
        where=where,
        hint="cut the op off the model and run it in the application, or use ops that LiteRT has",
    )
