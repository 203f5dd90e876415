"""`edgecompile passes`: the steps a recipe is made of, their fields, and the recipes that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from edgecompile.cli.options import Json
from edgecompile.cli.streams import Job, Streams
from edgecompile.errors import pick

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo

    from edgecompile.passes.base import Pass
    from edgecompile.recipe import Recipe

EXAMPLES = """
edgecompile passes
edgecompile passes quantize
edgecompile passes int8
edgecompile passes quantize --json
"""


def passes(
    name: Annotated[
        str | None, typer.Argument(help="Show the fields of this pass, or this built-in recipe.", show_default=False)
    ] = None,
    *,
    as_json: Json = False,
) -> Job:
    """List passes and built-in recipes, or show one: fields, types, defaults and an example for a recipe."""
    del as_json  # the error boundary reads it: it must know before anything else is read
    return lambda streams: _list(streams) if name is None else _one(streams, name)


def _list(streams: Streams) -> int:
    from edgecompile.passes import PASSES
    from edgecompile.recipe import builtin_recipes, load_recipe

    recipes = {name: load_recipe(name)[0] for name in builtin_recipes()}
    if streams.json:
        streams.write_json(
            {
                "passes": [_about(cls) for cls in PASSES.values()],
                "recipes": [{"name": name, **r.model_dump(mode="json")} for name, r in recipes.items()],
            }
        )
        return 0
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.table(
        ("pass", "from", "to", "needs", "what it does"),
        [((c.name, "key"), c.takes.value, c.gives.value, c.needs or "", c.summary) for c in PASSES.values()],
    )
    screen.line()
    screen.table(
        ("recipe", "passes", "what it gives"),
        [((name, "key"), " → ".join(p.name for p in r.passes), r.summary) for name, r in recipes.items()],
    )
    screen.line()
    screen.line(("edgecompile passes NAME shows the fields of a pass or the file of a recipe", "dim"))
    return 0


def _one(streams: Streams, name: str) -> int:
    from edgecompile.passes import PASSES
    from edgecompile.recipe import builtin_recipes, load_recipe

    recipes = builtin_recipes()
    pick(name, [*PASSES, *recipes], what="pass or recipe")
    if name in PASSES:
        _show_pass(streams, PASSES[name])
    else:
        _show_recipe(streams, name, recipes[name], load_recipe(name)[0])
    return 0


def _show_recipe(streams: Streams, name: str, file: Path, recipe: Recipe) -> None:
    text = file.read_text("utf-8")
    if streams.json:
        streams.write_json({"recipe": {"name": name, **recipe.model_dump(mode="json")}, "toml": text})
        return
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line((f"# {file}", "dim"))
    for line in text.splitlines():
        screen.line(line)


def _show_pass(streams: Streams, cls: type[Pass]) -> None:
    if streams.json:
        streams.write_json({"pass": _about(cls), "schema": cls.model_json_schema()})
        return
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line((cls.name, "head"), f"  {cls.summary}")
    needs = f'; needs pip install "edgecompile[{cls.needs}]"' if cls.needs else ""
    uses = f"; uses {' and '.join(sorted(cls.uses))} data" if cls.uses else ""
    screen.line(f"takes {cls.takes.value}, gives {cls.gives.value}{uses}{needs}", indent=2)
    if cls.after:
        screen.line(f"comes after {', '.join(cls.after)}, where a recipe has both", indent=2)
    screen.line()
    rows = [
        ((name, "key"), type_text(field.annotation), _default(field), " ".join((field.description or "").split()))
        for name, field in cls.model_fields.items()
    ]
    if rows:
        screen.table(("field", "type", "default", "what it is"), rows, indent=2)
        screen.line()
    screen.line("in a recipe:", indent=2)
    for line in example_toml(cls):
        screen.line(line, indent=4)


def _about(cls: type[Pass]) -> dict[str, Any]:
    return {
        "name": cls.name,
        "summary": cls.summary,
        "takes": cls.takes.value,
        "gives": cls.gives.value,
        "after": list(cls.after),
        "needs": cls.needs,
        "uses": sorted(cls.uses),
    }


def type_text(annotation: Any) -> str:
    """Return a field's type as a recipe's author thinks of it: choices spelled out, no module names."""
    if annotation is type(None):
        return "none"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin is None:
        return getattr(annotation, "__name__", str(annotation))
    inner = [type_text(a) for a in args if a is not Ellipsis]
    if origin in (tuple, list, set, frozenset):
        return f"list of {inner[0]}"
    if getattr(origin, "__name__", "") in ("dict", "Mapping"):
        return f"table of {inner[1]}"
    if getattr(origin, "__name__", "") == "Annotated":
        return inner[0]
    return " | ".join(inner)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(must be given)"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "unset" if value is None else toml_value(value)


def toml_value(value: Any) -> str:
    """Return value as TOML writes it: text, numbers, booleans, and lists and tables of them."""
    import json

    if isinstance(value, bool | str | int):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(toml_value(v) for v in value) + "]"


def example_toml(cls: type[Pass]) -> list[str]:
    """Return lines of a recipe that name the pass with every field at its default; fields without one are left open."""
    lines = ["[[passes]]", f"name = {toml_value(cls.name)}"]
    for name, field in cls.model_fields.items():
        if field.is_required():
            lines.append(f"{name} = …")
        elif (value := field.get_default(call_default_factory=True, validated_data={})) is not None:
            lines.append(f"{name} = {toml_value(value)}")
    return lines
