"""What makes a model fit that does not: options, passes and targets, with the bytes that each would take."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from edgecompile.backends.micro.lower import Lowered, lower, on_kernels
from edgecompile.backends.micro.options import MicroOptions, micro_options
from edgecompile.target import Target, load_target, target_files
from edgecompile.tflite.arena import Kernels
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.lifetimes import tensor_bytes
from edgecompile.tflite.lighter import VALUES, few_values, with_weights
from edgecompile.tflite.lut import tables

_TIMES = {"float32": 4, "int16": 2}
"""Dtype of activations → how many times as many bytes as int8 they take."""


def sram_advice(lowered: Lowered, options: MicroOptions, *, limit: int) -> list[str]:
    """Return what would make the arena fit into limit bytes."""
    advice = [f"--option {name}=true" for name in ("plan", "in_place", "reorder") if not getattr(options, name)]
    if options.look_up_tables:
        advice.append("--option look_up_tables=false: unpacked weights lie in the arena")
    head, tail = lowered.arena.head_bytes, lowered.arena.arena_bytes - lowered.arena.head_bytes
    times = _TIMES.get(_activations(lowered.graph), 1)
    if times > 1:
        return [*advice, _verdict('quantize to int8: recipe "int8"', tail + head // times, limit, how="estimated")]
    if limit <= tail:
        return [*advice, f"fewer ops: what TFLite Micro keeps of them takes {tail:,} bytes without any activation"]
    return [
        *advice,
        f"the plan peaks at {_peak(lowered)}: it fits when {(limit - tail) / head:.0%} of the values there are left, "
        "by a smaller input, or by fewer channels (pass `channels`)",
    ]


def flash_advice(lowered: Lowered, model: Path, options: MicroOptions, *, limit: int) -> list[str]:
    """Return what would make the file for the device, made from model, fit into limit bytes."""
    advice = [] if options.pack else ["--option pack=true"]
    if floats := _float_bytes(lowered.graph):
        size = lowered.device_bytes - floats * 3 // 4
        advice.append(_verdict('quantize to int8: recipe "int8"', size, limit, how="estimated"))
    elif not options.look_up_tables:
        tried = _clustered(model, options)
        if tried is not None and tried.device_bytes < lowered.device_bytes:
            words = f"{VALUES} values per kernel (pass `cluster`) with --option look_up_tables=true"
            how = f"tried; arena {tried.arena.arena_bytes:,}"
            advice.append(_verdict(words, tried.device_bytes, limit, how=how))
    share = max(limit, 0) / lowered.device_bytes
    advice.append(f"fewer channels: pass `channels` with bytes = {limit}, {share:.0%} of what the model takes now")
    return advice


def fitting_targets(lowered: Lowered, target: Target, options: MicroOptions) -> str:
    """Return which of the known targets of this backend would take the model, with their own kernels."""

    @cache
    def arena_bytes(kernels: Kernels) -> int:
        if kernels == options.kernels:
            return lowered.arena.arena_bytes
        return on_kernels(lowered, options.model_copy(update={"kernels": kernels})).arena_bytes

    fits = []
    for name in sorted(target_files()):
        other = load_target(name)
        if name == target.name or other.backend != target.backend:
            continue
        memory, kernels = other.memory, micro_options(other).kernels
        sram = memory.sram_bytes is None or arena_bytes(kernels) <= memory.sram_bytes - memory.reserved_sram_bytes
        flash = memory.flash_bytes is None or lowered.device_bytes <= memory.flash_bytes - memory.reserved_flash_bytes
        if sram and flash:
            fits.append(name)
    return f"targets that would fit: {', '.join(fits)}" if fits else "no known target would fit"


def _verdict(change: str, size: int, limit: int, *, how: str) -> str:
    ends = "fits" if size <= limit else f"still {size - limit:,} too many"
    return f"{change}: {size:,} bytes ({how}), {ends}"


def _activations(graph: Graph) -> str:
    """Return the dtype that most bytes of activations have."""
    taken: Counter[str] = Counter()
    for tensor in graph.tensors:
        if not tensor.constant and not tensor.is_variable:
            taken[tensor.dtype] += tensor_bytes(tensor)
    return taken.most_common(1)[0][0]


def _float_bytes(graph: Graph) -> int:
    """Return the bytes of float weights, which quantization makes a quarter."""
    return sum(tensor_bytes(t) for t in graph.tensors if t.constant and t.dtype == "float32" and len(t.shape) > 1)


def _peak(lowered: Lowered) -> str:
    """Return the op during which most bytes are in use, by its number and the name of its output."""
    graph, plan = lowered.graph, lowered.plan
    if plan is None:
        return "the loop or branch that TFLite Micro plans itself"
    in_use = [sum(b.size for b in plan.buffers if b.first <= step <= b.last) for step in range(len(plan.order))]
    op = plan.order[in_use.index(max(in_use))]
    return f"op {op.index} → {graph.tensors[op.outputs[0]].name}" if op.outputs else f"op {op.index}"


def _clustered(model: Path, options: MicroOptions) -> Lowered | None:
    """Return the file for the device, had every kernel few values, stored as tables; None: no table pays."""
    with TemporaryDirectory(prefix="edgecompile-") as name:
        lighter = Path(name) / "lighter.tflite"
        lighter.write_bytes(with_weights(model, few_values))
        if not tables(read_graph(lighter)):
            return None
        return lower(lighter, options.model_copy(update={"look_up_tables": True}), out=Path(name) / "device.tflite")
