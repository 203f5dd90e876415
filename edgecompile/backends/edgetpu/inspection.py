"""What a model is to the Edge TPU: compiled, what is inside; not compiled, what the compiler is expected to do."""

from __future__ import annotations

from edgecompile.backends.edgetpu.inside import CUSTOM_OP, Recovered, recover
from edgecompile.backends.edgetpu.payload import PayloadError, read_package
from edgecompile.backends.edgetpu.planner import plan_mapping
from edgecompile.config import Frozen
from edgecompile.report import TensorInfo
from edgecompile.tflite.graph import Graph, Op


class Chip(Frozen):
    """One Edge TPU subgraph of a compiled model."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    bytes: int
    """Size of the custom op's content."""
    unreadable: str = ""
    """Why nothing of what follows is known; empty: it is."""
    min_runtime_version: int = 0
    compiler_version: str = ""
    """What the compiler calls itself in the file: release builds say only `cl/`."""
    chip: str = ""
    programs: tuple[str, ...] = ()
    """Kinds of its programs: `parameter caching` runs once, `execution only` at every inference."""
    cached_bytes: int = 0
    """Parameters that stay on the chip."""
    streamed_bytes: int = 0
    """Parameters that are sent at every inference."""
    instruction_bytes: int = 0
    activation_bytes_per_tile: int = 0


class Left(Frozen):
    """An op on the CPU."""

    op: str
    layer: str
    """Name of the first tensor that it makes."""


class Comparison(Frozen):
    """A compiled model beside the model that it was made of."""

    ops: int
    inside: int
    """Ops of the source on the Edge TPU."""
    expected_inside: int
    otherwise: tuple[str, ...]
    """Ops that are not where the planner expected them."""
    unsure: str = ""
    """Why the ops inside may not be told exactly; empty: they are."""


class CompiledModel(Frozen):
    """A model that was compiled for the Edge TPU."""

    chips: tuple[Chip, ...]
    on_cpu: tuple[Left, ...]
    compared: Comparison | None = None


def inspect_compiled(graph: Graph, source: Graph | None = None) -> CompiledModel | None:
    """Return what a compiled model holds; None where graph was not compiled for the Edge TPU.

    Args:
        graph: the model.
        source: what it was compiled from: tells which ops are inside.
    """
    customs = [op for op in graph.ops if op.name == CUSTOM_OP]
    if not customs:
        return None
    return CompiledModel(
        chips=tuple(_chip(graph, op) for op in customs),
        on_cpu=tuple(Left(op=op.name, layer=_layer(graph, op)) for op in graph.ops if op.name != CUSTOM_OP),
        compared=None if source is None else _compared(source, recover(source, graph), several=len(customs) > 1),
    )


def _chip(graph: Graph, op: Op) -> Chip:
    content = b"" if op.custom_options is None else op.custom_options.tobytes()
    known = Chip(inputs=_tensors(graph, op.inputs), outputs=_tensors(graph, op.outputs), bytes=len(content))
    try:
        package = read_package(content)
    except PayloadError as error:
        return known.model_copy(update={"unreadable": str(error)})
    return known.model_copy(
        update={
            "min_runtime_version": package.min_runtime_version,
            "compiler_version": package.compiler_version,
            "chip": package.chip,
            "programs": tuple(e.type for e in package.executables),
            "cached_bytes": package.cached_bytes,
            "streamed_bytes": package.streamed_bytes,
            "instruction_bytes": package.instruction_bytes,
            "activation_bytes_per_tile": package.activation_bytes_per_tile,
        }
    )


def _tensors(graph: Graph, indices: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    tensors = (graph.tensors[i] for i in indices if i >= 0)
    return tuple(
        TensorInfo(
            name=t.name,
            shape=t.shape,
            dtype=t.dtype,
            scale=None if t.quantization is None else float(t.quantization.scale[0]),
            zero_point=None if t.quantization is None else int(t.quantization.zero_point[0]),
        )
        for t in tensors
    )


def _compared(source: Graph, real: Recovered, *, several: bool) -> Comparison:
    plan = plan_mapping(source, several=several)
    apart = plan.on_tpu ^ (real.inside | real.removed)
    places = {True: "on the Edge TPU", False: "on the CPU"}
    doubts = []
    if real.by_shape:
        doubts.append(f"{len(real.by_shape)} ops were found by shape alone")
    if real.disputed:
        doubts.append(f"{len(real.disputed)} ops seem to be both inside and outside")
    if real.inserted:
        doubts.append(f"{len(real.inserted)} ops on the CPU are not in the source")
    return Comparison(
        ops=len(source.ops),
        inside=len(real.inside),
        expected_inside=len(plan.on_tpu),
        otherwise=tuple(
            f"{source.ops[i].name} → {_layer(source, source.ops[i])}: {places[i in real.inside]}" for i in sorted(apart)
        ),
        unsure="; ".join(doubts),
    )


def _layer(graph: Graph, op: Op) -> str:
    return graph.tensors[op.outputs[0]].name if op.outputs else ""
