"""What passes need before they run: of the recipe, of files that it names, and of the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecompile.data.usercode import is_function
from edgecompile.errors import ConfigError, ModelError, Problem
from edgecompile.passes.base import Pass
from edgecompile.passes.quantize import Quantize
from edgecompile.passes.tuned import Tuned
from edgecompile.recipe import Recipe
from edgecompile.target import Target
from edgecompile.training.scan import scan_source, source_format


def check_training(passes: Sequence[Pass], recipe: Recipe) -> None:
    """Raise ConfigError where passes that train miss data or a loss; all problems at once."""
    problems: list[Problem] = []
    trained = [p for p in passes if isinstance(p, Tuned)]
    if recipe.build.keep_keras and passes and not trained:
        hint = "choose a recipe with passes that train: qat, prune-qat, cluster-qat, small, slim"
        problems.append(Problem("no pass changes the Keras model, so there is none to keep", "build.keep_keras", hint))
    calibrated = [p for p in passes if isinstance(p, Quantize) and p.calibrated]
    if trained and calibrated and recipe.data.calibration is None and recipe.data.validation is None:
        what = f"{calibrated[0].scheme} needs calibration data to set the ranges of activations"  # not after hours
        problems.append(Problem(what, "data.calibration", "give --data or --calibration; training rows will do"))
    for step in trained:
        if recipe.data.train is None:
            hint = "give --train; rows without labels will do, the original model teaches"
            problems.append(Problem(f"`{step.name}` trains, and there is no training data", "data.train", hint))
        if step.loss is not None and not is_function(step.loss):
            problems.append(Problem(f"`{step.loss}` is not package.module:function", f"{step.name}.loss"))
    if problems:
        raise ConfigError.of(list(dict.fromkeys(problems)))


def check_teacher(path: Path, *, where: str, allow_code: bool) -> None:
    """Raise ConfigError or ModelError where the model at path cannot teach, as far as its file says."""
    where = f"{where} = {path}"
    if not path.exists():
        raise ConfigError("no such file or folder", where=where, hint="a path relative to the recipe, `self` or `none`")
    try:
        scan_source(path, allow_code=allow_code)
    except ModelError as error:
        places = [where if p.where == str(path) else f"{where}: {p.where}" for p in error.problems]
        raise ModelError.of(
            [Problem(p.what, place, p.hint) for p, place in zip(error.problems, places, strict=True)]
        ) from None
    if source_format(path) == "tflite":
        what = "a .tflite cannot teach: training needs a model that TensorFlow runs"
        raise ConfigError(what, where=where, hint="name the .keras, .h5 or SavedModel that it came from")


def check_schemes(passes: tuple[Pass, ...], target: Target) -> None:
    """Raise ConfigError where target takes no model of the form that passes give."""
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
