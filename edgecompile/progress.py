"""How long work tells that it goes on. The command line draws it; everything below only calls it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for steps. Calls come from any thread."""

    def start(self, step: str, *, detail: str = "") -> None:
        """A step named step begins."""

    def update(self, step: str, *, done: int, total: int, note: str = "") -> None:
        """done of total units of the step are finished."""

    def finish(self, step: str, *, cached: bool = False, note: str = "") -> None:
        """The step ended; cached says its result came from the cache."""


class Silent:
    """A listener that does nothing: the default of the Python interface."""

    def start(self, step: str, *, detail: str = "") -> None:
        """Ignore."""

    def update(self, step: str, *, done: int, total: int, note: str = "") -> None:
        """Ignore."""

    def finish(self, step: str, *, cached: bool = False, note: str = "") -> None:
        """Ignore."""
