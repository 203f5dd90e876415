"""Fixtures of the tests of passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_models import residual, stored


@pytest.fixture(scope="session")
def untrained(lib: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network with the weights that it starts from, as passes write it."""
    return stored(residual(lib.tf_keras), tmp_path_factory.mktemp("untrained") / "m.h5")
