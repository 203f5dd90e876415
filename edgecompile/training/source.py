"""Source: a loaded model, whatever it was stored as: what it takes and gives, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.report import Finding
from edgecompile.training.faults import run_faults
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
        shapes: input name → the shape to compile, batch included.
        outputs: names, in the model's order.
        run: the model as it was loaded.
        forward: the model that is converted: `run` itself, or what the bridge made of it.
        owner: holds the variables and tables that `forward` reads.
        layers: layers that compute something, nested ones counted one by one; 0 where the file does not say.
        parameters: numbers in all variables.
        findings: what the user should know about how it was loaded.
        model: the tf_keras model behind a file that Keras 2 wrote; None for others.
    """

    format: str
    reference: Literal["tf_keras", "keras 3", "saved model"]
    route: Literal["tf_keras", "bridge", "keras export", "saved model"]
    inputs: tuple[Port, ...]
    shapes: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    run: Call
    forward: Call
    owner: Any
    layers: int
    parameters: int
    findings: tuple[Finding, ...] = ()
    model: Any = None


def run_rows(source: Source, tf: Any, rows: Mapping[str, Array]) -> dict[str, Array]:
    """Return output name → [n, ...], what the source model gives for n rows; in one go where its batch is open.

    Args:
        source: the model.
        tf: TensorFlow.
        rows: input name → [n, ...] in the input's dtype.

    Raises:
        ModelError: the model fails on these rows, or an output has no batch.
    """
    n = len(next(iter(rows.values())))
    batch = next(iter(source.shapes.values()))[0]
    step = n if all(port.open_batch for port in source.inputs) else batch
    parts: dict[str, list[Array]] = {name: [] for name in source.outputs}
    for start in range(0, n, step):
        # The last batch is filled up with the last row, which is cut off again below.
        picked = np.minimum(np.arange(start, start + step), n - 1)
        with run_faults():
            given = source.run([tf.constant(rows[port.name][picked]) for port in source.inputs])
        for name, tensor in zip(source.outputs, given, strict=True):
            if tensor.shape.rank == 0 or tensor.shape[0] != step:
                raise ModelError(
                    f"gives {tuple(tensor.shape)} for {step} rows, not one entry for each",
                    where=f"output {name}",
                    hint="leave the step that picks or counts (a mask, non-maximum suppression) out of the model",
                )
            parts[name].append(tensor.numpy())
    return {name: np.concatenate(arrays)[:n] for name, arrays in parts.items()}
