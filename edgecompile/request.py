"""Request: what the user asked for, and how it is laid over the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Merged:
    """The recipe with the request laid over it.

    Attributes:
        recipe: all sections; its relative paths start from base.
        base: folder of the recipe's file, else the working folder; user's modules are looked for here first.
        name: of the recipe that the passes come from; empty when it has none of its own.
        out: folder that bundles are written below. A recipe's own `out` starts from base, a flag and the default
            from the working folder.
    """

    recipe: Recipe
    base: Path
    name: str
    out: Path


def merged_recipe(request: Request) -> Merged:
    """Return the recipe with the request laid over it."""
    folder = request.folder
    base = folder
    label = ""
    recipe = Recipe()
    project = folder / PROJECT_FILE
    if request.model is None and (request.recipe is None or not request.recipe.endswith(".toml")):
        if not project.is_file():
            raise ConfigError(
                f"no model given, and there is no {PROJECT_FILE} here",
                hint="edgecompile build model.keras --target coral --data val.npz",
            )
        recipe, _ = load_recipe(str(project))
        label = "project file" if recipe.passes else ""
    if request.recipe is not None:
        named, file = load_recipe(str(folder / request.recipe) if request.recipe.endswith(".toml") else request.recipe)
        label = Path(request.recipe).stem if named.passes else ""
        recipe = named if file is not None else recipe.model_copy(update={"passes": named.passes})
        base = base if file is None else file.parent
    overrides = _moved(request, base)
    merged = recipe.model_dump(exclude_unset=True)
    for section, values in overrides.items():
        merged[section] = _merge(merged.get(section, {}), values)
    if request.targets:
        merged.setdefault("build", {})["targets"] = request.targets
    checked = parse(Recipe, merged, where="the command line and the recipe")
    theirs = "out" in recipe.build.model_fields_set and "out" not in overrides.get("build", {})
    return Merged(checked, base, label, (base if theirs else folder) / checked.build.out)


def _moved(request: Request, base: Path) -> dict[str, Mapping[str, Any]]:
    """Return the overrides of request with the model among them, their paths made to hold where base is the start."""

    def at(value: Any) -> Any:
        stays = not isinstance(value, str) or is_function(value) or base.resolve() == request.folder.resolve()
        return value if stays else str((request.folder / value).absolute())

    moved = dict(request.overrides)
    if request.model is not None:
        moved["model"] = {**moved.get("model", {}), "path": request.model}
    for section, keys in (("data", ("validation", "calibration", "train", "labels")), ("model", ("path",))):
        if section in moved:
            moved[section] = {k: at(v) if k in keys else v for k, v in moved[section].items()}
    return moved


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return above laid over below, tables key by key."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged
