"""Quantize: post-training quantization on the flatbuffer."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import PassError
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.target import Scheme
from edgecompile.tflite.runner import activations
from edgecompile.tflite.values import Array


class Quantize(Pass):
    """Quantize weights and activations to int8 with exact min-max ranges."""

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = "Quantizes weights and activations after training."
    takes: ClassVar[Kind] = Kind.TFLITE
    gives: ClassVar[Kind] = Kind.TFLITE
    uses: ClassVar[frozenset[Literal["calibration", "train"]]] = frozenset({"calibration"})
    scheme: Scheme = "int8"
    """How weights and activations are stored."""
    io: Literal["same", "float32"] = "same"
    """dtype of inputs and outputs: the scheme's own, or float32."""

    def run(self, model: Artifact, ctx: Context) -> Outcome:
        """Write the quantized model below ctx.out.

        Raises:
            PassError: there are no calibration rows.
        """
        from litert_quantizer import quantizer, recipe

        if ctx.calibration is None:
            raise PassError("int8 needs calibration rows", where="quantize", hint="give --data or --calibration")
        lows: dict[str, float] = {}
        highs: dict[str, float] = {}

        def consume(_index: int, name: str, values: Array) -> None:
            lows[name] = min(lows.get(name, 0.0), float(values.min()))
            highs[name] = max(highs.get(name, 0.0), float(values.max()))

        activations(model.path, ctx.calibration, consume=consume)
        ranges = {n: {"min": np.array([lows[n]], np.float32), "max": np.array([highs[n]], np.float32)} for n in lows}
        engine = quantizer.Quantizer(model.path.read_bytes(), recipe.static_wi8_ai8())
        written = ctx.out / "model.tflite"
        written.write_bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model)
        return Outcome(artifact=Artifact.of(written, Kind.TFLITE))
