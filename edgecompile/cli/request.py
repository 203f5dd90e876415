"""From the options of a build, as flags or as keyword arguments, to the recipe keys they stand for."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from edgecompile.errors import ConfigError, Problem

if TYPE_CHECKING:
    from edgecompile.request import Request

T = TypeVar("T")

RECIPE_KEYS: Mapping[str, tuple[str, ...]] = {
    "data": ("data", "validation"),
    "calibration": ("data", "calibration"),
    "train": ("data", "train"),
    "labels": ("data", "labels"),
    "scale": ("data", "preprocess", "scale"),
    "offset": ("data", "preprocess", "offset"),
    "mean": ("data", "preprocess", "mean"),
    "std": ("data", "preprocess", "std"),
    "metric": ("data", "metric"),
    "seed": ("data", "seed"),
    "max_drop": ("gate", "max_drop"),
    "min": ("gate", "min"),
    "allow_chance": ("gate", "allow_chance"),
    "fail_on": ("gate", "fail_on"),
    "shape": ("model", "shape"),
    "name": ("model", "name"),
    "allow_code": ("model", "allow_code"),
    "out": ("build", "out"),
    "require_compiled": ("build", "require_compiled"),
    "float_io": ("build", "float_io"),
    "keep_keras": ("build", "keep_keras"),
    "option": ("build", "option"),
    "layout": ("build", "layout"),
    "prefix": ("build", "prefix"),
}
"""Option of a build → the key of a recipe that it is laid over."""


def request_of(model: str | os.PathLike[str] | None, targets: Sequence[str], options: Mapping[str, Any]) -> Request:
    """Return the request for plan.resolve. An option that is None is left to the recipe.

    Raises:
        TypeError: an option that does not exist.
        ConfigError: a target that is no text.
    """
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    recipe = given.pop("recipe", None)
    if unknown := sorted(given.keys() - RECIPE_KEYS.keys()):
        raise TypeError(f"build() has no option {', '.join(unknown)}")
    from edgecompile.request import Request

    if strange := [t for t in targets if not isinstance(t, str)]:
        raise ConfigError(f"a target is named by a text, and {strange[0]!r} is none", where="target")
    overrides: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        section, *path = RECIPE_KEYS[name]
        table = overrides.setdefault(section, {})
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table[path[-1]] = _SPREAD.get(name, _as_it_is)(value)
    return Request(
        model=None if model is None else os.fspath(model),
        targets=tuple(targets),
        recipe=recipe,
        overrides=overrides,
    )


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _as_it_is(value: Any) -> Any:
    return value


def _by_input(value: Any) -> Any:
    """Return input name → shape; a shape alone is that of the only input."""
    return value if isinstance(value, Mapping) else {"*": value}


def _by_target(value: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return target → settings; settings that are given without a target are for every target that has them."""
    found: dict[str, dict[str, Any]] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found.setdefault(key, {}).update(item)
        else:
            found.setdefault("*", {})[key] = item
    return found


_SPREAD: Mapping[str, Callable[[Any], Any]] = {"shape": _by_input, "option": _by_target}
"""Options that may be given shorter than their key has them."""


class Values:
    """Reads the values of flags and keeps every problem, so that all are reported at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def number(self, flag: str, text: str | None) -> float | None:
        """Return the number that text stands for: `0.01`, `1/255`, `-1`; None when it is not given or wrong."""
        return self._read(flag, text, _number, "give a number such as 0.01 or 1/255")

    def numbers(self, flag: str, text: str | None) -> tuple[float, ...] | None:
        """Return one number or one per channel: `1/255`, `0.485,0.456,0.406`."""
        return self._read(
            flag,
            text,
            lambda t: tuple(_number(part) for part in t.split(",")),
            "give a number such as 1/255, or one per channel: 0.485,0.456,0.406",
        )

    def count(self, flag: str, text: str | None) -> int | None:
        """Return a whole number that is not negative."""
        return self._read(flag, text, _count, "give a whole number such as 0 or 42")

    def shapes(self, flag: str, texts: Sequence[str]) -> dict[str, tuple[int, ...]] | None:
        """Return input name → shape from `NAME=1,224,224,3`; the name `*` is the only input."""
        shapes: dict[str, tuple[int, ...]] = {}
        for text in texts:
            name, _, numbers = text.rpartition("=")
            shape = self._read(
                flag,
                numbers,
                _shape,
                "give every dimension, batch first: 1,224,224,3, or with the input's name: NAME=1,224,224,3",
                shown=text,
            )
            if (name or "*") in shapes:
                self.problems.append(Problem(f"`{text}` gives the shape of an input again", flag))
            if shape is not None:
                shapes[name or "*"] = shape
        return shapes or None

    def settings(self, flag: str, texts: Sequence[str]) -> dict[str, dict[str, Any]] | None:
        """Return target → key → value from `TARGET.KEY=VALUE`; without a target `*`, without a value true."""
        found: dict[str, dict[str, Any]] = {}
        for text in texts:
            name, given, value = text.partition("=")
            target, dot, key = name.rpartition(".")
            if not key or (dot and not target):
                self.problems.append(Problem(f"`{text}` cannot be read", flag, "give KEY=VALUE or TARGET.KEY=VALUE"))
                continue
            found.setdefault(target or "*", {})[key] = _value(value) if given else True
        return found or None

    def _read(
        self, flag: str, text: str | None, read: Callable[[str], T], hint: str, *, shown: str | None = None
    ) -> T | None:
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, ZeroDivisionError):
            self.problems.append(Problem(f"`{shown or text}` cannot be read", flag, hint))
            return None


def _number(text: str) -> float:
    """Return a decimal number or a quotient of two; ValueError for anything else, infinities included."""
    above, slash, below = text.partition("/")
    value = float(above) / float(below) if slash else float(above)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _value(text: str) -> Any:
    """Return what text is in TOML: a number, true, a list; anything else is taken for a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("negative")
    return value


def _shape(text: str) -> tuple[int, ...]:
    shape = tuple(int(part) for part in text.strip("()[] ").split(","))
    if min(shape) < 1:
        raise ValueError("a dimension is not positive")
    return shape
