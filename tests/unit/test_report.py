"""The report's types, and the published schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgecompile.report import Check, Report

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


def test_published_schema_is_that_of_the_code(update_golden: bool) -> None:
    text = json.dumps(Report.model_json_schema(), indent=2, sort_keys=True) + "\n"
    if update_golden:
        SCHEMA.parent.mkdir(exist_ok=True)
        SCHEMA.write_text(text, "utf-8")
    assert SCHEMA.read_text("utf-8") == text, "docs/report.schema.json is stale; pytest --update-golden rewrites it"


@pytest.mark.parametrize(
    ("actual", "relation", "ok"),
    [(0.01, "at most", True), (0.010001, "at most", False), (0.9, "at least", True), (0.89999, "at least", False)],
)
def test_check_compares_exactly(actual: float, relation: str, ok: bool) -> None:
    limit = 0.01 if relation == "at most" else 0.9
    check = Check.model_validate(
        {
            "name": "x",
            "title": "x",
            "actual": actual,
            "limit": limit,
            "relation": relation,
            "unit": "points",
            "how": "measured",
        }
    )
    assert check.ok is ok


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_check_refuses_what_json_cannot_hold(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Check(name="x", title="x", actual=bad, limit=0, relation="at most", unit="count", how="measured")
