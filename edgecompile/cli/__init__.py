"""The command line: typer reads it, a verb does it, render shows it. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code; see edgecompile.errors for the codes."""
    from edgecompile.tools import search_path

    sys.path[:] = search_path()  # before anything that could lie in the working folder too

    from edgecompile.cli.entry import run

    sys.exit(run(sys.argv[1:]))
