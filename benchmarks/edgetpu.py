"""The Edge TPU planner against what the real edgetpu_compiler did.

    python benchmarks/edgetpu.py FOLDER

FOLDER holds models (`NAME.tflite`), what the compiler made of them (`NAME_edgetpu.tflite`), its logs (`logs/`) and logs
found alone (`text_logs/`). Exit code 1 when fewer than 98% of ops or 90% of models are predicted, a status differs from
a log, an estimate of the parameters' size misses its range, or a rewrite does not help the model that needs it.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from edgecompile.backends.edgetpu import cost
from edgecompile.backends.edgetpu.findings import differences
from edgecompile.backends.edgetpu.fit.apply import fit
from edgecompile.backends.edgetpu.fit.proof import compared
from edgecompile.backends.edgetpu.fit.table import ENTRIES
from edgecompile.backends.edgetpu.inside import CUSTOM_OP, Recovered, recover
from edgecompile.backends.edgetpu.log import CompilerLog, parse_log
from edgecompile.backends.edgetpu.payload import Package, read_package
from edgecompile.backends.edgetpu.planner import Plan, plan_mapping
from edgecompile.backends.rules import identifier
from edgecompile.tflite.graph import read_graph

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from edgetpu_needs import NEEDS

MIB = 1 << 20
ROOMS = {
    "google-coral/edgetpu #60, compiler 2.1": 6.87,
    "google-coral/edgetpu #173, compiler 14.1": 8.02,
    "google-coral/edgetpu #324, compiler 15": 7.85,
    "google-coral/edgetpu #324, compiler 15, three subgraphs": 8.19,
    "google-coral/edgetpu #427, compiler 15": 1.92,
    "google-coral/edgetpu #458, compiler 16, two models together": 5.34,
    "google-coral/edgetpu #463": 7.74,
    "google-coral/edgetpu #518, compiler 15, two models together": 7.16,
    "google-coral/edgetpu #518, compiler 16, two models together": 7.04,
    "google-coral/edgetpu #557, compiler 16, first of two segments": 7.04,
    "google-coral/edgetpu #572, compiler 16": 1.09,
    "tensorflow/models #9033, compiler 14.1": 7.72,
    "eehoeskrap/PaperReview #15, compiler 16": 7.63,
    "WongKinYiu/yolov7 #1672, compiler 16": 7.06,
    "efficientdet_lite0_v16, compiler 16": 7.50,
}
"""Published log → room for parameters, used and remaining, MiB. Their models are not public."""

SHARE_OF_OPS, SHARE_OF_MODELS = 0.98, 0.90


@dataclass
class Case:
    """One model before and after the compiler."""

    name: str
    plan: Plan
    real: Recovered
    packages: list[Package]
    log: CompilerLog | None
    misses: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def ops(self) -> int:
        return len(self.plan.placements)

    @property
    def wrong(self) -> frozenset[int]:
        return self.plan.on_tpu ^ (self.real.inside | self.real.removed)

    @property
    def parameter_bytes(self) -> int:
        return sum(p.cached_bytes + p.streamed_bytes for p in self.packages)


def main(folder: Path) -> int:
    cases = [read_case(file) for file in sorted(folder.glob("*_edgetpu.tflite"))]
    mapping = show_mapping(cases)
    memory = show_parameters(cases)
    logs = show_logs(folder)
    show_rewrites(folder, cases)
    rewrites = show_needs()
    return 0 if mapping and memory and logs and rewrites else 1


def read_case(compiled_file: Path) -> Case:
    name = compiled_file.name.removesuffix("_edgetpu.tflite")
    source = read_graph(compiled_file.with_name(f"{name}.tflite"))
    compiled = read_graph(compiled_file)
    log = compiled_file.parent / "logs" / f"{name}_edgetpu.log"
    return Case(
        name=name,
        plan=plan_mapping(source),
        real=recover(source, compiled),
        packages=[
            read_package(op.custom_options.tobytes())
            for op in compiled.ops
            if op.name == CUSTOM_OP and op.custom_options is not None
        ],
        log=parse_log(log.read_text("utf-8")) if log.is_file() else None,
    )


def show_mapping(cases: list[Case]) -> bool:
    print("ops on the Edge TPU: expected against what the compiler did\n")
    print(f"{'model':52}{'ops':>5}{'real':>6}{'expected':>10}{'wrong':>7}  statuses of the log")
    misses = []
    differing = 0
    for case in cases:
        apart = differences(case.plan, case.log) if case.log is not None else []
        differing += bool(apart)
        said = "no log" if case.log is None else f"{len(apart)} differ" if apart else "equal"
        print(
            f"{case.name[:50]:52}{case.ops:5}{len(case.real.inside):6}{len(case.plan.on_tpu):10}"
            f"{len(case.wrong):7}  {said}"
        )
        misses += [(case, i) for i in sorted(case.wrong)]
        if case.real.disputed or case.real.by_shape or case.real.inserted or case.real.removed:
            print(f"{'':52}{case.real}")
    ops, wrong = sum(c.ops for c in cases), sum(len(c.wrong) for c in cases)
    whole = sum(not c.wrong for c in cases)
    print(f"\n{ops - wrong} of {ops} ops ({(ops - wrong) / ops:.2%}), {whole} of {len(cases)} models entirely")
    naive = sum(len(c.real.inside | c.real.removed) for c in cases)
    print(f"(whoever puts every op on the Edge TPU has {naive / ops:.2%} of ops right)")
    on_cpu = Counter(p.status for c in cases for p in c.plan.placements if p.subgraph is None)
    print(f"of these the CPU runs {sum(len(c.real.outside) for c in cases)} ops: {dict(on_cpu)}")
    print("\nmisses" if misses else "\nno misses")
    for case, index in misses:
        placed = case.plan.placements[index]
        rule = identifier(placed.breach.rule) if placed.breach else placed.status
        where = "Edge TPU" if index in case.real.inside else "CPU"
        print(f"  {case.name}: op {index} {placed.op.name}, really on the {where}; expected: {rule}")
    return (ops - wrong) / ops >= SHARE_OF_OPS and whole / len(cases) >= SHARE_OF_MODELS and not differing


def show_parameters(cases: list[Case]) -> bool:
    print("\nbytes of parameters on the chip: estimate against what the compiled model holds\n")
    print(f"{'model':52}{'in file':>10}{'real':>10}{'streamed':>10}{'error':>9}  range")
    errors = []
    inside = True
    for case in cases:
        graph, on = case.plan.graph, case.real.inside
        best = sum(cost.on_chip_bytes(graph, op) for op in graph.ops if op.index in on)
        found = cost.parameters(graph, on)
        real, streamed = case.parameter_bytes, sum(p.streamed_bytes for p in case.packages)
        kept = found.on_chip.low <= real <= found.on_chip.high
        inside &= kept
        error = best / real - 1
        lstm = any(op.name.endswith("LSTM") for op in graph.ops)
        if not lstm and real > 3_000:
            errors.append(abs(error))
        shown = "" if lstm else f"{error:+.2%}"
        print(
            f"{case.name[:50]:52}{found.stored:10,}{real:10,}{streamed:10,}{shown:>9}  "
            f"{found.on_chip.low:,} to {found.on_chip.high:,}{'' if kept else '  MISSED'}"
        )
    exact = sum(e == 0 for e in errors)
    print(
        f"\nabove 3,000 bytes, without LSTM: {len(errors)} models, {exact} to the byte, "
        f"mean error {sum(errors) / len(errors):.2%}, largest {max(errors):.2%}"
    )
    return inside


def show_logs(folder: Path) -> bool:
    print("\nlogs: version, ops on the Edge TPU and the CPU, room for parameters\n")
    kept = True
    for file in sorted([*folder.glob("logs/*"), *folder.glob("text_logs/*")]):
        log = parse_log(file.read_text("utf-8"))
        mapped = sum(n for (_, said), n in log.operators.items() if said == "Mapped to Edge TPU")
        others = sum(log.operators.values()) - mapped
        room = log.capacity_bytes
        within = room is None or cost.CAPACITY_LOW_BYTES <= room <= cost.CAPACITY_HIGH_BYTES
        agree = log.ops_on_tpu in (None, mapped) and log.ops_on_cpu in (None, others)
        kept &= within and agree and not log.unknown_statuses()
        shown = "" if room is None else f", {log.cached_bytes:,} cached of {room:,} bytes"
        print(f"{file.name[:50]:52}{log.version or '-':16}{mapped:5}{others:5}{shown}{'' if within else '  MISSED'}")
    show_rooms()
    return show_efficientdet(folder / "text_logs" / "efficientdet_lite0_v16.txt") and kept


def show_efficientdet(file: Path) -> bool:
    """Print how the estimate fits the one log that states bytes; its model is not there, and its layers are public."""
    if not file.is_file():
        return True
    log = parse_log(file.read_text("utf-8"))
    layers = efficientdet_lite0()
    counts = Counter(name for name, _ in layers)
    same = all(log.operators[name, "Mapped to Edge TPU"] == n for name, n in counts.items())
    stated, found = log.cached_bytes or 0, sum(cost.weights_bytes(name, shape, scales=True) for name, shape in layers)
    error = found / stated - 1
    print(f"\nEfficientDet-Lite0 by its architecture: {dict(counts)}, {'as' if same else 'NOT as'} in the log")
    print(f"parameters on the chip: {found:,} bytes estimated, {stated:,} in the log, error {error:+.2%}")
    return same and abs(error) <= cost.TOLERANCE


def efficientdet_lite0() -> list[tuple[str, tuple[int, ...]]]:
    """Return op and shape of weights of all convolutions.

    Source: the model's own configuration (EfficientNet-Lite0; three BiFPN cells and heads of three layers, 64 channels
    each; 90 classes, 9 anchors; five levels, whose heads are ops of their own).
    """
    layers: list[tuple[str, tuple[int, ...]]] = []

    def conv(made: int, given: int, kernel: int = 1) -> None:
        layers.append(("CONV_2D", (made, kernel, kernel, given)))

    def separable(made: int) -> None:
        layers.append(("DEPTHWISE_CONV_2D", (1, 3, 3, 64)))
        conv(made, 64)

    conv(32, 3, 3)
    given = 32
    for blocks, kernel, grow, made in (
        *((1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320)),
    ):
        for _ in range(blocks):
            if grow > 1:
                conv(grow * given, given)
            layers.append(("DEPTHWISE_CONV_2D", (1, kernel, kernel, grow * given)))
            conv(made, grow * given)
            given = made
    for level in (320, 320, 112, 40, 112, 320):
        conv(64, level)
    for _ in range(3 * 8):
        separable(64)
    for values in (9 * 4, 9 * 90):
        for _ in range(5):
            for made in (64, 64, 64, values):
                separable(made)
    return layers


def show_rooms() -> None:
    """Print how the range for the room fits published logs; misses are told, and no reason to fail: they are known."""
    low, high = cost.CAPACITY_LOW_BYTES / MIB, cost.CAPACITY_HIGH_BYTES / MIB
    outside = {where: room for where, room in ROOMS.items() if not low <= room <= high}
    print(f"\nroom for parameters in published logs: {len(ROOMS) - len(outside)} of {len(ROOMS)} within", end=" ")
    print(
        f"{low:.1f} to {high:.1f} MiB; outside: {'; '.join(f'{where}: {room} MiB' for where, room in outside.items())}"
    )


def show_rewrites(folder: Path, cases: list[Case]) -> None:
    """Print what `edgetpu-fit` brings, for the models that it changes."""
    print("\nedgetpu-fit: expected before and after\n")
    print(f"{'model':40}{'ops':>10}{'work':>8}{'ops':>10}{'work':>8}  rewrites, largest difference in codes")
    for case in cases:
        found = fit((folder / f"{case.name}.tflite").read_bytes())
        if found.made:
            made = ", ".join(f"{one.rewrite.apply.__name__} {one.layer} {one.codes}" for one in found.made)
            print(f"{case.name:40}{share(found.before)}{share(found.after)}  {made}")


def show_needs() -> bool:
    """Print what each rewrite brings to a small model that needs it."""
    print("\neach rewrite on a small model that needs it: ops and multiply-accumulates expected on the Edge TPU\n")
    print(f"{'rewrite':24}{'before':>18}{'after':>18}  largest output difference of the whole model, codes")
    kept = True
    for entry in ENTRIES:
        name = entry.rewrite.apply.__name__
        content = NEEDS[name]()
        found = fit(content)
        difference = compared(content, found.content, seed=1)
        whole = entry.rewrite.moves or len(found.after.on_tpu) == len(found.after.placements)
        whole &= found.after.share_of_macs == 1.0
        kept &= [one.rewrite for one in found.made] == [entry.rewrite] and whole and difference is not None
        print(f"{name:24}{share(found.before)}{share(found.after)}  {difference}")
    return kept


def share(plan: Plan) -> str:
    work = "" if plan.share_of_macs is None else f"{plan.share_of_macs:.1%}"
    return f"{f'{len(plan.on_tpu)}/{len(plan.placements)}':>10}{work:>8}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
