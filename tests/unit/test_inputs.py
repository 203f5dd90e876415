"""Inputs: what findings and the report say of training rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.inputs import load_inputs
from edgecompile.plan import resolve
from edgecompile.progress import Silent
from edgecompile.request import Request

DIGITS = Path(__file__).parents[2] / "sample_models" / "digits-cnn"


@pytest.mark.parametrize(
    ("passes", "train", "rule"),
    [
        ("", "calibration.npz", "data-train-unused"),
        ('[[passes]]\nname = "qat"\n', "validation.npz", "data-overlap"),
        ('[[passes]]\nname = "qat"\n', "calibration.npz", None),
    ],
)
def test_training_rows_that_count_for_nothing_or_are_measured_too_are_found(
    tmp_path: Path, passes: str, train: str, rule: str | None
) -> None:
    (tmp_path / "r.toml").write_text(passes, "utf-8")
    names = {"validation": "validation.npz", "calibration": "calibration.npz", "train": train}
    data = {role: str(DIGITS / name) for role, name in names.items()}
    asked = Request(
        model=str(DIGITS / "model.keras"),
        targets=("coral",),
        recipe="r.toml",
        overrides={"data": data},
        folder=tmp_path,
    )
    plan = resolve(asked)
    inputs = load_inputs(plan, Silent())
    found = {f.rule: f.where for f in inputs.findings if f.severity == "warning"}
    assert found == ({} if rule is None else {rule: f"training data {train}"})
    assert inputs.info(plan, trained=True).train_source == train
    assert inputs.info(plan, trained=False).train_rows == 0
