"""Progress: what a log and a terminal show of a build."""

from __future__ import annotations

import io
import threading
import time

import pytest

from edgecompile.cli import steps as module
from edgecompile.cli.render import Screen
from edgecompile.cli.steps import Lines, Live, Steps, show_steps


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_quick_step_is_one_line() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(Screen(stream, {}), clock=clock)
    lines.start("convert", detail="tf_keras")
    lines.update("convert", done=1, total=2)
    clock.now = 1.26
    lines.finish("convert", note="12 layers")
    lines.start("quantize")
    lines.finish("quantize", cached=True)
    lines.stop()
    assert stream.getvalue() == ("convert                   1.3 s       12 layers\nquantize                  cached\n")


def test_a_long_step_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANNOUNCE_AFTER_S", 0.01)
    stream, clock = io.StringIO(), Clock()
    lines = Lines(Screen(stream, {}), clock=clock)
    lines.start("verify", detail="1,000 rows")
    wait_for(lambda: bool(stream.getvalue()))
    clock.now = 90.0
    lines.finish("verify")
    lines.stop()
    assert stream.getvalue() == (
        "verify                    …           1,000 rows\nverify                    90 s        1,000 rows\n"
    )


def test_a_step_of_minutes_says_how_far_it_is_once_a_minute() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(Screen(stream, {}), clock=clock)
    lines.start("qat", detail="model.h5")
    for second in range(10, 200):
        clock.now = float(second)
        lines.update("qat", done=second, total=210, note=f"epoch 1, loss {second}")
    lines.stop()
    assert stream.getvalue() == (
        "qat                       60/210      epoch 1, loss 60, about 2 min 30 s left\n"
        "qat                       120/210     epoch 1, loss 120, about 90 s left\n"
        "qat                       180/210     epoch 1, loss 180, about 30 s left\n"
    )


def test_a_step_cut_short_is_announced_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANNOUNCE_AFTER_S", 0.01)
    stream = io.StringIO()
    with show_steps(Screen(stream, {})) as progress:
        progress.start("verify")
    said = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == said
    assert not [t for t in threading.enumerate() if isinstance(t, threading.Timer)]


def test_live_keeps_what_ended_and_draws_what_runs() -> None:
    stream, clock = io.StringIO(), Clock()
    live = Live(Screen(stream, {}), clock=clock)
    live.start("convert")
    clock.now = 3.2
    live.finish("convert", note="12 layers")
    live.start("read", detail="val.npz")
    live.finish("read", cached=True)
    live.start("verify", detail="3,000 rows")
    live.update("verify", done=0, total=3000)
    live.update("verify", done=750, total=3000)
    clock.now = 13.2
    assert [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in live.running()] == [
        ["⠴", "verify", "███░░░░░░░░░ 750/3,000  10 s, about 30 s left", "3,000 rows"],
    ]
    live.stop()
    assert live.running() == []
    assert stream.getvalue() == (
        "✓ convert                 3.2 s       12 layers\n"
        "✓ read                    cached      val.npz\n"
        "✗ verify                  stopped after 10 s  3,000 rows\n"
    )


def test_an_estimate_counts_neither_loading_nor_work_of_another_kind() -> None:
    clock = Clock()
    steps = Steps(clock=clock)
    steps.start("channels")
    clock.now = 20.0  # loading
    steps.update("channels", done=1, total=4)
    clock.now = 24.0
    steps.update("channels", done=3, total=4)
    assert steps.steps[0].left(24.0) == pytest.approx(2.0)
    clock.now = 30.0  # tracing
    steps.update("channels", done=1, total=101)
    assert steps.steps[0].left(40.0) is None
    clock.now = 40.0
    steps.update("channels", done=21, total=101)
    assert steps.steps[0].left(40.0) == pytest.approx(40.0)


@pytest.mark.parametrize(("done", "total", "seconds"), [(0, 10, 5.0), (10, 10, 5.0), (5, 10, 0.5), (0, 0, 5.0)])
def test_no_estimate_without_ground_for_one(done: int, total: int, seconds: float) -> None:
    clock = Clock()
    steps = Steps(clock=clock)
    steps.start("verify")
    steps.update("verify", done=0, total=total)
    steps.update("verify", done=done, total=total)
    assert steps.steps[0].left(seconds) is None


def test_the_same_step_of_two_targets_is_two_steps() -> None:
    steps = Steps(clock=Clock())
    for _ in range(2):
        steps.start("compile")
        steps.finish("compile")
    steps.finish("compile")
    steps.update("unknown", done=1, total=2)
    assert [s.name for s in steps.steps] == ["compile", "compile"]


def test_calls_may_come_from_many_threads() -> None:
    stream = io.StringIO()
    lines = Lines(Screen(stream, {}))

    def work(name: str) -> None:
        lines.start(name)
        for done in range(50):
            lines.update(name, done=done, total=50)
        lines.finish(name)

    threads = [threading.Thread(target=work, args=(f"step {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.stop()
    assert sorted(line.split("  ")[0] for line in stream.getvalue().splitlines()) == [f"step {i}" for i in range(8)]


def wait_for(condition: object, *, seconds: float = 5.0) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.005)
