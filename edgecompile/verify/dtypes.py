"""Dtypes: what inputs, outputs and ops of the result compute in, against what was promised."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgecompile.backends.macs import macs
from edgecompile.report import Check
from edgecompile.target import Target
from edgecompile.tflite.graph import Graph, Op
from edgecompile.tflite.numerics import BORDERS

INTEGER = {"int8", "int16", "uint8"}
"""Dtypes of quantized reals."""
FLOAT = {"float16", "float32", "float64"}

_WORK = frozenset(
    {"BATCH_MATMUL", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CALL_ONCE", "CONV_3D"}
    | {"CONV_3D_TRANSPOSE", "IF", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_RNN", "WHILE"}
)
"""Ops that are, or hold, layers with weights, and whose multiply-accumulates `macs` does not count."""


def check_dtypes(
    graph: Graph, target: Target, quantize: Mapping[str, Any] | None, *, given: bool = False
) -> tuple[Check, ...]:
    """Return the check of input and output dtypes; none where nothing was promised.

    Given: the source was quantized already, so that its own 8-bit dtype is as good, and on targets that take any also
    an end of 16 bits around 8-bit arithmetic, and beside float ends that were asked for an integer one.

    Tensors of other dtypes (int32 ids, bool masks) and bytes without a scale (pixels of a model that takes them as they
    are) are not quantized reals and keep what the source gave them. On targets that take any, so do float ends of ops
    that the CPU runs in float by their nature, such as a detection model's post-processing.
    """
    wanted = _promised(target, quantize)
    if given and "int8" in wanted:
        wanted |= {"uint8"}
    if not wanted:
        return ()
    ends = [graph.tensors[i] for i in dict.fromkeys((*graph.inputs, *graph.outputs))]
    if given and target.io == "any" and ("int8" in wanted or any(t.dtype in FLOAT for t in ends)):
        wanted |= {t.dtype for t in ends} & INTEGER
    natural = _ends_of(graph, _aside(graph, given=given)) if target.io == "any" else frozenset()
    reals = [t for t in ends if t.dtype in FLOAT or (t.dtype in INTEGER and t.quantization is not None)]
    wrong = [t for t in reals if t.dtype not in wanted and not (t.dtype in FLOAT and t.index in natural)]
    names = ", ".join(f"`{t.name}` is {t.dtype}" for t in wrong)
    floats = ", ".join(f"`{t.name}`" for t in reals if t.dtype not in wanted and t not in wrong)
    own = f"; float by the op behind or before them: {floats}" if floats else ""
    return (
        Check(
            name="io-dtypes",
            title=f"inputs and outputs that are not {' or '.join(sorted(wanted))}",
            actual=len(wrong),
            limit=0,
            relation="at most",
            unit="count",
            how="measured",
            detail=(names or f"none of {len(ends)}") + own,
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


def check_float_ops(
    graph: Graph, target: Target, quantize: Mapping[str, Any] | None, *, given: bool = False
) -> tuple[Check, ...]:
    """Return the check that no op computes in float; none where the target computes in float, too.

    QUANTIZE and DEQUANTIZE at float inputs and outputs are doors, not computation. Ops that are float by nature and
    that the CPU beside the accelerator runs are told and not counted: custom ops, such as a detection model's
    post-processing, and in a model that was given quantized (given) all that hold no layer with weights.
    """
    if any(scheme in target.schemes for scheme in ("float32", "float16", "dynamic")):
        return ()
    floats = _computing_in_float(graph)
    aside = _aside(graph, given=given)
    left = [op for op in floats if op.index not in aside]
    own = [op for op in floats if op.index in aside]
    beside = f"; on the CPU, in float as the model has them: {_named(own)}" if own else ""
    remedy = "build from the float model with an int8 recipe"
    if quantize is not None:
        remedy = "these have no integer form: replace them in the model, or run them in the application"
        if all(op.name == "QUANTIZE" for op in left):
            remedy = "build with `--float-io`, which keeps what float ops give as it is"
    counted = f"{target.title} computes in integers only: {_named(left)}" if left else f"none of {len(graph.ops)}"
    return (
        Check(
            name="float-ops",
            title="ops that compute in float" + (" where integers are due" if own else ""),
            actual=len(left),
            limit=0,
            relation="at most",
            unit="count",
            how="measured",
            detail=counted + beside,
            remedy=remedy if left else "",
        ),
    )


def _named(ops: Collection[Op]) -> str:
    shown = [f"{op.name} (op {op.index})" for op in ops]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")


def _is_float(graph: Graph, index: int) -> bool:
    tensor = graph.tensors[index]
    return tensor.dtype in FLOAT and not tensor.constant


def _computing_in_float(graph: Graph) -> list[Op]:
    """Return the ops that read or write floats, but for borders at the model's ends."""
    ends = {*graph.inputs, *graph.outputs}

    def computes(op: Op) -> bool:
        floats = {i for i in (*op.inputs, *op.outputs) if i >= 0 and _is_float(graph, i)}
        return bool(floats - ends) or (bool(floats) and op.name not in BORDERS)

    return [op for op in graph.ops if computes(op)]


def _aside(graph: Graph, *, given: bool) -> frozenset[int]:
    """Return the indices of ops that the CPU runs in float by their nature, and of the borders that serve only them.

    Where the quantizer made the borders, one that quantizes what such an op gives is none of them: class numbers and
    boxes lose by it.
    """
    nature = {
        op.index
        for op in graph.ops
        if op.name not in BORDERS and (op.custom or (given and not macs(graph, op) and op.name not in _WORK))
    }

    def serves(op: Op) -> bool:
        """Return whether the float side of a border meets nothing but these ops and the model's ends."""
        if op.name == "QUANTIZE" and not given:
            return False
        sides = [i for i in (*op.inputs, *op.outputs) if i >= 0 and _is_float(graph, i)]
        around = {o.index for i in sides for o in graph.consumers.get(i, ()) if o.index != op.index}
        around |= {graph.producers[i].index for i in sides if i in graph.producers and i not in op.outputs}
        return bool(around) and around <= nature

    return frozenset(nature | {op.index for op in graph.ops if op.name in BORDERS and serves(op)})


def _ends_of(graph: Graph, ops: Collection[int]) -> frozenset[int]:
    """Return the tensors that ops of these indices, borders left out, write, and those that only such ops read."""
    inside = {op.index for op in graph.ops if op.index in ops and op.name not in BORDERS}
    made = {i for op in graph.ops if op.index in inside for i in op.outputs}
    read = {i for i in graph.inputs if i in graph.consumers and {op.index for op in graph.consumers[i]} <= inside}
    return frozenset(made | read)
