"""Recipe: what to do with a model. A TOML file; `edgecompile.toml` in the working folder is the project's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from edgecompile.config import Frozen, parse, read_toml
from edgecompile.errors import ConfigError, pick

PROJECT_FILE = "edgecompile.toml"


def _as_numbers(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be a number, or a list with one per channel")
    return tuple(value)


Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_numbers)]
"""One number, or one per channel (the last axis)."""

Text = Annotated[str, Field(min_length=1)]
"""A name or a path. An empty one is a variable that a script forgot to set, not a wish for the default."""

Size = Annotated[int, Field(gt=0, le=2**31 - 1)]
"""One dimension of a tensor: a `.tflite` stores it as int32."""


class Quantized(Frozen):
    """How stored integers stand for real values: real = scale * (stored - zero_point)."""

    scale: PositiveFloat
    """Real units per step."""
    zero_point: int
    """The stored value that stands for 0.0."""


class Preprocess(Frozen):
    """From the stored values to what the float model takes.

    In this order: resize, dequantize, `x * scale + offset`, `(x - mean) / std`. All of it as float32.
    """

    resize: tuple[Size, Size] | None = None
    """(height, width) in pixels to resize images to, bilinear."""
    quantized: Quantized | None = None
    """The stored values are integers of this scale and zero point."""
    scale: Numbers = (1.0,)
    """Multiplied first; one number or one per channel; not zero."""
    offset: Numbers = (0.0,)
    """Added after scale; one number or one per channel."""
    mean: Numbers = (0.0,)
    """Subtracted after scale and offset; one number or one per channel."""
    std: Numbers = (1.0,)
    """Divided by last; one number or one per channel; not zero."""

    @field_validator("scale", "std")
    @classmethod
    def _no_zero(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if 0.0 in value:
            raise ValueError("must not be 0")
        return value


class DataSection(Frozen):
    """Where samples come from, what is done to them, and how outputs are scored.

    A source is a path (`.npz`, `.csv`, a folder of images by class) or `package.module:function`.
    """

    validation: Text | None = None
    """Samples that accuracy is measured on (`--data`)."""
    calibration: Text | None = None
    """Samples that set quantization ranges (`--calibration`); a part of validation when unset."""
    train: Text | None = None
    """Samples for fine-tuning passes (`--train`)."""
    calibration_rows: PositiveInt = 200
    """How many rows calibrate, at most; of `validation`, when it must serve both, at most half."""
    preprocess: Preprocess = Preprocess()
    """From stored values to model input; scale and offset are also `--scale` and `--offset`."""
    inputs: Mapping[str, Preprocess] = Field(default_factory=dict)
    """Preprocessing of single inputs by name, instead of `preprocess`."""
    labels: Text | None = None
    """A text file with one class name a line."""
    csv_label: Text | None = None
    """The column of a `.csv` that holds the label; the last one by default."""
    metric: Text | None = None
    """top1, top5, auc, macro_f1, mae, mse, or `package.module:function` (`--metric`)."""
    output: Text | None = None
    """The model output that the metric reads; the first one by default."""
    seed: NonNegativeInt = 0
    """Seed of every random choice in a build."""


Concern = Literal["warning"]
"""What a build can be told to fail on."""


class GateSection(Frozen):
    """What the result must keep; missed: exit code 1."""

    max_drop: float = Field(default=0.01, ge=0)
    """Largest loss of the metric against the float model, in the metric's own units (`--max-drop`)."""
    min: float | None = None
    """Smallest value of the metric; largest, where less is better (mae, mse)."""
    allow_chance: bool = False
    """Let a float model pass that is not shown to do better than guessing (`--allow-chance`)."""
    fail_on: tuple[Concern, ...] = ()
    """What must not occur at all: `warning`, any finding of that severity (`--fail-on`, repeatable)."""


class ModelSection(Frozen):
    """The trained model."""

    path: Text | None = None
    """`.keras`, `.h5`, a SavedModel folder or `.tflite`, relative to the recipe."""
    name: Text | None = None
    """Name of the bundle; the file's stem by default."""
    shape: Mapping[str, tuple[Size, ...]] = Field(default_factory=dict)
    """Input name → full shape with batch, for dimensions the model leaves open (`--shape`); `*` is the only input."""
    batch: Size = 1
    """Batch size the compiled model has."""
    signature: Text = "serving_default"
    """Signature of a SavedModel or `.tflite` to compile."""
    allow_code: bool = False
    """Run code stored in the model file: Lambda layers, file operations (`--allow-code`)."""


