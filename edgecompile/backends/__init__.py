"""Backends: one family of targets each. To add one: a file, its line here, a test file."""

from __future__ import annotations

from collections.abc import Mapping

from edgecompile.backends.base import Backend
from edgecompile.backends.edgetpu import Edgetpu
from edgecompile.backends.ethosu import Ethosu
from edgecompile.backends.litert import Litert
from edgecompile.backends.micro import Micro

_ALL: tuple[Backend, ...] = (Edgetpu(), Ethosu(), Litert(), Micro())

BACKENDS: Mapping[str, Backend] = {backend.name: backend for backend in _ALL}
"""Name → backend, as targets name it."""

assert len(BACKENDS) == len(_ALL), "two backends share a name"
