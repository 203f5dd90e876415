"""`manifest.json`: every file of a bundle with its hash, and what the bundle was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Literal

from edgecompile.bundle.writer import BUNDLE_FORMAT
from edgecompile.config import Frozen, parse
from edgecompile.errors import ConfigError
from edgecompile.recipe import Recipe
from edgecompile.report import DataInfo, ModelInfo, Report, Verdict
from edgecompile.target import Target

MANIFEST = "manifest.json"


class FileEntry(Frozen):
    """One file."""

    sha256: str
    bytes: int


class Provenance(Frozen):
    """What the bundle was made from: enough to make it again, and to see why another one differs."""

    edgecompile: str
    """Version that built it."""
    model: ModelInfo
    """The source model."""
    data: DataInfo
    recipe: Mapping[str, Any]
    """The recipe with the command line laid over it; of paths only the names, as the machine's folders are no input."""
    target: Mapping[str, Any]
    seed: int
    libraries: Mapping[str, str]
    """Name → version of the libraries that shaped the result."""


class Manifest(Frozen):
    """`manifest.json`; it lists every file but itself."""

    format: Literal["edgecompile bundle"] = BUNDLE_FORMAT
    format_version: Literal[1] = 1
    name: str
    target: str
    verdict: Verdict
    files: Mapping[str, FileEntry]
    provenance: Provenance


def make_manifest(report: Report, *, recipe: Recipe, target: Target, files: Mapping[str, bytes]) -> Manifest:
    """Return the manifest of files."""
    return Manifest(
        name=report.model.name,
        target=report.target.name,
        verdict=report.verdict,
        files={
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in files.items()
        },
        provenance=Provenance(
            edgecompile=report.edgecompile,
            model=report.model,
            data=report.data,
            recipe=_portable(recipe),
            target=target.model_dump(mode="json", exclude_unset=True),
            seed=recipe.data.seed,
            libraries=report.libraries,
        ),
    )


def _portable(recipe: Recipe) -> dict[str, Any]:
    """Return what the recipe sets, without folders: the same build in two places gives the same manifest."""
    content = recipe.model_dump(mode="json", exclude_unset=True)
    for section, keys in (("model", ("path",)), ("data", ("validation", "calibration", "train", "labels"))):
        for key in keys:
            if content.get(section, {}).get(key):
                content[section][key] = PurePath(content[section][key]).name
    if content.get("extends"):
        content["extends"] = PurePath(content["extends"]).name
    content.get("build", {}).pop("out", None)
    content.get("build", {}).pop("targets", None)  # another target built beside this one changes nothing here
    return content


def read_manifest(bundle: Path) -> Manifest:
    """Return the manifest of the bundle in folder bundle.

    Raises:
        ConfigError: no such folder, no bundle, or one of a format that this version does not read.
    """
    if not bundle.is_dir():
        raise ConfigError("no such folder", where=str(bundle), hint="give the folder that `edgecompile build` wrote")
    file = bundle / MANIFEST
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"is not a bundle: it has no {MANIFEST}", where=str(bundle)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file)) from None
    if not isinstance(content, dict) or content.get("format") != BUNDLE_FORMAT:
        raise ConfigError("is not the manifest of a bundle", where=str(file))
    if content.get("format_version") != 1:
        raise ConfigError(
            f"has format version {content.get('format_version')!r}, and this edgecompile reads version 1",
            where=str(file),
            hint="verify it with the version that built it",
        )
    return parse(Manifest, content, where=str(file))
