"""Request: what the user asked for, and how it is laid over the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.config import Frozen, parse
from edgecompile.data.usercode import is_function
from edgecompile.errors import ConfigError
from edgecompile.recipe import PROJECT_FILE, Recipe, load_recipe


class Request(Frozen):
    """What the user asked for. Everything that is None is taken from the recipe."""

    model: str | None = None
    targets: tuple[str, ...] = ()
    recipe: str | None = None
    """A built-in recipe or a `.toml` file; without a model also the project file's passes are replaced by it."""
    overrides: Mapping[str, Mapping[str, Any]] = {}
    """Section → key → value, laid over the recipe: the command line's flags under their recipe keys."""
    folder: Path = Path()
    """Working folder: relative paths of the request start here."""


def merged_recipe(request: Request) -> tuple[Recipe, Path, str]:
    """Return the recipe with the request laid over it, the folder its paths start from, and its name."""
    base = request.folder
    label = ""
    recipe = Recipe()
    project = base / PROJECT_FILE
    if request.model is None and (request.recipe is None or not request.recipe.endswith(".toml")):
        if not project.is_file():
            raise ConfigError(
                f"no model given, and there is no {PROJECT_FILE} here",
                hint="edgecompile build model.keras --target coral --data val.npz",
            )
        recipe, _ = load_recipe(str(project))
        label = "project file" if recipe.passes else ""
    if request.recipe is not None:
        named, file = load_recipe(_at(base, request.recipe) if request.recipe.endswith(".toml") else request.recipe)
        label = Path(request.recipe).stem if named.passes else ""
        recipe = named if file is not None else recipe.model_copy(update={"passes": named.passes})
        if file is not None:
            recipe = _rebased(recipe, file.parent)
    merged = recipe.model_dump(exclude_unset=True)
    for section, values in request.overrides.items():
        merged[section] = _merge(merged.get(section, {}), values)
    if request.model is not None:
        merged.setdefault("model", {})["path"] = request.model
    if request.targets:
        merged.setdefault("build", {})["targets"] = request.targets
    return parse(Recipe, merged, where="the command line and the recipe"), base, label


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return above laid over below, tables key by key."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged


def _at(base: Path, path: str) -> str:
    return path if Path(path).is_absolute() else str(base / path)


def _rebased(recipe: Recipe, folder: Path) -> Recipe:
    """Return recipe with its relative paths made to start from folder, where its file lies."""

    def at(value: str | None) -> str | None:
        return value if value is None or is_function(value) else _at(folder, value)

    data = recipe.data.model_copy(
        update={k: at(getattr(recipe.data, k)) for k in ("validation", "calibration", "train", "labels")}
    )
    model = recipe.model.model_copy(update={"path": at(recipe.model.path)})
    return recipe.model_copy(update={"data": data, "model": model})
