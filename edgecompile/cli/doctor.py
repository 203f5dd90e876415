"""`edgecompile doctor`: what is installed, what is missing, what that costs and how to get it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """
edgecompile doctor
edgecompile doctor --json
"""

_BASE = ("numpy", "ai-edge-litert", "litert-quantizer", "pydantic", "typer", "rich", "jinja2")
_TENSORFLOW = 'pip install "edgecompile[tensorflow]"'
_EXTRAS = {
    "tensorflow": ("only .tflite models can be built, no .keras, .h5 or SavedModel", _TENSORFLOW),
    "tf-keras": ("no Keras model can be converted or fine-tuned", _TENSORFLOW),
    "tensorflow-model-optimization": ("no pruning, clustering or quantization-aware training", _TENSORFLOW),
    "tflite-micro": ("models for microcontrollers cannot be built", 'pip install "edgecompile[micro]"'),
    "ethos-u-vela": ("models for Ethos-U cannot be compiled", 'pip install "edgecompile[ethosu]"'),
    "pillow": ("folders of images cannot be read as data", 'pip install "edgecompile[images]"'),
}
_PROGRAMS = {
    "edgetpu_compiler": (
        "models for Coral are not compiled for the Edge TPU, and the report says so",
        "see https://coral.ai/docs/edgetpu/compiler/ (Linux x86-64)",
    ),
}
_NO_CACHE = "no model can be built: the folder cannot be written"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        state: `ok`, `missing` (optional) or `broken` (required and missing).
        found: version, path or amount; empty when missing.
        cost: what does not work without it.
        remedy: the exact line that mends it.
    """

    name: str
    group: Literal["base", "extra", "program", "machine"]
    state: Literal["ok", "missing", "broken"]
    found: str = ""
    cost: str = ""
    remedy: str = ""


def doctor(*, as_json: Json = False) -> Job:
    """Show versions, optional packages, compilers on PATH, the cache and the machine.

    Exit code 0 unless something that every build needs is missing (5).
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    return _doctor


def _doctor(streams: Streams) -> int:
    findings = examine()
    code = 5 if any(f.state == "broken" for f in findings) else 0
    if streams.json:
        streams.write_json({"findings": [asdict(f) for f in findings], "exit_code": code})
    else:
        _show(streams, findings)
    return code


def examine() -> list[Finding]:
    """Return what is there and what is not. Nothing is imported to find out, and no program is started."""
    return [_python(), *_packages(), *_programs(), *_machine()]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python", "base", "ok", f"{version} at {sys.executable}")


def _packages() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    def look(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    base = [(name, look(name)) for name in _BASE]
    extras = [(name, look(name), *about) for name, about in _EXTRAS.items()]
    return [
        *(
            Finding(name, "base", "ok", found)
            if found
            else Finding(name, "base", "broken", "", "no model can be built", f"pip install {name}")
            for name, found in base
        ),
        *(
            Finding(name, "extra", "ok", found) if found else Finding(name, "extra", "missing", "", cost, remedy)
            for name, found, cost, remedy in extras
        ),
    ]


def _programs() -> list[Finding]:
    from edgecompile.tools import which

    found = {name: which(name) for name in _PROGRAMS}
    return [
        Finding(name, "program", "missing", "", *_PROGRAMS[name])
        if path is None
        else Finding(name, "program", "ok", str(path))
        for name, path in found.items()
    ]


def _machine() -> list[Finding]:
    from edgecompile.cache import Cache, default_root
    from edgecompile.units import show_bytes

    usage = Cache(default_root()).usage()
    free = _free_bytes(usage.root)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        Finding("cores", "machine", "ok", str(len(os.sched_getaffinity(0)))),
        Finding("memory", "machine", "ok", _gib(memory)),
        Finding(
            "cache",
            "machine",
            "ok" if _writable(usage.root) else "broken",
            f"{usage.entries} entries, {show_bytes(usage.bytes)}, {_gib(free)} free, in {usage.root}",
            *(() if _writable(usage.root) else (_NO_CACHE, "set EDGECOMPILE_CACHE to a folder that can be written")),
        ),
    ]


def _gib(n: int) -> str:
    return f"{n / 2**30:.1f} GiB"


def _there(folder: Path) -> Path:
    """Return folder, or what of the way to it there is."""
    return next(p for p in (folder, *folder.absolute().parents) if p.exists())


def _writable(folder: Path) -> bool:
    """Return whether folder can be written to, or made."""
    return _there(folder).is_dir() and os.access(_there(folder), os.W_OK | os.X_OK)


def _free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that folder lies on, or will lie on."""
    import shutil

    return shutil.disk_usage(_there(folder)).free


def _show(streams: Streams, findings: list[Finding]) -> None:
    from edgecompile import __version__
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line((f"edgecompile {__version__}", "head"))
    marks = {"ok": ("✓", "good"), "missing": ("•", "warn"), "broken": ("✗", "bad")}
    rows = [(marks[f.state], f.name, f.found or "not installed") for f in findings]
    screen.table((), rows, indent=2)
    absent = [f for f in findings if f.state != "ok"]
    if not absent:
        screen.line("nothing is missing")
        return
    screen.line()
    screen.line("what is missing, what it costs, how to get it")
    for finding in absent:
        screen.line(marks[finding.state], f" {finding.name}: {finding.cost}", indent=2)
        screen.line("→ ", (finding.remedy, "key"), indent=4)
