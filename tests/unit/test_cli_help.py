"""Help: complete, quick, and its examples hold."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgecompile.cli import build, cache, doctor, inspect, passes, samples, targets, verify
from edgecompile.cli.entry import parse, run
from edgecompile.cli.options import EXIT_CODES

VERBS = {
    "build": build.EXAMPLES,
    "verify": verify.EXAMPLES,
    "inspect": inspect.EXAMPLES,
    "targets": targets.EXAMPLES,
    "passes": passes.EXAMPLES,
    "doctor": doctor.EXAMPLES,
    "samples": samples.EXAMPLES,
    "cache": cache.EXAMPLES,
}
EXAMPLES = [(verb, line) for verb, text in VERBS.items() for line in text.strip().splitlines()]
LOOKING_UP = ("targets", "passes", "doctor", "samples", "cache")
HEAVY = ("numpy", "pydantic", "jinja2", "rich", "ai_edge_litert", "litert_quantizer", "scipy", "tensorflow", "PIL")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_example_whole(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    out = capfd.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    for example in VERBS[verb].strip().splitlines():
        assert example in lines
    assert "--json" in out


@pytest.mark.parametrize(("verb", "example"), EXAMPLES)
def test_every_example_can_be_read(verb: str, example: str) -> None:
    program, *argv = shlex.split(example)
    assert program == "edgecompile"
    assert argv[0] == verb
    assert callable(parse(argv))


@pytest.mark.parametrize("example", [e for verb, e in EXAMPLES if verb in LOOKING_UP])
def test_examples_that_look_things_up_run(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    assert run(shlex.split(example)[1:]) == 0
    assert capfd.readouterr().out


def test_help_documents_the_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["build", "--help"], ["verify", "--help"]):
        assert run(argv) == 0
        out = capfd.readouterr().out
        for code, meaning in EXIT_CODES.items():
            assert f"{code:>3}  {meaning}\n" in out


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import json, sys\n"
        "from edgecompile.cli.entry import run\n"
        "code = run(['--help'])\n"
        "print(json.dumps(sorted(m for m in sys.modules if '.' not in m)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stderr)) & set(HEAVY)


def test_a_number_may_begin_with_a_minus() -> None:
    assert callable(parse(["build", "m.keras", "--offset", "-1", "--mean", "-0.5,1"]))


@pytest.mark.slow
def test_help_takes_at_most_four_times_the_import_of_typer() -> None:
    def seconds(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    # Taken in turns, and the best of each: a busy machine slows both down.
    runs = [(seconds("-c", "import typer"), seconds("-m", "edgecompile", "--help")) for _ in range(7)]
    assert min(h for _, h in runs) <= 4 * min(t for t, _ in runs)
