"""`edgecompile samples`: small trained models with data and a recipe, to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams
from edgecompile.errors import ConfigError, pick

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = """
edgecompile samples
edgecompile samples digits-cnn
edgecompile samples digits-cnn --out try
"""


def samples(
    name: Annotated[str | None, typer.Argument(help="Copy this sample's folder.", show_default=False)] = None,
    *,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder that the copy is made in.")] = ".",
    as_json: Json = False,
) -> Job:
    """List sample models, or copy one into OUT/NAME: model, data, recipe, and the script that made them."""
    del as_json  # the error boundary reads it: it must know before anything else is read
    return lambda streams: _list(streams) if name is None else _copy(streams, name, Path(out))


def sample_folders() -> Mapping[str, Path]:
    """Return name → folder of the samples that ship."""
    from edgecompile.target import shipped

    return {file.parent.name: file.parent for file in sorted(shipped("sample_models").glob("*/recipe.toml"))}


def _list(streams: Streams) -> int:
    from edgecompile.recipe import load_recipe
    from edgecompile.units import show_bytes

    rows = [
        (
            name,
            load_recipe(str(folder / "recipe.toml"))[0],
            sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        )
        for name, folder in sample_folders().items()
    ]
    if streams.json:
        streams.write_json({"samples": [{"name": n, "summary": r.summary, "bytes": size} for n, r, size in rows]})
        return 0
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.table(
        ("sample", "size", "what it is"),
        [((name, "key"), show_bytes(size), recipe.summary) for name, recipe, size in rows],
        right=(1,),
    )
    screen.line()
    screen.line(("edgecompile samples NAME copies one here", "dim"))
    return 0


def _copy(streams: Streams, name: str, out: Path) -> int:
    folders = sample_folders()
    source = folders[pick(name, folders, what="sample")]
    final = out / name
    if final.exists():
        raise ConfigError("is there already", where=str(final), hint="name another folder with --out")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"`{out}` cannot be made: {error.strerror}", where="--out", hint="name a folder") from None
    shutil.copytree(source, final, ignore=shutil.ignore_patterns("__pycache__"))
    command = f"edgecompile build --recipe {final / 'recipe.toml'}"
    if streams.json:
        streams.write_json({"path": str(final), "command": command})
        return 0
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line("copied to ", (str(final), "key"))
    screen.line("next: ", (command, "head"))
    return 0
