"""Plan: recipe × targets, fully checked before anything heavy is imported.

`resolve` reports every problem at once. A `Plan` is frozen; `--dry-run` prints it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.artifact import Kind
from edgecompile.backends import BACKENDS
from edgecompile.config import Frozen, parse
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError, pick
from edgecompile.metrics import check_name
from edgecompile.passes import PASSES
from edgecompile.passes.base import Pass
from edgecompile.passes.convert import Convert
from edgecompile.passes.quantize import Quantize
from edgecompile.recipe import PROJECT_FILE, PassEntry, Recipe, load_recipe
from edgecompile.target import Target, load_target, target_files
from edgecompile.training.scan import scan_source, source_format


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
class TargetPlan:
    """What will be done for one target."""

    target: Target
    passes: tuple[Pass, ...]
    recipe: str
    """Name of the recipe that the passes come from."""

    @property
    def tflite_passes(self) -> tuple[Pass, ...]:
        """The passes below the door between Keras and TFLite."""
        return tuple(p for p in self.passes if p.takes is Kind.TFLITE)


@dataclass(frozen=True)
class Plan:
    """A checked build."""

    source: Path
    format: str
    name: str
    recipe: Recipe
    """All sections, with the request laid over them."""
    base: Path
    """Folder that the recipe's relative paths start from."""
    targets: tuple[TargetPlan, ...]
    out: Path

    @property
    def kind(self) -> Kind:
        """Kind of the source."""
        return Kind.TFLITE if self.format == "tflite" else Kind.KERAS

    def bundle(self, target: Target, *, passed: bool = True) -> Path:
        """Return the folder that the bundle of target goes to."""
        return self.out / f"{self.name}-{target.name}{'' if passed else '-FAILED'}"


