"""Passes: the steps a recipe is made of. To add one: a file, its line here, a test file."""

from __future__ import annotations

from collections.abc import Mapping

from edgecompile.passes.base import Pass
from edgecompile.passes.channels import Channels
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.convert import Convert
from edgecompile.passes.distil import Distil
from edgecompile.passes.edgetpu_fit import EdgetpuFit
from edgecompile.passes.intake import Intake
from edgecompile.passes.pack import Pack
from edgecompile.passes.prune import Prune
from edgecompile.passes.qat import Qat
from edgecompile.passes.quantize import Quantize

_IN_ORDER: tuple[type[Pass], ...] = (
    Distil,
    Channels,
    Prune,
    Cluster,
    Qat,
    Convert,
    Intake,
    Quantize,
    EdgetpuFit,
    Pack,
)

PASSES: Mapping[str, type[Pass]] = {p.name: p for p in _IN_ORDER}
"""Name → pass, as recipes name it."""

assert len(PASSES) == len(_IN_ORDER), "two passes share a name"
