"""The error boundary: every way a run can end, and the exit code it has. See edgecompile.errors for the codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from edgecompile.cli.app import app
from edgecompile.cli.streams import Job, Streams, own_streams
from edgecompile.errors import ConfigError, EdgeCompileError, ToolError

PROGRAM = "edgecompile"
_BUG, _INTERRUPTED, _TERMINATED, _READER_GONE = 70, 130, 128 + signal.SIGTERM, 128 + signal.SIGPIPE
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def run(argv: Sequence[str]) -> int:
    """Run the command line argv (without the program's name) and return the exit code."""
    try:
        with own_streams(as_json="--json" in argv) as streams:
            return guard(lambda: _start(argv, streams), argv=argv, streams=streams)
    except BrokenPipeError:
        # The reader of our output left early (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _READER_GONE
    except OSError as error:
        if error.errno not in _DISK:
            raise
        # `--json > file` on a full disk. Code 1 would tell a script that a gate was missed.
        os.write(2, f"error: the output cannot be written: {error.strerror}\n".encode())
        return ToolError.exit_code


def parse(argv: Sequence[str]) -> Job | int:
    """Return what argv asks for; an exit code where typer has answered itself (help, completion).

    Raises:
        ConfigError: the command line is wrong.
    """
    try:
        asked: Job | int | None = app(args=list(argv), prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        raise _usage(error) from None
    if sys.stdout is not None:  # None: the caller closed it
        sys.stdout.flush()
    return 0 if asked is None else asked


def _start(argv: Sequence[str], streams: Streams) -> int:
    job = parse(argv)
    return job if isinstance(job, int) else job(streams)


def guard(work: Callable[[], int], *, argv: Sequence[str], streams: Streams) -> int:
    """Return the exit code of work; whatever it raises is told to the user and becomes one.

    Raises:
        BrokenPipeError: nobody reads what we would tell.
    """
    try:
        with _terminated():
            return work()
    except BrokenPipeError:
        raise
    except EdgeCompileError as error:
        return _tell(error, streams)
    except KeyboardInterrupt:
        return _tell(_StoppedError("interrupted; no unfinished bundle is left"), streams)
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
    hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"see `{command} --help`"
    return ConfigError(what[:1].lower() + what[1:], where=command, hint=hint)


def _tell(error: EdgeCompileError, streams: Streams) -> int:
    """Show every problem of error; return its exit code."""
    if streams.json:
        told = [{"what": p.what, "where": p.where, "hint": p.hint} for p in error.problems]
        streams.write_json({"error": {"kind": error.kind, "exit_code": error.exit_code, "problems": told}})
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


def _tell_bug(error: Exception, argv: Sequence[str], streams: Streams) -> int:
    """Write the traceback to a file and one line to the user."""
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    return _tell(_BugError(f"this is a bug in edgecompile: {said}", hint=_keep(error, argv)), streams)


def _keep(error: Exception, argv: Sequence[str]) -> str:
    """Write the traceback to a file; return what to do with it."""
    from edgecompile import __version__
    from edgecompile.logs import new_log

    story = "".join(traceback.format_exception(error))
    text = f"edgecompile {__version__}, Python {sys.version}\n{PROGRAM} {' '.join(argv)}\n\n{story}"
    try:
        file = new_log("crash")
        file.write_text(text, "utf-8")
    except OSError as failed:
        return f"please report it; its traceback could not be kept: {failed}"
    return f"please report it with {file}"


class _BugError(EdgeCompileError):
    exit_code = _BUG
    kind = "bug"


class _StoppedError(EdgeCompileError):
    exit_code = _INTERRUPTED
    kind = "interrupted"
