"""docs/scripts.md describes the JSON that verbs print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgecompile.cli.entry import run

PAGE = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text("utf-8")
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def printed(capfd: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    run([*argv, "--json"])
    out, err = capfd.readouterr()
    assert err == ""
    document: dict[str, Any] = json.loads(out)
    return document


def documented(verb: str) -> set[str]:
    row = re.search(rf"^\| `{verb}` \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    return set(re.findall(r"`(\w+)`", row[1]))


@pytest.mark.parametrize("argv", [["targets"], ["passes"], ["passes", "int8"], ["doctor"], ["samples"], ["cache"]])
def test_keys_are_documented(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd, *argv).keys() - {"schema_version"} <= documented(argv[0])


def test_findings_of_doctor_are_documented(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd, "doctor")["findings"][0].keys() <= documented("doctor")


def test_the_error_example_is_what_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd, "targets", "corel") == EXAMPLES[1]
