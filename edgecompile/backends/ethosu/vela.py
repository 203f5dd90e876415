"""Running Vela: found, bounded in time, judged by its exit code and by what it wrote.

It runs as a program: it prints from C++, and garbage ends it with a traceback. `--show-cpu-operations` is not used:
in version 5.2.0 it ends Vela with a KeyError on models whose CPU ops stand between NPU ops. What stays on the CPU is
read from the compiled model instead.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecompile import tools
from edgecompile.backends.ethosu.options import SHIPPED_CONFIG, EthosuOptions, find_config
from edgecompile.backends.ethosu.summary import Summary, parse_summary
from edgecompile.errors import ToolError

VELA = "vela"
VELA_VARIABLE = "VELA"
PACKAGE = "ethos-u-vela"
EXTRA = "ethosu"
INSTALL = f'pip install "edgecompile[{EXTRA}]"'

_TFLITE_IDENTIFIER = b"TFL3"  # bytes 4..8 of the file, schema.fbs file_identifier
_QUESTION_TIMEOUT_S = 60.0
"""For questions that need no model; they take half a second."""


class VelaError(ToolError):
    """Vela failed or hung.

    Attributes:
        text: what it printed.
        hung: whether it was stopped.
    """

    def __init__(self, what: str, *, where: str, hint: str = "", text: str, hung: bool = False) -> None:
        super().__init__(what, where=where, hint=hint)
        self.text = text
        self.hung = hung


@dataclass(frozen=True)
class Compilation:
    """What Vela made.

    Attributes:
        model: the model for the device.
        table: its summary, as it wrote it.
        summary: the same as values.
        printed: its standard output.
    """

    model: Path
    table: Path
    summary: Summary
    printed: str


def find_vela() -> Path:
    """Return the path of Vela: VELA, else beside the Python that runs this, else on PATH.

    Raises:
        ToolError: it is not installed, or VELA names no file.
    """
    if named := os.environ.get(VELA_VARIABLE):
        if not Path(named).is_file():
            raise ToolError("no such file", where=f"{VELA_VARIABLE}={named}", hint=INSTALL)
        return Path(named)
    beside = Path(sys.executable).parent / VELA
    found = beside if beside.is_file() else tools.which(VELA)
    if found is None:
        raise ToolError(f"models for Ethos-U need Vela, and `{VELA}` is not installed", hint=INSTALL)
    return found


def vela_version(vela: Path, *, work: Path) -> str:
    """Return the version of Vela."""
    if vela.parent == Path(sys.executable).parent:
        try:
            return version(PACKAGE)
        except PackageNotFoundError:
            pass  # a program of that name which is not the package's: ask it
    return ask(vela, ["--version"], work=work).strip()


def ask(vela: Path, arguments: Sequence[str], *, work: Path) -> str:
    """Return what Vela answers to a question that needs no model; files that it writes lie in work."""
    return tools.run(
        [str(vela.absolute()), *arguments],
        timeout_s=_QUESTION_TIMEOUT_S,
        log=work / "questions.txt",
        install=INSTALL,
        cwd=work,
    )


def run_vela(
    vela: Path, model: Path, options: EthosuOptions, *, name: str, cache_bytes: int | None, work: Path
) -> Compilation:
    """Compile model in a folder of its own and return what Vela wrote there.

    Args:
        vela: the program.
        model: an int8 or int16 `.tflite` file.
        options: the target's.
        name: stem for the files.
        cache_bytes: SRAM to plan for; None: what the memory mode says.
        work: folder that does not exist yet.

    Raises:
        VelaError: it cannot be started, fails, hangs, or leaves no model or no summary.
    """
    # Vela names its files after its input and prints paths that it is given: relative names in a folder of its own
    # keep its output free of this machine's paths. "./" keeps a name like "-s" from being an option.
    work.mkdir(parents=True)
    shutil.copyfile(model, work / f"{name}.tflite")
    config = SHIPPED_CONFIG
    if options.config is not None:
        config = "./config.ini"
        shutil.copyfile(find_config(options.config), work / config)
    argv = [
        str(vela.absolute()),
        f"./{name}.tflite",
        "--output-dir=.",
        f"--config={config}",
        f"--accelerator-config={options.accelerator}",
        f"--system-config={options.system_config}",
        f"--memory-mode={options.memory_mode}",
        f"--optimise={options.optimise}",
        *([] if cache_bytes is None else [f"--arena-cache-size={cache_bytes}"]),
    ]
    log = work / "output.txt"
    began = time.monotonic()
    try:
        printed = tools.run(argv, timeout_s=options.timeout_s, log=log, install=INSTALL, cwd=work)
    except ToolError as error:
        first = error.problems[0]
        text = log.read_text("utf-8", "replace") if log.is_file() else ""
        hung = time.monotonic() - began >= options.timeout_s
        raise VelaError(first.what, where=first.where, hint=first.hint, text=text, hung=hung) from None
    made = work / f"{name}_vela.tflite"
    table = work / f"{name}_summary_{options.system_config}.csv"
    for file, what in ((made, "model"), (table, "summary")):
        if not file.is_file():
            raise VelaError(f"`{VELA}` reported success and wrote no {what}", where=str(log), text=printed)
    if made.read_bytes()[4:8] != _TFLITE_IDENTIFIER:
        raise VelaError(f"`{VELA}` wrote a file that is no TFLite model", where=str(log), text=printed)
    summary = parse_summary(table.read_text("utf-8", "replace"), where=str(table))
    return Compilation(made, table, summary, printed)
