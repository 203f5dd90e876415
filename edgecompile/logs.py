"""Log files: what libraries print during a run, and tracebacks of bugs. They lie beside the cache."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from edgecompile.cache import default_root

KEEP = 20
"""How many log files stay; older ones are removed when a new one is made."""


def new_log(kind: str) -> Path:
    """Return a new file for a log of kind (`build`, `crash`); in the temporary folder where the cache is read-only."""
    folder = default_root() / "logs"
    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / name
        file.touch()
    except OSError:
        return Path(tempfile.gettempdir()) / name
    _remove_old(folder)
    return file


def _remove_old(folder: Path) -> None:
    """Keep the newest logs. Another process may remove the same ones at the same time."""
    for file in sorted(folder.glob("*.log"), key=lambda f: f.name.partition("-")[2])[:-KEEP]:
        file.unlink(missing_ok=True)
