"""`[options]` of a microcontroller's target."""

from __future__ import annotations

from edgecompile.config import Frozen, parse
from edgecompile.target import Target
from edgecompile.tflite.arena import Kernels


class MicroOptions(Frozen):
    """Settings of a microcontroller."""

    kernels: Kernels = "reference"
    """The kernels of the device's build, which decide how much scratch memory they need."""
    core: str = ""
    """The core as TFLite Micro's makefile names it (TARGET_ARCH), for what the bundle says of building firmware; empty:
    none of Arm's, or not known."""
    pack: bool = True
    """Store the model without what the device never reads, and equal parts once."""
    plan: bool = True
    """Write a plan of the activations into the model where it beats TFLite Micro's own."""
    reorder: bool = True
    """Let the plan change the order of ops."""
    look_up_tables: bool = False
    """Store weights with few values per channel (the `cluster` pass makes such) as tables, where that saves flash. The
    device unpacks them into the arena at every run: less flash, more memory and time."""
    in_place: bool = True
    """Let the plan put elementwise results over inputs that die; reference and CMSIS-NN kernels allow it."""


def micro_options(target: Target) -> MicroOptions:
    """Return the options of target.

    Raises:
        ConfigError: with every problem at once.
    """
    return parse(MicroOptions, target.options, where=f"target {target.name}, [options]")
