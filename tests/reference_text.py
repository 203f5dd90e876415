"""`docs/reference.md`, generated from the code that it describes."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, get_args

from pydantic.fields import FieldInfo

from edgecompile.backends import BACKENDS, coreml, edgetpu, ethosu, gpu, xnnpack
from edgecompile.backends.edgetpu import optable
from edgecompile.backends.edgetpu.evidence import Evidence
from edgecompile.backends.edgetpu.fit.table import ENTRIES
from edgecompile.backends.edgetpu.versions import EVIDENCE as READABLE
from edgecompile.backends.edgetpu.versions import edgetpu_readable
from edgecompile.backends.rules import Rule, sentence
from edgecompile.cli.entry import run
from edgecompile.cli.options import EXIT_CODES
from edgecompile.cli.passes import toml_value, type_text
from edgecompile.config import Frozen
from edgecompile.passes import PASSES
from edgecompile.recipe import PassEntry, Recipe
from edgecompile.target import Target, load_target, target_files

VERBS = ("build", "verify", "inspect", "targets", "passes", "doctor", "samples", "cache")


def reference() -> str:
    """Return the whole page."""
    parts = [
        "# Reference",
        "Generated from the code by `pytest tests/test_docs.py --update-golden`.",
        "## Command line",
        *(part for verb in VERBS for part in (f"### edgecompile {verb}", f"```text\n{help_of(verb)}```")),
        "## Exit codes",
        table(("code", "meaning"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()]),
        "## Recipe files",
        *sections(Recipe, ""),
        "## Passes",
        *(part for name in PASSES for part in about_pass(name)),
        "## Target files",
        *sections(Target, ""),
        "### `[options]`, by backend",
        *(part for name in BACKENDS for part in about_backend(name)),
        "## Targets",
        table(("target", "what it is", "backend", "recipe", "schemes"), list(targets())),
        "## What the delegates take",
        "An op that a delegate does not take runs on LiteRT's built-in CPU kernels. The rules are those that the "
        "runtime's authors document; the targets name the sources.",
        *(part for title, module in DELEGATES for part in about_delegate(title, module)),
        "## What the Edge TPU takes",
        "\n".join(f"- {sentence(rule.broken_by)}. Otherwise: {rule.consequence}." for rule in edgetpu.MODEL_RULES),
        *about_edgetpu(),
        "## What edgetpu-fit rewrites",
        *about_rewrites(),
        "## What Ethos-U takes",
        "\n".join(f"- {sentence(rule.broken_by)}. Otherwise: {rule.consequence}." for rule in ethosu.MODEL_RULES),
        "What it asks of single ops differs by NPU and by version of Vela: `vela --supported-ops-report` lists it. The "
        "report of a build quotes the constraint that an op breaks.",
    ]
    return "\n\n".join(parts) + "\n"


DELEGATES = (("XNNPACK (`xnnpack`)", xnnpack), ("GPU delegate (`gpu`)", gpu), ("Core ML delegate (`coreml`)", coreml))


def help_of(verb: str) -> str:
    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(said):
            assert run([verb, "--help"]) == 0
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return said.getvalue().strip("\n") + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def sections(cls: type[Frozen], path: str, seen: dict[type[Frozen], str] | None = None) -> Iterator[str]:
    """Yield a heading and a table for cls, then for every table of keys below it, each class once."""
    seen = {} if seen is None else seen
    yield f"### {f'`[{path}]`' if path else 'Keys at the top'}"
    if cls in seen:
        yield f"The keys of `[{seen[cls]}]`."
        return
    seen[cls] = path
    below: list[tuple[str, type[Frozen]]] = []
    rows = []
    for name, field in cls.model_fields.items():
        if cls is Target and name == "name":
            continue  # the file's stem, not a key
        tables = [c for c in candidates(field.annotation) if c is not PassEntry]
        where = f"{path}.{name}".strip(".")
        named = type_text(field.annotation).startswith("table")
        below += [(f"{where}.NAME" if named else where, inner) for inner in tables]
        said = words(field) or (inspect.getdoc(tables[0]) or "" if tables else "")
        rows.append((f"`{name}`", kind(field), default(field), " ".join(said.split("\n\n")[0].split())))
    yield table(("key", "type", "default", "meaning"), rows)
    for where, inner in below:
        yield from sections(inner, where, seen)


def candidates(annotation: Any) -> list[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation]
    return [found for item in get_args(annotation) for found in candidates(item)]


def kind(field: FieldInfo) -> str:
    if candidates(field.annotation):
        many = type_text(field.annotation).startswith("list")
        return "tables" if many else "table"
    return type_text(field.annotation).removesuffix(" of Any")


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}) or isinstance(value, Frozen):
        return "–"
    return f"`{toml_value(value)}`"


def words(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def about_pass(name: str) -> Iterator[str]:
    cls = PASSES[name]
    yield f"### `{name}`"
    needs = f' Needs `pip install "edgecompile[{cls.needs}]"`.' if cls.needs else ""
    uses = f" Uses {' and '.join(sorted(cls.uses))} data." if cls.uses else ""
    yield f"{cls.summary} Takes {cls.takes.value}, gives {cls.gives.value}.{uses}{needs}"
    if cls.model_fields:
        rows = [(f"`{n}`", kind(f), default(f), words(f)) for n, f in cls.model_fields.items()]
        yield table(("field", "type", "default", "meaning"), rows)


def about_backend(name: str) -> Iterator[str]:
    backend = BACKENDS[name]
    yield f"`{name}`: {backend.summary}"
    rows = [(f"`{n}`", kind(f), default(f), words(f)) for n, f in backend.Options.model_fields.items()]
    yield table(("key", "type", "default", "meaning"), rows)


def targets() -> Iterator[tuple[str, ...]]:
    for name in sorted(target_files()):
        target = load_target(name)
        yield f"`{name}`", target.title, target.backend, f"`{target.recipe}`", ", ".join(target.schemes)


def about_delegate(title: str, module: ModuleType) -> Iterator[str]:
    yield f"### {title}"
    yield " ".join((*(f"{sentence(rule)}." for rule in module.ALWAYS), "Ops that are not listed here are not taken."))
    rows: dict[str, list[str]] = {}
    for op, rules in sorted(module.RULES.items()):
        rows.setdefault("; ".join(without_name(rule) for rule in rules) or "takes them", []).append(f"`{op}`")
    yield table(("ops", "the delegate"), [(", ".join(ops), said) for said, ops in rows.items()])


def about_edgetpu() -> Iterator[str]:
    yield f"{sentence(edgetpu_readable)} ({sources(READABLE)})."
    for limit in optable.ALWAYS:
        yield f"{sentence(limit.rule)} ({sources(limit.evidence)})."
    yield (
        "An op that is not listed is not on the Edge TPU. Beyond a limit it stays on the CPU. What is “in doubt” has a "
        "limit that is not published. `#75` is an issue of google-coral/edgetpu, a pair is a public model and what the "
        "compiler made of it."
    )
    rows: dict[tuple[str, ...], list[str]] = {}
    for op, row in sorted(optable.ROWS.items()):
        limits = [f"{sentence(x.rule)} ({sources(x.evidence)})" for x in (*row.limits, *row.before_13)]
        doubts = [f"{sentence(doubt.rule)} ({sources(doubt.evidence)})" for doubt in row.doubts]
        key = (
            {None: "up to 14, not known", 12: "12 or older"}.get(row.runtime, str(row.runtime)),
            "; ".join(limits) or "–",
            "; ".join(doubts) or "–",
            sources(row.evidence),
        )
        rows.setdefault(key, []).append(f"`{op}`")
    head = ("ops", "runtime, from", "limits", "in doubt", "says who")
    yield table(head, [(", ".join(ops), *key) for key, ops in rows.items()])
    asked = [
        *optable.ALWAYS,
        *optable.SPECIAL,
        *(x for row in optable.ROWS.values() for x in (row, *row.limits, *row.before_13, *row.doubts)),
    ]
    named = {e for entry in asked for e in entry.evidence if e.kind in {"document", "log"}} | {*READABLE[:1]}
    yield table(("source", "is"), sorted((e.short, e.where) for e in named))


def about_rewrites() -> Iterator[str]:
    yield (
        "The largest difference is that of an output code on any input that a rewrite may make; one that differs by "
        "more is not made."
    )
    head = ("ops", "against", "rewrite", "largest difference")
    rows = [
        (
            ", ".join(f"`{op}`" for op in sorted(entry.ops)) or "any",
            ", ".join(f"`{rule}`" for rule in sorted(entry.rules | entry.doubts) if rule) or "what is behind them",
            sentence(entry.rewrite.apply),
            str(entry.rewrite.codes),
        )
        for entry in ENTRIES
    ]
    yield table(head, rows)


def sources(evidence: Iterable[Evidence]) -> str:
    return ", ".join(item.short for item in evidence)


def without_name(rule: Rule) -> str:
    """Return the rule without the delegate's name, with which every one of them begins."""
    said = sentence(rule)
    for name in ("XNNPACK ", "The GPU delegate ", "The Core ML delegate "):
        said = said.removeprefix(name)
    return said
