"""Running edgetpu_compiler: found, bounded in time, tried again where that helps, its words kept.

Sources: Coral, “Edge TPU Compiler” (https://coral.ai/docs/edgetpu/compiler/), options and output files;
`edgetpu_compiler --help` of version 16 as people quote it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecompile import tools
from edgecompile.backends.edgetpu.log import CompilerLog, diagnose, parse_log, worth_retrying
from edgecompile.errors import ToolError

COMPILER = "edgetpu_compiler"
COMPILER_VARIABLE = "EDGETPU_COMPILER"
INSTALL = (
    "edgetpu_compiler is the Debian package `edgetpu-compiler` of Coral's apt repository, for x86-64 Linux "
    "(https://coral.ai/docs/edgetpu/compiler/#download); put it on PATH, or its path into EDGETPU_COMPILER"
)

_TFLITE_IDENTIFIER = b"TFL3"  # bytes 4..8 of the file, schema.fbs file_identifier
_SKIP = f"read the log; without the compiler ({COMPILER_VARIABLE} unset, not on PATH) the int8 model is built alone"


class CompilerError(ToolError):
    """The compiler failed or hung.

    Attributes:
        text: what it printed.
        hung: whether it was stopped.
    """

    def __init__(self, what: str, *, where: str, hint: str, text: str, hung: bool) -> None:
        super().__init__(what, where=where, hint=hint)
        self.text = text
        self.hung = hung


@dataclass(frozen=True)
class Flags:
    """How to compile.

    Attributes:
        min_runtime_version: oldest runtime that must load the result (`-m`); None: the compiler's own.
        several_subgraphs: use the Edge TPU behind an op that the CPU must run (`-a`).
        search_delegate: where the compiler fails on the whole, let it look for a beginning that compiles (`-d`).
        delegate_search_step: how many ops shorter each try of that search is (`-k`); None: the compiler's own, 1.
        segments: cut the model for so many Edge TPUs in a row (`-n`); None: do not cut.
        timeout_s: seconds after which the compiler is stopped.
        attempts: how often a compilation that fails without a reason is tried.
    """

    min_runtime_version: int | None = None
    several_subgraphs: bool = False
    search_delegate: bool = False
    delegate_search_step: int | None = None
    segments: int | None = None
    timeout_s: float = 600.0
    attempts: int = 3

    def arguments(self) -> list[str]:
        """Return them as the compiler takes them; `-s` has it print its table of operators."""
        found = ["-s"]
        if self.several_subgraphs:
            found.append("-a")
        if self.min_runtime_version is not None:
            found += ["-m", str(self.min_runtime_version)]
        if self.search_delegate:
            found.append("-d")
        if self.delegate_search_step is not None:
            found += ["-k", str(self.delegate_search_step)]
        if self.segments is not None:
            found += ["-n", str(self.segments)]
        return found


@dataclass(frozen=True)
class Compilation:
    """What the compiler made.

    Attributes:
        models: compiled models, in the order of what was given; of a cut model all segments, in order.
        logs: the compiler's log files, beside them.
        said: what it printed and wrote about each of the models, as values.
        version: what it says it is; empty where it does not.
        attempts: how often it was started.
    """

    models: tuple[Path, ...]
    logs: tuple[Path, ...]
    said: tuple[CompilerLog, ...]
    version: str
    attempts: int


def find_compiler() -> Path | None:
    """Return the path of edgetpu_compiler: EDGETPU_COMPILER, else PATH; None where it is not installed.

    Raises:
        ToolError: EDGETPU_COMPILER names no file.
    """
    named = os.environ.get(COMPILER_VARIABLE)
    if not named:
        return tools.which(COMPILER)
    if not Path(named).is_file():
        raise ToolError("no such file", where=f"{COMPILER_VARIABLE}={named}", hint=INSTALL)
    return Path(named)


def run_compiler(compiler: Path, models: Sequence[tuple[str, Path]], flags: Flags, *, work: Path) -> Compilation:
    """Compile models in a folder of their own and return what the compiler wrote there.

    Several models are compiled together and share the chip's memory for parameters, the first one first. One that is
    cut gives a model for every segment.

    Args:
        compiler: the program.
        models: name, without ending, and file of each.
        flags: how.
        work: folder that does not exist yet.

    Raises:
        ToolError: it fails, hangs, or leaves no model; the message says what is known of the reason.
    """
    # The compiler names its files after its input and writes the path of both into its log: a relative name in a
    # folder of its own keeps the log free of this machine's paths. "./" keeps a name like "-s" from being an option.
    work.mkdir(parents=True)
    for name, file in models:
        shutil.copyfile(file, work / f"{name}.tflite")
    argv = [str(compiler.absolute()), *flags.arguments(), "-o", ".", *(f"./{name}.tflite" for name, _ in models)]
    printed, attempts = _persist(argv, flags, work)
    stems = [stem for name, _ in models for stem in _stems(name, flags.segments)]
    made = [_checked(work / f"{stem}_edgetpu.tflite", work) for stem in stems]
    logs = [log for stem in stems if (log := work / f"{stem}_edgetpu.log").is_file()]
    said = [parse_log(part) for part in _parts(printed, len(stems))]
    if len(logs) == len(said):
        said = [_with_operators(one, log) for one, log in zip(said, logs, strict=True)]
    return Compilation(tuple(made), tuple(logs), tuple(said), said[0].version, attempts)


def _stems(name: str, segments: int | None) -> list[str]:
    """Return the beginnings of the compiler's file names for a model."""
    return [name] if segments is None else [f"{name}_segment_{number}_of_{segments}" for number in range(segments)]


