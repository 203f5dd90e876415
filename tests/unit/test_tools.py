"""Running programs: every way to fail has its message, and no child outlives its time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from edgecompile.errors import ToolError
from edgecompile.tools import quiet, run, which


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_comes_back_line_by_line_and_goes_to_the_log(tmp_path: Path) -> None:
    seen: list[str] = []
    log = tmp_path / "logs" / "x.log"
    code = "import sys; print('one'); print('two'); print('err', file=sys.stderr)"
    assert run(_python(code), timeout_s=60, log=log, install="", on_line=seen.append) == "one\ntwo\n"
    assert seen == ["one", "two"]
    assert sorted(log.read_text("utf-8").split()) == ["err", "one", "two"]


def test_a_missing_program_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="`no-such-program` is not installed\n  → get it"):
        run(["no-such-program"], timeout_s=5, log=tmp_path / "log", install="get it")


def test_a_file_that_is_no_program_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x", "utf-8")
    with pytest.raises(ToolError, match="cannot be started"):
        run([str(tmp_path / "data")], timeout_s=5, log=tmp_path / "log", install="")


def test_a_failure_gives_exit_code_and_last_line(tmp_path: Path) -> None:
    code = "import sys; print('this is why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ToolError, match=r"exited 3: this is why"):
        run(_python(code), timeout_s=60, log=tmp_path / "log", install="")


def test_a_failure_does_not_quote_lines_that_were_for_the_caller(tmp_path: Path) -> None:
    code = "import sys; print('this is why'); print('@ {}'); sys.exit(3)"
    with pytest.raises(ToolError, match=r"exited 3: this is why"):
        run(_python(code), timeout_s=60, log=tmp_path / "log", install="", mark="@ ")


def test_a_crash_names_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ToolError, match="was ended by SIGSEGV"):
        run(_python(code), timeout_s=60, log=tmp_path / "log", install="")


def test_a_hanging_program_is_stopped_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic()
    with pytest.raises(ToolError, match="gave no answer in 2 s"):
        run(_python(code), timeout_s=2, log=tmp_path / "log", install="")
    assert time.monotonic() - began < 30
    child = Path("/proc") / pid_file.read_text("utf-8") / "stat"
    for _ in range(50):
        if not child.exists() or child.read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child of the hanging program is still alive")


def test_an_error_in_the_listener_ends_the_program(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    began = time.monotonic()
    code = "import time; print('first', flush=True); time.sleep(60)"
    with pytest.raises(ValueError, match="first"):
        run(_python(code), timeout_s=90, log=tmp_path / "log", install="", on_line=refuse)
    assert time.monotonic() - began < 30


def test_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert which("tool") == program
    assert which("other") is None


def test_quiet_sends_what_c_code_prints_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "chatter.log"
    with quiet(log):
        os.write(1, b"to stdout\n")
        os.write(2, b"to stderr\n")
    os.write(1, b"seen\n")
    assert capfd.readouterr().out == "seen\n"
    assert log.read_text("utf-8") == "to stdout\nto stderr\n"
