"""Source: a loaded model, whatever it was stored as: what it takes and gives, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.report import Finding
from edgecompile.training.shapes import Port

Array = npt.NDArray[Any]
Call = Callable[[Sequence[Any]], Sequence[Any]]
"""Input tensors in the order of `Source.inputs` → output tensors in the order of `Source.outputs`; inference mode."""


@dataclass(frozen=True)
class Source:
    """A trained model in memory.

    Attributes:
        format: how it was stored: `keras v3`, `keras h5`, `saved model`.
        reference: what runs as the reference for parity.
        route: which way it goes to the converter.
        inputs: in the model's order.
        outputs: names, in the model's order.
        run: the model as it was loaded.
        forward: the model that is converted: `run` itself, or what the bridge made of it.
        tracked: owns the variables (and tables) that `forward` reads.
        layers: layers that compute something, nested ones counted one by one; 0 where the file does not say.
        parameters: numbers in all variables.
        findings: what the user should know about how it was loaded.
    """

    format: str
    reference: Literal["tf_keras", "keras 3", "saved model"]
    route: Literal["tf_keras", "bridge", "keras export", "saved model"]
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    run: Call
    forward: Call
    tracked: Any
    layers: int
    parameters: int
    findings: tuple[Finding, ...] = ()


def run_rows(source: Source, tf: Any, rows: Mapping[str, Array], *, batch: int) -> dict[str, Array]:
    """Return output name → [n, ...], what the source model gives for n rows; in one go where its batch is open.

    Args:
        source: the model.
        tf: TensorFlow.
        rows: input name → [n, ...] in the input's dtype.
        batch: rows per call where the model's batch is fixed.
    """
    n = len(next(iter(rows.values())))
    step = n if all(port.open_batch for port in source.inputs) else batch
    parts = []
    for start in range(0, n, step):
        # The last batch is filled up with its own last row, which is cut off again below.
        picked = np.minimum(np.arange(start, start + step), n - 1)
        parts.append([y.numpy() for y in source.run([tf.constant(rows[p.name][picked]) for p in source.inputs])])
    return {name: np.concatenate(ys)[:n] for name, *ys in zip(source.outputs, *parts, strict=True)}
