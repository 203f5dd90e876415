"""Promises: every check of a build, set against what was found, with what to do where it is missed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from edgecompile.backends.base import Compiled
from edgecompile.errors import ConfigError, Problem
from edgecompile.metrics import SHARES
from edgecompile.recipe import GateSection
from edgecompile.report import Accuracy, Check, Finding, Parity, Sizes, Step
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph
from edgecompile.units import show_apart, show_bytes
from edgecompile.verify.chance import check_chance
from edgecompile.verify.dtypes import check_dtypes, check_float_ops
from edgecompile.verify.remedies import accuracy_remedy, size_remedy
from edgecompile.verify.wording import (
    drop_unit,
    needed_rows,
    settled,
    show_accuracy,
    show_interval,
    show_needed,
    show_rows,
    show_score,
    show_ties,
)


def checks(
    *,
    gate: GateSection,
    target: Target,
    graph: Graph,
    sizes: Sizes,
    steps: Sequence[Step],
    findings: Sequence[Finding],
    accuracy: Accuracy | None = None,
    parity: Parity | None = None,
    calibration_rows: int = 0,
    compiled: Compiled | None = None,
    passes: Collection[str] = (),
) -> tuple[Check, ...]:
    """Return every check of a build on one target.

    Args:
        gate: what accuracy must be kept.
        target: its budgets, schemes and dtypes.
        graph: the result, before the target's own compiler.
        sizes: bytes before and after.
        steps: what was run; the fields of `quantize` are promises about dtypes.
        findings: what the backend found in graph; each of severity error is a broken rule.
        accuracy: None when there was no validation data: there is no accuracy check then.
        parity: None when nothing was converted.
        calibration_rows: how many rows set the ranges.
        compiled: what the backend made; its own checks come last.
        passes: names of the passes that exist, so that only these are suggested, and of these what did not run.

    Raises:
        ConfigError: as check_gate.
    """
    quantize = next((step.fields for step in reversed(steps) if step.name == "quantize"), None)
    found: list[Check] = []
    if accuracy is not None:
        check_gate(gate, metric=accuracy.metric)
        trained = any(step.name == "convert" for step in steps)
        remedy = accuracy_remedy(
            _as_it_ran(steps),
            target,
            rows=calibration_rows,
            passes=passes if trained else (),
            ran={step.name for step in steps},
            findings=findings,
        )
        if not gate.allow_chance:
            found += check_chance(accuracy, findings)
        found.append(_drop(gate, accuracy, remedy))
        if gate.min is not None:
            found.append(_min(gate.min, accuracy, remedy))
        found.append(_finite(accuracy, target))
    if parity is not None:
        found.append(_parity(parity))
    given = any(step.facts.get("already_quantized") for step in steps)
    found += check_dtypes(graph, target, quantize, given=given)
    found += check_float_ops(graph, target, quantize, given=given)
    found.append(_rules(findings, target))
    if "warning" in gate.fail_on:
        found.append(check_warnings(findings))
    own = compiled.checks if compiled is not None else ()
    if not any(check.name == "model-size" for check in own):  # a backend knows the file that the device loads
        found += _size(sizes, target, quantize)
    return (*found, *own)


def _as_it_ran(steps: Sequence[Step]) -> Mapping[str, Any] | None:
    """Return the fields of `quantize`, those that were left open as they came out; None when it did not run."""
    return next(({**step.fields, **step.facts} for step in reversed(steps) if step.name == "quantize"), None)


def check_gate(gate: GateSection, *, metric: str) -> None:
    """Raise ConfigError, with all problems, where the gate is in percent and the metric is a share in [0, 1]."""
    if metric not in SHARES:
        return
    problems = [
        Problem(f"is {value:g}, and {metric} is a share between 0 and 1", f"gate.{key}", f"write {value / 100:g}")
        for key, value in (("max_drop", gate.max_drop), ("min", gate.min))
        if value is not None and value > 1
    ]
    if problems:
        raise ConfigError.of(problems)


def unchecked(
    *, target: Target, accuracy: Accuracy | None, parity: Parity | None, compiled: Compiled | None
) -> tuple[str, ...]:
    """Return what was not checked, and why, in sentences: silence must not be read as a pass."""
    memory = target.memory
    scored = accuracy.output if accuracy else ""
    others = [f"`{o.output}`" for o in (accuracy.outputs if accuracy else ()) if o.output != scored]
    missing = {
        "Accuracy was not measured: no validation data was given.": accuracy is None,
        f"The accuracy of {', '.join(others)} was not measured: the labels are those of `{scored}`. To score another "
        'output, give its labels and name it: `[data] output = "NAME"`.': bool(others),
        "Conversion was not checked: the source is a .tflite, so nothing was converted.": parity is None,
        "The size of the model was not checked: the target sets no limit.": memory.flash_bytes is None
        and memory.model_bytes_max is None,
        "What the target's own compiler says is not known: it was not run.": compiled is not None
        and not compiled.complete,
    }
    return tuple(sentence for sentence, applies in missing.items() if applies)


def _drop(gate: GateSection, accuracy: Accuracy, remedy: str) -> Check:
    ok = accuracy.drop <= gate.max_drop
    unsure = "" if settled(accuracy, gate.max_drop) else show_needed(accuracy, gate.max_drop)
    more = f"give more validation rows: {unsure}" if unsure and needed_rows(accuracy, gate.max_drop) else ""
    ties = f"; {show_ties(accuracy.tied_rows)}" if accuracy.tied_rows else ""
    return Check(
        name="accuracy-drop",
        title=f"drop of {accuracy.metric} against the {accuracy.reference}",
        actual=accuracy.drop,
        limit=gate.max_drop,
        relation="at most",
        unit=drop_unit(accuracy),
        how="measured",
        detail=f"{show_accuracy(accuracy)} with {accuracy.kernels} kernels; 95% interval of the drop "
        f"{show_interval(accuracy.drop_interval, drop_unit(accuracy))}{unsure and f'; {unsure}'}{ties}",
        remedy="" if ok else "; ".join(filter(None, (more, remedy, _own_units(gate, accuracy)))),
    )


def _own_units(gate: GateSection, accuracy: Accuracy) -> str:
    """Return a reminder where the default limit, meant for shares, meets a metric of any size."""
    if "max_drop" in gate.model_fields_set or (accuracy.higher_is_better and ":" not in accuracy.metric):
        return ""
    return f"{gate.max_drop:g} is the default limit, in units of {accuracy.metric}: set gate.max_drop (--max-drop)"


def _min(limit: float, accuracy: Accuracy, remedy: str) -> Check:
    up = accuracy.higher_is_better
    before, after = accuracy.float_score.value, accuracy.result_score.value
    if not (before >= limit if up else before <= limit):
        shown = show_apart(before, limit, accuracy.unit)[0]
        remedy = (
            f"the {accuracy.reference} itself gives {shown}: train it further, or see whether data.preprocess is right"
        )
    ok = after >= limit if up else after <= limit
    return Check(
        name="accuracy-min",
        title=f"{accuracy.metric} of the result",
        actual=after,
        limit=limit,
        relation="at least" if up else "at most",
        unit=accuracy.unit,
        how="measured",
        detail=f"the {accuracy.reference} gives {show_score(accuracy, before)}; {show_rows(accuracy)}",
        remedy="" if ok else remedy,
    )


def _finite(accuracy: Accuracy, target: Target) -> Check:
    wider = "float32" if "float32" in target.schemes else "int16x8"
    bad = accuracy.nonfinite_rows
    return Check(
        name="outputs-finite",
        title="rows on which the result gives NaN or infinity",
        actual=bad,
        limit=0,
        relation="at most",
        unit="count",
        how="measured",
        detail=("counted as wrong" if accuracy.unit == "fraction" else "left out of both scores") if bad else "none",
        remedy=f'numbers grow beyond the dtype: try quantize.scheme = "{wider}"' if bad else "",
    )


def _parity(parity: Parity) -> Check:
    ok = parity.max_abs <= parity.tolerance
    return Check(
        name="conversion-parity",
        title=f"largest difference of the float .tflite from {parity.reference}",
        actual=parity.max_abs,
        limit=parity.tolerance,
        relation="at most",
        unit="output",
        how="measured",
        detail=f"output `{parity.output}`, {parity.rows} rows; {parity.reason}",
        remedy=""
        if ok
        else "the conversion changed what the model computes: look for layers that behave differently "
        "in training and inference, and report it with the model",
    )


def _rules(findings: Sequence[Finding], target: Target) -> Check:
    broken = [f for f in findings if f.severity == "error"]
    return Check(
        name="target-rules",
        title=f"rules of {target.title} that the model breaks",
        actual=len(broken),
        limit=0,
        relation="at most",
        unit="count",
        how="measured",
        detail="; ".join(f.what for f in broken) or "none",
        remedy="; ".join(dict.fromkeys(f.remedy for f in broken if f.remedy)),
    )


def check_warnings(findings: Sequence[Finding]) -> Check:
    """Return the check that nothing was found of severity `warning`."""
    warnings = [f for f in findings if f.severity == "warning"]
    return Check(
        name="warnings",
        title="findings of severity warning",
        actual=len(warnings),
        limit=0,
        relation="at most",
        unit="count",
        how="measured",
        detail=", ".join(dict.fromkeys(f.rule for f in warnings)) or "none",
        remedy="see the findings, or leave `warning` out of gate.fail_on (--fail-on)" if warnings else "",
    )


def _size(sizes: Sizes, target: Target, quantize: Mapping[str, Any] | None) -> tuple[Check, ...]:
    """Return the check of the model file against the tighter of the target's limits; none where it has none."""
    memory = target.memory
    limits: list[tuple[int, str]] = []
    if memory.flash_bytes is not None:
        kept = memory.reserved_flash_bytes
        words = f"{show_bytes(memory.flash_bytes)} of flash"
        limits.append((memory.flash_bytes - kept, f"{words}, {show_bytes(kept)} of it reserved" if kept else words))
    if memory.model_bytes_max is not None:
        limits.append((memory.model_bytes_max, "largest model file that the deployment takes"))
    if not limits:
        return ()
    limit, words = min(limits)
    return (
        Check(
            name="model-size",
            title="size of the model file",
            actual=sizes.result_bytes,
            limit=limit,
            relation="at most",
            unit="bytes",
            how="measured",
            detail=words,
            remedy=size_remedy(quantize, target) if sizes.result_bytes > limit else "",
        ),
    )
