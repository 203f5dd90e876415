"""Functions that the user names as `package.module:function`; what goes wrong in them is reported as the user's."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecompile.errors import ConfigError, EdgeCompileError, near_miss

_OURS = str(Path(__file__).parent.parent)


def is_function(source: str) -> bool:
    """Return whether source has the form `package.module:function`."""
    module, colon, function = source.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_function(source: str, *, base: Path) -> Callable[..., Any]:
    """Return the function that source (`package.module:function`) names, imported with base first on the path.

    Raises:
        ConfigError: no such module or function (offers the nearest), or the module fails while it is imported.
    """
    module_name, _, function_name = source.partition(":")
    with users_code(source, base=base):
        _forget_namesake(module_name.partition(".")[0], base)
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            known = [p.stem if p.suffix == ".py" else p.name for p in base.glob("*") if p.suffix in ("", ".py")]
            raise ConfigError(
                f"there is no module `{error.name}` in {base} or on Python's path",
                where=source,
                hint=near_miss(error.name, known) if known else "",
            ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "is not a function" if hasattr(module, function_name) else "does not exist"
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ConfigError(
            f"`{function_name}` {what} in `{module_name}`", where=source, hint=near_miss(function_name, known)
        )
    return function  # type: ignore[no-any-return]  # `callable` narrows to a function of unknown result


def code_files(source: str, *, base: Path) -> tuple[Path, ...]:
    """Return the Python files that decide what a function (`package.module:function`) does, in order.

    They are those of its package, or its module and those beside it; what these import from elsewhere is not among
    them, nor is an installed package. Empty where there is no such module.
    """
    top = source.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top, [str(base), str(Path.cwd()), *sys.path])
    if spec is None or "site-packages" in _home(spec) or not Path(_home(spec)).exists():
        return ()
    folders = spec.submodule_search_locations or ()
    found = [file for folder in folders for file in Path(folder).rglob("*.py")] or Path(_home(spec)).parent.glob("*.py")
    # A package may hold an environment, and an editor its locks.
    theirs = (f for f in found if "site-packages" not in f.parts and not f.name.startswith("."))
    return tuple(sorted(file for file in theirs if file.is_file()))


@contextmanager
def users_code(source: str, *, base: Path) -> Iterator[None]:
    """Run the body with base first on the path, then the working folder.

    What it raises becomes a ConfigError with file and line.

    Raises:
        ConfigError: the body raised; its own traceback is the cause.
    """
    places = [str(base), str(Path.cwd())]  # a flag may name a module that lies where the command was given
    sys.path[:0] = places
    importlib.invalidate_caches()
    try:
        yield
    except EdgeCompileError:
        raise
    except (Exception, SystemExit) as error:
        said = f": {error}" if str(error) else ""
        raise ConfigError(
            f"`{source}` raised {type(error).__name__}{said}",
            where=_place(error, base),
            hint="the fault is in that code; run it alone to see its whole traceback",
        ) from error
    finally:
        for place in places:
            sys.path.remove(place)


def keywords_taken(
    function: Callable[..., Any], source: str, *, first: tuple[str, ...], known: tuple[str, ...]
) -> frozenset[str]:
    """Return which of known function takes by name, beside the arguments first that it is given by position.

    Raises:
        ConfigError: function takes fewer arguments by position, or needs others.
    """
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = [p for p in parameters if p not in positional[: len(first)]]
    starred = any(p.kind is p.VAR_POSITIONAL for p in rest)
    named = {p.name for p in rest if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    needed = {p.name for p in rest if p.default is p.empty and p.name in named} - set(known)
    if needed or (len(positional) < len(first) and not starred):
        wanted = f"({', '.join(first)})" + (f", and may add the keywords {' and '.join(known)}" if known else "")
        raise ConfigError(
            f"takes ({', '.join(p.name for p in parameters)})", where=source, hint=f"write a function of {wanted}"
        )
    return frozenset(named & set(known))


def _place(error: BaseException, base: Path) -> str:
    """Return file:line of the deepest frame that the user wrote."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename, base)}:{error.lineno}"
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith((_OURS, "<frozen")) and f.filename != importlib.__file__
    ]
    theirs = [f for f in frames if "site-packages" not in f.filename] or frames
    return f"{_short(theirs[-1].filename, base)}:{theirs[-1].lineno}" if theirs else ""


def _short(filename: str, base: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(base)) if path.is_relative_to(base) else filename


def _forget_namesake(name: str, base: Path) -> None:
    """Drop a module of the same name that was imported from another project's folder in this process."""
    loaded = sys.modules.get(name)
    spec = PathFinder.find_spec(name, [str(base), *sys.path])
    if loaded is None or spec is None or _home(spec) == _home_of(loaded):
        return
    if name in sys.stdlib_module_names or "site-packages" in str(_home_of(loaded)):
        raise ConfigError(
            f"the module name `{name}` is taken by a package that is already loaded",
            where=str(_home(spec)),
            hint="rename that file",
        )
    for other in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        del sys.modules[other]


def _home(spec: ModuleSpec) -> str:
    """Return the file of a module, or the first folder of a package that has no file."""
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "")


def _home_of(module: ModuleType) -> str:
    return _home(module.__spec__) if module.__spec__ is not None else str(getattr(module, "__file__", ""))
