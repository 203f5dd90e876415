"""Shared options and fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keras_files import libraries

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the texts below tests/golden and docs/report.schema.json instead of comparing with them",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden texts are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, str], None]:
    """A function that compares a text with the file of that name below tests/golden, or rewrites the file."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if update_golden:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        assert file.is_file(), f"no golden file {name}: run pytest with --update-golden and read what it writes"
        assert text == file.read_text("utf-8"), f"differs from golden {name}; --update-golden rewrites it"

    return check


@pytest.fixture(scope="session")
def edgecompile_data() -> Path:
    """The folder of real models and labelled data; the test is skipped where there is none."""
    folder = os.environ.get("EDGECOMPILE_DATA")
    if not folder:
        pytest.skip("EDGECOMPILE_DATA is not set: no folder of real models and data")
    if not Path(folder).is_dir():
        pytest.fail(f"EDGECOMPILE_DATA={folder} is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def lib() -> Any:
    """TensorFlow and both Kerases, as `keras_files.libraries` gives them; skips where they are not installed."""
    return libraries()
