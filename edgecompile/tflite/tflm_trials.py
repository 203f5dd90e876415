"""What TFLite Micro says of a model on the host: which ops it takes, what they keep, the smallest arena that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgecompile.tflite.graph import Graph, Op, read_graph
from edgecompile.tflite.lifetimes import ALIGNMENT, aligned, needs_memory, tensor_bytes
from edgecompile.tflite.tflm import UNREGISTERED, child, ensure_installed, ensure_taken, reason
from edgecompile.tflite.tflm_child import CONTROL_FLOW


@dataclass(frozen=True)
class OpTrial:
    """What TFLite Micro says of one op of a model, prepared alone."""

    subgraph: int
    index: int
    name: str
    refused: str
    """Its own words; empty: it takes the op."""
    registered: bool
    """False: it has no op of this name at all."""
    persistent_bytes: int = 0
    """What the kernel keeps for the model's life, bytes on this 64-bit host, before alignment."""
    persistent_count: int = 0
    """In how many pieces."""
    scratch_bytes: int = 0
    """Memory that the kernel needs while it runs, bytes."""


@dataclass(frozen=True)
class HostArena:
    """The smallest arena that works on this 64-bit host, found by running the model.

    Attributes:
        arena_bytes: a multiple of 16.
        head_bytes: activations and scratch buffers as planned.
        tail_bytes: structures that live as long as the model.
        kinds: kind of structure → (bytes with alignment, bytes requested, pieces), as TFLite Micro records them.
    """

    arena_bytes: int
    head_bytes: int
    tail_bytes: int
    kinds: Mapping[str, tuple[int, int, int]]


def try_ops(model: Path) -> tuple[OpTrial, ...]:
    """Return what TFLite Micro says of each op of model, in file order, each prepared alone, and run if of uint8.

    Ops that run other subgraphs are only looked up.

    Raises:
        ToolError: TFLite Micro is not installed.
    """
    ensure_installed()
    graph = read_graph(model)
    parts = (graph, *graph.bodies)
    ops = [(s, op) for s, part in enumerate(parts) for op in part.ops]
    found: dict[int, Mapping[str, Any]] = {}
    with TemporaryDirectory(prefix="edgecompile-tflm-") as name:
        while len(found) < len(ops):
            job = {"do": "probe", "model": str(model.absolute()), "first": len(found)}
            answers = child(Path(name), job)
            tried = {a["number"]: a for a in answers if "recorded" in a or "refused" in a}
            found.update(tried)
            if not answers or not answers[-1].get("finished"):  # it died on the op that it had begun
                found[len(found)] = {"refused": "it crashes on this op"}
    return tuple(_trial(parts[s], s, op, found[number]) for number, (s, op) in enumerate(ops))


def _trial(graph: Graph, subgraph: int, op: Op, answer: Mapping[str, Any]) -> OpTrial:
    said = str(answer.get("refused", ""))
    unregistered = UNREGISTERED.search(said) is not None
    if op.name in CONTROL_FLOW and not unregistered:
        said = ""  # alone it has no subgraphs to run
    counted = answer.get("recorded", {})
    kept = [k for k in counted.get("kinds", ()) if k["what"] == "Persistent buffer data"]
    ends = [graph.tensors[i] for i in dict.fromkeys((*op.inputs, *op.outputs)) if i >= 0]
    # Alone, what an op reads and writes is all in use while it runs; what the plan takes beyond is its scratch.
    tensors = sum(aligned(tensor_bytes(t)) for t in ends if needs_memory(t))
    # The interpreter itself keeps one pointer for each input and output, in two pieces.
    pointers = 8 * sum(not t.constant and not t.is_variable for t in ends)
    return OpTrial(
        subgraph=subgraph,
        index=op.index,
        name=op.name,
        refused=reason(said) if said else "",
        registered=not unregistered,
        persistent_bytes=max(0, sum(k["requested"] for k in kept) - pointers),
        persistent_count=max(0, sum(k["count"] for k in kept) - 2),
        scratch_bytes=max(0, counted.get("head", 0) - tensors),
    )


def smallest_arena(model: Path) -> HostArena:
    """Return the smallest arena in which model runs on this host and answers as in a roomy one.

    Raises:
        ModelError: TFLite Micro refuses the model or crashes on it.
        ToolError: TFLite Micro is not installed.
    """
    ensure_installed()
    graph = read_graph(model)
    ends = {"inputs": len(graph.inputs), "outputs": len(graph.outputs)}
    known = {"too_small": 0, "works": 0, "stride": ALIGNMENT}
    with TemporaryDirectory(prefix="edgecompile-tflm-") as name:
        while True:
            answers = child(Path(name), {"do": "arena", "model": str(model.absolute()), **ends, **known})
            died_of = answers[-1].get("trying", 0) if answers else 0
            if not died_of:
                break
            known = {
                "too_small": died_of,
                "works": min((a["works"] for a in answers if "works" in a), default=known["works"]),
                "stride": 2 * known["stride"],
            }
    ensure_taken(model, answers)
    counted = answers[-1]["recorded"]
    return HostArena(
        arena_bytes=answers[-1]["arena"],
        head_bytes=counted["head"],
        tail_bytes=counted["tail"],
        kinds={k["what"]: (k["used"], k["requested"], k["count"]) for k in counted["kinds"]},
    )
