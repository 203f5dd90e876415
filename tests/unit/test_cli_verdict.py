"""What a report says in the terminal: golden texts, read by a person once and compared since."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from edgecompile.cli.render import Screen
from edgecompile.cli.verdict import show_report, show_summary
from edgecompile.report import Report

WILSON = "Wilson score"
SAMPLE: dict[str, Any] = {
    "edgecompile": "0.1.0",
    "verdict": "pass",
    "headline": [
        "not compiled for the Edge TPU: edgetpu_compiler not found; see https://coral.ai/docs/edgetpu/compiler/",
        "pass: top1 86.93% → 86.87% (drop 0.07 points, no more than chance: McNemar p 0.86) on 3,000 rows; 98,496 B",
    ],
    "model": {"name": "resnet8", "format": "keras h5", "sha256": "0" * 64, "bytes": 1_000_000},
    "target": {"name": "coral", "title": "Google Coral Edge TPU", "backend": "edgetpu"},
    "recipe": "int8",
    "checks": [
        {
            "name": "accuracy-drop",
            "title": "top1 lost against the float model",
            "actual": 0.000667,
            "limit": 0.01,
            "relation": "at most",
            "unit": "points",
            "how": "measured",
            "detail": "top1 86.93% → 86.87% on 3,000 rows, reference kernels",
        },
        {
            "name": "model-size",
            "title": "size of the model",
            "actual": 98496,
            "limit": 8388608,
            "relation": "at most",
            "unit": "bytes",
            "how": "estimated",
        },
    ],
    "unchecked": ["What the target's own compiler says is not known: it was not run."],
    "findings": [
        {
            "severity": "warning",
            "rule": "data-unbalanced",
            "what": "class 3 has 12 rows and class 0 has 900",
            "where": "data.validation",
            "consequence": "top1 says little about class 3",
            "remedy": "use macro_f1, or more rows",
        },
        {"severity": "info", "rule": "split", "what": "200 rows calibrate"},
    ],
    "steps": [
        {"name": "convert", "fields": {}, "facts": {"layers": 34, "route": "bridge"}, "bytes": 318144},
        {"name": "quantize", "fields": {"scheme": "int8"}, "facts": {"int8 ops": 16}, "bytes": 98496},
    ],
    "inputs": [{"name": "x", "shape": [1, 32, 32, 3], "dtype": "int8", "scale": 1.0, "zero_point": -128}],
    "outputs": [{"name": "y", "shape": [1, 10], "dtype": "int8", "scale": 0.00390625, "zero_point": -128}],
    "sizes": {
        "source_bytes": 1_000_000,
        "float_bytes": 318144,
        "result_bytes": 98496,
        "result_gzip_bytes": 70112,
    },
    "accuracy": {
        "metric": "top1",
        "higher_is_better": True,
        "unit": "fraction",
        "counted": "rows",
        "output": "y",
        "float_score": {"value": 0.8693, "interval": {"low": 0.8568, "high": 0.8809, "method": WILSON}, "n": 3000},
        "result_score": {"value": 0.8687, "interval": {"low": 0.8561, "high": 0.8803, "method": WILSON}, "n": 3000},
        "drop": 0.000667,
        "drop_interval": {"low": -0.004, "high": 0.0053, "method": "paired"},
        "within_noise": True,
        "agreement": 0.9807,
        "flips": {"both_right": 2590, "both_wrong": 376, "lost": 18, "gained": 16, "p": 0.864},
    },
}


def shown(report: dict[str, Any], *, verbose: bool = False) -> str:
    stream = io.StringIO()
    show_report(Screen(stream, {"COLUMNS": "120"}), Report.model_validate(report), verbose=verbose)
    return stream.getvalue()


def failed(report: dict[str, Any]) -> dict[str, Any]:
    drop = {
        **report["checks"][0],
        "actual": 0.0204,
        "remedy": "try recipe int16x8, or give more calibration rows",
    }
    return {
        **report,
        "verdict": "fail",
        "headline": [
            "missed accuracy-drop: top1 lost 2.04 points, at most 1.00 points",
            *report["headline"][:1],
            "fail",
        ],
        "checks": [drop, report["checks"][1]],
        "accuracy": {**report["accuracy"], "drop": 0.0204},
    }


def unmeasured(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "headline": ["accuracy was not measured", "pass: 98,496 B"], "accuracy": None, "findings": []}


@pytest.mark.parametrize(("name", "change"), [("pass", lambda r: r), ("fail", failed), ("no-data", unmeasured)])
def test_verdict(
    name: str, change: Callable[[dict[str, Any]], dict[str, Any]], golden: Callable[[str, str], None]
) -> None:
    golden(f"cli/verdict-{name}.txt", shown(change(SAMPLE)))


def test_verbose_shows_steps_and_all_findings(golden: Callable[[str, str], None]) -> None:
    golden("cli/verdict-verbose.txt", shown(SAMPLE, verbose=True))


def test_the_missed_gate_is_in_the_first_line() -> None:
    assert shown(failed(SAMPLE)).splitlines()[0].startswith("coral: missed accuracy-drop: top1 lost 2.04 points")


def test_several_targets_end_in_a_summary(golden: Callable[[str, str], None]) -> None:
    other = {**unmeasured(SAMPLE), "target": {"name": "raspberry-pi-5", "title": "Raspberry Pi 5", "backend": "litert"}}
    missed = failed(other | {"accuracy": SAMPLE["accuracy"]})
    reports = [Report.model_validate(report) for report in (SAMPLE, missed, other)]
    stream = io.StringIO()
    show_summary(Screen(stream, {"COLUMNS": "120"}), reports)
    golden("cli/summary.txt", stream.getvalue())
