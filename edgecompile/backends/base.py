"""Backend: lowers a `.tflite` for a family of targets and says what the family cannot take, and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgecompile.artifact import Artifact
from edgecompile.config import Frozen
from edgecompile.report import Check, Finding
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph
from edgecompile.tflite.runner import AnyKernels

Kernels = AnyKernels
"""LiteRT kernel sets: XNNPACK delegate, optimized built-in kernels, reference kernels; `tflm`: TFLite Micro."""


class Runnable(Frozen):
    """The file and the interpreter that stand for the device on the host."""

    model: Path
    kernels: Kernels
    fidelity: str
    """One sentence: how faithful that is."""


class Firmware(Frozen):
    """What the sources for a microcontroller are made of, beside the model."""

    arena_bytes: int
    """Memory for the tensor arena, bytes."""
    kernels: str
    """The kernels that the figure holds for."""
    resolver: tuple[tuple[str, str], ...]
    """Method of MicroMutableOpResolver, and the registration to give it (empty: its own), for each op."""
    arena_section: str = ""
    """Section of the linker script that holds the arena; empty: none of its own."""
    model_section: str = ""
    """Section of the linker script that holds the model; empty: none of its own."""
    npu_cache_bytes: int = 0
    """Fast memory that the application gives an NPU's driver, bytes."""
    dynamic_bytes: int = 0
    """What the arena takes more where TFLite Micro was built without TF_LITE_STATIC_MEMORY, bytes."""
    host_arena_bytes: int = 0
    """Memory for the tensor arena where pointers have 64 bits, as on a PC; 0: sources do not run there."""
    cmsis_nn: bool = False
    """Whether the kernels are those of a build of TFLite Micro with CMSIS_NN."""
    resources: int = 0
    """Resource variables that the model has."""
    stateful: bool = False
    """Whether the model keeps anything from run to run."""
    stream: bool = False
    """Whether each row continues where the row before it ended; else the state, if there is any, is reset before."""
    core: str = ""
    """The device's core as TFLite Micro's makefile names it (TARGET_ARCH); empty: no Cortex-M, or not known."""
    revision: str = ""
    """Commit of tflite-micro whose interpreter gave the golden outputs; empty: not known."""
    golden: str = ""
    """Where the golden outputs come from, if it is not TFLite Micro with the device's own file."""


class Compiled(Frozen):
    """What a backend made.

    Attributes follow as fields; `files` go into the bundle under their names.
    """

    files: Mapping[str, Path]
    """Name in the bundle → file. Always holds the model under `model`."""
    model: str
    """The key of `files` that the device loads; of several, the first that runs."""
    chain: tuple[str, ...] = ()
    """Keys of `files` that the device runs one behind the other; empty: `model` alone."""
    status: str = ""
    """What the target's own compiler did, or why it was not run; empty: the family has none."""
    complete: bool = True
    """False when the target's own compiler was not available: the status says so."""
    findings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    extra: Mapping[str, Any] = {}
    """Sections for the report."""
    libraries: Mapping[str, str] = {}
    """Name → version of the libraries that shaped what was made, for the report."""
    firmware: Firmware | None = None
    """For microcontrollers: what the bundle's C sources are made of."""
    runs: Runnable | None = None
    """What stands for the device where `compile` made it; None: what `Backend.runnable` says."""


class Backend(ABC):
    """Contract of a backend. Stateless; one instance per process is enough."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[Frozen]]
    """Schema of the target's `[options]`."""
    sources: ClassVar[bool] = False
    """Whether bundles hold C and C++ sources for the device."""
    unrolls: ClassVar[bool] = False
    """Whether recurrent layers are converted without loops: the family runs loops wrong, or in float on a CPU only."""
    weights_note: ClassVar[str] = (
        "This runtime stores and computes every weight, zero or not: scattered zeros and shared values make the "
        "download shorter, not the file, the memory or the time."
    )
    """What the family makes of zeros and of few distinct values in kernels, for people."""

    def outside(self, target: Target) -> str:
        """Return what beside model and target shapes `compile`: path, size and date of a program; empty for nothing.

        A build whose inputs are unchanged is repeated from the cache only while this is unchanged too.
        """
        del target
        return ""

    def sparse_weights(self, target: Target) -> bool:
        """Return whether the runtime computes with float32 weights in TFLite's sparse format."""
        del target
        return False

    @abstractmethod
    def check(self, graph: Graph, target: Target) -> tuple[Finding, ...]:
        """Return what the family cannot take in graph, and why; nothing heavy runs."""

    @abstractmethod
    def compile(self, model: Artifact, target: Target, *, name: str, out: Path) -> Compiled:
        """Lower model into files below out; name is the stem for them.

        Raises:
            ToolError: the target's own compiler is there and failed.
        """

    @abstractmethod
    def runnable(self, model: Artifact, target: Target) -> Runnable:
        """Return the file and the interpreter that stand for the device on the host."""
