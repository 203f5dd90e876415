"""From a model to the file for the device: every op tried, activations planned, the file packed, outputs compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.backends.loops import ensure_control_flow
from edgecompile.backends.micro.options import MicroOptions
from edgecompile.backends.micro.remedies import remedy
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError, PassError, Problem
from edgecompile.tflite.arena import DeviceArena, device_arena, kernel_scratch
from edgecompile.tflite.batch import row_shapes
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.feeds import stored_rows
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.lut import Table, compress, tables
from edgecompile.tflite.memory_plan import MemoryPlan, apply_plan, plan_memory
from edgecompile.tflite.pack import strip, write_packed
from edgecompile.tflite.runner import predict
from edgecompile.tflite.tflm_trials import HostArena, OpTrial, smallest_arena, try_ops

_COMPARED_ROWS = 32
"""Random inputs on which the device's file must answer as the given one; the benchmark compares 1,000."""


@dataclass(frozen=True)
class Lowered:
    """The file for the device and what it needs.

    Attributes:
        path: the file.
        plan: of its activations; None for models with control flow, which TFLite Micro plans alone.
        host: the smallest arena of the file on this host.
        arena: on the device.
        stock: on the device for the model as given, planned by TFLite Micro.
        graph: of the file before packing, with names.
        trials: what TFLite Micro said of each op of it.
        given_bytes, device_bytes: sizes of both files.
        tables: weights that are stored as look-up tables, or could be where the device does not ask for it.
    """

    path: Path
    plan: MemoryPlan | None
    host: HostArena
    arena: DeviceArena
    stock: DeviceArena
    graph: Graph
    trials: tuple[OpTrial, ...]
    given_bytes: int
    device_bytes: int
    tables: tuple[Table, ...] = ()

    def buffers(self) -> list[dict[str, Any]]:
        """Return each buffer of the plan: names of its tensors, size, offset, and the ops it is in use for."""
        assert self.plan is not None
        return [
            {
                "tensors": [self.graph.tensors[i].name for i in b.tensors] or ["scratch"],
                "bytes": b.size,
                "offset": offset,
                "first": b.first,
                "last": b.last,
            }
            for offset, b in zip(self.plan.offsets, self.plan.buffers, strict=True)
        ]


def lower(model: Path, options: MicroOptions, *, out: Path) -> Lowered:
    """Write the file for the device to out, and return it with what it needs.

    Raises:
        ModelError: TFLite Micro refuses ops: all of them at once.
        PassError: the file answers differently from the model.
        ToolError: TFLite Micro's interpreter is not installed.
    """
    given_graph = read_graph(model)
    given_trials = try_ops(model)
    _ensure_taken(model, given_graph, given_trials)
    ensure_control_flow(model, given_graph, random_rows(given_graph, _COMPARED_ROWS))
    given = smallest_arena(model)
    stock = _plan(given_graph, given_trials, options.model_copy(update={"plan": False}))
    out.parent.mkdir(parents=True, exist_ok=True)
    chosen = tables(given_graph)
    source, graph, trials = model, given_graph, given_trials
    if options.look_up_tables and chosen:
        source = out.with_name(f"{out.stem}_unpacked.tflite")
        source.write_bytes(compress(model, chosen))
        graph, trials = read_graph(source), try_ops(source)
    plan = _plan(graph, trials, options)
    out.write_bytes(_content(source, plan, options))
    _ensure_equal(model, given_graph, out)
    host = smallest_arena(out)
    return Lowered(
        path=out,
        plan=plan,
        host=host,
        arena=device_arena(
            read_graph(out),
            host,
            trials,
            head_bytes=host.head_bytes if plan is None else plan.height,
            kernels=options.kernels,
        ),
        stock=device_arena(
            given_graph,
            given,
            given_trials,
            head_bytes=given.head_bytes if stock is None else stock.height,
            kernels=options.kernels,
        ),
        graph=graph,
        trials=trials,
        given_bytes=model.stat().st_size,
        device_bytes=out.stat().st_size,
        tables=chosen,
    )


def on_kernels(lowered: Lowered, options: MicroOptions) -> DeviceArena:
    """Return what the model of lowered needs where other kernels run."""
    plan = _plan(lowered.graph, lowered.trials, options)
    return device_arena(
        read_graph(lowered.path),
        lowered.host,
        lowered.trials,
        head_bytes=lowered.host.head_bytes if plan is None else plan.height,
        kernels=options.kernels,
    )


def _plan(graph: Graph, trials: tuple[OpTrial, ...], options: MicroOptions) -> MemoryPlan | None:
    """Return the plan of graph's activations; None where control flow leaves it to TFLite Micro."""
    if graph.bodies:
        return None
    return plan_memory(
        graph,
        scratch=kernel_scratch(graph, trials, options.kernels),
        place_tensors=options.plan,
        reorder=options.reorder,
        in_place=options.in_place,
    )


def _content(model: Path, plan: MemoryPlan | None, options: MicroOptions) -> bytes:
    edited = read_model(model)
    if plan is not None and (plan.fixed or plan.reordered):
        apply_plan(edited, plan)
    if not options.pack:
        return write_model(edited)
    strip(edited, runtime="tflm")
    return write_packed(edited)


def _ensure_taken(model: Path, graph: Graph, trials: tuple[OpTrial, ...]) -> None:
    refused = [trial for trial in trials if trial.refused]
    if not refused:
        return
    parts = (graph, *graph.bodies)
    problems = []
    for trial in refused:
        part = parts[trial.subgraph]
        op = part.ops[trial.index]
        layer = f" → {part.tensors[op.outputs[0]].name}" if op.outputs else ""
        problems.append(
            Problem(
                f"TFLite Micro refuses {trial.name}: {trial.refused}",
                f"{model.name}, op {trial.index}{layer}",
                remedy(part, op, registered=trial.registered),
            )
        )
    raise ModelError.of(problems)


def _ensure_equal(model: Path, graph: Graph, packed: Path) -> None:
    """Raise PassError unless both files give the same outputs on random inputs, bit for bit."""
    rows = random_rows(graph, _COMPARED_ROWS)
    before = predict(model, rows, kernels="tflm")
    names = read_graph(packed).input_names()
    renamed = Dataset(
        inputs=dict(zip(names, rows.inputs.values(), strict=True)),
        preprocess=dict(zip(names, rows.preprocess.values(), strict=True)),
    )
    after = predict(packed, renamed, kernels="tflm")
    for name, x, y in zip(before, before.values(), after.values(), strict=True):
        if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            raise PassError(
                f"planning and packing changed output `{name}`",
                where=str(model),
                hint="build with --option plan=false or --option pack=false, and report it with the model",
            )


def random_rows(graph: Graph, count: int, *, seed: int = 0) -> Dataset:
    """Return seeded inputs of graph as it stores them: every code alike, normal floats, 0 and 1 for plain integers."""
    rng, arrays = np.random.default_rng(seed), []
    for index, row in zip(graph.inputs, row_shapes(graph), strict=True):
        tensor, shape = graph.tensors[index], (count, *row)
        if tensor.quantization is not None:
            limits = np.iinfo(tensor.dtype)
            arrays.append(rng.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True))
        elif tensor.dtype.startswith("float"):
            arrays.append(rng.standard_normal(shape).astype(tensor.dtype))
        else:
            arrays.append(rng.integers(0, 2, shape).astype(tensor.dtype))
    return stored_rows(graph, arrays)
