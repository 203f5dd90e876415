"""The `[options]` of an Ethos-U target: for which NPU and which memory system Vela compiles.

Names are those of Vela: accelerators from `vela --help`, system configurations and memory modes from
`vela --list-configs Arm/vela.ini`, version 5.2.0. All are checked before anything runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from configparser import ConfigParser
from configparser import Error as IniError
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, PositiveFloat, PositiveInt, model_validator

from edgecompile.config import Frozen
from edgecompile.errors import near_miss

Accelerator = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
]
Optimise = Literal["Performance", "Size"]

SYSTEM_CONFIGS = (
    "Ethos_U55_Deep_Embedded",
    "Ethos_U55_High_End_Embedded",
    "Ethos_U65_Embedded",
    "Ethos_U65_Mid_End",
    "Ethos_U65_High_End",
    "Ethos_U65_Client_Server",
    "Ethos_U85_SYS_Flash_Low",
    "Ethos_U85_SYS_Flash_High",
    "Ethos_U85_SYS_DRAM_Low",
    "Ethos_U85_SYS_DRAM_Mid",
    "Ethos_U85_SYS_DRAM_High",
)
"""Clocks, ports and latencies that Vela ships."""

DEDICATED = "Dedicated_Sram"
SRAM_ONLY = "Sram_Only"
MEMORY_MODES = (SRAM_ONLY, "Shared_Sram", DEDICATED, *(f"{DEDICATED}_{kb}KB" for kb in (256, 384, 512)))
"""What lies in which memory, as Vela ships it."""

SHIPPED_CONFIG = "Arm/vela.ini"
"""Vela's own configuration file, as Vela names it."""


def _one_of(known: Iterable[str]) -> Callable[[object], object]:
    def check(given: object) -> object:
        if isinstance(given, str) and given not in known:
            raise ValueError(f"unknown name; {near_miss(given, known)}")
        return given

    return check


class EthosuOptions(Frozen):
    """Settings of an Ethos-U target."""

    accelerator: Annotated[Accelerator, BeforeValidator(_one_of(get_args(Accelerator)))]
    """The NPU and its multiply-accumulate units per cycle, as Vela names it (`ethos-u55-128`)."""
    system_config: str
    """Clock, bus ports and latencies: a `System_Config` of Vela's `Arm/vela.ini`, or of `config`."""
    memory_mode: str
    """Which memory holds constants, arena and cache: a `Memory_Mode` of Vela's `Arm/vela.ini`, or of `config`."""
    optimise: Annotated[Optimise, BeforeValidator(_one_of(get_args(Optimise)))] = "Performance"
    """`Performance`, or `Size`: the least SRAM, however slow."""
    arena_cache_bytes: PositiveInt | None = None
    """SRAM that Vela plans for, in bytes; by default what the target has, where the memory mode does not say."""
    config: str | None = None
    """A Vela configuration file (`.ini`) of your own, from the working folder or the folder of your targets."""
    dram_bytes: PositiveInt | None = None
    """DRAM for the arena and the model together, in bytes, where the memory mode puts them there; unset: unchecked."""
    timeout_s: PositiveFloat = 600.0
    """Seconds after which Vela is stopped."""

    @model_validator(mode="after")
    def _names_are_known(self) -> EthosuOptions:
        problems = [
            f"{field}: unknown name `{name}`; {near_miss(name, known)}"
            for field, name, known in (
                ("system_config", self.system_config, self._known("System_Config", SYSTEM_CONFIGS)),
                ("memory_mode", self.memory_mode, self._known("Memory_Mode", MEMORY_MODES)),
            )
            if name not in known
        ]
        family = self.accelerator.rpartition("-")[0]
        named = self.system_config if self.config is None else ""
        if not problems and named and not named.lower().startswith(family.replace("-", "_")):
            own = [name for name in SYSTEM_CONFIGS if name.lower().startswith(family.replace("-", "_"))]
            problems.append(f"system_config `{named}` is not one of {self.accelerator}: {', '.join(own)}")
        if family == "ethos-u55" and self.memory_mode.startswith(DEDICATED):
            # Arm's ML embedded evaluation kit, “Memory mode configurations”: for Ethos-U65 and Ethos-U85 only.
            problems.append(f"memory_mode `{self.memory_mode}` is not for {self.accelerator}: Sram_Only, Shared_Sram")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _known(self, kind: str, shipped: tuple[str, ...]) -> tuple[str, ...]:
        if self.config is None:
            return shipped
        return tuple(name.partition(".")[2] for name in read_ini(self.config) if name.startswith(f"{kind}."))

    @property
    def own_cache_size(self) -> bool:
        """Whether the memory mode itself says how much SRAM there is."""
        if self.config is None:
            return self.memory_mode.startswith(f"{DEDICATED}_")
        return "arena_cache_size" in self._mode()

    @property
    def dedicated(self) -> bool:
        """Whether the SRAM is the NPU's alone, so that the arena lies elsewhere."""
        if self.config is None:
            return self.memory_mode.startswith(DEDICATED)
        mode = self._mode()
        return mode.get("arena_mem_area") != mode.get("cache_mem_area")

    @property
    def model_in_sram(self) -> bool:
        """Whether the model lies in the SRAM beside the arena."""
        if self.config is None:
            return self.memory_mode == SRAM_ONLY
        mode = self._mode()
        return not self.dedicated and mode.get("const_mem_area") == mode.get("arena_mem_area")

    def _mode(self) -> Mapping[str, str]:
        """Return the keys of the memory mode in the user's file, those it inherits among them."""
        sections = read_ini(self.config or "")
        name: str | None = f"Memory_Mode.{self.memory_mode}"
        found: dict[str, str] = {}
        seen: set[str] = set()
        while name in sections and name not in seen:
            seen.add(name)
            found = {**sections[name], **found}
            name = sections[name].get("inherit")
        return found


def find_config(named: str) -> Path:
    """Return the path of a user's configuration file; raise ValueError where there is none."""
    folders = [Path(), *([Path(own)] if (own := os.environ.get("EDGECOMPILE_TARGETS")) else [])]
    for folder in folders:
        if (file := folder / named).is_file():
            return file.absolute()
    raise ValueError(f"config: no file `{named}` in {' or '.join(str(f.absolute()) for f in folders)}")


def read_ini(named: str) -> dict[str, dict[str, str]]:
    """Return section → key → value of a user's configuration file; raise ValueError where it cannot be read."""
    file = find_config(named)
    parser = ConfigParser()
    try:
        parser.read_string(file.read_text("utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError, IniError) as error:
        raise ValueError(f"config: `{named}` is no Vela configuration file: {error}") from None
    return {name: dict(parser[name]) for name in parser.sections()}