Layout = Literal["cmake", "esp-idf", "zephyr", "arduino", "platformio"]
"""The build tool that firmware sources are arranged for."""


_HEADERS_OF_C = {
    *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "limits", "locale", "math", "setjmp"),
    *("signal", "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string", "tgmath", "threads", "time"),
    *("uchar", "unistd", "wchar", "wctype"),
}
"""C11, 7.1.2, and POSIX: a file of such a name would hide the header."""


class BuildSection(Frozen):
    """What to make."""

    targets: tuple[Text, ...] = ()
    """Names of targets (`--target`, repeatable)."""
    out: Text = "out"
    """Folder that bundles are written below (`--out`)."""
    require_compiled: bool = False
    """Exit 5 when the target's own compiler is missing (`--require-compiled`)."""
    float_io: bool = False
    """Keep float32 inputs and outputs around an int8 model (`--float-io`)."""
    keep_keras: bool = False
    """Put the compressed Keras model into the bundle too, as `compressed.h5` (`--keep-keras`)."""
    option: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Target → settings of its backend, over the target's `[options]` (`--option`); `*`: every target that has them."""
    layout: Layout = "cmake"
    """The build tool that the sources of a microcontroller's bundle are arranged for (`--layout`)."""
    prefix: Text = "model"
    """What every file, function and macro of these sources starts with, in lower case (`--prefix`): two models in one
    firmware need two."""

    @field_validator("prefix")
    @classmethod
    def _names_c(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value):
            raise ValueError("letters a to z, digits and `_`, at most 32, a letter first: it starts names in C")
        if value in _HEADERS_OF_C:
            raise ValueError(f"`{value}.h` is a header of C's own library")
        return value


class PassEntry(Frozen):
    """One pass of a recipe, before its fields are checked against the pass."""

    name: str
    fields: Mapping[str, Any] = Field(default_factory=dict)


class Recipe(Frozen):
    """A whole recipe."""

    unknown_hint: ClassVar[str] = 'a pass is an entry `[[passes]]` with its `name = "…"` and its keys'

    summary: str = ""
    """One sentence for `edgecompile passes` and the report."""
    extends: str | None = None
    """A built-in recipe or a file whose passes are used; this one then has none of its own."""
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    gate: GateSection = GateSection()
    build: BuildSection = BuildSection()
    passes: tuple[PassEntry, ...] = ()
    """Passes in order; empty means the target's own recipe."""

    @field_validator("passes", mode="before")
    @classmethod
    def _split_name(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        entries: list[Any] = []
        for item in value:
            if isinstance(item, dict) and "name" in item and "fields" not in item:
                entries.append({"name": item["name"], "fields": {k: v for k, v in item.items() if k != "name"}})
            else:
                entries.append(item)
        return tuple(entries)


def builtin_recipes() -> dict[str, Path]:
    """Return name → file of the recipes that ship with edgecompile."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}


def load_recipe(name_or_path: str) -> tuple[Recipe, Path | None]:
    """Return a recipe and the file it came from (None: built-in). `extends` is resolved.

    Raises:
        ConfigError: unknown name (offers the nearest), unreadable file, or keys that break the schema (all).
    """
    return _load(name_or_path, seen=())


def _load(name_or_path: str, *, seen: tuple[str, ...]) -> tuple[Recipe, Path | None]:
    is_file = name_or_path.endswith(".toml")
    if name_or_path in seen:
        raise ConfigError(f"`extends` goes in a circle: {' → '.join((*seen, name_or_path))}", where=name_or_path)
    if is_file:
        file = Path(name_or_path)
    else:
        known = builtin_recipes()
        file = known[pick(name_or_path, known, what="recipe")]
    where = str(file) if is_file else f"recipe {name_or_path}"
    recipe = parse(Recipe, read_toml(file), where=where)
    if recipe.extends:
        if recipe.passes:
            raise ConfigError(
                "`extends` takes the passes of another recipe, and this one has passes of its own",
                where=where,
                hint="leave out one of the two",
            )
        base = recipe.extends
        if base.endswith(".toml") and not Path(base).is_absolute():
            base = str(file.parent / base)
        parent, _ = _load(base, seen=(*seen, name_or_path))
        recipe = recipe.model_copy(update={"passes": parent.passes})
    return recipe, (file if is_file else None)
