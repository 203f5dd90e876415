"""The report's section on the memory of a microcontroller."""

from __future__ import annotations

from typing import Any

import pytest

from edgecompile.bundle.page_memory import memory_view


def section(**plan: Any) -> dict[str, Any]:
    buffers = [
        {"tensors": ["x"], "bytes": 100, "offset": 0, "first": 0, "last": 1},
        {"tensors": ["y", "z"], "bytes": 100, "offset": 100, "first": 1, "last": 3},
        {"tensors": ["scratch"], "bytes": 50, "offset": 0, "first": 3, "last": 3},
        {"tensors": ["unused"], "bytes": 16, "offset": 0, "first": -1, "last": -1},
    ]
    return {
        "arena_bytes": 1216,
        "stock_arena_bytes": 1216,
        "host_arena_bytes": 1500,
        "kernels": "cmsis-dsp",
        "structures": {"nodes": 900, "core": 116, "nothing": 0},
        "plan": {
            "bytes": 200,
            "bound_bytes": 200,
            "gap_bytes": 0,
            "written": True,
            "reordered": False,
            "buffers": buffers,
            **plan,
        },
    }


def test_buffers_are_places_in_time_and_memory() -> None:
    view = memory_view(section())
    first, second, scratch = view.buffers
    assert (first.left, first.width, first.top, first.height) == ("0%", "50%", "50%", "50%")
    assert (second.left, second.width, second.top, second.height) == ("25%", "75%", "0%", "50%")
    assert second.title == "y, z: 100 bytes at 100, steps 1 to 3"
    assert (scratch.scratch, scratch.left, scratch.height) == (True, "75%", "25%")
    assert [name for name, _ in view.rows] == ["nodes", "activations and scratch (the plan)", "core", "arena"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "a plan written into the model"),
        ({"written": False}, "TFLite Micro's own plan, which is as small"),
        ({"bytes": 232, "gap_bytes": 32}, "32 B above"),
        ({"reordered": True}, "another order"),
        ({"bound_bytes": None, "buffers": []}, "plans its activations alone"),
    ],
)
def test_sentences_say_whose_plan_it_is_and_how_good(plan: dict[str, Any], said: str) -> None:
    view = memory_view(section(**plan))
    assert said in " ".join(view.sentences)
    assert bool(view.buffers) == bool(section(**plan)["plan"]["buffers"])


def test_what_stock_would_take_is_told_where_it_is_more() -> None:
    assert "would take 2,000 B" in " ".join(memory_view({**section(), "stock_arena_bytes": 2000}).sentences)
