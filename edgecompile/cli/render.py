"""Lines, tables and live step lists on one stream. The only module that imports rich."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgecompile.cli.streams import is_terminal, width_of

Cell = str | tuple[str, str]
"""A piece of text, or a piece and what it means: a key of STYLES."""

STYLES = {
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "dim": "dim",
    "head": "bold",
    "key": "cyan",
    "": "",
}
"""What a piece of text means → how it looks. On streams without colour all look the same."""

_PLAIN_GLYPHS = {"✓": "ok", "✗": "NO", "→": "->", "…": "...", "×": "x", "≤": "<=", "≥": ">=", "•": "*", "·": "-"}


class Screen:
    """Writes to one stream what that stream can show.

    On a terminal: colours (unless NO_COLOR is set) and text wrapped at its width. Elsewhere: no control codes, and
    lines are never wrapped, so that a path or a command can be copied out of a log.
    """

    def __init__(self, stream: TextIO, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._stream = stream
        self.fancy = is_terminal(stream, env)
        self._glyphs = _can_encode(stream, "".join(_PLAIN_GLYPHS))
        self._console = Console(
            file=stream,
            width=width_of(stream, env),
            force_terminal=self.fancy,
            color_system="auto" if self.fancy else None,
            no_color="NO_COLOR" in env,
            legacy_windows=False,
            safe_box=not self._glyphs,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def line(self, *parts: Cell, indent: int = 0) -> None:
        """Write one line of parts; a part is text or (text, key of STYLES)."""
        text = self.text(*parts)
        if self.fancy and parts:
            self._console.print(Padding(text, (0, 0, 0, indent), expand=False))
        elif self.fancy:
            self._console.line()
        else:
            self._stream.write(f"{' ' * indent}{text.plain}".rstrip() + "\n")
            self._stream.flush()

    def hanging(self, start: Cell, rest: Cell) -> None:
        """Write one line whose rest, where it wraps, stays right of its start."""
        if not self.fancy:
            self.line(start, rest)
            return
        grid = Table.grid()
        grid.add_column(no_wrap=True)
        grid.add_row(self.text(start), self.text(rest))
        self._console.print(grid)

    def table(
        self,
        head: Sequence[Cell],
        rows: Sequence[Sequence[Cell]],
        *,
        right: Sequence[int] = (),
        indent: int = 0,
    ) -> None:
        """Write rows under head (none: no header line), columns in `right` flush right; long cells wrap."""
        table = Table(box=None, show_header=bool(head), pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for i in range(len(rows[0]) if rows else len(head)):
            title = self.text(head[i]) if head else ""
            table.add_column(title, justify="right" if i in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(self.text(cell) for cell in row))
        self._print(Padding(table, (0, 0, 0, indent), expand=False))

    @contextmanager
    def live(self, draw: Callable[[], Sequence[Sequence[Cell]]]) -> Iterator[None]:
        """Show the rows that draw returns, and keep them fresh; lines that are written meanwhile stay above them."""

        def picture() -> RenderableType:
            grid = Table.grid(padding=(0, 2, 0, 0))
            for row in draw():
                grid.add_row(*(self.text(cell) for cell in row))
            return grid

        with Live(
            get_renderable=picture,
            console=self._console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def text(self, *parts: Cell) -> Text:
        """Return parts as one styled text, with glyphs that the stream's encoding has."""
        text = Text()
        for part in parts:
            plain, style = (part, "") if isinstance(part, str) else part
            text.append(self._fit(plain), STYLES[style])
        return text

    def _fit(self, plain: str) -> str:
        """Return plain without what would move the cursor, and with ASCII in place of glyphs that cannot be shown."""
        clean = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in plain)
        if not self._glyphs:
            for glyph, ascii_form in _PLAIN_GLYPHS.items():
                clean = clean.replace(glyph, ascii_form)
        return clean

    def _print(self, renderable: RenderableType) -> None:
        """Print without the blanks that rich fills lines with where nobody needs them."""
        if self.fancy:
            self._console.print(renderable)
            return
        with self._console.capture() as captured:
            self._console.print(renderable)
        self._stream.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        self._stream.flush()


def _can_encode(stream: TextIO, glyphs: str) -> bool:
    try:
        glyphs.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
