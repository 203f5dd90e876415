"""From the expected mapping to what the user reads: findings, and the sections of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from edgecompile.backends.edgetpu.cost import ROOM_SEEN, Parameters, parameters
from edgecompile.backends.edgetpu.doubts import edgetpu_large_activations
from edgecompile.backends.edgetpu.log import CompilerLog
from edgecompile.backends.edgetpu.planner import Placement, Plan
from edgecompile.backends.edgetpu.remedies import remedy_for
from edgecompile.backends.edgetpu.versions import edgetpu_readable
from edgecompile.backends.rules import Breach, Rule, findings, identifier, sentence, tensor
from edgecompile.report import Finding
from edgecompile.tflite.graph import Graph, Op
from edgecompile.units import show_bytes, show_percent


def unreadable(graph: Graph) -> tuple[Breach, ...]:
    """Return the ops for which the compiler refuses the whole model."""
    found = ((op, edgetpu_readable(graph, op)) for op in graph.every_op())
    return tuple(Breach(op, edgetpu_readable, case) for op, case in found if case)


def refusals(graph: Graph) -> tuple[Finding, ...]:
    """Return one finding about all ops that the compiler cannot read; none where it reads all."""
    return findings(
        graph,
        unreadable(graph),
        severity="error",
        consequence="edgetpu_compiler refuses the model: “Didn't find op for builtin opcode”",
        remedy="the pass `edgetpu-fit` mends what has an older form; otherwise convert with an older TensorFlow",
    )


def mapping_findings(plan: Plan) -> tuple[Finding, ...]:
    """Return what keeps ops off the Edge TPU, one finding a rule, then what is in doubt."""
    off = [p for p in plan.placements if p.breach is not None and not _at_the_door(plan.graph, p)]
    found = [_about(plan, rule, those) for rule, those in _by_rule(off).items()]
    doubts = [breach for p in plan.placements for breach in p.doubts]
    found += findings(
        plan.graph,
        doubts,
        severity="info",
        consequence="expected on the Edge TPU; if the compiler leaves it to the CPU, so does all behind it",
        remedy="compile, and read which op the log leaves out",
    )
    return (*found, *_wide_dense(plan), *_large_activations(plan), *_dense_scales(plan))


def _by_rule(off: Iterable[Placement]) -> dict[Rule, list[Placement]]:
    by_rule: dict[Rule, list[Placement]] = {}
    for placement in off:
        if placement.breach is not None:
            by_rule.setdefault(placement.breach.rule, []).append(placement)
    return by_rule


def _about(plan: Plan, rule: Rule, those: list[Placement]) -> Finding:
    breaches = [p.breach for p in those if p.breach is not None]
    ops = {p.op.index for p in those}
    held = [p for p in plan.placements if any(op.index in ops for op in p.behind)]
    consequence = "runs on the host's CPU"
    if rule is edgetpu_readable:
        consequence = "the model is cut before it, and the rest runs on the host's CPU from a file of its own"
    elif held:
        names = ", ".join(f"{n} {name}" for name, n in Counter(p.op.name for p in held).most_common(3))
        more = "" if len({p.op.name for p in held}) <= 3 else " …"
        consequence += f", and so do {_counted(len(held))} behind it that the Edge TPU has ({names}{more})"
    (found,) = findings(
        plan.graph, breaches, severity="warning", consequence=consequence, remedy=remedy_for(rule, breaches)
    )
    return found


def _at_the_door(graph: Graph, placement: Placement) -> bool:
    """Return whether placement only turns a float input or output of the model into 8 bits or back."""
    op = placement.op
    if op.name == "QUANTIZE":
        return op.inputs[0] in graph.inputs and placement.breach is not None
    return op.name == "DEQUANTIZE" and set(op.outputs) <= set(graph.outputs)


def _wide_dense(plan: Plan) -> tuple[Finding, ...]:
    wide = parameters(plan.graph, plan.on_tpu).wide_dense
    return findings(
        plan.graph,
        [Breach(op, edgetpu_wide_dense, edgetpu_wide_dense(plan.graph, op)) for op in wide],
        severity="warning",
        consequence="its weights, grown to 16 outputs at least, are sent to the chip at every inference",
        remedy="reduce the layer's input, for example by pooling",
    )


def _large_activations(plan: Plan) -> tuple[Finding, ...]:
    on_tpu = (op for op in plan.graph.ops if op.index in plan.on_tpu)
    found = ((op, edgetpu_large_activations(plan.graph, op)) for op in on_tpu)
    return findings(
        plan.graph,
        [Breach(op, edgetpu_large_activations, case) for op, case in found if case],
        severity="info",
        consequence="edgetpu_compiler may refuse the model: “Compilation failed due to large activation tensors”",
        remedy="build with a smaller input, or with a larger stride in the first layers",
    )


def _dense_scales(plan: Plan) -> tuple[Finding, ...]:
    on_cpu = (p.op for p in plan.placements if p.subgraph is None and p.op.name == "FULLY_CONNECTED")
    found = ((op, edgetpu_cpu_dense_scales(plan.graph, op)) for op in on_cpu)
    return findings(
        plan.graph,
        [Breach(op, edgetpu_cpu_dense_scales, case) for op, case in found if case],
        severity="warning",
        consequence="on such a device the layer gives the same for every output",
        remedy="quantize with `dense_per_channel = false`, or install tflite-runtime 2.14",
    )


def edgetpu_cpu_dense_scales(graph: Graph, op: Op) -> str:
    """On the CPU, interpreters as old as Coral's packages compute dense layers wrong that have a scale an output.

    Seen with tflite-runtime 2.7.0, where all outputs are equal; 2.14.0 computes what LiteRT does. On the Edge TPU such
    layers are right: their multipliers are in the compiled pairs dense_256, _512 and _1024.
    """
    weights = tensor(graph, op, 1)
    several = weights is not None and weights.quantization is not None and weights.quantization.per_channel
    return f"{graph.tensors[op.outputs[0]].shape[-1]} scales" if several else ""


def edgetpu_wide_dense(graph: Graph, op: Op) -> str:
    """The compiler streams the weights of fully connected layers with 16,384 inputs and more."""
    return f"{graph.tensors[op.inputs[1]].shape[-1]:,} inputs"


def sections(plan: Plan) -> dict[str, Any]:
    """Return the expected mapping as sections of the report."""
    return {
        "edgetpu": _summary(plan),
        "edgetpu_operators": operator_rows(plan),
        "edgetpu_graph": _runs(plan),
        "edgetpu_on_cpu": [_row(plan.graph, p) for p in plan.placements if p.subgraph is None],
    }


def _summary(plan: Plan) -> dict[str, Any]:
    cost = parameters(plan.graph, plan.on_tpu)
    share = plan.share_of_macs
    return {
        "how": "modelled",
        "ops": len(plan.placements),
        "ops_on_edge_tpu": len(plan.on_tpu),
        "ops_on_cpu": len(plan.placements) - len(plan.on_tpu),
        "ops_in_doubt": sum(bool(p.doubts) for p in plan.placements),
        "edge_tpu_subgraphs": plan.subgraphs,
        "share_of_macs_on_edge_tpu": round(share, 4) if share is not None else None,
        "cut_at": [_name(plan.graph, p.op) for p in plan.cuts()],
        "room_for_parameters": ROOM_SEEN,
        "parameter_bytes_in_file": cost.stored,
        **_ranges(cost),
    }


def _ranges(cost: Parameters) -> dict[str, int]:
    return {
        f"parameter_bytes_{name}_{end}": getattr(found, end)
        for name, found in (("on_chip", cost.on_chip), ("cached", cost.cached), ("streamed", cost.streamed))
        for end in ("low", "high")
    }


def operator_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return the table of operators in the compiler's layout, sorted: operator, count, status."""
    count = Counter((shown_name(p.op), p.status) for p in plan.placements)
    return [{"operator": name, "count": n, "status": said} for (name, said), n in sorted(count.items())]


