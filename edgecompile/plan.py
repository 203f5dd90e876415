"""Plan: recipe × targets, fully checked before anything heavy is imported.

`resolve` reports every problem at once. A `Plan` is frozen; `--dry-run` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgecompile.agree import agreeing
from edgecompile.artifact import Kind
from edgecompile.backends import BACKENDS
from edgecompile.bundle.writer import bundle_name, destination_problems
from edgecompile.config import parse
from edgecompile.data.load import check_source
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError, Problem, pick
from edgecompile.metrics import check_name
from edgecompile.options import check_options, with_options
from edgecompile.passes import PASSES
from edgecompile.passes.base import Pass
from edgecompile.passes.convert import Convert
from edgecompile.passes.intake import Intake
from edgecompile.passes.quantize import Quantize
from edgecompile.passes.tuned import Tuned
from edgecompile.preconditions import check_schemes, check_teacher, check_training
from edgecompile.recipe import BuildSection, PassEntry, Recipe, load_recipe
from edgecompile.request import Request, merged_recipe
from edgecompile.target import Target, load_target, target_files
from edgecompile.training.scan import scan_source, source_format


@dataclass(frozen=True)
class TargetPlan:
    """What will be done for one target."""

    target: Target
    passes: tuple[Pass, ...]
    recipe: str
    """Name of the recipe that the passes come from."""

    @property
    def door(self) -> Pass:
        """The pass that gives the first `.tflite`: of the untouched source it gives the float reference."""
        return next(p for p in self.passes if isinstance(p, Convert | Intake))


@dataclass(frozen=True)
class Plan:
    """A checked build."""

    source: Path
    format: str
    name: str
    recipe: Recipe
    """All sections, with the request laid over them."""
    base: Path
    """Folder that the recipe's relative paths start from, and where a user's modules are looked for first."""
    targets: tuple[TargetPlan, ...]
    out: Path

    @property
    def kind(self) -> Kind:
        """Kind of the source."""
        return Kind.TFLITE if self.format == "tflite" else Kind.KERAS

    def outlook(self) -> tuple[str, ...]:
        """Return why the gate is likely to be missed, in sentences, as far as passes can tell before they run."""
        passes = [step for one in self.targets for step in one.passes if self.recipe.data.metric in (None, "top1")]
        return tuple(dict.fromkeys(filter(None, (step.outlook(self.recipe.gate.max_drop) for step in passes))))

    def bundle(self, target: Target) -> Path:
        """Return the folder that the bundle of target goes to when it passes."""
        return self.out / bundle_name(self.name, target.name)


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
    merged = merged_recipe(request)
    recipe, base = merged.recipe, merged.base
    problems = _Problems()
    source, source_form = Path(), ""
    with problems.collect():
        source = _source(recipe, base)
        source_form = source_format(source)
        scan_source(source, allow_code=recipe.model.allow_code)
    targets: list[TargetPlan] = []
    with problems.collect():
        _need_targets(recipe)
    with problems.collect():
        check_options(recipe)
    for name in dict.fromkeys(recipe.build.targets):
        with problems.collect():
            targets.append(_target_plan(name, recipe, merged.name, source_form))
    with problems.collect():
        _check_layout(recipe, targets)
    with problems.collect():
        check_training([p for one in targets for p in one.passes], recipe)
    for key, teacher in dict.fromkeys(_teachers(targets)):
        with problems.collect():
            check_teacher(base / teacher, where=key, allow_code=recipe.model.allow_code)
    for role in ("validation", "calibration", "train"):
        with problems.collect():
            _check_data(getattr(recipe.data, role), base, key=f"data.{role}")
    if recipe.data.metric is not None:
        with problems.collect():
            check_name(recipe.data.metric)
    name = recipe.model.name or source.name.removesuffix(source.suffix)
    for one in targets if name else ():
        with problems.collect():
            blocked = destination_problems(merged.out, bundle_name(name, one.target.name))
            if blocked:
                raise ConfigError.of(blocked)
    problems.raise_any()
    return Plan(source, source_form, name, recipe, base, tuple(targets), merged.out)


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
    target = with_options(load_target(name), recipe)
    entries, used = recipe.passes, label or "project file"
    if not entries:
        entries, used = load_recipe(target.recipe)[0].passes, target.recipe
    passes = _passes(entries, where=f"recipe {used}")
    if not any(p.takes is Kind.TFLITE for p in passes):  # what a recipe leaves open below the door is the target's
        passes += _passes(load_recipe(target.recipe)[0].passes, where=f"recipe {target.recipe}")
    if recipe.build.float_io:
        passes = tuple(p.model_copy(update={"io": "float32"}) if isinstance(p, Quantize) else p for p in passes)
    passes = agreeing(_through_the_door(passes, source_form), target)
    check_schemes(passes, target)
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
    names = [p.name for p in passes if p.takes is Kind.TFLITE or isinstance(p, Convert)]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        raise ConfigError(f"`{name}` is there twice", where=where, hint="it works once: keep the one that you mean")
    for position, step in enumerate(passes):
        below = step.takes is Kind.TFLITE or isinstance(step, Convert)
        late = [
            later.name
            for later in passes[position + 1 :]
            if later.name in step.after or (below and later.takes is Kind.KERAS)
        ]
        if late:
            raise ConfigError(
                f"`{step.name}` must come after `{late[0]}`", where=where, hint=f"move `{step.name}` behind it"
            )
    return tuple(passes)


def _through_the_door(passes: tuple[Pass, ...], source_form: str) -> tuple[Pass, ...]:
    """Return passes with `convert` where Keras ends and TFLite begins; refuse Keras passes on a `.tflite`."""
    keras = [p for p in passes if p.takes is Kind.KERAS and not isinstance(p, Convert)]
    below = [p for p in passes if p.takes is Kind.TFLITE and not isinstance(p, Intake)]
    if source_form == "tflite":
        if keras:
            raise ConfigError(
                f"`{keras[0].name}` works on Keras models, and the source is a .tflite",
                hint="build from the .keras, .h5 or SavedModel that it came from",
            )
        return (next((p for p in passes if isinstance(p, Intake)), Intake()), *below)
    if source_form == "saved model" and keras:
        raise ConfigError(
            f"`{keras[0].name}` trains layers, and the source is a SavedModel, which holds a graph of operations",
            hint="build from the .keras or .h5 file that it was exported from",
        )
    convert = next((p for p in passes if isinstance(p, Convert)), Convert())
    return (*keras, convert, *below)


def _check_layout(recipe: Recipe, targets: Sequence[TargetPlan]) -> None:
    """Raise ConfigError where sources are asked for in some form and no target gets any."""
    if not targets or any(BACKENDS[t.target.backend].sources for t in targets):
        return
    names, plain = ", ".join(t.target.name for t in targets), BuildSection()
    asked = {"layout": "no sources to lay out for", "prefix": "no sources whose names start with"}
    problems = [
        Problem(
            f"{what} {value}: none are made for {names}",
            f"build.{key}",
            f"leave out --{key}, or choose a microcontroller: `edgecompile targets`",
        )
        for key, what in asked.items()
        if (value := getattr(recipe.build, key)) != getattr(plain, key)
    ]
    if problems:
        raise ConfigError.of(problems)


def _teachers(targets: Sequence[TargetPlan]) -> Iterator[tuple[str, str]]:
    """Yield key and path of every teacher that a recipe names."""
    for step in (p for one in targets for p in one.passes):
        if isinstance(step, Tuned) and step.teacher not in ("self", "none"):
            yield f"{step.name}.teacher", step.teacher


def _check_data(source: str | None, base: Path, *, key: str) -> None:
    if source is not None:
        check_source(source, base=base, key=key)
