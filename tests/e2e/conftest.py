"""Run edgecompile as a user does: a process of its own, a cache of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_models"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def command(*arguments: object) -> list[str]:
    """Return the argument list that runs edgecompile with arguments."""
    return [sys.executable, "-m", "edgecompile", *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of a run whose cache lies at cache."""
    return {**os.environ, "EDGECOMPILE_CACHE": str(cache), "PYTHONPATH": str(ROOT), "CI": "true", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that tests of one session share, where a cold one is not the point."""
    return tmp_path_factory.mktemp("warm-cache")


@pytest.fixture
def cli(warm_cache: Path, tmp_path: Path) -> Cli:
    """A function that runs edgecompile in tmp_path and returns what came out."""

    def run(*arguments: object, cache: Path = warm_cache, cwd: Path = tmp_path, timeout_s: float = 300) -> object:
        return subprocess.run(
            command(*arguments),
            cwd=cwd,
            env=environment(cache),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run  # type: ignore[return-value]
