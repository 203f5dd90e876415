"""Options that several verbs share, and how examples and exit codes get into help."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object to stdout and nothing else there.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: facts of steps, all findings, the log file.")]

AllowChance = Annotated[
    bool,
    typer.Option("--allow-chance", help="Let a model pass that is not shown to beat guessing. Key: gate.allow_chance."),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        help="What must not occur: warning, any finding of that severity; repeatable. Key: gate.fail_on.",
        metavar="WHAT",
        show_default=False,
    ),
]

EXIT_CODES = {
    0: "every check passed",
    1: "a gate or a budget was missed, or nothing is proven; the bundle is written as …-FAILED or …-NOT-PROVEN",
    2: "the command line, the recipe, the target or the data is wrong",
    3: "the model file is wrong",
    4: "a pass could not do what was asked of it",
    5: "something outside failed: a program, an optional package, the disk",
    70: "a bug in edgecompile; the message names the file with the traceback",
    130: "interrupted; no unfinished bundle is left",
    143: "ended by SIGTERM; no unfinished bundle is left",
}


def epilog(examples: str, *, codes: bool = False) -> str:
    """Return the end of a help page: examples, one command a line, and, where codes is set, the exit codes."""
    # A line of \b alone keeps typer from joining the lines of a paragraph.
    lines = ["\b", "Examples:", *(f"  {line}" for line in examples.strip().splitlines())]
    if codes:
        lines += ["", "\b", "Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())]
    return "\n".join(lines)
