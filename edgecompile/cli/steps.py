"""Progress of a build on stderr: a live list on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgecompile.cli.render import Cell, Screen
from edgecompile.progress import Progress
from edgecompile.units import show_seconds

ANNOUNCE_AFTER_S = 2.0
"""A plain log gets a line at the start of a step only when it runs for this long; shorter ones get one line in all."""
SAY_AGAIN_AFTER_S = 60.0
"""A plain log gets a line again and again while a step runs: build servers end jobs that are silent for minutes."""
_ESTIMATE_AFTER_S = 1.0
"""Units that were counted for a shorter time say little about the rest."""
_SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = 12

Clock = Callable[[], float]


@dataclass
class Step:
    """One step, from its start to its end."""

    name: str
    detail: str
    began: float
    ended: float | None = None
    cached: bool = False
    cut: bool = False
    note: str = ""
    done: int = 0
    total: int = 0
    counted: float = 0.0
    """When the first units of this total were done."""
    first: int = 0
    """How many they were."""

    def count(self, now: float, *, done: int, total: int) -> None:
        """Note how far the step is; another total is another kind of work."""
        if total != self.total or done < self.done:
            self.counted, self.first = now, done
        self.done, self.total = done, total

    def seconds(self, now: float) -> float:
        """Return how long the step has run, or ran."""
        return (now if self.ended is None else self.ended) - self.began

    def left(self, now: float) -> float | None:
        """Return an estimate of the seconds left; None when there is no ground for one.

        The first units are no ground: with them came loading, which for training takes longer than a hundred more.
        """
        gone, units = now - self.counted, self.done - self.first
        if units <= 0 or self.done >= self.total or gone < _ESTIMATE_AFTER_S:
            return None
        return gone / units * (self.total - self.done)


class Steps:
    """Keeps the list of steps. A step that starts again under the same name (another target) is a new one.

    Implements edgecompile.progress.Progress; calls come from any thread.
    """

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self.steps: list[Step] = []
        self.clock = clock
        self._lock = threading.RLock()

    def start(self, step: str, *, detail: str = "") -> None:
        """Add a running step."""
        with self._lock:
            self.steps.append(Step(step, detail, self.clock()))
            self.on_start(self.steps[-1])

    def update(self, step: str, *, done: int, total: int, note: str = "") -> None:
        """Note how far the running step of this name is."""
        with self._lock:
            if (running := self._running(step)) is not None:
                running.count(self.clock(), done=done, total=total)
                running.note = note or running.note
                self.on_count(running)

    def finish(self, step: str, *, cached: bool = False, note: str = "") -> None:
        """Close the running step of this name."""
        with self._lock:
            if (running := self._running(step)) is not None:
                running.ended, running.cached, running.note = self.clock(), cached, note
                self.on_end(running)

    def stop(self) -> None:
        """Close the steps that still run as cut short; the work has ended, with an error or without."""
        with self._lock:
            for step in self.steps:
                if step.ended is None:
                    step.ended, step.cut = self.clock(), True
                    self.on_end(step)

    def on_start(self, step: Step) -> None:
        """Be told of a step that began."""

    def on_count(self, step: Step) -> None:
        """Be told of a step that is further than before."""

    def on_end(self, step: Step) -> None:
        """Be told of a step that ended, or was cut short."""

    def _running(self, name: str) -> Step | None:
        return next((s for s in reversed(self.steps) if s.name == name and s.ended is None), None)


class Lines(Steps):
    """Steps as plain lines: one when a step ended, and some before it when the step takes long."""

    def __init__(self, screen: Screen, *, clock: Clock = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._screen = screen
        self._said = 0.0
        self._timers: dict[int, threading.Timer] = {}

    def on_start(self, step: Step) -> None:
        """Announce the step if it is still running after a while."""
        timer = threading.Timer(ANNOUNCE_AFTER_S, self._announce, (step,))
        timer.daemon = True
        self._timers[id(step)] = timer
        timer.start()

    def on_count(self, step: Step) -> None:
        """Write how far the step is where the log has been silent for long."""
        now = self.clock()
        if now - max(self._said, step.began) >= SAY_AGAIN_AFTER_S:
            left = step.left(now)
            rest = "" if left is None else f", about {show_seconds(left)} left"
            self._write(step, f"{step.done:,}/{step.total:,}", f"{step.note or step.detail}{rest}")

    def on_end(self, step: Step) -> None:
        """Write the step's line; one that was cut short has none, as an error says more."""
        self._timers.pop(id(step)).cancel()
        if not step.cut:
            self._write(step, _took(step, self.clock()), step.note or step.detail)

    def _announce(self, step: Step) -> None:
        with self._lock:
            if step.ended is None:
                self._write(step, "…", step.detail)

    def _write(self, step: Step, took: str, note: str) -> None:
        self._said = self.clock()
        self._screen.line(f"{step.name:<24}  {took:<10}  {note}")


class Live(Steps):
    """Steps on a terminal: those that ended as lines that stay, those that run in a part that is drawn again."""

    def __init__(self, screen: Screen, *, clock: Clock = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._screen = screen

    def on_end(self, step: Step) -> None:
        """Write the step's line above the part that is drawn again."""
        mark: Cell = ("✗", "bad") if step.cut else ("✓", "good")
        took = f"{_took(step, self.clock()):<10}"
        self._screen.line(mark, f" {step.name:<22}  ", (f"{took}  {step.note or step.detail}", "dim"))

    def running(self) -> list[list[Cell]]:
        """Return a row for each step that runs: mark, name, bar and time, note."""
        now = self.clock()
        with self._lock:
            return [_row(step, now) for step in self.steps if step.ended is None]


def _took(step: Step, now: float) -> str:
    shown = show_seconds(step.seconds(now))
    return f"stopped after {shown}" if step.cut else "cached" if step.cached else shown


def _row(step: Step, now: float) -> list[Cell]:
    took = show_seconds(step.seconds(now))
    if step.total:
        full = _BAR * min(step.done, step.total) // step.total
        took = f"{'█' * full}{'░' * (_BAR - full)} {step.done:,}/{step.total:,}  {took}"
    if (left := step.left(now)) is not None:
        took += f", about {show_seconds(left)} left"
    return [(_SPIN[int(now * 8) % len(_SPIN)], "key"), (step.name, "head"), took, (step.note or step.detail, "dim")]


@contextmanager
def show_steps(screen: Screen) -> Iterator[Progress]:
    """Yield a Progress that shows steps on screen: live where the screen can, else as lines."""
    if not screen.fancy:
        lines = Lines(screen)
        try:
            yield lines
        finally:
            lines.stop()
        return
    live = Live(screen)
    with screen.live(live.running):
        try:
            yield live
        finally:
            live.stop()
    screen.line()
