"""Memory and flash on TFLite Micro: `python benchmarks/memory.py [MODEL.tflite …]`.

Plans beside TFLite Micro's own, for a MobileNetV1-0.25 for 96×96 images made on the spot (where TensorFlow is
installed), the models of EDGECOMPILE_DATA (reference models, TFLite Micro's examples), and 50 generated graphs with
branches, whose plan must never be above TFLite Micro's. For files, both arenas are found by running stock TFLite Micro,
and the outputs of the planned model are compared with those of the given one on 1,000 random inputs.

Then the same files packed, for every runtime and for TFLite Micro alone, with outputs compared on TFLite Micro and on
LiteRT; and the reference models with 16 values per kernel, with and without look-up tables. With arguments: the given
files instead of all these.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import build_time
import numpy as np

from edgecompile.backends.micro.lower import lower, random_rows
from edgecompile.backends.micro.options import MicroOptions
from edgecompile.data.dataset import Dataset
from edgecompile.errors import ModelError
from edgecompile.tflite.arena import kernel_scratch
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import Graph, Op, Tensor, read_graph
from edgecompile.tflite.lighter import VALUES, few_values, with_weights
from edgecompile.tflite.memory_plan import MemoryPlan, apply_plan, plan_memory
from edgecompile.tflite.pack import Runtime, least_bytes, pack_model
from edgecompile.tflite.runner import AnyKernels, predict
from edgecompile.tflite.tflm_trials import smallest_arena, try_ops

ROWS = 1000
LITERT: tuple[AnyKernels, ...] = ("reference", "builtin", "xnnpack")
PACKED_FOR: tuple[tuple[Runtime, tuple[AnyKernels, ...]], ...] = (
    ("any", (*LITERT, "tflm")),
    ("tflm", ("reference", "tflm")),
)
"""What a file is packed for, and the kernels that have to give equal outputs."""
GRAPHS = 50
HEAD = (
    f"{'model':32} {'ops':>4} {'greedy':>9} {'plan':>9} {'bound':>9} {'gap':>7}  "
    f"{'order':9} {'arena':>9} {'→':>9}  outputs"
)

PACKED = f"\n{'packed':32} {'as given':>9}" + "".join(
    f" {'bound':>9} {runtime:>9} {'share':>6} {'outputs':12}" for runtime in ("for any", "for TFLM")
)
FEW = f"{VALUES} values per kernel"
TABLES = f"\n{FEW:32} {'as given':>9} {'packed':>9} {'tables':>9} {'less':>7}  {'arena':18} outputs"


def line(name: str, graph: Graph, plan: MemoryPlan, rest: str = "") -> str:
    order = "changed" if plan.reordered else "as given"
    return (
        f"{name[:32]:32} {len(graph.ops):4} {plan.greedy:9,} {plan.height:9,} {plan.bound:9,} {plan.gap:7,}  "
        f"{order:9} {rest}"
    )


def file_line(path: Path) -> str:
    graph, trials = read_graph(path), try_ops(path)
    if refused := next((t for t in trials if t.refused), None):
        return f"{path.stem[:32]:32} TFLite Micro refuses {refused.name}: {refused.refused}"
    if graph.bodies:
        return f"{path.stem[:32]:32} has control flow: left to TFLite Micro's own plan"
    plan = plan_memory(graph, scratch=kernel_scratch(graph, trials, "reference"))
    before = smallest_arena(path).arena_bytes
    if not plan.fixed:
        return line(path.stem, graph, plan, f"{before:9,} {before:9,}  the same file")
    model = read_model(path)
    apply_plan(model, plan)
    with tempfile.TemporaryDirectory() as folder:
        planned = Path(folder) / path.name
        planned.write_bytes(write_model(model))
        after = smallest_arena(planned).arena_bytes
        same = equal(path, planned, "tflm")
    return line(path.stem, graph, plan, f"{before:9,} {after:9,}  {same} on {ROWS:,}")


def equal(one: Path, other: Path, kernels: AnyKernels) -> str:
    """Return whether both files give the same outputs on random inputs, in a word; why they cannot be run."""
    graph = read_graph(one)
    rows = random_rows(graph, ROWS)
    names = read_graph(other).input_names()
    renamed = Dataset(
        dict(zip(names, rows.inputs.values(), strict=True)),
        preprocess=dict(zip(names, rows.preprocess.values(), strict=True)),
    )
    try:
        found = predict(one, rows, kernels=kernels).values(), predict(other, renamed, kernels=kernels).values()
    except ModelError:
        return "cannot"
    return "equal" if all(map(np.array_equal, *found)) else "DIFFER"


def packing_line(path: Path) -> str:
    given, cells = path.stat().st_size, []
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / path.name
        for runtime, sets in PACKED_FOR:
            model = read_model(path)
            content = pack_model(model, runtime=runtime)
            packed.write_bytes(content)
            words = {equal(path, packed, kernels): kernels for kernels in sets}
            cells.append(f"{least_bytes(model):9,} {len(content):9,} {len(content) / given:6.3f} {'/'.join(words):12}")
    return f"{path.stem[:32]:32} {given:9,} {' '.join(cells)}"


def tables_line(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / path.name
        few.write_bytes(with_weights(path, few_values))
        made = [
            lower(few, MicroOptions(kernels="cmsis-dsp", look_up_tables=on), out=Path(folder) / str(on) / "m.tflite")
            for on in (False, True)
        ]
        same = equal(few, made[1].path, "tflm")
    plain, tabled = (m.device_bytes for m in made)
    arenas = " → ".join(f"{m.arena.arena_bytes:,}" for m in made)
    return (
        f"{path.stem[:32]:32} {path.stat().st_size:9,} {plain:9,} {tabled:9,} {1 - tabled / plain:7.1%}  {arenas:18} "
        f"{same} on {ROWS:,}"
    )


def branching(seed: int) -> Graph:
    """Return a graph of 8 to 24 ops: convolutions, splits into two or three branches, ADD and CONCATENATION joins."""
    rng = random.Random(seed)
    sizes, ops = [16 * rng.randint(8, 256)], []
    open_ends = [0]
    for _ in range(rng.randint(8, 24)):
        joins = [e for e in open_ends if rng.random() < 0.5][:3]
        if len(joins) < 2:
            joins = [rng.choice(open_ends)]
        shape = [sizes[e] for e in joins]
        kind = "CONV_2D" if len(joins) == 1 else "ADD" if len(set(shape)) == 1 else "CONCATENATION"
        made = len(sizes)
        sizes.append(sum(shape) if kind == "CONCATENATION" else shape[0] if kind == "ADD" else 16 * rng.randint(4, 256))
        ops.append((kind, tuple(joins), (made,)))
        if rng.random() < 0.65:
            open_ends = [e for e in open_ends if e not in joins]
        open_ends.append(made)
    return Graph(
        tensors=tuple(
            Tensor(i, f"t{i}", (1, size), (1, size), "int8", quantization=None, data=None)
            for i, size in enumerate(sizes)
        ),
        ops=tuple(Op(i, kind, 1, inputs, outputs, {}) for i, (kind, inputs, outputs) in enumerate(ops)),
        inputs=(0,),
        outputs=tuple(open_ends),
        signatures=(),
        subgraphs=1,
        description="",
        metadata={},
    )


def data_files() -> list[Path]:
    root = os.environ.get("EDGECOMPILE_DATA")
    if root is None:
        print("EDGECOMPILE_DATA is not set: only generated graphs")
        return []
    named = [Path(root) / "ic" / "pretrainedResnet_quant.tflite", Path(root) / "kws" / "kws_ref_model.tflite"]
    return [*named, *sorted((Path(root) / "micro").glob("*.tflite"))]


def mobilenet(folder: Path) -> list[Path]:
    """Return the int8 file of a MobileNetV1-0.25 96×96, made and quantized in folder; nothing without TensorFlow."""
    if find_spec("tensorflow") is None:
        print("TensorFlow is not installed: no MobileNet")
        return []
    model, rows = folder / "mobilenet.keras", folder / "rows.npz"
    subprocess.run([sys.executable, "-c", build_time.MODEL, str(model)], check=True, capture_output=True)
    x = np.random.default_rng(7).integers(0, 256, (32, 96, 96, 3), np.uint8)
    np.savez(rows, x=x, y=np.arange(32) % 10)
    argv = [sys.executable, "-m", "edgecompile", "build", str(model), "-t", "linux-x86_64", "--data", str(rows)]
    argv += ["--scale", "1/127.5", "--offset", "-1", "--max-drop", "1", "-o", str(folder)]
    subprocess.run(argv, check=True, capture_output=True)
    return sorted(folder.glob("mobilenet-linux-x86_64*/mobilenet.tflite"))


def mobilenet_of_tensorflow(folder: Path) -> list[Path]:
    """Return the same MobileNet as TensorFlow's own converter quantizes it; after `mobilenet`."""
    if find_spec("tensorflow") is None:
        return []
    out = folder / "mobilenet_by_tensorflow.tflite"
    argv = [sys.executable, "-c", CONVERTED, str(folder / "mobilenet.keras"), str(folder / "rows.npz"), str(out)]
    subprocess.run(argv, check=True, capture_output=True)
    return [out]


