"""The terminal that the user sees, kept apart from what libraries print to descriptors 1 and 2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class Streams:
    """Copies of the process's stdout and stderr. They stay the user's when the originals go to a log file.

    Attributes:
        out: results; with `--json` one JSON object and nothing else.
        err: progress and errors.
        json: whether the user asked for JSON.
    """

    out: TextIO
    err: TextIO
    json: bool = False

    def write_json(self, document: Mapping[str, Any]) -> None:
        """Write document and the version of its schema to stdout; it grows with every change a reader could notice."""
        self.out.write(json.dumps({"schema_version": 1, **document}, indent=2, ensure_ascii=False) + "\n")


Job = Callable[[Streams], int]
"""What a verb does once its command line is read; returns the exit code."""


@contextmanager
def own_streams(*, as_json: bool) -> Iterator[Streams]:
    """Yield copies of the process's stdout and stderr; both are flushed and closed after.

    Raises:
        BrokenPipeError: whoever read the output has gone.
        OSError: the output cannot be written: it goes to a file, and the disk is full.
    """
    _fill_closed()
    out, err = _copy(1, sys.stdout), _copy(2, sys.stderr)
    try:
        yield Streams(out, err, json=as_json)
        out.flush()
        err.flush()
    finally:
        for stream in (out, err):
            _close(stream)


def _fill_closed() -> None:
    """Open nowhere under standard descriptors that the caller closed (`>&-`): the next file would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _copy(descriptor: int, like: TextIO | None) -> TextIO:
    """Return a text stream to a copy of descriptor; like is Python's own stream to it, None when it was closed."""
    # A character that the terminal's encoding lacks must not end a build.
    encoding = "utf-8" if like is None else like.encoding
    return os.fdopen(os.dup(descriptor), "w", encoding=encoding, errors="replace", newline="\n")


def _close(stream: TextIO) -> None:
    """Close stream. What a reader that has gone or a full disk never took is dropped: flushing raised on it already."""
    try:
        stream.close()
    except OSError:
        return


def is_terminal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Return whether stream takes cursor movements and colours: a terminal, not dumb, not in CI."""
    in_ci = env.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and env.get("TERM", "") not in ("", "dumb", "unknown") and not in_ci


def width_of(stream: TextIO, env: Mapping[str, str]) -> int:
    """Return how many columns to fill: COLUMNS, else the terminal's width, else 100."""
    if (columns := env.get("COLUMNS", "")).isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 100
    except OSError:
        return 100
