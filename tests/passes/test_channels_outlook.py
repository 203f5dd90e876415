"""What `channels` says before anything runs, and that the recipe `slim` has nothing to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecompile.cli.entry import run
from edgecompile.passes.channels import MACS, Channels
from edgecompile.recipe import load_recipe
from edgecompile.target import shipped

SAMPLE = shipped("sample_models") / "digits-cnn"


@pytest.mark.parametrize(
    ("fields", "max_drop", "speaks"),
    [
        ({}, 0.01, False),
        ({"macs": 0.75}, 0.01, True),
        ({"macs": 0.75}, 0.02, False),
        ({"macs": 0.5}, 0.02, True),
        ({"macs": 0.5}, 0.05, False),
        ({"parameters": 0.5}, 0.01, False),
    ],
)
def test_channels_speak_where_as_much_cost_more_than_the_gate(
    fields: dict[str, float], max_drop: float, speaks: bool
) -> None:
    said = Channels.model_validate(fields).outlook(max_drop)
    assert bool(said) is speaks
    if speaks:
        assert "may miss the gate" in said
        assert f"macs = {MACS:g}" in said


def test_slim_keeps_what_keeps_the_gate() -> None:
    recipe, _ = load_recipe("slim")
    (channels,) = (entry for entry in recipe.passes if entry.name == "channels")
    assert channels.fields["macs"] == MACS


def test_a_dry_run_says_it(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "less.toml").write_text('[[passes]]\nname = "channels"\nmacs = 0.6\n\n[[passes]]\nname = "qat"\n')
    rows = str(SAMPLE / "calibration.npz")
    argv = ["build", str(SAMPLE / "model.keras"), "-t", "linux-x86_64", "--recipe", "less.toml", "--dry-run"]
    argv += ["--train", rows, "--calibration", rows]
    code = run(argv)
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "channels to 0.6 of the multiply-accumulates may miss the gate" in out
    assert run([*argv, "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["plan"]["outlook"]) == 1
    assert run([*argv, "--max-drop", "0.05"]) == 0
    assert "may miss the gate" not in capfd.readouterr().out
