"""Dtypes: what inputs, outputs and ops of the result compute in, against what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, Op

INTEGER = {"int8", "int16", "uint8"}
"""Dtypes of quantized reals."""
FLOAT = {"float16", "float32", "float64"}


def check_dtypes(
    graph: Graph, target: Target, quantize: Mapping[str, Any] | None, *, given: bool = False
) -> tuple[Check, ...]:
    """Return the check of input and output dtypes; none where nothing was promised.

    Given: the source was quantized already, so that its own 8-bit dtype is as good, and on targets that take any also
    an end of 16 bits around 8-bit arithmetic.

    Tensors of other dtypes (int32 ids, bool masks) and bytes without a scale (pixels of a model that takes them as they
    are) are not quantized reals and keep what the source gave them.
    """
    wanted = _promised(target, quantize)
    if given and "int8" in wanted:
        wanted |= {"uint8"}
    if not wanted:
        return ()
    ends = [graph.tensors[i] for i in dict.fromkeys((*graph.inputs, *graph.outputs))]
    if given and "int8" in wanted and target.io == "any":
        wanted |= {t.dtype for t in ends} & INTEGER
    reals = [t for t in ends if t.dtype in FLOAT or (t.dtype in INTEGER and t.quantization is not None)]
    wrong = [t for t in reals if t.dtype not in wanted]
    names = ", ".join(f"`{t.name}` is {t.dtype}" for t in wrong)
    return (
        Check(
            name="io-dtypes",
            title=f"inputs and outputs that are not {' or '.join(sorted(wanted))}",
            actual=len(wrong),
            limit=0,
            relation="at most",
            unit="count",
            how="measured",
            detail=names or f"none of {len(ends)}",
            remedy="build from the float model, with a recipe that quantizes to these dtypes" if wrong else "",
        ),
    )


def _promised(target: Target, quantize: Mapping[str, Any] | None) -> set[str]:
    """Return the dtypes that inputs and outputs may have; empty: any."""
    if quantize is not None:
        if quantize.get("io") == "float32":
            return {"float32"}
        return {{"int8": "int8", "int16x8": "int16"}.get(str(quantize["scheme"]), "float32")}
    return {"int8": {"int8", "uint8"}, "float32": {"float32"}}.get(target.io, set())


def check_float_ops(graph: Graph, target: Target, quantize: Mapping[str, Any] | None) -> tuple[Check, ...]:
    """Return the check that no op computes in float; none where the target computes in float, too.

    QUANTIZE and DEQUANTIZE at float inputs and outputs are doors, not computation.
    """
    if any(scheme in target.schemes for scheme in ("float32", "float16", "dynamic")):
        return ()
    ends = {*graph.inputs, *graph.outputs}

    def is_float(index: int) -> bool:
        tensor = graph.tensors[index]
        return tensor.dtype in FLOAT and not tensor.constant

    def computes(op: Op) -> bool:
        floats = {i for i in (*op.inputs, *op.outputs) if i >= 0 and is_float(i)}
        return bool(floats - ends) or (bool(floats) and op.name not in ("QUANTIZE", "DEQUANTIZE"))

    left = [op for op in graph.ops if computes(op)]
    names = ", ".join(f"{op.name} (op {op.index})" for op in left[:5]) + (", …" if len(left) > 5 else "")
    remedy = "build from the float model with an int8 recipe"
    if quantize is not None:
        remedy = "these have no integer form: replace them in the model, or run them in the application"
    return (
        Check(
            name="float-ops",
            title="ops that compute in float",
            actual=len(left),
            limit=0,
            relation="at most",
            unit="count",
            how="measured",
            detail=f"{target.title} computes in integers only: {names}" if left else f"none of {len(graph.ops)}",
            remedy=remedy if left else "",
        ),
    )
