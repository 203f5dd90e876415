"""From flags and keyword arguments to recipe keys."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import edgecompile
from edgecompile.cli.build import build
from edgecompile.cli.request import RECIPE_KEYS, Values, request_of
from edgecompile.errors import ConfigError
from edgecompile.recipe import Recipe

NOT_KEYS = {"model", "target", "recipe", "dry_run", "log", "verbose", "as_json"}
"""Parameters of `build` that are no recipe keys: what to read, and how to run and print."""


def field_at(path: tuple[str, ...]) -> Any:
    cls: type[BaseModel] = Recipe
    for part in path[:-1]:
        annotation = cls.model_fields[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        cls = annotation
    return cls.model_fields[path[-1]]


@pytest.mark.parametrize("option", sorted(RECIPE_KEYS))
def test_every_option_stands_for_a_key_that_exists(option: str) -> None:
    assert field_at(RECIPE_KEYS[option]).description


@pytest.mark.parametrize("option", sorted(RECIPE_KEYS))
def test_the_help_of_every_flag_names_its_key(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    parameter = inspect.signature(build, eval_str=True).parameters["minimum" if option == "min" else option]
    assert f"Key: {'.'.join(RECIPE_KEYS[option])}." in parameter.annotation.__metadata__[0].help


def test_flags_keyword_arguments_and_keys_are_the_same_set() -> None:
    flags = {"min" if name == "minimum" else name for name in inspect.signature(build).parameters}
    assert flags - NOT_KEYS == RECIPE_KEYS.keys()
    assert edgecompile.Options.__annotations__.keys() == RECIPE_KEYS.keys() | {"recipe"}


def test_options_are_laid_under_their_keys() -> None:
    request = request_of(
        Path("m.keras"),
        ("coral",),
        {"data": Path("v.npz"), "scale": (0.5,), "mean": None, "max_drop": 0.02, "shape": (1, 2), "recipe": "int8"},
    )
    assert request.model == "m.keras"
    assert request.targets == ("coral",)
    assert request.recipe == "int8"
    assert request.overrides == {
        "data": {"validation": "v.npz", "preprocess": {"scale": (0.5,)}},
        "gate": {"max_drop": 0.02},
        "model": {"shape": {"*": (1, 2)}},
    }


def test_an_option_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match=r"build\(\) has no option dta"):
        request_of("m.keras", (), {"dta": "v.npz"})


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.01", 0.01), ("1/255", 1 / 255), ("1.0/127.5", 1 / 127.5), ("-1", -1.0), ("1e-3", 0.001), (" 2 ", 2.0)],
)
def test_numbers_and_fractions(text: str, value: float) -> None:
    values = Values()
    assert values.number("--min", text) == value
    assert values.numbers("--scale", f"{text},{text}") == (value, value)
    assert not values.problems


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_reads_back(number: float) -> None:
    assert Values().number("--min", repr(number)) == number


@given(st.floats(min_value=-1e9, max_value=1e9), st.floats(min_value=1e-3, max_value=1e9))
def test_any_fraction_reads_back(above: float, below: float) -> None:
    read = Values().number("--scale", f"{above!r}/{below!r}")
    assert read is not None
    assert math.isclose(read, above / below)


@given(st.lists(st.integers(min_value=1, max_value=10**6), min_size=1, max_size=6))
def test_any_shape_reads_back(shape: list[int]) -> None:
    text = ",".join(map(str, shape))
    assert Values().shapes("--shape", [text]) == {"*": tuple(shape)}
    assert Values().shapes("--shape", [f"in:0={text}", f"b=({text})"]) == {"in:0": tuple(shape), "b": tuple(shape)}


def test_nothing_given_is_left_to_the_recipe() -> None:
    values = Values()
    assert values.number("--min", None) is None
    assert values.numbers("--scale", None) is None
    assert values.count("--seed", None) is None
    assert values.shapes("--shape", ()) is None


def test_every_wrong_value_is_reported() -> None:
    values = Values()
    values.number("--max-drop", "1%")
    values.number("--min", "nan")
    values.numbers("--scale", "1/0")
    values.numbers("--mean", "0.1,,0.2")
    values.count("--seed", "-1")
    values.shapes("--shape", ["1,224,x", "a=1,0", "b=1", "b=2"])
    assert [(p.where, p.what) for p in values.problems] == [
        ("--max-drop", "`1%` cannot be read"),
        ("--min", "`nan` cannot be read"),
        ("--scale", "`1/0` cannot be read"),
        ("--mean", "`0.1,,0.2` cannot be read"),
        ("--seed", "`-1` cannot be read"),
        ("--shape", "`1,224,x` cannot be read"),
        ("--shape", "`a=1,0` cannot be read"),
        ("--shape", "`b=2` gives the shape of an input again"),
    ]
    assert all("give" in p.hint for p in values.problems[:-1])


def test_a_target_is_a_text() -> None:
    with pytest.raises(ConfigError, match=r"\['coral'\] is none"):
        request_of("m.tflite", (["coral"],), {})  # type: ignore[arg-type]
