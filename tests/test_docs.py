"""The documentation holds: generated pages are current, links resolve, examples can be read."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from edgecompile.config import parse
from edgecompile.recipe import Recipe
from edgecompile.target import Target

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    lines = [(page.name, line) for page in PAGES for block in blocks(page, "console") for line in block.splitlines()]
    return [(page, line[2:]) for page, line in lines if line.startswith("$ ")]


def test_reference_is_current(update_golden: bool) -> None:
    from reference_text import reference

    page = ROOT / "docs" / "reference.md"
    if update_golden:
        page.write_text(reference(), "utf-8")
    assert page.read_text("utf-8") == reference(), "run `pytest tests/test_docs.py --update-golden`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        if file.startswith("http"):
            continue
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_can_be_read(page: str, line: str) -> None:
    from edgecompile.cli.entry import parse as parse_argv

    words = [w for w in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", w)]
    if words[0] == "edgecompile":
        assert callable(parse_argv(words[1:]))
    else:
        assert words[0] in {"make", "pip", "python"}, line


def examples() -> list[tuple[str, str]]:
    return [(page.name, block) for page in PAGES for block in blocks(page, "toml")]


@pytest.mark.parametrize(("page", "text"), examples())
def test_toml_examples_fit_their_schema(page: str, text: str) -> None:
    data = tomllib.loads(text)
    if "backend" in data:
        parse(Target, {"name": "example", **data}, where=page)
    else:
        parse(Recipe, data, where=page)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_name_no_place_of_this_machine(page: Path) -> None:
    assert not re.search(r"/(home|root|tmp|work)/", page.read_text("utf-8"))


def rows_of(head: str) -> list[list[str]]:
    """Return the cells of the README's table whose first line is head."""
    text = (ROOT / "README.md").read_text("utf-8")
    (body,) = re.findall(rf"^{re.escape(head)}\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


def test_readme_lists_the_exit_codes() -> None:
    from edgecompile.cli.options import EXIT_CODES

    listed = [[cell.replace("`", "") for cell in row] for row in rows_of("| code | meaning |")]
    assert listed == [[str(code), meaning] for code, meaning in EXIT_CODES.items()]


def test_readme_lists_the_targets() -> None:
    from edgecompile.target import load_target, target_files

    listed = {
        name.strip("` "): recipe.strip("`")
        for names, *_, recipe in rows_of("| target | device | runs on | default recipe |")
        for name in names.split(",")
    }
    assert listed == {name: load_target(name).recipe for name in target_files()}


def test_readme_names_flags_that_exist(capfd: pytest.CaptureFixture[str]) -> None:
    from edgecompile.cli.entry import run

    assert run(["build", "--help"]) == 0
    shown = capfd.readouterr().out
    flags = [flag for row in rows_of("| flag | meaning |") for flag in re.findall(r"`(--?[\w-]+)`", row[0])]
    assert flags
    assert [flag for flag in flags if not re.search(rf"(?<![\w-]){flag}\b", shown)] == []


def test_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in text] == []
