"""Settings of a backend: what the target's file says, and what the recipe or the command line lays over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.backends import BACKENDS
from edgecompile.config import parse
from edgecompile.errors import ConfigError, Problem, near_miss, pick
from edgecompile.recipe import Recipe
from edgecompile.target import Target, load_target, target_files

EVERY = "*"
"""Stands for every target of the build whose backend has the setting."""

_WHERE = "build.option"


def with_options(target: Target, recipe: Recipe) -> Target:
    """Return target with the settings of recipe laid over its own, all of them checked.

    Raises:
        ConfigError: the backend is unknown, or settings break its schema (all problems).
    """
    backend = BACKENDS[pick(target.backend, BACKENDS, what="backend", where=f"target {target.name}")]
    laid = recipe.build.option
    known = backend.Options.model_fields
    everywhere = {key: value for key, value in laid.get(EVERY, {}).items() if key in known}
    merged = {**target.options, **everywhere, **laid.get(target.name, {})}
    parse(backend.Options, merged, where=f"target {target.name}: options")
    return target.model_copy(update={"options": merged})


def check_options(recipe: Recipe) -> None:
    """Raise ConfigError for settings of targets that do not exist, and for those that no target of the build has."""
    laid = recipe.build.option
    problems = [
        Problem(f"unknown target `{name}`", _WHERE, near_miss(name, target_files()))
        for name in laid
        if name != EVERY and name not in target_files()
    ]
    known = _settings(recipe.build.targets)
    problems += [
        Problem(f"no target of this build has the option `{key}`", _WHERE, near_miss(key, known))
        for key in laid.get(EVERY, {})
        if known and key not in known
    ]
    if problems:
        raise ConfigError.of(problems)


def _settings(targets: Sequence[str]) -> Mapping[str, Any]:
    """Return the settings that the backends of targets have; targets that are not known have none."""
    files = target_files()
    backends = {load_target(name).backend for name in targets if name in files}
    return {key: field for name in backends & BACKENDS.keys() for key, field in _fields(name).items()}


def _fields(backend: str) -> Mapping[str, Any]:
    return BACKENDS[backend].Options.model_fields
