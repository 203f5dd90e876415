"""Finished bundles: what makes a build anew, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.artifact import Artifact, Kind
from edgecompile.finished import data_digests, finished_key
from edgecompile.plan import Plan, resolve
from edgecompile.request import Request

SAMPLE = Path(__file__).parents[2] / "sample_models" / "digits-cnn"


def _plan(tmp_path: Path, **sections: object) -> Plan:
    overrides = {"data": {"validation": str(SAMPLE / "validation.npz")}, **sections}
    return resolve(
        Request(model=str(SAMPLE / "model.keras"), targets=("coral",), overrides=overrides, folder=tmp_path)  # type: ignore[arg-type]
    )


def _key(plan: Plan) -> str:
    data = data_digests(plan)
    assert data is not None
    return finished_key(plan, plan.targets[0], Artifact.of(plan.source, Kind.KERAS), data)


def test_where_bundles_go_changes_nothing(tmp_path: Path) -> None:
    assert _key(_plan(tmp_path)) == _key(_plan(tmp_path, build={"out": "elsewhere"}))


@pytest.mark.parametrize(
    "sections",
    [
        {"gate": {"max_drop": 0.5}},
        {"data": {"validation": str(SAMPLE / "calibration.npz")}},
        {"data": {"validation": str(SAMPLE / "validation.npz"), "seed": 1}},
        {"data": {"validation": str(SAMPLE / "validation.npz"), "preprocess": {"scale": 0.5}}},
        {"model": {"name": "other"}},
        {"build": {"require_compiled": True}},
        {"build": {"float_io": True}},
    ],
)
def test_what_shapes_a_bundle_shapes_its_key(tmp_path: Path, sections: dict[str, object]) -> None:
    assert _key(_plan(tmp_path)) != _key(_plan(tmp_path, **sections))


def test_a_compiler_that_was_installed_since_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = _key(_plan(tmp_path))
    compiler = tmp_path / "edgetpu_compiler"
    compiler.write_text("#!/bin/sh\n", "utf-8")
    compiler.chmod(0o755)
    assert _key(_plan(tmp_path)) != before


def test_users_functions_are_called_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def rows():\n    return {}\n", "utf-8")
    assert data_digests(_plan(tmp_path, data={"validation": "mine:rows"})) is None
