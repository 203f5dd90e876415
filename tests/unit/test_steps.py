"""Steps: what is said of a worker that broke down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecompile import tools
from edgecompile.artifact import Artifact, Kind
from edgecompile.cache import Cache
from edgecompile.errors import PassError, ToolError
from edgecompile.passes.convert import Convert
from edgecompile.progress import Silent
from edgecompile.recipe import Recipe
from edgecompile.steps import Steps


@pytest.mark.parametrize(("ended", "memory"), [("was ended by SIGKILL", True), ("exited 1", False)])
def test_a_worker_that_was_killed_may_have_wanted_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str, memory: bool
) -> None:
    marks = []

    def broken(*_: Any, mark: str, **__: Any) -> str:
        marks.append(mark)
        raise ToolError(f"`python` {ended}: last words")

    monkeypatch.setattr(tools, "run", broken)
    (tmp_path / "model.h5").write_bytes(b"model")
    cache = Cache(tmp_path / "cache")
    steps = Steps(cache, Recipe(), tmp_path / "log", Silent())
    with cache.session(), pytest.raises(PassError) as caught:
        steps.run(Convert(), Artifact.of(tmp_path / "model.h5", Kind.KERAS))
    (problem,) = caught.value.problems
    assert problem.what == f"`convert` broke down: `python` {ended}: last words"
    assert problem.where == str(tmp_path / "log")
    assert ("out of memory" in problem.hint) is memory
    assert marks == ["@edgecompile "]
