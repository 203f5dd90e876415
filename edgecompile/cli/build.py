"""`edgecompile build`: a model in, one verified bundle for each target out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.dry_run import show_plan
from edgecompile.cli.options import AllowChance, FailOn, Json, Verbose
from edgecompile.cli.request import Values, request_of
from edgecompile.cli.streams import Job, Streams
from edgecompile.errors import ConfigError, EdgeCompileError, Problem

if TYPE_CHECKING:
    from edgecompile.plan import Plan

EXAMPLES = """
edgecompile build model.keras --target coral --data val.npz
edgecompile build model.h5 -t coral -t ios --data test.npz --calibration train.npz
edgecompile build saved_model/ -t android-cpu --data photos/ --scale 1/127.5 --offset -1
edgecompile build model.tflite -t linux-x86_64 --shape 1,224,224,3
edgecompile build model.keras -t coral --data val.npz --max-drop 0.005 --json
edgecompile build model.keras -t coral --data val.npz --dry-run
edgecompile build model.keras -t coral --data val.npz --option several_subgraphs=true
edgecompile build
"""

Text = str | None


def _flag(*names: str, key: str = "", help: str, metavar: str | None = None) -> Any:  # noqa: A002 - typer's own name
    """Return an option whose help ends in its recipe key."""
    return typer.Option(*names, help=f"{help} Key: {key}." if key else help, metavar=metavar, show_default=False)


def build(
    model: Annotated[
        Text,
        typer.Argument(
            metavar="MODEL",
            help=".keras, .h5, SavedModel folder or .tflite. Left out: as edgecompile.toml in this folder says.",
            show_default=False,
        ),
    ] = None,
    *,
    target: Annotated[
        list[str] | None,
        _flag("--target", "-t", help="Device to build for; repeatable.", key="build.targets", metavar="NAME"),
    ] = None,
    out: Annotated[
        Text,
        _flag("--out", "-o", help="Bundles go to OUT/<model>-<target>/; default out.", key="build.out", metavar="OUT"),
    ] = None,
    data: Annotated[
        Text,
        _flag(
            help="Samples to measure on: .npz, .csv, folder of images by class, package.module:function.",
            key="data.validation",
            metavar="DATA",
        ),
    ] = None,
    calibration: Annotated[
        Text,
        _flag(
            help="Samples that set quantization ranges; a part of --data when left out.",
            key="data.calibration",
            metavar="DATA",
        ),
    ] = None,
    train: Annotated[Text, _flag(help="Samples for fine-tuning passes.", key="data.train", metavar="DATA")] = None,
    labels: Annotated[
        Text, _flag(help="Text file with one class name a line.", key="data.labels", metavar="FILE")
    ] = None,
    scale: Annotated[
        Text,
        _flag(
            help="The model takes x * scale + offset: 1/255, or a number per channel.",
            key="data.preprocess.scale",
            metavar="NUMBERS",
        ),
    ] = None,
    offset: Annotated[Text, _flag(help="See --scale.", key="data.preprocess.offset", metavar="NUMBERS")] = None,
    mean: Annotated[
        Text,
        _flag(help="After that (x - mean) / std: 0.485,0.456,0.406.", key="data.preprocess.mean", metavar="NUMBERS"),
    ] = None,
    std: Annotated[Text, _flag(help="See --mean.", key="data.preprocess.std", metavar="NUMBERS")] = None,
    metric: Annotated[
        Text,
        _flag(
            help="top1, top5, auc, macro_f1, mae, mse, or package.module:function.", key="data.metric", metavar="NAME"
        ),
    ] = None,
    max_drop: Annotated[
        Text,
        _flag(
            help="Largest loss of the metric against the float model; default 0.01, one point of accuracy.",
            key="gate.max_drop",
            metavar="NUMBER",
        ),
    ] = None,
    minimum: Annotated[
        Text,
        _flag("--min", help="Smallest value of the metric; largest for mae and mse.", key="gate.min", metavar="NUMBER"),
    ] = None,
    allow_chance: AllowChance = False,
    fail_on: FailOn = None,
    shape: Annotated[
        list[str] | None,
        _flag(
            "--shape",
            help="Full input shape, batch first: 1,224,224,3 or NAME=1,224,224,3; repeatable.",
            key="model.shape",
            metavar="SHAPE",
        ),
    ] = None,
    name: Annotated[
        Text, _flag(help="Name of the bundle; default the model's.", key="model.name", metavar="NAME")
    ] = None,
    recipe: Annotated[
        Text, _flag(help="Built-in recipe (`edgecompile passes` lists them) or a .toml file.", metavar="RECIPE")
    ] = None,
    float_io: Annotated[
        bool,
        _flag("--float-io", help="Keep float32 inputs and outputs around an int8 model.", key="build.float_io"),
    ] = False,
    keep_keras: Annotated[
        bool,
        _flag("--keep-keras", help="Put the compressed Keras model into the bundle too.", key="build.keep_keras"),
    ] = False,
    option: Annotated[
        list[str] | None,
        _flag(
            "--option",
            "-O",
            help="Setting of the target's backend, over the target's file: several_subgraphs=true; repeatable.",
            key="build.option",
            metavar="[TARGET.]KEY=VALUE",
        ),
    ] = None,
    layout: Annotated[
        Text,
        _flag(help="Firmware for cmake, esp-idf, zephyr, arduino, platformio.", key="build.layout", metavar="TOOL"),
    ] = None,
    prefix: Annotated[
        Text,
        _flag(help="What names in the firmware start with; default model.", key="build.prefix", metavar="NAME"),
    ] = None,
    allow_code: Annotated[
        bool,
        _flag("--allow-code", help="Run code stored in the model file: Lambda layers.", key="model.allow_code"),
    ] = False,
    require_compiled: Annotated[
        bool,
        _flag(
            "--require-compiled",
            help="Exit 5 when the target's own compiler is missing.",
            key="build.require_compiled",
        ),
    ] = False,
    seed: Annotated[Text, _flag(help="Seed of every random choice; default 0.", key="data.seed", metavar="N")] = None,
    dry_run: Annotated[bool, _flag("--dry-run", help="Check everything, print the plan, build nothing.")] = False,
    log: Annotated[
        Text, _flag(help="File for what libraries print; default in the cache folder.", metavar="FILE")
    ] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> Job:
    """Build MODEL for one or more targets and write a verified bundle for each.

    Every option has a recipe key; an option beats the recipe.
    """
    del as_json  # the error boundary reads it: it must know before anything else is read
    values = Values()
    options: dict[str, Any] = {
        "data": data,
        "calibration": calibration,
        "train": train,
        "labels": labels,
        "scale": values.numbers("--scale", scale),
        "offset": values.numbers("--offset", offset),
        "mean": values.numbers("--mean", mean),
        "std": values.numbers("--std", std),
        "metric": metric,
        "max_drop": values.number("--max-drop", max_drop),
        "min": values.number("--min", minimum),
        "allow_chance": allow_chance or None,
        "fail_on": fail_on or None,
        "require_compiled": require_compiled or None,
        "recipe": recipe,
        "shape": values.shapes("--shape", shape or ()),
        "name": name,
        "out": out,
        "float_io": float_io or None,
        "keep_keras": keep_keras or None,
        "option": values.settings("--option", option or ()),
        "layout": layout,
        "prefix": prefix,
        "allow_code": allow_code or None,
        "seed": values.count("--seed", seed),
    }

    def job(streams: Streams) -> int:
        return _build(
            streams,
            model,
            tuple(target or ()),
            options,
            problems=values.problems,
            dry_run=dry_run,
            log=log,
            verbose=verbose,
        )

    return job


def _build(
    streams: Streams,
    model: str | None,
    targets: tuple[str, ...],
    options: dict[str, Any],
    *,
    problems: list[Problem],
    dry_run: bool,
    log: str | None,
    verbose: bool,
) -> int:
    plan = _checked(model, targets, options, problems)
    if dry_run:
        show_plan(streams, plan)
        return 0
    from edgecompile import pipeline
    from edgecompile.cli.render import Screen
    from edgecompile.cli.steps import show_steps
    from edgecompile.cli.verdict import result_json, show_results
    from edgecompile.logs import new_log
    from edgecompile.tools import quiet

    for sentence in plan.outlook():
        Screen(streams.err).line((sentence, "warn"))
    log_file = new_log("build") if log is None else _log_file(log)
    with quiet(log_file), show_steps(Screen(streams.err)) as progress:
        results = pipeline.build(plan, progress=progress, log=log_file)
    code = 0 if all(r.report.verdict == "pass" for r in results) else 1
    if streams.json:
        streams.write_json({"results": [result_json(r) for r in results], "exit_code": code})
    else:
        show_results(Screen(streams.out), results, log=log_file, verbose=verbose)
    return code


def _log_file(path: str) -> Path:
    """Return the file that the user named for the log; raise ConfigError where nothing can be written to it."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).open("a").close()
    except OSError as error:
        raise ConfigError(
            f"`{path}` cannot be written to: {error.strerror}", where="--log", hint="name a file"
        ) from None
    return Path(path)


def _checked(model: str | None, targets: tuple[str, ...], options: dict[str, Any], problems: list[Problem]) -> Plan:
    """Return the plan; raise with the problems of the flags and of the plan together."""
    from edgecompile.plan import resolve

    try:
        plan = resolve(request_of(model, targets, options))
    except EdgeCompileError as error:
        if problems:
            raise ConfigError.of([*problems, *error.problems]) from None
        raise
    if problems:
        raise ConfigError.of(problems)
    return plan
