"""What every pass, backend, target, recipe and sample model must hold, found through the registries themselves."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

import edgecompile.backends
import edgecompile.passes
from edgecompile.artifact import Artifact, Kind
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Backend
from edgecompile.config import Frozen, digest, parse, read_toml
from edgecompile.errors import ConfigError, PassError
from edgecompile.passes import PASSES
from edgecompile.passes.base import Context, Pass
from edgecompile.plan import Request, resolve
from edgecompile.recipe import PassEntry, Recipe, builtin_recipes, load_recipe
from edgecompile.target import Target, load_target, shipped, target_files

TARGETS = sorted(target_files())
RECIPES = sorted(builtin_recipes())
SAMPLES = sorted(folder.name for folder in shipped("sample_models").iterdir() if (folder / "recipe.toml").is_file())
EXTRAS = {None, "tensorflow", "images"}


def classes_in(package: ModuleType, base: type) -> set[type]:
    found = set()
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        found |= {
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, base) and not inspect.isabstract(cls) and cls.__module__ == module.__name__
        }
    return found


def test_every_pass_and_backend_that_is_written_is_registered() -> None:
    assert set(PASSES.values()) == classes_in(edgecompile.passes, Pass)
    assert {type(backend) for backend in BACKENDS.values()} == classes_in(edgecompile.backends, Backend)


def assert_documented(cls: type[Frozen]) -> None:
    for name, field in cls.model_fields.items():
        tables = tables_in(field.annotation)
        for table in tables:
            assert_documented(table)
        said = field.description or (tables and inspect.getdoc(tables[0]))
        assert said, f"{cls.__name__}.{name} has no docstring"
        assert said.rstrip().endswith("."), f"{cls.__name__}.{name}: {said}"
    assert json.dumps(cls.model_json_schema())
    assert cls.model_json_schema()["additionalProperties"] is False


def tables_in(annotation: Any) -> list[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [] if annotation is PassEntry else [annotation]
    return [table for item in get_args(annotation) for table in tables_in(item)]


# Passes


@pytest.mark.parametrize("name", PASSES)
def test_pass_declares_what_help_and_plan_need(name: str) -> None:
    cls = PASSES[name]
    assert cls.name == name
    assert cls.summary.endswith(".")
    assert "\n" not in cls.summary
    assert cls.takes in Kind
    assert cls.gives in Kind
    assert cls.needs in EXTRAS
    assert set(cls.after) <= set(PASSES)
    assert cls.uses <= {"calibration", "train"}
    assert inspect.getdoc(cls)
    assert_documented(cls)


def another(schema: dict[str, Any], default: Any) -> Any:
    """Return a value that the schema of a field allows and that is not the default."""
    for option in schema.get("anyOf", [schema]):
        if "enum" in option:
            return next(value for value in option["enum"] if value != default)
        if option.get("type") == "boolean":
            return not default
        if option.get("type") in {"integer", "number"}:
            low = option.get("minimum", option.get("exclusiveMinimum", 0))
            high = option.get("maximum", option.get("exclusiveMaximum", low + 10))
            tries = (low + 1, (low + high) / 2, (low + 3 * high) / 4)
            whole = option["type"] == "integer"
            return next(int(v) if whole else v for v in tries if v != default and (not whole or v == int(v)))
        if option.get("type") == "string":
            return f"{default or ''}x"
        if option.get("type") == "array":
            items = option.get("prefixItems") or [option["items"]]
            return tuple(another(item, old) for item, old in zip(items, default or [None], strict=True))
    raise AssertionError(f"no other value for {schema}: teach this test the type")


def fields() -> list[tuple[str, str]]:
    return [(name, field) for name, cls in PASSES.items() for field in cls.model_fields]


@pytest.mark.parametrize(("name", "field"), fields())
def test_every_field_of_a_pass_is_part_of_the_cache_key(name: str, field: str) -> None:
    cls = PASSES[name]
    schema = cls.model_json_schema()
    property_schema = schema["properties"][field]
    if "$ref" in property_schema:
        property_schema = schema["$defs"][property_schema["$ref"].rpartition("/")[2]]
    plain = cls()
    changed = plain.model_copy(update={field: another(property_schema, getattr(plain, field))})
    assert digest(changed) != digest(plain)
    assert digest(cls()) == digest(plain)


@pytest.mark.parametrize(("name", "field"), fields())
def test_a_misspelt_field_of_a_pass_is_refused_with_the_near_miss(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key `{field}x`") as caught:
        parse(PASSES[name], {f"{field}x": 1}, where="here")
    assert caught.value.problems[0].hint == f"did you mean `{field}`?"


@pytest.mark.parametrize("name", PASSES)
def test_pass_is_frozen(name: str) -> None:
    step = PASSES[name]()
    for field in PASSES[name].model_fields:
        with pytest.raises(ValueError, match="frozen"):
            setattr(step, field, None)


@pytest.mark.parametrize("name", PASSES)
def test_a_report_tells_every_field_of_a_pass_and_no_folder(name: str) -> None:
    step = PASSES[name]()
    assert step.told() == step.model_dump(mode="json")
    if "teacher" in PASSES[name].model_fields:
        taught = PASSES[name].model_validate({"teacher": "/home/ann/models/large.keras"})
        assert taught.told() == {**step.told(), "teacher": "large.keras"}


DATA = Path(__file__).parent / "data"

UNMEETABLE: dict[str, Pass | str] = {
    "convert": "it has no fields; what it refuses is the model or the shape, not a request",
    "intake": "it has no fields; what it refuses is the model or the shape, not a request",
    "pack": "it has no target to miss; it compares what it wrote with what it was given",
    "quantize": PASSES["quantize"](),
    "edgetpu-fit": PASSES["edgetpu-fit"](),
    **{name: cls() for name, cls in PASSES.items() if "train" in cls.uses},
}
"""Pass → one that asks for what cannot be met on a float model without data, or why there is no such request."""


def test_a_request_that_cannot_be_met_is_a_pass_error(tmp_path: Path) -> None:
    assert set(UNMEETABLE) == set(PASSES)
    for step in UNMEETABLE.values():
        if isinstance(step, Pass):
            model = Artifact.of(DATA / "image_float.tflite", Kind.TFLITE)
            with pytest.raises(PassError) as caught:
                step.run(model, Context(out=tmp_path))
            (problem,) = caught.value.problems
            assert problem.what
            assert problem.where
            assert problem.hint


# Backends


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_declares_itself_and_serves_a_target(name: str) -> None:
    backend = BACKENDS[name]
    assert backend.name == name
    assert backend.summary.endswith(".")
    assert issubclass(backend.Options, Frozen)
    assert_documented(backend.Options)
    assert any(load_target(target).backend == name for target in TARGETS)


# Targets


@pytest.mark.parametrize("name", TARGETS)
def test_target_fits_its_backend_and_recipe(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.title
    assert target.summary.endswith(".")
    parse(BACKENDS[target.backend].Options, target.options, where=name)
    recipe, _ = load_recipe(target.recipe)
    schemes = [PASSES[e.name].model_validate(dict(e.fields)).model_dump().get("scheme") for e in recipe.passes]
    assert schemes
    assert {scheme for scheme in schemes if scheme} <= set(target.schemes)


@pytest.mark.parametrize("name", TARGETS)
def test_numbers_of_a_target_have_sources(name: str) -> None:
    target = load_target(name)
    backed = " ".join(source.what for source in target.sources)
    assert "name" not in read_toml(target_files()[name]), "the stem of the file is the name"
    for source in target.sources:
        assert source.document
        assert source.url.startswith("https://")
    given = [key for key, value in target.memory.model_dump(exclude_defaults=True).items() if value]
    assert [key for key in given if key not in backed] == []


@pytest.mark.parametrize("name", TARGETS)
def test_misspelt_keys_of_a_target_are_refused_with_the_near_miss(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = target_files()[name].read_text("utf-8").replace("summary", "sumary").replace("delegate =", "delegat =")
    (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        load_target(name)
    said = {problem.what: problem.hint for problem in caught.value.problems}
    assert said == {"unknown key `sumary`": "did you mean `summary`?", "`summary` is missing": ""}
    good = text.replace("sumary", "summary")
    (tmp_path / f"{name}.toml").write_text(good, "utf-8")
    target = load_target(name)
    if "delegat" in target.options:
        with pytest.raises(ConfigError, match="unknown key `delegat`\n  → did you mean `delegate`"):
            parse(BACKENDS[target.backend].Options, target.options, where=name)


def test_unknown_target_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown target `corel`\n  → did you mean `coral`"):
        load_target("corel")


def test_the_schema_of_targets_is_documented() -> None:
    assert_documented(Target)


# Recipes


@pytest.mark.parametrize("name", RECIPES)
def test_builtin_recipe_is_made_of_known_passes(name: str) -> None:
    recipe, file = load_recipe(name)
    assert file is None
    assert recipe.summary.endswith(".")
    assert recipe.passes
    for entry in recipe.passes:
        parse(PASSES[entry.name], entry.fields, where=name)
    assert set(read_toml(builtin_recipes()[name])) == {"summary", "passes"}


@pytest.mark.parametrize("name", RECIPES)
def test_builtin_recipe_is_taken_by_a_target(name: str) -> None:
    recipe, _ = load_recipe(name)
    schemes = {e.fields.get("scheme") for e in recipe.passes} - {None}
    assert any(schemes <= set(load_target(target).schemes) for target in TARGETS)


def test_the_schema_of_recipes_is_documented() -> None:
    assert_documented(Recipe)


# Sample models


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SAMPLES)
def test_sample_model_has_a_plan_for_every_target(name: str, target: str) -> None:
    folder = shipped("sample_models") / name
    plan = resolve(Request(recipe=str(folder / "recipe.toml"), targets=(target,)))
    assert plan.source.exists()
    assert [t.target.name for t in plan.targets] == [target]
    assert plan.recipe.data.validation is not None


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_model_comes_with_the_script_that_made_it(name: str) -> None:
    assert (shipped("sample_models") / name / "make.py").is_file()


def test_there_are_sample_models() -> None:
    assert SAMPLES
