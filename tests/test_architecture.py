"""The rules of docs/architecture.md, read from the source; each is also seen to fail on a planted fault."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edgecompile"

ROWS = {
    **dict.fromkeys(("cli", "__init__", "__main__"), 7),
    **dict.fromkeys(("pipeline", "assemble", "finished", "inputs", "measure", "remeasure", "steps", "worker"), 6),
    **dict.fromkeys(("plan", "agree", "preconditions", "options", "request", "verify", "compare", "bundle"), 5),
    **dict.fromkeys(("passes", "backends"), 4),
    "training": 3,
    **dict.fromkeys(("tflite", "tools", "cache", "logs", "data", "metrics"), 2),
    **dict.fromkeys(("target", "recipe", "artifact", "accuracy", "report", "payoff"), 1),
    **dict.fromkeys(("config", "errors", "units", "progress"), 0),
}
"""Room → row. A module imports from its own row or a lower one."""
ISLAND = "runtime"
REGISTRIES = ("passes", "backends")
MAX_LINES = 300

TENSORFLOW = {"tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "h5py"}
LATE = {"ai_edge_litert", "litert_quantizer", "jinja2", "PIL", "scipy", "tflite_micro"}
STARTS_PROGRAMS = {"system", "popen", "posix_spawn", "posix_spawnp", "fork", "forkpty"}
ON_THE_DEVICE = {"numpy", "tflite_runtime", "ai_edge_litert", "PIL"}  # PIL: only for a picture that the user names
NOT_FOR_HELP = TENSORFLOW | LATE | {"numpy"}


@dataclass(frozen=True)
class Import:
    """One imported module, and the functions and the class that the statement is in, outermost first."""

    name: str
    line: int
    within: tuple[str, ...]
    typing_only: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """A source file of the package."""

    parts: tuple[str, ...]
    """Path below the package without the suffix; `__init__` of a room is the room itself."""
    lines: int
    imports: tuple[Import, ...]
    calls: tuple[tuple[str, int], ...]
    """What is called, as it is written, and the line."""

    @property
    def room(self) -> str:
        return self.parts[0]

    @property
    def name(self) -> str:
        return "/".join(self.parts)


@cache  # a planted fault changes one file of the copy; the others are read once
def _module(parts: tuple[str, ...], text: str) -> Module:
    tree = ast.parse(text)
    calls = tuple((ast.unparse(n.func), n.lineno) for n in ast.walk(tree) if isinstance(n, ast.Call))
    return Module(parts, len(text.splitlines()), tuple(_imports(tree, ())), calls)


def _imports(node: ast.AST, within: tuple[str, ...], *, typing_only: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside, typed = within, typing_only
        if isinstance(child, ast.Import):
            yield from (Import(a.name, child.lineno, within, typing_only) for a in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from _from(child, within, typing_only=typing_only)
        elif isinstance(child, ast.Call) and (named := _dynamic(child)):
            yield Import(named, child.lineno, within, typing_only)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kind = "class" if isinstance(child, ast.ClassDef) else "def"
            inside = (*within, f"{kind} {child.name}")
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            typed = True
        yield from _imports(child, inside, typing_only=typed)


def _from(node: ast.ImportFrom, within: tuple[str, ...], *, typing_only: bool) -> Iterator[Import]:
    base = node.module or ""
    if base == "edgecompile" or base.startswith("edgecompile."):
        # `from edgecompile import tools` imports a module: the names belong to what is imported.
        yield from (Import(f"{base}.{a.name}", node.lineno, within, typing_only) for a in node.names)
    else:
        yield Import(base, node.lineno, within, typing_only)


def _dynamic(node: ast.Call) -> str:
    """Return what `importlib.import_module("x")` or `__import__("x")` imports; empty for any other call."""
    called = ast.unparse(node.func).rpartition(".")[2]
    if called in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    return ""


def read(package: Path) -> list[Module]:
    modules = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        parts = parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts
        modules.append(_module(parts, path.read_text("utf-8")))
    return modules


def check(package: Path) -> list[str]:
    """Return every breach of the rules in the source tree of package, one sentence each."""
    modules = read(package)
    found: list[str] = []
    for module in modules:
        for rule in (_row, _length, _heavy, _programs_and_print):
            found += [f"{module.name}: {text}" for text in rule(module)]
    for room in REGISTRIES:
        found += _strangers(room, [m for m in modules if m.room == room])
    return found


def _row(module: Module) -> Iterator[str]:
    if module.room == ISLAND:
        for item in module.imports:
            if item.top not in sys.stdlib_module_names and item.top not in ON_THE_DEVICE:
                yield f"the island imports {item.name} (line {item.line})"
        return
    if module.room not in ROWS:
        yield "has no row in tests/test_architecture.py and docs/architecture.md"
        return
    for item in module.imports:
        if item.top != "edgecompile":
            continue
        rest = item.name.split(".")[1:]
        if rest[:1] in ([ISLAND], ["__version__"]):
            continue  # these need nothing, so everybody may use them
        target = rest[0] if rest and rest[0] in ROWS else "__init__"
        if ROWS[target] > ROWS[module.room]:
            yield f"imports upward: {item.name} (line {item.line})"
        if {target, module.room} == set(REGISTRIES) and not _fits_a_model_to(module, rest):
            yield f"passes and backends do not know each other: {item.name} (line {item.line})"


def _fits_a_model_to(module: Module, imported: list[str]) -> bool:
    """Return whether module is a pass named after the backend that it imports: `passes/edgetpu_fit`.

    It may ask that backend's rules, and the rules of backends in general.
    """
    own = "".join(module.parts[1:2]).removesuffix("_fit")
    named = module.room == "passes" and module.name.endswith("_fit") and imported[:1] == ["backends"]
    return named and imported[1:2] in ([own], ["rules"])


def _length(module: Module) -> Iterator[str]:
    if module.lines > MAX_LINES:
        yield f"has {module.lines} lines, at most {MAX_LINES}"


def _heavy(module: Module) -> Iterator[str]:
    if module.room == ISLAND:
        return
    in_training = module.room == "training"
    for item in module.imports:
        if item.typing_only:
            continue
        functions = [w for w in item.within if w.startswith("def ")]
        if item.top in TENSORFLOW and not in_training and not (module.room == "passes" and "def run" in functions):
            yield f"{item.name} outside training/ and a pass's `run` (line {item.line})"
        elif item.top in LATE | TENSORFLOW and not functions:
            yield f"{item.name} at module level (line {item.line})"
        elif item.top == "rich" and module.parts != ("cli", "render"):
            yield f"rich outside cli/render (line {item.line})"


def _programs_and_print(module: Module) -> Iterator[str]:
    if module.name != "tools":
        yield from (f"{i.name} outside tools (line {i.line})" for i in module.imports if i.top == "subprocess")
    for called, line in module.calls:
        if called == "print" and module.room != "cli" and module.name != "runtime/run":
            yield f"prints (line {line})"
        name = called.removeprefix("os.")
        if called.startswith("os.") and (name in STARTS_PROGRAMS or name.startswith(("exec", "spawn"))):
            yield f"starts a program outside tools.run: {called} (line {line})"


def _strangers(room: str, modules: list[Module]) -> Iterator[str]:
    """Yield imports between two members of a registry: each must be readable, and removable, alone."""
    registry = next((m for m in modules if m.parts == (room,)), None)
    if registry is None:
        return
    members = {_member(item, room) for item in registry.imports} - {"base", ""}
    for module in modules:
        own = "".join(module.parts[1:2])
        for item in module.imports:
            if own in members and _member(item, room) in members - {own}:
                yield f"{module.name}: imports another one of {room}: {item.name} (line {item.line})"


def _member(item: Import, room: str) -> str:
    """Return the module of room that item imports; empty where it imports none."""
    path = item.name.split(".")
    return path[2] if path[:2] == ["edgecompile", room] and len(path) > 2 else ""


@pytest.fixture(scope="module")
def before() -> list[str]:
    return check(PACKAGE)


def test_the_package_keeps_the_rules(before: list[str]) -> None:
    assert before == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / "edgecompile", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("units.py", "import edgecompile.tools", "units: imports upward: edgecompile.tools"),
        (
            "tools.py",
            "def f():\n    from edgecompile.passes.base import Pass",
            "tools: imports upward: edgecompile.passes",
        ),
        ("plan.py", "from edgecompile import cli", "plan: imports upward: edgecompile.cli"),
        ("report.py", "from edgecompile import build", "report: imports upward: edgecompile.build"),
        ("errors.py", "import importlib\nimportlib.import_module('edgecompile.cli')", "errors: imports upward"),
        (
            "passes/base.py",
            "from edgecompile.backends.base import Backend",
            "passes and backends do not know each other",
        ),
        (
            "passes/edgetpu_fit.py",
            "from edgecompile.backends.litert import Litert",
            "passes and backends do not know each other",
        ),
        (
            "passes/quantize.py",
            "from edgecompile.backends.edgetpu.planner import Plan",
            "passes and backends do not know each other",
        ),
        (
            "backends/edgetpu/planner.py",
            "from edgecompile.passes.edgetpu_fit import EdgetpuFit",
            "passes and backends do not know each other",
        ),
        ("passes/edgetpu_fit.py", "from edgecompile.backends.edgetpu import status", ""),
        ("backends/litert.py", "from edgecompile.backends.edgetpu import Edgetpu", "imports another one of backends"),
        ("runtime/__init__.py", "from edgecompile.errors import ToolError", "the island imports edgecompile.errors"),
        ("tflite/graph.py", "def f():\n    import tensorflow as tf", "tensorflow outside training/ and a pass's `run`"),
        ("passes/base.py", "def helper():\n    import keras.layers", "keras.layers outside training/"),
        ("passes/base.py", "class P:\n    def run(self):\n        import tf_keras", ""),
        ("training/__init__.py", "import tensorflow", "training: tensorflow at module level"),
        ("training/__init__.py", "def f():\n    import tensorflow", ""),
        (
            "tflite/graph.py",
            "from ai_edge_litert.interpreter import Interpreter",
            "ai_edge_litert.interpreter at module",
        ),
        ("tflite/graph.py", "def f():\n    import ai_edge_litert", ""),
        ("plan.py", "def f():\n    import rich", "plan: rich outside cli/render"),
        ("plan.py", "def f():\n    print('x')", "plan: prints"),
        ("plan.py", "import subprocess", "plan: subprocess outside tools"),
        ("plan.py", "def f():\n    os.system('x')", "plan: starts a program outside tools.run: os.system"),
        ("units.py", "\n" * 300, "units: has"),
        ("novelty.py", "", "novelty: has no row"),
    ],
)
def test_a_planted_fault_is_found(copy: Path, before: list[str], file: str, text: str, complaint: str) -> None:
    planted = copy / file
    planted.parent.mkdir(exist_ok=True)
    with planted.open("a", encoding="utf-8") as end:
        end.write(f"\n{text}\n")
    found = set(check(copy)) - set(before)
    assert len(found) == bool(complaint), found
    assert complaint in "".join(found)


def test_an_import_for_type_checkers_alone_is_not_heavy_but_still_upward(copy: Path, before: list[str]) -> None:
    with (copy / "units.py").open("a", encoding="utf-8") as file:
        file.write("\nif TYPE_CHECKING:\n    import tensorflow\n    import edgecompile.cli\n")
    (found,) = set(check(copy)) - set(before)
    assert found.startswith("units: imports upward: edgecompile.cli")


def _modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json\nsys.stderr.write(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["verify", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom edgecompile.cli import main\n"
        f"sys.argv = ['edgecompile', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    assert not leaving.code, leaving.code"
    )
    assert _modules_after(code) & NOT_FOR_HELP == set()


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert _modules_after("import edgecompile") & (NOT_FOR_HELP | {"pydantic", "typer"}) == set()


def test_registries_import_nothing_heavy() -> None:
    loaded = _modules_after("import edgecompile.passes, edgecompile.backends, edgecompile.plan")
    assert loaded & (TENSORFLOW | LATE) == set()


def test_the_rows_are_those_of_the_documentation() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
    table = dict.fromkeys(ROWS)
    for line in text.splitlines():
        if line.startswith("| ") and line.split("|")[1].strip().isdigit():
            cells = [cell.strip() for cell in line.split("|")]
            table.update(dict.fromkeys((name.strip("` ") for name in cells[2].split(",")), int(cells[1])))
    assert table == ROWS