def compiler_layout(plan: Plan) -> str:
    """Return the expected mapping in the layout of the compiler's log, which scripts read."""
    lines = [
        "Expected by edgecompile; edgetpu_compiler was not run.",
        "",
        f"Number of operations that will run on Edge TPU: {len(plan.on_tpu)}",
        f"Number of operations that will run on CPU: {len(plan.placements) - len(plan.on_tpu)}",
        f"Number of Edge TPU subgraphs: {plan.subgraphs}",
        f"Total number of operations: {len(plan.placements)}",
        "",
        f"{'Operator':30} {'Count':10} Status",
        "",
    ]
    lines += [f"{row['operator']:30} {row['count']:<10} {row['status']}" for row in operator_rows(plan)]
    return "\n".join(lines) + "\n"


def shown_name(op: Op) -> str:
    """Return what the compiler calls op: it does not tell custom ops apart."""
    return "CUSTOM" if op.custom else op.name


def _runs(plan: Plan) -> list[dict[str, Any]]:
    """Return the graph, in its order, as runs of ops in one place."""
    runs: list[dict[str, Any]] = []
    for placement in plan.placements:
        place = "CPU" if placement.subgraph is None else "Edge TPU"
        name = _name(plan.graph, placement.op)
        if not runs or runs[-1]["runs_on"] != place:
            why = "" if placement.subgraph is not None else _why(plan.graph, placement)
            runs.append({"runs_on": place, "ops": 0, "first": name, "last": name, "why": why})
        runs[-1]["ops"] += 1
        runs[-1]["last"] = name
    return runs


def _why(graph: Graph, placement: Placement) -> str:
    breach = placement.breach
    behind = ", ".join(_name(graph, op) for op in placement.behind)
    return f"{sentence(breach.rule)}: {breach.case}" if breach else f"behind {behind}" if behind else ""


def _row(graph: Graph, placement: Placement) -> dict[str, Any]:
    breach = placement.breach
    return {
        "op": placement.op.name,
        "layer": graph.tensors[placement.op.outputs[0]].name if placement.op.outputs else "",
        "status": placement.status,
        "rule": identifier(breach.rule) if breach else "",
        "why": _why(graph, placement),
    }


def _name(graph: Graph, op: Op) -> str:
    return f"{op.name} → {graph.tensors[op.outputs[0]].name}" if op.outputs else op.name


def status_line(plan: Plan) -> str:
    """Return the expected mapping in a sentence."""
    on, total, share = len(plan.on_tpu), len(plan.placements), plan.share_of_macs
    line = f"{on} of {total} ops expected on the Edge TPU"
    if share is not None:
        line += f", {show_percent(share, digits=1)} of the multiply-accumulates"
    streamed = parameters(plan.graph, plan.on_tpu).streamed
    if streamed.low:
        line += f"; at least {show_bytes(streamed.low)} of parameters streamed at every inference"
    return line


def differences(plan: Plan, said: CompilerLog) -> list[dict[str, Any]]:
    """Return where the compiler's table of operators and the expected one differ, one row for each op and status."""
    expected = Counter((shown_name(p.op), p.status) for p in plan.placements)
    found = Counter(said.operators)
    return [
        {"operator": name, "status": words, "expected": expected[name, words], "compiler": found[name, words]}
        for name, words in sorted(expected.keys() | found.keys())
        if expected[name, words] != found[name, words]
    ]


def _counted(ops: int) -> str:
    return "1 op" if ops == 1 else f"{ops} ops"
