"""edgecompile: compiles trained TensorFlow and Keras models for edge devices, and proves what it says about them.

>>> import edgecompile
>>> report = edgecompile.build("model.keras", target="coral", data="val.npz")  # doctest: +SKIP
>>> report.verdict  # doctest: +SKIP
'pass'

Importing this package imports nothing heavy; `build` imports what the build needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing import Unpack

    from edgecompile.pipeline import BuildResult
    from edgecompile.progress import Progress
    from edgecompile.report import Report

__version__ = "0.1.0"
__all__ = ["Options", "__version__", "build", "build_all"]

Numbers = float | Sequence[float]
"""One number, or one per channel (the last axis)."""


class Options(TypedDict, total=False):
    """The options of a build: the command line's flags under the same names. What is left out comes from the recipe."""

    data: str | PathLike[str]
    """Samples that accuracy is measured on: `.npz`, `.csv`, a folder of images by class, `package.module:function`."""
    calibration: str | PathLike[str]
    """Samples that set quantization ranges; a part of `data` when left out."""
    train: str | PathLike[str]
    """Samples for fine-tuning passes."""
    labels: str | PathLike[str]
    """A text file with one class name a line."""
    scale: Numbers
    """Stored values are multiplied by it before the model sees them."""
    offset: Numbers
    """Added after scale."""
    mean: Numbers
    """Subtracted after scale and offset."""
    std: Numbers
    """Divided by last."""
    metric: str
    """top1, top5, auc, macro_f1, mae, mse, or `package.module:function`."""
    recipe: str | PathLike[str]
    """A built-in recipe or a `.toml` file."""
    max_drop: float
    """Largest loss of the metric against the float model, in the metric's own units."""
    min: float
    """Smallest value of the metric; largest, where less is better."""
    allow_chance: bool
    """Let a float model pass that is not shown to do better than guessing."""
    fail_on: Sequence[str]
    """What must not occur at all: `warning`, any finding of that severity."""
    shape: Mapping[str, Sequence[int]] | Sequence[int]
    """Full shape with batch of the only input, or input name → shape."""
    name: str
    """Name of the bundle; the model file's stem when left out."""
    out: str | PathLike[str]
    """Folder that bundles are written below."""
    seed: int
    """Seed of every random choice."""
    allow_code: bool
    """Run code stored in the model file."""
    require_compiled: bool
    """Fail with ToolError when the target's own compiler is missing."""
    float_io: bool
    """Keep float32 inputs and outputs around an int8 model."""
    keep_keras: bool
    """Put the compressed Keras model into the bundle too."""
    option: Mapping[str, object]
    """Settings of the targets' backends, by name, or target → settings."""
    layout: str
    """Build tool that firmware sources are arranged for: cmake, esp-idf, zephyr, arduino, platformio."""
    prefix: str
    """What every file, function and macro of firmware sources starts with; `model` when left out."""


def build(
    model: str | PathLike[str] | None = None,
    *,
    target: str | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Report:
    """Build model for one target, write the bundle, and return its report.

    A missed gate is a result: `report.verdict` is `fail` and the bundle's folder ends in `-FAILED`. Where the float
    model is not shown to do better than guessing, it is `not-proven` and the folder ends in `-NOT-PROVEN`.

    Args:
        model: `.keras`, `.h5`, SavedModel folder or `.tflite`; None: as `edgecompile.toml` in the working folder says.
        target: name of the target; None: the only one that the recipe names.
        progress: told of steps, from any thread.
        options: see Options.

    Raises:
        EdgeCompileError: the command, the model, a pass or something outside is wrong; every problem is in `problems`.
    """
    from edgecompile.cli.request import request_of
    from edgecompile.errors import ConfigError
    from edgecompile.pipeline import build as run
    from edgecompile.plan import resolve

    plan = resolve(request_of(model, () if target is None else (target,), options))
    if len(plan.targets) != 1:
        names = ", ".join(t.target.name for t in plan.targets)
        raise ConfigError(
            f"the recipe names several targets: {names}", where="target", hint="name one, or call build_all"
        )
    return run(plan, progress=progress)[0].report


def build_all(
    model: str | PathLike[str] | None = None,
    *,
    targets: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> tuple[BuildResult, ...]:
    """Build model for several targets that share their common steps; return report, bundle folder and seconds of each.

    Args:
        model: as for build.
        targets: names of targets; empty: those that the recipe names.
        progress: told of steps, from any thread.
        options: see Options.

    Raises:
        EdgeCompileError: as for build.
    """
    from edgecompile.cli.request import request_of
    from edgecompile.pipeline import build as run
    from edgecompile.plan import resolve

    return run(resolve(request_of(model, tuple(targets), options)), progress=progress)
