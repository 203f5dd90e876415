"""Every way a run can end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import edgecompile
from edgecompile.cli.entry import guard, run
from edgecompile.cli.streams import own_streams
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError, PassError, Problem, ToolError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))


def ended(work: Callable[[], int], *, as_json: bool = False) -> int:
    with own_streams(as_json=as_json) as streams:
        return guard(work, argv=["build", "m.keras"], streams=streams)


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a", where="b", hint="c"), 2),
        (ModelError("a", where="b", hint="c"), 3),
        (PassError("a", where="b", hint="c"), 4),
        (ToolError("a", where="b", hint="c"), 5),
    ],
)
def test_a_user_error_says_what_where_and_hint(
    error: EdgeCompileError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "error: a\n   where: b\n   hint:  c\n"


def test_several_problems_are_numbered(capfd: pytest.CaptureFixture[str]) -> None:
    error = ConfigError.of([Problem("one", "here"), Problem("two", hint="do")])
    assert ended(raising(error)) == 2
    assert capfd.readouterr().err == "2 problems:\n1. one\n   where: here\n2. two\n   hint:  do\n"


def test_json_tells_errors_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(ModelError("a", where="b")), as_json=True) == 3
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "schema_version": 1,
        "error": {"kind": "model", "exit_code": 3, "problems": [{"what": "a", "where": "b", "hint": ""}]},
    }


def test_a_bug_leaves_its_traceback_in_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(KeyError("lost"))) == 70
    err = capfd.readouterr().err
    (file,) = (tmp_path / "cache" / "logs").glob("crash-*.log")
    assert err == f"error: this is a bug in edgecompile: KeyError: 'lost'\n   hint:  please report it with {file}\n"
    text = file.read_text("utf-8")
    assert f"edgecompile {edgecompile.__version__}" in text
    assert "edgecompile build m.keras" in text
    assert "Traceback (most recent call last)" in text


def test_a_bug_whose_traceback_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "file"))
    with monkeypatch.context() as patch:  # undone at once: pytest's own capture needs the folder
        patch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        assert ended(raising(KeyError("lost"))) == 70
    assert "its traceback could not be kept" in capfd.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_does_not_take_it_is_not_a_bug(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(OSError(number, os.strerror(number), "/x/y"))) == 5
    assert capfd.readouterr().err == f"error: {os.strerror(number)}\n   where: /x/y\n"


def test_another_os_error_is_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(OSError(errno.EINVAL, "strange"))) == 70
    assert "OSError: [Errno 22] strange" in capfd.readouterr().err


def test_no_memory(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(MemoryError())) == 5
    assert capfd.readouterr().err.startswith("error: not enough memory\n")


def test_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(KeyboardInterrupt())) == 130
    assert capfd.readouterr().err == "error: interrupted; no unfinished bundle is left\n"


def test_sigterm_unwinds() -> None:
    def work() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return 0

    with pytest.raises(SystemExit) as stopped:
        ended(work)
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["bogus"], "error: no such command 'bogus'\n   where: edgecompile\n   hint:  see `edgecompile --help`\n"),
        (["targts"], "Did you mean 'targets'?"),
        (
            ["build", "--calibraton", "x"],
            "error: no such option: --calibraton\n   where: edgecompile build\n"
            "   hint:  did you mean `--calibration`?\n",
        ),
        (["build", "a", "b"], "error: got unexpected extra argument(s) (b)"),
        (["verify"], "error: missing argument 'BUNDLE'"),
        (["build", "--data"], "requires an argument"),
    ],
)
def test_usage_errors_look_like_all_others(argv: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert text in err
    assert "Traceback" not in err


def test_usage_errors_in_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "--json", "--bogus"]) == 2
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out)["error"]["problems"][0]["what"] == "no such option: --bogus"


def test_version_and_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out == f"edgecompile {edgecompile.__version__}\n"
    assert run([]) == 0
    bare = capfd.readouterr().out
    assert run(["--help"]) == 0
    assert capfd.readouterr().out == bare


def test_a_reader_that_leaves_early_is_no_error() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "edgecompile", "targets", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", ["targets --json", "targets nope --json"])
def test_output_that_a_full_disk_refuses_is_no_missed_gate(verb: str) -> None:
    shell = f"{sys.executable} -m edgecompile {verb} >/dev/full"
    done = subprocess.run(shell, shell=True, check=False, capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("verb", ["targets", "build {model} -t linux-x86_64 --recipe float32 --out {out}"])
def test_closed_streams_do_not_matter(verb: str, tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "data" / "image_float.tflite"
    shell = f"{sys.executable} -m edgecompile {verb.format(model=model, out=tmp_path)} >&- 2>&-"
    environment = {**os.environ, "EDGECOMPILE_CACHE": str(tmp_path / "cache")}
    assert subprocess.run(shell, shell=True, check=False, env=environment).returncode == 0


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"edgecompile {edgecompile.__version__}\n"
    assert done.stderr == ""