class _Problems:
    """Collects the problems of independent checks, so that all are reported at once."""

    def __init__(self) -> None:
        self.found: list[EdgeCompileError] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep what the block raises instead of letting it through."""
        try:
            yield
        except EdgeCompileError as error:
            self.found.append(error)

    def raise_any(self) -> None:
        """Raise one error with every problem; its class is that of the first."""
        if self.found:
            raise type(self.found[0]).of([p for error in self.found for p in error.problems])


def resolve(request: Request) -> Plan:
    """Return the checked plan for request.

    Raises:
        EdgeCompileError: with every problem of recipe, targets, passes, data and output at once.
    """
    recipe, base, label = _recipe(request)
    problems = _Problems()
    source, source_form = Path(), ""
    with problems.collect():
        source = _source(recipe, base)
        source_form = source_format(source)
        scan_source(source, allow_code=recipe.model.allow_code)
    targets: list[TargetPlan] = []
    with problems.collect():
        _need_targets(recipe)
    for name in dict.fromkeys(recipe.build.targets):
        with problems.collect():
            targets.append(_target_plan(name, recipe, label, source_form))
    for role in ("validation", "calibration", "train"):
        with problems.collect():
            _check_data_source(getattr(recipe.data, role), base, key=f"data.{role}")
    if recipe.data.metric is not None:
        with problems.collect():
            check_name(recipe.data.metric)
    out = base / recipe.build.out
    with problems.collect():
        _check_out(out)
    problems.raise_any()
    name = recipe.model.name or source.name.removesuffix(source.suffix)
    return Plan(source, source_form, name, recipe, base, tuple(targets), out)


def _recipe(request: Request) -> tuple[Recipe, Path, str]:
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
        return value if value is None or _is_function(value) else _at(folder, value)

    data = recipe.data.model_copy(
        update={k: at(getattr(recipe.data, k)) for k in ("validation", "calibration", "train", "labels")}
    )
    model = recipe.model.model_copy(update={"path": at(recipe.model.path)})
    return recipe.model_copy(update={"data": data, "model": model})


def _source(recipe: Recipe, base: Path) -> Path:
    if recipe.model.path is None:
        raise ConfigError("no model given", where="model.path", hint="name it on the command line or in the recipe")
    source = base / recipe.model.path
    if not source.exists():
        near = [p.name for p in source.parent.glob("*")] if source.parent.is_dir() else []
        hint = f"in that folder: {', '.join(sorted(near)[:8])}" if near else "that folder does not exist"
        raise ModelError("no such file or folder", where=str(source), hint=hint)
    return source


def _need_targets(recipe: Recipe) -> None:
    if not recipe.build.targets:
        raise ConfigError("no target given", hint=f"--target NAME; known: {', '.join(sorted(target_files()))}")


def _target_plan(name: str, recipe: Recipe, label: str, source_form: str) -> TargetPlan:
    target = load_target(name)
    backend = BACKENDS[pick(target.backend, BACKENDS, what="backend", where=f"target {name}")]
    parse(backend.Options, target.options, where=f"target {name}: options")
    entries, used = recipe.passes, label or "project file"
    if not entries:
        entries, used = load_recipe(target.recipe)[0].passes, target.recipe
    passes = _passes(entries, where=f"recipe {used}")
    if recipe.build.float_io:
        passes = tuple(p.model_copy(update={"io": "float32"}) if isinstance(p, Quantize) else p for p in passes)
    passes = _through_the_door(passes, source_form)
    _check_schemes(passes, target)
    return TargetPlan(target, passes, used)


def _passes(entries: Sequence[PassEntry], *, where: str) -> tuple[Pass, ...]:
    """Return the passes of entries, every unknown name and field reported at once, and their order checked."""
    problems = _Problems()
    passes: list[Pass] = []
    for entry in entries:
        with problems.collect():
            cls = PASSES[pick(entry.name, PASSES, what="pass", where=where)]
            passes.append(parse(cls, entry.fields, where=f"{where}: {entry.name}"))
    problems.raise_any()
    for position, step in enumerate(passes):
        late = [later.name for later in passes[position + 1 :] if later.name in step.after]
        if late:
            raise ConfigError(
                f"`{step.name}` must come after `{late[0]}`", where=where, hint=f"move `{step.name}` behind it"
            )
    return tuple(passes)


def _through_the_door(passes: tuple[Pass, ...], source_form: str) -> tuple[Pass, ...]:
    """Return passes with `convert` where Keras ends and TFLite begins; refuse Keras passes on a `.tflite`."""
    keras = [p for p in passes if p.takes is Kind.KERAS and not isinstance(p, Convert)]
    if source_form == "tflite":
        if keras:
            raise ConfigError(
                f"`{keras[0].name}` works on Keras models, and the source is a .tflite",
                hint="build from the .keras, .h5 or SavedModel that it came from",
            )
        return tuple(p for p in passes if not isinstance(p, Convert))
    convert = next((p for p in passes if isinstance(p, Convert)), Convert())
    below = [p for p in passes if p.takes is Kind.TFLITE]
    return (*keras, convert, *below)


def _check_schemes(passes: tuple[Pass, ...], target: Target) -> None:
    for step in passes:
        if not isinstance(step, Quantize):
            continue
        if step.scheme not in target.schemes:
            raise ConfigError(
                f"{target.name} does not take {step.scheme}",
                where="quantize.scheme",
                hint=f"it takes {', '.join(target.schemes)}",
            )
        if target.io == "int8" and step.io == "float32":
            raise ConfigError(
                f"{target.name} needs int8 inputs and outputs", where="quantize.io", hint="leave out --float-io"
            )


def _is_function(source: str) -> bool:
    """Return whether a data source names `package.module:function` rather than a path."""
    module, colon, function = source.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _check_data_source(source: str | None, base: Path, *, key: str) -> None:
    if source is None or _is_function(source):
        return
    path = base / source
    if not path.exists():
        raise ConfigError("no such file or folder", where=f"{key} = {path}")
    if path.is_file() and path.suffix not in (".npz", ".csv"):
        raise ConfigError(
            f"`{path.name}` is not a data source",
            where=key,
            hint="give an .npz, a .csv, a folder of images by class, or package.module:function",
        )


def _check_out(out: Path) -> None:
    """Raise ConfigError when bundles cannot be written below out."""
    if out.exists() and not out.is_dir():
        raise ConfigError("is a file, and bundles go into a folder", where=f"--out {out}")
    here = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not os.access(here, os.W_OK | os.X_OK):
        raise ConfigError("the folder cannot be written", where=f"--out {here}", hint="choose another with --out")

