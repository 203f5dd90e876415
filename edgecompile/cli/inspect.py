"""`edgecompile inspect`: what is inside a model compiled for the Edge TPU, or what its compiler is expected to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams

if TYPE_CHECKING:
    from edgecompile.backends.edgetpu.inspection import Chip, CompiledModel
    from edgecompile.cli.render import Screen
    from edgecompile.tflite.graph import Graph

EXAMPLES = """
edgecompile inspect model_edgetpu.tflite
edgecompile inspect model_edgetpu.tflite --source model.tflite
edgecompile inspect model.tflite
"""


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A .tflite file, compiled or not.")],
    *,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="The model that it was compiled from: tells which ops are inside.", show_default=False
        ),
    ] = None,
    several_subgraphs: Annotated[
        bool,
        typer.Option("--several-subgraphs", "-a", help="Expect several Edge TPU subgraphs, as edgetpu_compiler -a."),
    ] = False,
    min_runtime_version: Annotated[
        int | None,
        typer.Option(
            "--min-runtime-version",
            "-m",
            min=1,
            metavar="N",
            help="Expect what edgetpu_compiler -m N does, for Edge TPU runtimes as old as N.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> Job:
    """Show what is inside a model that was compiled for the Edge TPU; of another one, what the compiler will do.

    Nothing is run: a compiled model is read, of another one each op is placed by the rules of `edgecompile`.
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    options = {"several_subgraphs": several_subgraphs, "min_runtime_version": min_runtime_version}
    return lambda streams: _inspect(streams, Path(model), source, options)


def _inspect(streams: Streams, path: Path, source: str | None, options: dict[str, Any]) -> int:
    from edgecompile.backends.edgetpu.inspection import inspect_compiled
    from edgecompile.errors import ConfigError
    from edgecompile.tflite.graph import read_graph

    graph = read_graph(path)
    found = inspect_compiled(graph, None if source is None else read_graph(Path(source)))
    if found is not None:
        _compiled(streams, path, found)
        return 0
    if source is not None:
        raise ConfigError(
            "not compiled for the Edge TPU: there is nothing to compare with --source",
            where=str(path),
            hint="give the compiled model first",
        )
    _expected(streams, path, graph, options)
    return 0


def _compiled(streams: Streams, path: Path, found: CompiledModel) -> None:
    if streams.json:
        streams.write_json({"model": str(path), "compiled": True, **found.model_dump(mode="json")})
        return
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    many = "1 subgraph" if len(found.chips) == 1 else f"{len(found.chips)} subgraphs"
    screen.line((path.name, "head"), f"  compiled for the Edge TPU, {many}")
    for chip in found.chips:
        screen.line()
        screen.table((), _about(chip), indent=2)
    screen.line()
    if found.on_cpu:
        screen.line(f"{len(found.on_cpu)} ops on the CPU")
        screen.table(("op", "layer"), [(left.op, left.layer) for left in found.on_cpu], indent=2)
    else:
        screen.line("no ops on the CPU")
    _compared(screen, found)


def _about(chip: Chip) -> list[tuple[str, str]]:
    from edgecompile.units import show_bytes, show_shape

    rows = [
        (role, f"{t.dtype} {show_shape(t.shape)}  {t.name}")
        for role in ("inputs", "outputs")
        for t in getattr(chip, role)
    ]
    rows.append(("content", show_bytes(chip.bytes)))
    if chip.unreadable:
        return [*rows, ("not readable", chip.unreadable)]
    return [
        *rows,
        ("runtime, from", str(chip.min_runtime_version)),
        ("compiler", chip.compiler_version or "not named"),
        ("chip", chip.chip),
        ("programs", ", ".join(chip.programs)),
        ("instructions", show_bytes(chip.instruction_bytes)),
        ("parameters kept on the chip", show_bytes(chip.cached_bytes)),
        ("parameters sent at every inference", show_bytes(chip.streamed_bytes)),
        ("activations on a tile, at most", show_bytes(chip.activation_bytes_per_tile)),
    ]


def _compared(screen: Screen, found: CompiledModel) -> None:
    if found.compared is None:
        return
    screen.line()
    compared = found.compared
    screen.line(
        f"{compared.inside} of the source's {compared.ops} ops are on the Edge TPU, {compared.expected_inside} expected"
    )
    for text in compared.otherwise:
        screen.line(("•", "warn"), f" not as expected: {text}", indent=2)
    if compared.unsure:
        screen.line(("•", "warn"), f" not certain: {compared.unsure}", indent=2)


def _expected(streams: Streams, path: Path, graph: Graph, options: dict[str, Any]) -> None:
    from edgecompile.backends import BACKENDS
    from edgecompile.backends.edgetpu.findings import operator_rows, sections, status_line
    from edgecompile.backends.edgetpu.planner import plan_mapping
    from edgecompile.target import load_target

    plan = plan_mapping(graph, several=options["several_subgraphs"], runtime=options["min_runtime_version"])
    target = load_target("coral")
    findings = BACKENDS["edgetpu"].check(graph, target.model_copy(update={"options": {**target.options, **options}}))
    if streams.json:
        found = [f.model_dump(mode="json") for f in findings]
        streams.write_json({"model": str(path), "compiled": False, "findings": found, **sections(plan)})
        return
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line((path.name, "head"), "  not compiled; what edgetpu_compiler is expected to do, by its known rules")
    screen.line()
    screen.line(f"Number of operations that will run on Edge TPU: {len(plan.on_tpu)}")
    screen.line(f"Number of operations that will run on CPU: {len(plan.placements) - len(plan.on_tpu)}")
    screen.line()
    rows: list[dict[str, Any]] = operator_rows(plan)
    screen.table(("Operator", "Count", "Status"), [(r["operator"], str(r["count"]), r["status"]) for r in rows])
    screen.line()
    screen.line(status_line(plan))
    _parameters(screen, sections(plan)["edgetpu"])
    _findings(screen, findings)


def _parameters(screen: Screen, summary: dict[str, Any]) -> None:
    from edgecompile.units import show_bytes

    for name, words in (("cached", "kept on the chip"), ("streamed", "sent at every inference")):
        low, high = summary[f"parameter_bytes_{name}_low"], summary[f"parameter_bytes_{name}_high"]
        screen.line(f"parameters {words}: {show_bytes(low)} to {show_bytes(high)}, modelled", indent=2)


def _findings(screen: Screen, findings: Any) -> None:
    styles = {"error": "bad", "warning": "warn", "info": "dim"}
    for found in findings:
        screen.line()
        screen.line((f"{found.severity} {found.rule}", styles[found.severity]), f"  {found.what}")
        for words, text in (("where", found.where), ("then", found.consequence), ("do", found.remedy)):
            if text:
                screen.line(f"{words}: {text}", indent=4)
