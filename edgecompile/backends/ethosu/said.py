"""What Vela prints: why it refuses ops, and what else it says, counted instead of repeated.

The forms are those of ethos-u-vela 5.2.0.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_REFUSAL = re.compile(
    r"^Warning \(supported operators\) operator: (?P<op>\S+), ofm: '(?P<made>.*)'\n"
    r"Reason: (?P<reason>.*)\n"
    r"(?P<rule>(?:.+\n)*)",
    re.MULTILINE,
)
_SUMMARY = "\nNetwork summary for "
_QUOTED = re.compile(r"'[^']*'")
_TRACEBACK = "Traceback (most recent call last):"
_OUR_SIDE = "Compilation failed: "
_UNNAMED = "<unnamed>"
_ACTIVATION = "_act"
"""Vela takes a fused activation off its op; what the op then makes has this at the end of its name."""


@dataclass(frozen=True)
class Refusal:
    """An op that Vela does not take.

    Attributes:
        op: its kind.
        made: name of its first output; empty where it has none.
        reason: what is wrong with this one.
        rule: the constraint it breaks, lines joined; empty where Vela gives none.
    """

    op: str
    made: str
    reason: str
    rule: str

    def is_about(self, name: str) -> bool:
        """Return whether it speaks of the op that makes the tensor called name."""
        return bool(name) and self.made in {name, f"{name}{_ACTIVATION}"}


@dataclass(frozen=True)
class Note:
    """Something that Vela says, with `…` for names, and how often."""

    text: str
    times: int


@dataclass(frozen=True)
class Said:
    """All that Vela printed before its summary."""

    refusals: tuple[Refusal, ...]
    notes: tuple[Note, ...]


def parse_said(text: str) -> Said:
    """Return what Vela's standard output says."""
    head = f"\n{text}".partition(_SUMMARY)[0]
    refusals = tuple(
        Refusal(
            op=found["op"],
            made="" if found["made"].startswith(_UNNAMED) else found["made"],
            reason=found["reason"].strip(),
            rule=_joined(found["rule"]),
        )
        for found in _REFUSAL.finditer(head)
    )
    rest = (line.strip() for line in _REFUSAL.sub("", head).splitlines())
    counted = Counter(_QUOTED.sub("'…'", line) for line in rest if line)
    return Said(refusals, tuple(Note(line, times) for line, times in counted.items()))


def _joined(rule: str) -> str:
    """Return the lines of a constraint, which Vela indents like an outline, as one."""
    lines = [line.strip().removeprefix("- ").rstrip(".") for line in rule.splitlines()]
    return "".join(line + (" " if line.endswith(":") else "; ") for line in lines).strip("; ")


def crash(text: str) -> tuple[str, str]:
    """Return (kind, message) of the exception that ended Vela, ("", "") where there was none; lines joined."""
    _, found, trace = text.rpartition(_TRACEBACK)
    if not found:
        return "", ""
    lines = trace.strip("\n").splitlines()
    start = next((n for n, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    kind, _, message = " ".join(line.strip() for line in lines[start:] if line.strip()).partition(": ")
    message = message.strip("'\"").removeprefix(_OUR_SIDE).removeprefix("Error: ")
    return kind.rpartition(".")[2], message
