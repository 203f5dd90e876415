"""What the file that `quantize` wrote holds: checked against what was asked, and told as facts and findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from edgecompile.artifact import Artifact, Kind
from edgecompile.errors import ModelError, PassError
from edgecompile.passes.base import Fact
from edgecompile.report import Finding
from edgecompile.target import Scheme
from edgecompile.tflite.graph import Graph, Op, Tensor
from edgecompile.tflite.numerics import BORDERS, describe, float_ops, form, unsound, weight_bytes
from edgecompile.tflite.ranges import SMALLEST_STEP

_ENDS = {"int8": ("int8", "uint8"), "int16x8": ("int16",)}
"""Integer schemes → what inputs and outputs that were float32 may be; uint8: integer models of TensorFlow 1."""

_REMEDIES = {
    "WHILE": "convert it with a batch of 1: a loop over an LSTM then becomes one op with an integer kernel",
    "TFLite_Detection_PostProcess": "leave it to the CPU, where it is little work; or run it in the application",
}
"""Op → what to do about it; `_REMEDY` for all others."""
_REMEDY = "replace the layer by one that LiteRT has an integer kernel for, or quantize with scheme dynamic or float16"


def ensure_written(graph: Graph, source: Graph, *, scheme: Scheme, io: str) -> None:
    """Raise PassError unless graph, made of the float model source, is what scheme and io ask for."""
    if (graph.input_names(), graph.output_names()) != (source.input_names(), source.output_names()):
        raise PassError(
            f"the file has inputs {graph.input_names()} and outputs {graph.output_names()}; the model has "
            f"{source.input_names()} and {source.output_names()}",
            where="quantize",
        )
    float_ends = scheme not in _ENDS or io == "float32"
    for name, tensor, before in _ends(graph, source):
        wanted = _ENDS.get(scheme, ()) if before.dtype == "float32" and not float_ends else (before.dtype,)
        if tensor.dtype not in wanted:
            raise PassError(f"`{name}` is {tensor.dtype}, and {wanted[0]} was asked for", where="quantize")
    for name, fault in unsound(graph).items():
        raise PassError(
            f"tensor `{name}` came out wrong: {fault}",
            where="quantize",
            hint="look at this layer's weights: channels near 0 have no integer form; or use scheme dynamic or float16",
        )
    if scheme in _ENDS and len(float_ops(graph)) == len(_computing(graph)):
        raise PassError(
            f"no op could be made {scheme}: {', '.join(sorted({op.name for op in graph.ops}))}",
            where="quantize",
            hint="scheme dynamic or float16",
        )
    stored = {"dynamic": "int8", "float16": "float16"}.get(scheme)
    if stored and stored not in weight_bytes(graph):
        raise PassError(
            f"no weight could be stored as {stored}",
            where="quantize",
            hint="only convolutions, fully connected layers and embeddings have such a form; use float32",
        )
    _ensure_finite(graph)


def _ensure_finite(graph: Graph) -> None:
    for tensor in graph.tensors:
        if tensor.dtype == "float16" and tensor.data is not None and not np.isfinite(tensor.data).all():
            raise PassError(
                f"`{tensor.name}` has weights beyond 65,504, the largest float16", where="quantize", hint="use float32"
            )


def ensure_kept(graph: Graph, *, scheme: Scheme, io: str) -> None:
    """Raise ModelError unless graph, which came in integers, is what scheme and io ask for."""
    found = form(graph)
    if found not in _ENDS.get(scheme, ()):
        raise ModelError(
            f"the model is quantized to {found} already, and {scheme} cannot be made of it",
            hint=f"build with --recipe {'int16x8' if found == 'int16' else 'int8'}, which keeps it as it is, or from "
            "the float model it was made of",
        )
    ends = [(name, tensor.dtype) for name, tensor, _ in _ends(graph, graph) if _is_real(tensor)]
    if io == "float32" and ends and "float32" not in {dtype for _, dtype in ends}:
        name, dtype = ends[0]
        raise ModelError(
            f"the model is quantized already, with {dtype} for `{name}`, and float32 was asked for",
            hint="leave out --float-io, or build from the float model it was made of",
        )


def _is_real(tensor: Tensor) -> bool:
    return tensor.dtype == "float32" or tensor.quantization is not None


def facts_of(graph: Graph) -> dict[str, Fact]:
    """Return what was read back from the written file: ops, those left in float, bytes of weights by dtype."""
    facts: dict[str, Fact] = {"ops": len(graph.ops), "float_ops": len(float_ops(graph))}
    facts.update({f"{dtype}_weight_bytes": size for dtype, size in weight_bytes(graph).items()})
    return facts


def findings_of(
    graph: Graph,
    *,
    scheme: Scheme,
    io: str,
    kept: bool = False,
    unused: Sequence[str] = (),
    faint: Sequence[str] = (),
    apart: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return findings for ops and ends that are float in an integer model, and for activations at or next to 0.

    Kept: the model came quantized, so that its float parts are its author's and no failure of the quantizers.
    Apart: names of what ops write that stay float on request; each has a finding of its own.
    """
    if kept:
        return _kept(graph, io)
    found = (
        [_op_float(graph, op, scheme) for op in float_ops(graph) if not _named(graph, op, apart)]
        if scheme in _ENDS
        else []
    )
    if scheme in _ENDS and io == "same":
        found += [_end_float(name) for name, tensor, _ in _ends(graph, graph) if tensor.dtype == "float32"]
    if unused:
        found.append(
            Finding(
                severity="warning",
                rule="range-zero",
                what=f"{len(unused)} activations are 0 on every calibration row; their range was set to [0, 1]",
                where=_some(unused),
                consequence="Other values than 0 will be wrong there, should they come up.",
                remedy="If these layers are not dead, add rows that make them answer to the calibration data.",
            )
        )
    if faint:
        found.append(
            Finding(
                severity="warning",
                rule="range-faint",
                what=f"{len(faint)} activations span less than {SMALLEST_STEP * 255:.0e}: kernels take none so fine, "
                "and a wider one was set",
                where=_some(faint),
                consequence="They are nearly all stored as 0.",
                remedy="A trained model has no such layers: see that weights and BatchNorm statistics are loaded.",
            )
        )
    return tuple(found)


