"""`edgecompile targets`: the devices that edgecompile knows, and where its numbers about them come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams

if TYPE_CHECKING:
    from edgecompile.target import Memory, Target

EXAMPLES = """
edgecompile targets
edgecompile targets coral
edgecompile targets --json
"""

_MEMORY = {
    "flash_bytes": "flash",
    "sram_bytes": "SRAM",
    "model_bytes_max": "largest model",
    "cache_bytes": "accelerator cache",
    "reserved_sram_bytes": "SRAM kept for the application",
    "reserved_flash_bytes": "flash kept for the application",
}


def targets(
    name: Annotated[str | None, typer.Argument(help="Show everything about this target.", show_default=False)] = None,
    *,
    as_json: Json = False,
) -> Job:
    """List targets, or show one with the sources of its numbers.

    A target is a TOML file; EDGECOMPILE_TARGETS names a folder of your own.
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    return lambda streams: _targets(streams, name)


def _targets(streams: Streams, name: str | None) -> int:
    from edgecompile.target import load_target, target_files

    known = [load_target(name)] if name is not None else [load_target(n) for n in sorted(target_files())]
    if streams.json:
        streams.write_json({"targets": [t.model_dump(mode="json") for t in known]})
    elif name is None:
        _list(streams, known)
    else:
        _show(streams, known[0], file=str(target_files()[name]))
    return 0


def _list(streams: Streams, known: list[Target]) -> None:
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    rows = [((t.name, "key"), t.title, t.backend, ", ".join(t.schemes), "; ".join(_memory(t.memory))) for t in known]
    screen.table(("name", "title", "backend", "schemes", "memory"), rows)
    screen.line()
    screen.line(("edgecompile targets NAME shows one with its sources", "dim"))


def _memory(memory: Memory) -> list[str]:
    from edgecompile.units import show_bytes

    values = {title: getattr(memory, field) for field, title in _MEMORY.items()}
    return [f"{title} {show_bytes(value)}" for title, value in values.items() if value]


def _show(streams: Streams, target: Target, *, file: str) -> None:
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line((target.name, "head"), f"  {target.title}")
    screen.line(target.summary)
    screen.line()
    rows = [
        ("backend", target.backend),
        ("recipe", target.recipe),
        ("schemes", ", ".join(target.schemes)),
        ("inputs and outputs", target.io),
        ("memory", "; ".join(_memory(target.memory)) or "no budget is set, so none is checked"),
        *((f"option {key}", str(value)) for key, value in sorted(target.options.items())),
        ("file", file),
    ]
    screen.table((), rows, indent=2)
    screen.line()
    screen.line("sources")
    for source in target.sources:
        screen.line(f"• {source.what}: {source.document}", indent=2)
        if source.url:
            screen.line((source.url, "key"), indent=4)
