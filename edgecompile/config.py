"""Frozen, closed configuration types and the one way to read them from TOML.

Outside data becomes a `Frozen` model at the edge; inside the package there are no loose dicts.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgecompile.errors import ConfigError, Problem, near_miss


class Frozen(BaseModel):
    """Base of every configuration and result type: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    unknown_hint: ClassVar[str] = ""
    """What to add to the hint about an unknown key, where people often expect another layout."""


F = TypeVar("F", bound=Frozen)


def parse(cls: type[F], data: Mapping[str, Any], *, where: str) -> F:
    """Return cls built from data. A number is no text and `true` is no number: nothing is read into a value.

    Raises:
        ConfigError: with every problem at once; each names its key, unknown keys offer the near miss.
    """
    try:
        # From JSON, because pydantic is strict there and still takes an array for a tuple.
        return cls.model_validate_json(json.dumps(dict(data), default=_plain), strict=True)
    except ValidationError as error:
        raise ConfigError.of([_problem(cls, dict(e), where) for e in error.errors()]) from None


def _problem(cls: type[Frozen], error: Mapping[str, Any], where: str) -> Problem:
    loc = tuple(error["loc"])
    key = ".".join(str(part) for part in loc)
    if error["type"] == "extra_forbidden":
        hint = near_miss(str(loc[-1]), _fields_at(cls, loc[:-1]))
        more = f"; {cls.unknown_hint}" if cls.unknown_hint and len(loc) == 1 else ""
        return Problem(f"unknown key `{key}`", where, hint + more)
    if error["type"] == "missing":
        return Problem(f"`{key}` is missing", where)
    message = _KINDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "must be", 1)
    given = error["input"]
    shown = "" if isinstance(given, dict | list) else f" (got {_as_toml(given)})"
    hint = f"write [{_as_toml(given)}]" if error["type"] == "tuple_type" and shown and "," not in shown else ""
    return Problem(f"`{key}`: {message}{shown}" if key else message, where, hint)


_KINDS = {
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_type": "must be a text",
    "json_invalid": "a name or a path is not UTF-8",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
}
"""Kind of a pydantic error → what the value must be, in the words of TOML."""


def _as_toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str) else str(value)


def _plain(value: Any) -> Any:
    """Return what JSON has no type for as it has: numbers and arrays of numpy as such, paths and dates as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _fields_at(cls: type[Frozen], loc: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model that loc points into; of cls itself when unclear."""
    here: type[BaseModel] = cls
    for part in loc:
        field = here.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        here = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), here)
    return [f.alias or name for name, f in here.model_fields.items()]


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raise ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from None


def canonical_json(value: Any) -> str:
    """Return value as JSON with sorted keys and no spaces: equal values give equal text."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