def _persist(argv: Sequence[str], flags: Flags, work: Path) -> tuple[str, int]:
    """Return what the compiler printed, and at which attempt it succeeded."""
    for attempt in range(1, flags.attempts + 1):
        chatter = work / f"output-{attempt}.txt"
        began = time.monotonic()
        try:
            return tools.run(argv, timeout_s=flags.timeout_s, log=chatter, install=INSTALL, cwd=work), attempt
        except ToolError as error:
            text = chatter.read_text("utf-8", "replace") if chatter.is_file() else ""
            hung = time.monotonic() - began >= flags.timeout_s
            if hung or attempt == flags.attempts or not worth_retrying(text):
                raise _explained(error, text, attempt, hung=hung) from None
    raise AssertionError("the loop returns or raises")


def _explained(error: ToolError, text: str, attempts: int, *, hung: bool) -> CompilerError:
    """Return error with what is known of the compiler's reason."""
    first = error.problems[0]
    known = diagnose(text)
    if known is not None:
        return CompilerError(f"{first.what}: {known.what}", where=first.where, hint=known.hint, text=text, hung=hung)
    tried = f" ({attempts} attempts)" if attempts > 1 else ""
    return CompilerError(f"{first.what}{tried}", where=first.where, hint=first.hint or _SKIP, text=text, hung=hung)


def _checked(compiled: Path, work: Path) -> Path:
    printed = max(work.glob("output-*.txt"), key=lambda file: file.stat().st_mtime_ns)
    text = printed.read_text("utf-8", "replace")
    if not compiled.is_file():
        raise CompilerError(
            f"`{COMPILER}` reported success and wrote no model", where=str(printed), hint=_SKIP, text=text, hung=False
        )
    if compiled.read_bytes()[4:8] != _TFLITE_IDENTIFIER:
        raise CompilerError(
            f"`{COMPILER}` wrote a file that is no TFLite model", where=str(printed), hint=_SKIP, text=text, hung=False
        )
    return compiled


def _parts(printed: str, models: int) -> list[str]:
    """Return what was printed about each model: a part begins where the compiler names its input."""
    head, *rest = printed.split("\nInput model:")
    if len(rest) != models:
        return [printed] * models
    return [f"{head}\nInput model:{part}" for part in rest]


def _with_operators(said: CompilerLog, log: Path) -> CompilerLog:
    """Return said, with the table of the log file where none was printed."""
    if said.operators:
        return said
    written = parse_log(log.read_text("utf-8", "replace"))
    return replace(said, operators=written.operators, version=said.version or written.version)
