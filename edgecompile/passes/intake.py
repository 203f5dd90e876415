"""Intake: a `.tflite` that a user brings, made ready for every later step."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.artifact import Artifact, Kind
from edgecompile.passes.base import Context, Outcome, Pass


class Intake(Pass):
    """The door for models that are `.tflite` already; a build puts it first by itself.

    The file is run once in a process of its own, since a damaged one can take its process down. Then dimensions that
    the model leaves open are fixed, and names are given to inputs and outputs where the file has no signature.
    """

    name: ClassVar[str] = "intake"
    summary: ClassVar[str] = "make a .tflite that was brought along ready: proved to run, shapes fixed, inputs named"
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write the ready model below ctx.out.

        Raises:
            ModelError: the file is damaged, runs on no kernels, or leaves dimensions open that no `--shape` gives.
        """
        raise NotImplementedError
