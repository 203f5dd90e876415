"""Settings of an Edge TPU target, and what the compiler is given of them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from edgecompile.backends.edgetpu.compiler import Flags
from edgecompile.config import Frozen


class EdgetpuOptions(Frozen):
    """Settings of an Edge TPU target."""

    min_runtime_version: PositiveInt | None = None
    """Oldest Edge TPU runtime that must load the model (`edgetpu_compiler -m`); the compiler's own by default."""
    several_subgraphs: bool = False
    """Use the Edge TPU also behind an op that the CPU must run (`-a`): more ops on the chip, more trips to it."""
    search_delegate: bool = False
    """Where the compiler fails on the whole, let it look for a beginning that compiles (`-d`, compiler 16)."""
    delegate_search_step: PositiveInt | None = None
    """How many ops shorter each try of that search is (`-k`); 1 by default: thorough and slow."""
    segments: int | None = Field(default=None, ge=2)
    """Cut the model for so many Edge TPUs in a row (`-n`)."""
    cut_tail: bool = False
    """Give the compiler nothing behind the last op on the Edge TPU; the rest is a file that the CPU runs behind it."""
    compile_with: tuple[str, ...] = ()
    """Other 8-bit `.tflite` files, from the working folder, to share one Edge TPU with this one: compiled together."""
    timeout_s: PositiveFloat = 600.0
    """Seconds after which the compiler is stopped; its own limit is 180 s."""
    attempts: PositiveInt = 3
    """How often a compilation that fails without a reason is tried: some succeed the second time."""

    @field_validator("compile_with")
    @classmethod
    def _files(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        absent = [file for file in value if not Path(file).is_file()]
        if absent:
            raise ValueError(f"no such file: {', '.join(absent)}")
        stems = [Path(file).stem for file in value]
        if len(set(stems)) < len(stems):
            raise ValueError("two files have the same name, and the compiler names what it writes after them")
        return value

    @model_validator(mode="after")
    def _possible(self) -> EdgetpuOptions:
        if self.delegate_search_step is not None and not self.search_delegate:
            raise ValueError("`delegate_search_step` is for `search_delegate = true` only")
        if self.segments is not None and self.compile_with:
            raise ValueError(
                "`segments` is for one model on several Edge TPUs, `compile_with` for several models on one"
            )
        return self

    def flags(self) -> Flags:
        """Return how the compiler is called."""
        return Flags(
            min_runtime_version=self.min_runtime_version,
            several_subgraphs=self.several_subgraphs,
            search_delegate=self.search_delegate,
            delegate_search_step=self.delegate_search_step,
            segments=self.segments,
            timeout_s=self.timeout_s,
            attempts=self.attempts,
        )
