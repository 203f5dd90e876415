"""Target: what edgecompile knows about one device. One TOML file each; the file stem is the name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from edgecompile.config import Frozen, parse, read_toml
from edgecompile.errors import ConfigError, pick

Scheme = Literal["int8", "int16x8", "float16", "dynamic", "float32"]
"""How weights and activations are stored; see the quantize pass."""


class Source(Frozen):
    """Where a number of this file comes from."""

    what: str
    """The fields or the fact that the source backs."""
    document: str
    """Title and revision or date of the document."""
    url: str = ""
    """Where the document is published."""


class Memory(Frozen):
    """Budgets the bundle must fit. An unset budget is not checked, and the report says so."""

    flash_bytes: PositiveInt | None = None
    """Read-only storage for model and code, bytes."""
    sram_bytes: PositiveInt | None = None
    """Working memory, bytes."""
    model_bytes_max: PositiveInt | None = None
    """The largest model file the deployment takes, bytes."""
    cache_bytes: PositiveInt | None = None
    """On-chip memory of the accelerator for parameters, bytes; larger models stream the rest."""
    reserved_sram_bytes: int = Field(default=0, ge=0)
    """Working memory left for the application, bytes."""
    reserved_flash_bytes: int = Field(default=0, ge=0)
    """Storage left for the application, bytes."""


class Target(Frozen):
    """A device or a class of devices."""

    name: str
    """Stem of the file."""
    title: str
    """Name for people."""
    summary: str
    """One sentence: what it is and what runs the model on it."""
    backend: str
    """The backend that lowers models for it."""
    recipe: str
    """The built-in recipe used when the user names none."""
    schemes: tuple[Scheme, ...]
    """The numeric schemes that the device's runtime takes."""
    io: Literal["int8", "float32", "any"] = "any"
    """The dtype that model inputs and outputs must have on this device."""
    memory: Memory = Memory()
    """Budgets."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the backend; its `Options` is their schema."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where the numbers come from."""


def shipped(folder: str) -> Path:
    """Return the folder of files that ship with us: `targets`, `sample_models`; installed or from a checkout."""
    here = Path(__file__).parent
    inside = here / folder
    return inside if inside.is_dir() else here.parent / folder


def target_files() -> dict[str, Path]:
    """Return name → file of every known target; a folder in EDGECOMPILE_TARGETS comes first."""
    folders = [shipped("targets")]
    if extra := os.environ.get("EDGECOMPILE_TARGETS"):
        if not Path(extra).is_dir():
            raise ConfigError("no such folder", where=f"EDGECOMPILE_TARGETS={extra}")
        folders.append(Path(extra))
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.toml"))}


def load_target(name: str) -> Target:
    """Return the target called name.

    Raises:
        ConfigError: the name is unknown (offers the nearest), or the file breaks the schema (all problems).
    """
    files = target_files()
    file = files[pick(name, files, what="target")]
    return parse(Target, {"name": name, **read_toml(file)}, where=str(file))
