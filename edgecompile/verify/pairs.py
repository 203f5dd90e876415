"""Pairs: the outputs of the float model and of the result, as reals, output by output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.compare import Bools
from edgecompile.errors import ModelError
from edgecompile.tflite.feeds import dequantize_rows
from edgecompile.tflite.graph import Graph

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float32]


def real_outputs(outputs: Mapping[str, Array], graph: Graph) -> dict[str, Reals]:
    """Return output name → float32 [n, ...], in graph order: integers by the graph's scale and zero point.

    Args:
        outputs: output name → [n, ...] in stored dtype, as the runner gives them.
        graph: the model that gave them. Integers without quantization are taken as numbers.
    """
    reals = {}
    for index, name in zip(graph.outputs, graph.output_names(), strict=True):
        how, x = graph.tensors[index].quantization, outputs[name]
        if how is not None and x.dtype.kind in "iu":
            x = dequantize_rows(x, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]))
        reals[name] = x.astype(np.float32, copy=False)
    return reals


@dataclass(frozen=True)
class Pair:
    """One output of both models on the same rows.

    Attributes:
        before: of the float model, float32 [n, ...]; rows that are not finite hold zeros.
        after: of the result, likewise.
        before_finite: bool [n], whether the whole row is finite in the float model.
        after_finite: bool [n], likewise in the result.
    """

    before: Reals
    after: Reals
    before_finite: Bools
    after_finite: Bools

    @property
    def both_finite(self) -> Bools:
        """Rows on which both models gave numbers, bool [n]."""
        return self.before_finite & self.after_finite


def pair_outputs(before: Mapping[str, Reals], after: Mapping[str, Reals], *, rows: int) -> dict[str, Pair]:
    """Return output name of the float model → both models' values.

    Outputs pair by name; where each model has a single one, names do not matter.

    Raises:
        ModelError: names or shapes differ, or there is not one output row for each of the rows.
    """
    partner = {name: name for name in before}
    if set(before) != set(after):
        if not len(before) == len(after) == 1:
            raise ModelError(
                f"the float model gives {', '.join(before)}; the result gives {', '.join(after)}",
                where="outputs",
                hint="outputs are compared by name: keep the names of the signature",
            )
        partner = dict(zip(before, after, strict=True))
    pairs = {}
    for name, other in partner.items():
        f, r = before[name], after[other]
        if f.shape != r.shape or f.shape[:1] != (rows,):
            raise ModelError(
                f"the float model gives {list(f.shape)}, the result {list(r.shape)}, for {rows} rows of data",
                where=f"output `{name}`",
            )
        (f, f_finite), (r, r_finite) = _finite(f), _finite(r)
        pairs[name] = Pair(f, r, f_finite, r_finite)
    return pairs


def _finite(x: Reals) -> tuple[Reals, Bools]:
    """Return x with rows that hold NaN or infinity set to zero, and which rows are whole, bool [n]."""
    whole: Bools = np.asarray(np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if whole.all():
        return x, whole
    return np.where(whole.reshape([-1] + [1] * (x.ndim - 1)), x, np.float32(0)), whole
