"""What a stream gets that is a terminal, is none, or cannot show everything."""

from __future__ import annotations

import contextlib
import io
import os
import pty

import pytest

from edgecompile.cli.render import Screen
from edgecompile.cli.steps import show_steps
from edgecompile.cli.streams import is_terminal, width_of


def drawn(env: dict[str, str], *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    screen = Screen(stream, env)
    screen.line(("✗", "bad"), " size ≤ 1", indent=2)
    screen.table(("name", "bytes"), [(("coral", "key"), "1,024"), ("ios", ("7", "bad"))], right=(1,), indent=2)
    screen.line("a path that must stay whole: " + "x/" * 60)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_a_pipe_gets_no_control_codes_and_whole_lines() -> None:
    assert drawn({"FORCE_COLOR": "1"}) == (
        f"  ✗ size ≤ 1\n  name   bytes\n  coral  1,024\n  ios        7\na path that must stay whole: {'x/' * 60}\n"
    )


def test_an_encoding_without_the_glyphs_gets_ascii() -> None:
    assert drawn({}, encoding="latin-1").startswith("  NO size <= 1\n  name   bytes\n")


def test_control_characters_do_not_reach_the_terminal() -> None:
    stream = io.StringIO()
    Screen(stream, {}).line("layer \x1b[31mred\x07")
    assert stream.getvalue() == "layer \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}\n"


def test_brackets_are_text() -> None:
    stream = io.StringIO()
    screen = Screen(stream, {})
    screen.line("[bold]not markup[/bold] :smile:")
    screen.table((), [("[1, 2]", "[red]x")])
    assert stream.getvalue() == "[bold]not markup[/bold] :smile:\n[1, 2]  [red]x\n"


def test_long_cells_wrap_inside_their_column() -> None:
    stream = io.StringIO()
    Screen(stream, {"COLUMNS": "30"}).table(("a", "what"), [("x", "one two three four five six seven")])
    assert stream.getvalue() == "a  what\nx  one two three four five six\n   seven\n"


def on_terminal(env: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        with show_steps(Screen(stream, env)) as progress:
            progress.start("convert")
            progress.finish("convert", note="12 layers")
        Screen(stream, env).line(("✗", "bad"), " missed")
    said = b""
    with contextlib.suppress(OSError):  # Linux says so that the other side is closed
        while part := os.read(ours, 65536):
            said += part
    os.close(ours)
    return said.decode()


def test_a_terminal_gets_colour_and_a_live_list() -> None:
    said = on_terminal({"TERM": "xterm-256color"})
    assert "\x1b[1;31m✗\x1b[0m missed" in said
    assert "\x1b[?25l" in said, "the cursor is hidden while the list is live"
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l"), "and shown again"
    assert "12 layers" in said


def test_no_color_keeps_the_list_and_drops_colours() -> None:
    said = on_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert "31m" not in said
    assert "\x1b[?25l" in said


@pytest.mark.parametrize("env", [{"TERM": "xterm", "CI": "true"}, {"TERM": "dumb"}, {}])
def test_ci_and_dumb_terminals_get_plain_lines(env: dict[str, str]) -> None:
    said = on_terminal(env)
    assert "\x1b" not in said
    assert said.splitlines() == ["convert                   0.0 s       12 layers", "✗ missed"]


def test_what_counts_as_a_terminal() -> None:
    assert not is_terminal(io.StringIO(), {"TERM": "xterm"})


def test_width() -> None:
    assert width_of(io.StringIO(), {"COLUMNS": "77"}) == 77
    assert width_of(io.StringIO(), {"COLUMNS": "wide"}) == 100
    with open(os.devnull, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a stream with a descriptor is wanted
        assert width_of(stream, {}) == 100
