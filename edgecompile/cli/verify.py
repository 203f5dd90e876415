"""`edgecompile verify`: is a bundle what its manifest says, and does it still do what it did?"""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli.options import Json, Verbose
from edgecompile.cli.streams import Job, Streams

EXAMPLES = """
edgecompile verify out/model-coral
edgecompile verify out/model-coral --data test.npz
edgecompile verify out/model-coral --json
"""


def verify(
    bundle: Annotated[str, typer.Argument(help="Folder that a build wrote.")],
    *,
    data: Annotated[str | None, typer.Option(help="Measure accuracy again on these samples.")] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> Job:
    """Check the hash of every file of BUNDLE, replay its golden vectors, and measure it again on --data."""
    del as_json  # the error boundary reads it: it must know before anything else is read
    return lambda streams: _verify(streams, bundle, data, verbose=verbose)


def _verify(streams: Streams, bundle: str, data: str | None, *, verbose: bool) -> int:
    raise NotImplementedError