def learned_for_nothing(ranges: Collection[str], *, scheme: Scheme, source: Artifact | None) -> tuple[Finding, ...]:
    """Return a finding where training learned ranges, which are of int8, and scheme is another.

    Source: the model that was given; a `.tflite` came with them, since no pass can train it.
    """
    if not ranges or scheme == "int8":
        return ()
    trained = source is None or source.kind is not Kind.TFLITE
    whose = "`qat` learned" if trained else "the given model holds"
    return (
        Finding(
            severity="warning",
            rule="range-unused",
            what=f"the {len(ranges)} ranges that {whose} are for int8, and {scheme} has no use for them",
            where="quantize",
            consequence="The model was trained for a rounding that it does not have.",
            remedy=("Leave `qat` out, or build" if trained else "Build") + ' with quantize.scheme = "int8".',
        ),
    )


def _named(graph: Graph, op: Op, names: Collection[str]) -> bool:
    return any(graph.tensors[i].name in names for i in op.outputs)


def _kept(graph: Graph, io: str) -> tuple[Finding, ...]:
    """Return what a model that came quantized computes and exchanges in float, as one finding; none where nothing."""
    ops = float_ops(graph)
    ends = [name for name, tensor, _ in _ends(graph, graph) if tensor.dtype == "float32"] if io == "same" else []
    if not ops and not ends:
        return ()
    kinds = ", ".join(f"{n} {name}" for name, n in Counter(op.name for op in ops).most_common())
    parts = [f"{kinds}" if ops else "", f"inputs and outputs {_some(ends)}" if ends else ""]
    return (
        Finding(
            severity="info",
            rule="float-kept",
            what=f"The quantized model that was given has float parts, which stay: {'; '.join(filter(None, parts))}",
            where=_some([describe(graph, op) for op in ops]) or _some(ends),
            consequence="They run on the CPU; beside an accelerator, that is the host or the microcontroller.",
            remedy="Leave them where they are little work, such as the decoding of boxes or key points; otherwise cut "
            "them off and run them in the application.",
        ),
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _op_float(graph: Graph, op: Op, scheme: Scheme) -> Finding:
    return Finding(
        severity="warning",
        rule="op-float",
        what=f"{op.name} has no {scheme} form in the quantizers and computes in float32",
        where=describe(graph, op),
        consequence="Integer-only devices cannot run it; others convert to float and back around it.",
        remedy=_REMEDIES.get(op.name, _REMEDY),
    )


def _end_float(name: str) -> Finding:
    return Finding(
        severity="warning",
        rule="io-float",
        what=f"`{name}` stays float32: an op that computes in float reads or writes it",
        where=name,
        consequence="The application exchanges floats with the model there.",
        remedy="Cut that op off and run it in the application, if integers are wanted.",
    )


def _ends(graph: Graph, source: Graph) -> list[tuple[str, Tensor, Tensor]]:
    """Return name, tensor of graph and tensor of source for each input and output."""
    pairs = [
        *zip(graph.input_names(), graph.inputs, source.inputs, strict=True),
        *zip(graph.output_names(), graph.outputs, source.outputs, strict=True),
    ]
    return [(name, graph.tensors[after], source.tensors[before]) for name, after, before in pairs]


def _computing(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.name not in BORDERS]
