"""The one way to run another program, and to keep libraries' chatter out of the user's terminal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgecompile.errors import ToolError


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    log: Path,
    install: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    mark: str = "",
) -> str:
    """Run a program to its end; return its stdout. Everything it printed is appended to log.

    Args:
        argv: program and arguments, never a joined string.
        timeout_s: wall seconds after which the program and its children are killed.
        log: file that receives stdout and stderr.
        install: what to do when the program is missing.
        env: variables added to the environment.
        cwd: working folder.
        on_line: called with each line of stdout as it comes.
        mark: how lines begin that are for on_line alone: an error does not quote them.

    Raises:
        ToolError: the program is missing, ran out of time, exited non-zero or was killed by a signal.
    """
    program = Path(argv[0]).name
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as sink:
        try:
            # A session of its own: a time-out must also end the children that the program started.
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                errors="replace",
                env={**os.environ, **_python_elsewhere(), **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise ToolError(f"`{program}` is not installed", hint=install) from None
        except OSError as error:
            raise ToolError(f"`{program}` cannot be started: {error.strerror}", where=argv[0], hint=install) from None
        assert process.stdout is not None, "stdout was asked for as a pipe"
        lines = []
        with _killed_after(process, timeout_s) as late, _killed_with_us(process), process.stdout as output:
            for line in output:
                lines.append(line)
                sink.write(line.encode())
                if on_line is not None:
                    on_line(line.rstrip("\n"))
            code = process.wait()
    if late.is_set():
        raise ToolError(f"`{program}` gave no answer in {timeout_s:g} s and was stopped", where=str(log))
    if code:
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited {code}"
        raise ToolError(f"`{program}` {ended}: {_last_line(log, mark)}", where=str(log))
    return "".join(lines)


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    timeout_s: float,
    log: Path,
    install: str = "",
    on_line: Callable[[str], None] | None = None,
    mark: str = "",
) -> str:
    """Run a module of edgecompile as a program of this Python (`python -m`); arguments and errors as for `run`.

    The process finds what this one finds, but nothing in the working folder: a `types.py` or `numpy.py` of the user's
    there is no part of edgecompile.
    """
    argv = [sys.executable, "-P", "-m", module, *arguments]
    path = {"PYTHONPATH": os.pathsep.join(search_path())}
    return run(argv, timeout_s=timeout_s, log=log, install=install, env=path, on_line=on_line, mark=mark)


def search_path() -> list[str]:
    """Return where Python finds modules, without the working folder unless PYTHONPATH names it.

    Python itself puts that folder there for `python -m`, in an interactive session, for a script in it, and for an
    empty entry of PYTHONPATH (`:/opt/x`). The folder of this very package is always among them.
    """
    named = {Path(p).resolve() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p}
    here = Path.cwd()
    places = [Path(p) for p in sys.path if p]
    kept = [str(p.absolute()) for p in places if p.resolve() != here or here in named]
    ours = str(Path(__file__).absolute().parent.parent)
    return list(dict.fromkeys(kept if ours in kept else [ours, *kept]))


def _python_elsewhere() -> dict[str, str]:
    """Return variables that keep programs written in Python from importing what lies in their working folder."""
    kept = os.pathsep.join(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)
    return {"PYTHONSAFEPATH": "1", **({"PYTHONPATH": kept} if "PYTHONPATH" in os.environ else {})}


@contextmanager
def _killed_after(process: subprocess.Popen[str], timeout_s: float) -> Iterator[threading.Event]:
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill_group(process)

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


@contextmanager
def _killed_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the program when this process leaves early (Ctrl-C, an error in on_line)."""
    try:
        yield
    finally:
        if process.poll() is None:
            _kill_group(process)
            process.wait()


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _last_line(log: Path, mark: str) -> str:
    """Return the last words in log: the last line that does not begin with mark."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    lines = [line for line in lines if not mark or not line.startswith(mark)]
    return lines[-1] if lines else "(no output)"


def which(program: str) -> Path | None:
    """Return where program lies on PATH, or None."""
    found = shutil.which(program)
    return Path(found) if found else None


def fingerprint(program: Path | None) -> str:
    """Return text that changes when program is replaced: path, size and time of change; `absent` for None."""
    if program is None:
        return "absent"
    about = program.stat()
    return f"{program} {about.st_size} {about.st_mtime_ns}"


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send what C libraries print to the process's stdout and stderr into log, and restore both after.

    Works on the file descriptors, so it holds for the whole process, threads included.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    saved = os.dup(1), os.dup(2)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        yield
    finally:
        _flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, sink):
            os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None: the caller closed it
            stream.flush()
