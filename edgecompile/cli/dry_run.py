"""What `build --dry-run` prints: the plan, checked and not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecompile.cli.streams import Streams

if TYPE_CHECKING:
    from edgecompile.cli.render import Screen
    from edgecompile.passes.base import Pass
    from edgecompile.plan import Plan


def show_plan(streams: Streams, plan: Plan) -> None:
    """Write plan to stdout, as text or JSON."""
    if streams.json:
        streams.write_json({"plan": _as_json(plan), "exit_code": 0})
        return
    from edgecompile.cli.render import Screen

    screen = Screen(streams.out)
    screen.line("the plan is sound; nothing was built")
    screen.line()
    _show_common(screen, plan)
    for one in plan.targets:
        screen.line()
        screen.line((one.target.name, "head"), f"  {one.target.title}, recipe {one.recipe}")
        for number, step in enumerate(one.passes, 1):
            screen.line(f"{number}. {step.name}{_fields(step)}", indent=2)
        options = "".join(f", {key} {value}" for key, value in _laid_over(plan, one.target.name).items())
        screen.line(f"{len(one.passes) + 1}. compile with the {one.target.backend} backend{options}, verify", indent=2)
        screen.line("→ ", (str(plan.bundle(one.target)), "key"), indent=2)
    for sentence in plan.outlook():
        screen.line()
        screen.line((sentence, "warn"))


def _show_common(screen: Screen, plan: Plan) -> None:
    data, gate = plan.recipe.data, plan.recipe.gate
    calibration = data.calibration or (
        f"at most {data.calibration_rows} rows of validation" if data.validation else "none given"
    )
    rows = [
        ("model", f"{plan.source} ({plan.format}), bundle name {plan.name}"),
        ("validation", data.validation or "none given: accuracy will not be measured"),
        ("calibration", calibration),
        *((("train", data.train),) if data.train else ()),
        ("metric", data.metric or "chosen from the data"),
        ("gate", f"drop at most {gate.max_drop:g}" + (f", value {gate.min:g}" if gate.min is not None else "")),
        ("seed", str(data.seed)),
    ]
    screen.table((), rows)


def _fields(step: Pass) -> str:
    """Return what the recipe or a flag sets otherwise than by default; `--json` has the rest too."""
    values = step.model_dump(mode="json", exclude_unset=True, exclude_defaults=True)
    return f" ({', '.join(f'{key} {value}' for key, value in values.items())})" if values else ""


def _laid_over(plan: Plan, target: str) -> dict[str, Any]:
    """Return the settings of the target's backend that the recipe or a flag gives."""
    laid = plan.recipe.build.option
    (found,) = (one.target.options for one in plan.targets if one.target.name == target)
    return {key: found[key] for key in {**laid.get("*", {}), **laid.get(target, {})} if key in found}


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "model": str(plan.source),
        "format": plan.format,
        "name": plan.name,
        "recipe": plan.recipe.model_dump(mode="json"),
        "outlook": list(plan.outlook()),
        "targets": [
            {
                "target": one.target.name,
                "recipe": one.recipe,
                "passes": [{"name": step.name, **step.model_dump(mode="json")} for step in one.passes],
                "backend": one.target.backend,
                "options": dict(one.target.options),
                "bundle": str(plan.bundle(one.target)),
            }
            for one in plan.targets
        ],
    }
