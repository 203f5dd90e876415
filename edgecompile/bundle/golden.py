"""Golden vectors: inputs as stored codes and the outputs that must come back, to replay on any machine or device."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.config import Frozen

Array = npt.NDArray[Any]


GoldenKernels = Literal["reference", "builtin", "tflm"]


class Decision(Frozen):
    """How an output decides."""

    by: Literal["argmax", "threshold"]
    threshold: float | None = None
    """Stored value above which class 1 is decided: what stands for 0.5."""


class GoldenOutput(Frozen):
    """What must hold for one output."""

    name: str
    unit: Literal["codes", "real"]
    limit: float
    """Largest difference allowed, in unit."""
    decision: Decision | None = None
    """How rows decide; every row must decide as recorded. None: the output decides nothing."""


class GoldenInfo(Frozen):
    """`golden.json`."""

    format: Literal["edgecompile golden"] = "edgecompile golden"
    format_version: Literal[1] = 1
    source: str
    """What the rows are, how they were chosen and what was passed over, in a sentence."""
    kernels: GoldenKernels = "reference"
    """The kernels that the expected outputs come from and are compared on. `builtin`: the optimized ones, where the
    reference ones do not run the model or compute an op wrong; `tflm`: TFLite Micro, where no LiteRT runs it."""
    seed: int
    rows: tuple[int, ...] = ()
    """Row numbers in the validation data; empty for random inputs."""
    labels: tuple[int, ...] = ()
    """Labels of the rows, where they are class numbers."""
    near_ties: int = 0
    """Candidates passed over as near ties."""
    rounding: int = 0
    """Candidates passed over because two kernel sets differ on them by more than the limit."""
    outputs: tuple[GoldenOutput, ...]


@dataclass(frozen=True)
class Golden:
    """Golden vectors.

    Attributes:
        info: the content of `golden.json`.
        inputs, outputs: one array [rows, ...] per tensor in graph order, stored dtypes.
    """

    info: GoldenInfo
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    def npz(self) -> bytes:
        """Return `golden.npz`: `input_0` …, `output_0` …; the same arrays give the same bytes."""
        arrays = {f"input_{i}": x for i, x in enumerate(self.inputs)}
        return npz_bytes(arrays | {f"output_{i}": y for i, y in enumerate(self.outputs)})


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an .npz without dates, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()
