"""Errors a user can act on: what is wrong, where, and what to do.

Exit codes (documented in the README; scripts rely on them):

====  =============================================================
code  meaning
====  =============================================================
0     every check passed
1     a gate or a budget was missed; the bundle is written `-FAILED`
2     `ConfigError`: the command, the recipe, the target or the data
3     `ModelError`: the model file
4     `PassError`: a step could not do what was asked of it
5     `ToolError`: something outside: a program, an extra, the disk
70    a bug in edgecompile; the traceback is in a file
====  =============================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        what: the fault in one sentence, without a full stop.
        where: file, key or layer; empty when `what` already says it.
        hint: what to do next; empty when there is nothing to suggest.
    """

    what: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  → {self.hint}" if self.hint else text


class EdgeCompileError(Exception):
    """Base of every error that is the user's to mend; carries one or more problems."""

    exit_code: ClassVar[int] = 70
    kind: ClassVar[str] = "error"

    def __init__(self, what: str, *, where: str = "", hint: str = "", also: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, hint), *also)
        super().__init__("\n".join(str(p) for p in self.problems))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> EdgeCompileError:
        """Return one error that reports all problems; problems must not be empty."""
        first = problems[0]
        return cls(first.what, where=first.where, hint=first.hint, also=problems[1:])


class ConfigError(EdgeCompileError):
    """The command line, a recipe, a target file or the data is wrong."""

    exit_code = 2
    kind = "configuration"


class TextRowsError(ConfigError):
    """The data holds text and no numbers: often for a model that takes text itself, which is the cause to name."""


class ModelError(EdgeCompileError):
    """The model file cannot be read, is unsafe, or holds something that cannot be compiled."""

    exit_code = 3
    kind = "model"


class PassError(EdgeCompileError):
    """A pass ran and could not deliver what its fields ask for."""

    exit_code = 4
    kind = "pass"


class ToolError(EdgeCompileError):
    """Something outside edgecompile failed: a program, an optional package, the disk."""

    exit_code = 5
    kind = "tool"


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the nearest known one, or the list of all; empty where none is known."""
    names = sorted(set(known))
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names)}"


def pick(name: str, known: Iterable[str], *, what: str, where: str = "") -> str:
    """Return name if it is known; raise ConfigError naming the nearest otherwise."""
    names = sorted(known)
    if name in names:
        return name
    raise ConfigError(f"unknown {what} `{name}`", where=where, hint=near_miss(name, names))


def missing_extra(extra: str, *, needed_for: str) -> ToolError:
    """Return the error for a step whose optional packages are not installed."""
    return ToolError(
        f"{needed_for} needs the `{extra}` extra, which is not installed",
        hint=f'pip install "edgecompile[{extra}]"',
    )