CONVERTED = """
import sys, numpy as np, tensorflow as tf
converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.models.load_model(sys.argv[1]))
converter.optimizations = [tf.lite.Optimize.DEFAULT]
rows = np.load(sys.argv[2])["x"].astype("float32") / 127.5 - 1
converter.representative_dataset = lambda: ([row[None]] for row in rows)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[3], "wb").write(converter.convert())
"""


def generated() -> None:
    plans = []
    for seed in range(GRAPHS):
        graph = branching(seed)
        plans.append(plan_memory(graph))
        print(line(f"generated {seed}", graph, plans[-1]), flush=True)
    above = sum(p.height > p.greedy for p in plans)
    saved = 1 - sum(p.height for p in plans) / sum(p.greedy for p in plans)
    print(
        f"{GRAPHS} generated graphs: {above} above greedy, {sum(p.height < p.greedy for p in plans)} below, "
        f"{sum(p.gap == 0 for p in plans)} at the bound, {saved:.1%} less in all; "
        f"largest gap {max(p.gap / p.bound for p in plans):.1%}"
    )


def table(head: str, of: Callable[[Path], str], paths: Sequence[Path]) -> None:
    print(head)
    for path in paths:
        try:
            print(of(path), flush=True)
        except ModelError as error:
            print(f"{path.stem[:32]:32} {error.problems[0].what}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, given = Path(name), [Path(p) for p in sys.argv[1:]]
        made = [] if given else [*mobilenet(folder), *mobilenet_of_tensorflow(folder)]
        paths = given or [*made, *data_files()]
        table(HEAD, file_line, paths)
        if not given:
            generated()
        table(PACKED, packing_line, paths)
        table(TABLES, tables_line, given or data_files()[:2])


if __name__ == "__main__":
    main()
