"""`edgecompile cache`: what earlier builds left for later ones."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams
from edgecompile.errors import ConfigError, pick
from edgecompile.units import KIB, MIB

EXAMPLES = """
edgecompile cache
edgecompile cache prune --max-size 2GiB
edgecompile cache clear
"""

_ACTIONS = ("show", "prune", "clear")
_UNITS = {"B": 1, "KIB": KIB, "MIB": MIB, "GIB": 1024 * MIB, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_DEFAULT_SIZE = "5GiB"


def cache(
    action: Annotated[str, typer.Argument(metavar="[show|prune|clear]", help="What to do.")] = "show",
    *,
    max_size: Annotated[
        str, typer.Option(help="prune: remove what was used longest ago until the rest is this small.")
    ] = _DEFAULT_SIZE,
    as_json: Json = False,
) -> Job:
    """Show, prune or clear the store of step results. Builds stay right without it, and get slower.

    It lies in EDGECOMPILE_CACHE, else in ~/.cache/edgecompile.
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    return lambda streams: _cache(streams, pick(action, _ACTIONS, what="action"), max_bytes=size(max_size))


def _cache(streams: Streams, action: str, *, max_bytes: int) -> int:
    from edgecompile.cache import Cache, default_root

    store = Cache(default_root())
    removed = None
    if action == "prune":
        removed = store.prune(max_bytes=max_bytes)
    elif action == "clear":
        removed = store.clear()
    left = store.usage()
    if streams.json:
        gone = {} if removed is None else {"removed": {"entries": removed.entries, "bytes": removed.bytes}}
        streams.write_json({"root": str(left.root), "entries": left.entries, "bytes": left.bytes, **gone})
        return 0
    from edgecompile.cli.render import Screen
    from edgecompile.units import show_bytes

    screen = Screen(streams.out)
    if removed is not None:
        screen.line(f"removed {removed.entries} entries, {show_bytes(removed.bytes)}")
    screen.line((str(left.root), "key"), f": {left.entries} entries, {show_bytes(left.bytes)}")
    return 0


def size(text: str) -> int:
    """Return the bytes that text stands for: `2GiB`, `500 MB`, `1048576`.

    Raises:
        ConfigError: not a size.
    """
    number = text.strip().rstrip("BbGgIiKkMm ")
    unit = text.strip()[len(number) :].strip().upper() or "B"
    try:
        value = float(number)
        return int(value * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ConfigError(f"`{text}` is not a size", where="--max-size", hint="such as 2GiB or 500MB") from None
