"""The log of edgetpu_compiler as values: what it prints, what it writes beside the model, and what people paste."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edgecompile.backends.edgetpu import status
from edgecompile.errors import Problem
from edgecompile.units import GIB, KIB, MIB

_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SIZE = r"([\d.]+)\s*(B|KiB|MiB|GiB)"

_SIZES = {
    "input_bytes": rf"Input size:\s*{_SIZE}",
    "output_bytes": rf"Output size:\s*{_SIZE}",
    "cached_bytes": rf"On-chip(?: memory)? used(?: for caching(?: model parameters)?)?:?\s+{_SIZE}",
    "room_left_bytes": rf"remaining(?: for caching model parameters)?:?\s+{_SIZE}",
    "room_bytes": rf"On-chip memory available for caching model parameters:\s*{_SIZE}",
    "streamed_bytes": rf"Off-chip(?: memory used(?: for streaming| \(streaming\))?[\w ]*)?:?\s+{_SIZE}",
}
_COUNTS = {
    "subgraphs": r"(?:Number of Edge TPU )?subgraphs:?\s+(\d+)",
    "ops": r"[Tt]otal(?: number of operations)?:?\s+(\d+)",
    "ops_on_tpu": r"(?:will run on )?Edge TPU:?\s+(\d+)(?![\w.])",
    "ops_on_cpu": r"\bCPU:?\s+(\d+)",
    "milliseconds": r"compiled successfully in (\d+) ms",
}
_ROW = re.compile(r"^\s*([A-Za-z][\w.:-]*)\s+(\d+)\s+([A-Z][^\n]*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class CompilerLog:
    """What the compiler says of one model. None where it does not say.

    Attributes:
        version: `16.0.384591198`.
        input, output: file names.
        input_bytes, output_bytes: sizes of the files; rounded as the compiler prints them, like all sizes here.
        cached_bytes: parameters kept on the chip.
        room_left_bytes: room for more of them.
        room_bytes: room for all of them; only compiler 2.0 says so.
        streamed_bytes: parameters sent at every inference.
        subgraphs: Edge TPU subgraphs.
        ops, ops_on_tpu, ops_on_cpu: how many.
        milliseconds: time that the compilation took.
        operators: (op, status) → how many, in the compiler's words.
    """

    version: str
    input: str
    output: str
    input_bytes: int | None
    output_bytes: int | None
    cached_bytes: int | None
    room_left_bytes: int | None
    room_bytes: int | None
    streamed_bytes: int | None
    subgraphs: int | None
    ops: int | None
    ops_on_tpu: int | None
    ops_on_cpu: int | None
    milliseconds: int | None
    operators: Mapping[tuple[str, str], int]

    @property
    def capacity_bytes(self) -> int | None:
        """Room for parameters that the model had: used and left."""
        if self.cached_bytes is None or self.room_left_bytes is None:
            return self.room_bytes
        return self.cached_bytes + self.room_left_bytes

    def unknown_statuses(self) -> tuple[str, ...]:
        """Return the statuses that no log known to us shows."""
        return tuple(dict.fromkeys(said for _, said in self.operators if said not in status.STATUSES))


def parse_log(text: str) -> CompilerLog:
    """Return what a log says; fields that it does not have are None. Lines that start with `#` are comments."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return CompilerLog(
        version=_text(r"Edge TPU Compiler version ([\w.]+)", text),
        input=_text(r"^Input(?: model)?:\s*(.+?)\s*$", text),
        output=_text(r"^Output(?: model)?:\s*(.+?)\s*$", text),
        **{field: _bytes(pattern, text) for field, pattern in _SIZES.items()},
        **{field: _count(pattern, text) for field, pattern in _COUNTS.items()},
        operators=_operators(text),
    )


def _operators(text: str) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for name, count, said in _ROW.findall(text):
        found[name, said] += int(count)
    return dict(found)


def _text(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _bytes(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _count(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None


_INTERNAL = "Internal compiler error"
_SILENT = "Compilation failed!"

_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        "{0} version {1} is younger than the compiler (2021)",
        "lower the version with the pass `edgetpu-fit`, or convert with an older TensorFlow",
    ),
    (
        r"Op builtin_code out of range: (\d+)",
        "operator code {0} is younger than the compiler (2021)",
        "replace the op: code 150 is GELU, 151 DYNAMIC_UPDATE_SLICE",
    ),
    (
        r"large activation tensors",
        "the model's activations are too large for the Edge TPU",
        "use a smaller input, or cut the model behind its largest activations",
    ),
    (
        r"dynamic-sized tensors",
        "a tensor of the model has no fixed size",
        "give the size with `--shape`",
    ),
    (
        r"Model not quantized",
        "the model is not quantized",
        "use `--recipe int8`",
    ),
    (
        r"error: '(tfl\.\w+)' op is not supported on DarwiNN",
        "the compiler took a `{0}` that it cannot compile",
        "change this op: the log names its layer and shapes",
    ),
    (
        r"Model could not be parsed|failed in Tflite interpreter",
        "the compiler cannot load the model",
        "run the model on the TensorFlow Lite interpreter first",
    ),
)


def diagnose(text: str) -> Problem | None:
    """Return what is wrong by what the compiler printed, and what to do; None where it gives no reason."""
    for pattern, what, hint in _KNOWN:
        if found := re.search(pattern, text):
            return Problem(what.format(*found.groups()), hint=hint)
    return None


def worth_retrying(text: str) -> bool:
    """Return whether the same model may compile when tried again: the compiler failed and gives no reason.

    Some models compile on one try and not on another (google-coral/edgetpu #206, #211).
    """
    return diagnose(text) is None
