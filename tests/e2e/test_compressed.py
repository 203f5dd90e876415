"""A recipe of several passes that train: what the bundles of several targets say, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SAMPLES, Cli, command, environment
from tests.e2e.test_build import tree

pytestmark = [pytest.mark.tf, pytest.mark.slow]

RECIPE = f"""
[model]
path = "{SAMPLES / "digits-cnn" / "model.keras"}"
name = "digits"

[data]
validation = "{SAMPLES / "digits-cnn" / "validation.npz"}"
calibration = "{SAMPLES / "digits-cnn" / "calibration.npz"}"
train = "{SAMPLES / "digits-cnn" / "calibration.npz"}"
metric = "top1"

[data.preprocess]
scale = 0.0625

[gate]
max_drop = 0.05  # two epochs of 200 rows: what is tested is what reports say, and what a kill leaves

[[passes]]
name = "prune"
epochs = 2

[[passes]]
name = "cluster"
clusters = 16
epochs = 60

[[passes]]
name = "qat"
epochs = 2
"""
TARGETS = {
    "nucleo-l4r5zi": "TFLite Micro computes with every weight, zero or not",
    "raspberry-pi-4": "XNNPACK leaves zeros out only in float models",
    "corstone-300-u55-128": "Vela stores weights compressed",
    "coral": "stores and computes every weight, zero or not",
}
"""Target → part of what its report says of zeros and of few values."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(RECIPE, "utf-8")
    return file


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of bundles that an uninterrupted build makes, one for each target."""
    folder = tmp_path_factory.mktemp("whole")
    argv = command("build", "--recipe", recipe, "--out", folder / "out", *(f"--target={name}" for name in TARGETS))
    done = subprocess.run(argv, env=environment(folder / "cache"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.mark.parametrize("target", TARGETS)
def test_reports_say_what_each_pass_won_and_what_the_runtime_can_use(whole: Path, target: str) -> None:
    report = json.loads((whole / f"digits-{target}" / "report.json").read_text("utf-8"))
    payoff = report["payoff"]
    assert TARGETS[target] in payoff["runtime"]
    assert [stage["name"] for stage in payoff["stages"]] == ["source", "prune", "cluster", "qat", "result"]
    source, pruned, *_, result = payoff["stages"]
    assert source["zeros"] < 0.01
    assert 0.4 < pruned["zeros"] <= result["zeros"] + 0.01
    assert result["gzip_bytes"] < source["gzip_bytes"] / 3
    for stage in payoff["stages"]:
        assert stage["macs"] == sum(kernel["macs"] for kernel in stage["kernels"])
    convolutions = [k for k in result["kernels"] if k["op"] in ("CONV_2D", "FULLY_CONNECTED")]
    assert convolutions
    assert all(kernel["distinct"] <= 16 for kernel in convolutions)
    assert any(kernel["zeros"] >= 0.5 for kernel in convolutions)
    page = (whole / f"digits-{target}" / "report.html").read_text("utf-8")
    assert "What training made of the model" in page
    assert TARGETS[target] in page


def test_equal_passes_are_two_steps_of_the_report(cli: Cli, tmp_path: Path) -> None:
    data, passes = RECIPE[: RECIPE.index("[[passes]]")], '[[passes]]\nname = "prune"\nepochs = 1\n' * 2
    (tmp_path / "recipe.toml").write_text(data + passes, "utf-8")
    out = tmp_path / "out"
    done = cli("build", "--recipe", tmp_path / "recipe.toml", "--target=raspberry-pi-4", "--max-drop=1", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((out / "digits-raspberry-pi-4" / "report.json").read_text("utf-8"))
    assert [step["name"] for step in report["steps"]] == ["prune", "prune", "convert", "quantize"]
    assert [stage["name"] for stage in report["payoff"]["stages"]] == ["source", "prune", "prune 2", "result"]
    assert (report["data"]["train_source"], report["data"]["train_rows"]) == ("calibration.npz", 200)


def _train_until(step: str, recipe: Path, cache: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a build and return it when the pass called step has begun to train."""
    process = subprocess.Popen(
        command("build", "--recipe", recipe, "--target=coral", "--out", out),
        env=environment(cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wanted = f'"call": "update", "step": "{step}"'
    ends = time.monotonic() + 300
    while not any(wanted in log.read_text("utf-8") for log in (cache / "logs").glob("*.log")):
        assert process.poll() is None, "the build ended before it was killed"
        assert time.monotonic() < ends
        time.sleep(0.02)
    return process


def _workers(cache: Path) -> list[str]:
    """Return the processes that work on something below cache."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue  # it has ended meanwhile
        if str(cache).encode() in line:
            found.append(line.decode().replace("\0", " "))
    return found


def test_a_kill_while_a_pass_trains_costs_that_pass_only(whole: Path, recipe: Path, cli: Cli, tmp_path: Path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    process = _train_until("cluster", recipe, cache, out)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    ends = time.monotonic() + 30
    while _workers(cache):
        assert time.monotonic() < ends, "nobody is left to read what the worker trains"
        time.sleep(0.1)
    done = cli("build", "--recipe", recipe, "--target=coral", "--out", out, cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    took: dict[str, Any] = {}
    for line in done.stderr.splitlines():
        name, _, rest = line.strip().partition(" ")
        if "…" not in rest:
            took.setdefault(name, rest.split()[0] if rest.split() else "")
    assert took["prune"] == "cached"
    assert took["cluster"] != "cached"
    assert took["qat"] != "cached"
    assert tree(out) == {name: content for name, content in tree(whole).items() if name.startswith("digits-coral/")}
