"""The Ethos-U backend: Vela run on the int8 model, what stays on the CPU and why, memory and modelled latency."""

from __future__ import annotations

from pathlib import Path

from edgecompile.artifact import Artifact, hash_path
from edgecompile.backends.base import Backend, Compiled, Runnable
from edgecompile.backends.ethosu.alternatives import with_remedies
from edgecompile.backends.ethosu.failure import explained
from edgecompile.backends.ethosu.findings import cpu_findings, sections, status_line
from edgecompile.backends.ethosu.firmware import firmware, no_sources
from edgecompile.backends.ethosu.lower import Lowered, compile_for, weigh
from edgecompile.backends.ethosu.modelrules import MODEL_RULES
from edgecompile.backends.ethosu.options import EthosuOptions, find_config
from edgecompile.backends.ethosu.remedies import kind_of, listed_for_u85
from edgecompile.backends.ethosu.tflm import refusals, stand_in, try_model
from edgecompile.backends.ethosu.vela import PACKAGE, VELA, VelaError, ask, find_vela, vela_version
from edgecompile.cache import library_version
from edgecompile.config import parse
from edgecompile.report import Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph
from edgecompile.tools import fingerprint

_U85 = "ethos-u85"
_REPORT = "SUPPORTED_OPS.md"
_MICRO = "tflite-micro"


class Ethosu(Backend):
    """Arm Ethos-U."""

    name = "ethosu"
    summary = "Arm Ethos-U NPUs beside a Cortex-M: runs Vela, says what stays on the CPU and why, and what it takes."
    Options = EthosuOptions
    sources = True
    unrolls = True
    weights_note = (
        "Vela stores weights compressed: zeros and few values make them shorter in flash, and layers that wait for "
        "their weights faster; multiplications by zero are not left out."
    )

    def outside(self, target: Target) -> str:
        """Return which Vela there is, which interpreter, and what a configuration of the user's own holds."""
        options = parse(EthosuOptions, target.options, where=f"target {target.name}, [options]")
        own = "" if options.config is None else hash_path(find_config(options.config))
        versions = [library_version(package) for package in (PACKAGE, _MICRO)]
        return " ".join([*versions, fingerprint(find_vela()), own])

    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what Vela asks of the model as a whole and does not find; `compile` has the rest, from Vela."""
        return tuple(found for rule in MODEL_RULES if (found := rule.finding(graph)) is not None)

    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Compile model with Vela.

        Raises:
            ToolError: Vela is not installed, fails, hangs, or leaves no model.
            ConfigError: Vela refuses the options of the target.
        """
        options = parse(EthosuOptions, target.options, where=f"target {target.name}, [options]")
        vela = find_vela()
        work = out / VELA
        work.mkdir(parents=True)
        try:
            made = compile_for(vela, model.path, target, options, name=name, work=work / "run")
        except VelaError as error:
            raise explained(error, name=name, target=target.name) from None
        trials = try_model(model.path)
        lowered = weigh(made, model.path, target, options, trials=trials)
        version = vela_version(vela, work=work)
        on_u85 = _taken_by_u85(vela, lowered, options, work)
        runs = stand_in(model.path, trials)
        sources = firmware(lowered, options, runs)
        log = work / f"{name}_vela.log"
        log.write_text(made.printed, "utf-8")
        plain = f"{name}.tflite"
        device = made.model.name
        return Compiled(
            files={
                plain: model.path,
                device: made.model,
                f"{name}_vela.csv": made.table,
                log.name: log,
            },
            model=device,
            status=status_line(lowered.placement, made.summary, options=options, version=version),
            findings=(
                *cpu_findings(lowered.placement, on_u85=on_u85),
                *refusals(lowered.placement, trials),
                *([] if sources is not None else [no_sources(lowered)]),
            ),
            checks=with_remedies(lowered, vela, model.path, target, options, trials=trials, work=work),
            libraries={PACKAGE: version, _MICRO: library_version(_MICRO)},
            firmware=sources,
            runs=runs,
            extra=sections(
                lowered.placement,
                made.summary,
                lowered.arena,
                lowered.said.notes,
                options=options,
                version=version,
                model_bytes=lowered.model_bytes,
                on_u85=on_u85,
            ),
        )

    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the int8 model before Vela, on the interpreter of the device where that takes it."""
        return stand_in(model.path, try_model(model.path))


def _taken_by_u85(vela: Path, lowered: Lowered, options: EthosuOptions, work: Path) -> frozenset[str]:
    """Return the op types that an Ethos-U85 takes, where that is worth knowing; Vela is asked, as versions differ."""
    kinds = {kind_of(r) for left in lowered.placement.left for r in left.refusals}
    if options.accelerator.startswith(_U85) or "type" not in kinds:
        return frozenset()
    ask(vela, ["--supported-ops-report"], work=work)
    report = work / _REPORT
    return listed_for_u85(report.read_text("utf-8")) if report.is_file() else frozenset()
