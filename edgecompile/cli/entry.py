"""The error boundary: every way a run can end, and the exit code it has. See edgecompile.errors for the codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from edgecompile.cli.app import app
from edgecompile.cli.streams import Job, Streams, own_streams
from edgecompile.errors import ConfigError, EdgeCompileError, Problem, ToolError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "edgecompile"
_BUG, _INTERRUPTED, _TERMINATED, _READER_GONE = 70, 130, 128 + signal.SIGTERM, 128 + signal.SIGPIPE
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def run(argv: Sequence[str]) -> int:
    """Run the command line argv (without the program's name) and return the exit code."""
    try:
        with own_streams(as_json="--json" in argv) as streams:
            return _guarded(argv, streams)
    except BrokenPipeError:
        # The reader of our output left early (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _READER_GONE


def parse(argv: Sequence[str]) -> Job | int:
    """Return what argv asks for; an exit code where typer has answered itself (help, completion).

    Raises:
        ConfigError: the command line is wrong.
    """
    try:
        asked: Job | int | None = app(args=list(argv), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        raise _usage(error) from None
    sys.stdout.flush()
    return 0 if asked is None else asked


def _guarded(argv: Sequence[str], streams: Streams) -> int:
    try:
        with _terminated():
            job = parse(argv)
            return job if isinstance(job, int) else job(streams)
    except BrokenPipeError:
        raise
    except EdgeCompileError as error:
        return _tell(error, streams)
    except KeyboardInterrupt:
        return _tell_line(streams, "interrupted: no unfinished bundle is left", "interrupted", _INTERRUPTED)
    except MemoryError:
        return _tell(ToolError("not enough memory", hint="close other programs, or give less data"), streams)
    except OSError as error:
        if error.errno in _DISK:
            return _tell(ToolError(str(error.strerror), where=str(error.filename or "")), streams)
        return _tell_bug(error, argv, streams)
    except Exception as error:  # noqa: BLE001 - the one place that turns a bug into a line for the user
        return _tell_bug(error, argv, streams)


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM unwind like an error, so that programs that we started end with us."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage(error: typer.TyperException) -> ConfigError:
    """Return typer's complaint as one of ours, with the near miss that typer found as the hint."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    near = sorted(getattr(error, "possibilities", None) or ())
    what = (error.message if near else error.format_message()).rstrip(".")
    hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"{command} --help"
    return ConfigError(what[:1].lower() + what[1:], where=command, hint=hint)


def _tell(error: EdgeCompileError, streams: Streams) -> int:
    """Show every problem of error; return its exit code."""
    if streams.json:
        _tell_json(streams, error.kind, error.exit_code, error.problems)
        return error.exit_code
    from edgecompile.cli.render import Screen

    screen = Screen(streams.err)
    several = len(error.problems) > 1
    if several:
        screen.line((f"{len(error.problems)} problems:", "bad"))
    for number, problem in enumerate(error.problems, 1):
        screen.line((f"{number}. " if several else "error: ", "bad"), problem.what)
        if problem.where:
            screen.line(("where: ", "dim"), problem.where, indent=3)
        if problem.hint:
            screen.line(("hint:  ", "dim"), problem.hint, indent=3)
    return error.exit_code


def _tell_line(streams: Streams, text: str, kind: str, code: int) -> int:
    if streams.json:
        _tell_json(streams, kind, code, (Problem(text),))
    else:
        streams.err.write(f"\n{text}\n")
    return code


def _tell_json(streams: Streams, kind: str, code: int, problems: Sequence[Problem]) -> None:
    told = [{"what": p.what, "where": p.where, "hint": p.hint} for p in problems]
    streams.write_json({"error": {"kind": kind, "exit_code": code, "problems": told}})


def _tell_bug(error: Exception, argv: Sequence[str], streams: Streams) -> int:
    """Write the traceback to a file and one line to the user."""
    from edgecompile import __version__

    story = "".join(traceback.format_exception(error))
    text = f"edgecompile {__version__}, Python {sys.version}\n{PROGRAM} {' '.join(argv)}\n\n{story}"
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    hint = f"please report it with {_keep(text)}"
    return _tell(_Bug(f"this is a bug in edgecompile: {said}", hint=hint), streams)


class _Bug(EdgeCompileError):
    exit_code = _BUG
    kind = "bug"


def _keep(text: str) -> Path:
    """Return the file that text was written to."""
    from edgecompile.cli.logs import new_log

    file = new_log("crash")
    file.write_text(text, "utf-8")
    return file
