"""Recurrent layers written out step by step, for runtimes that compute loops wrong, or not in integers.

TensorFlow traces GRU, SimpleRNN and RNN of a cell as a WHILE, whose body collects the outputs of its steps by SLICE
and CONCATENATION of sizes that depend on the step. TFLite Micro takes every size from the file, where those are 1, and
writes beyond its buffers; and quantizers leave the bodies of loops in float. Written out, every size is known and every
op is one of the main graph. LSTM layers that the converter turns into one fused op can stay as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgecompile.errors import EdgeCompileError, ModelError

MOST_STEPS = 1000
"""Steps of all layers together. Measured on a GRU of 16 units: 15 ops, 2.6 KB of file and 0.13 s of conversion for each
step, weights not counted; 1,000 steps are more flash than most microcontrollers have."""

_STEP_BYTES = 2600
_FUSED = frozenset({"LSTM"})
"""Layers that the converter may turn into one op (UNIDIRECTIONAL_SEQUENCE_LSTM)."""

_SWITCHES = {"unroll": True, "_could_use_gpu_kernel": False}
"""Attributes that make a layer trace its steps; tf_keras' GRU and LSTM look at the second first."""


def recurrent_layers(model: Any, *, fused: bool) -> list[Any]:
    """Return the layers of a tf_keras or Keras 3 model that step through time, those in wrappers and models included.

    Args:
        model: tf_keras or Keras 3; anything else has none.
        fused: include those that the converter may turn into one op.
    """
    walk = getattr(model, "_flatten_layers", None)
    layers = [] if walk is None else list(walk())
    found = [layer for layer in layers if hasattr(layer, "cell") and hasattr(layer, "unroll")]
    return [layer for layer in found if fused or type(layer).__name__ not in _FUSED]


@contextmanager
def unrolled(layers: Sequence[Any]) -> Iterator[dict[str, int]]:
    """Trace layers step by step within the block; gives layer name → steps, filled while they are traced.

    Raises:
        ModelError: more than `MOST_STEPS` steps in all.
    """
    steps: dict[str, int] = {}
    before: list[tuple[Any, str, Any]] = []
    try:
        for layer in layers:
            for key, value in _SWITCHES.items():
                if hasattr(layer, key):
                    before.append((layer, key, getattr(layer, key)))
                    setattr(layer, key, value)
            layer.call = _counted(layer, steps)
        yield steps
    except EdgeCompileError:
        if sum(steps.values()) > MOST_STEPS:
            raise _too_long(steps) from None  # Keras tells errors from inside a layer its own way
        raise
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
        for layer, key, value in before:
            setattr(layer, key, value)


def _counted(layer: Any, steps: dict[str, int]) -> Callable[..., Any]:
    """Return layer.call, which notes the steps of its sequence first: open sizes are known while it is traced only."""
    call = layer.call

    @functools.wraps(call)
    def counted(sequences: Any, *args: Any, **kwargs: Any) -> Any:
        count = int(sequences.shape[0 if getattr(layer, "time_major", False) else 1])
        steps[layer.name] = steps.get(layer.name, 0) + count
        if sum(steps.values()) > MOST_STEPS:
            raise _too_long(steps)
        return call(sequences, *args, **kwargs)

    return counted


def _too_long(steps: Mapping[str, int]) -> ModelError:
    total = sum(steps.values())
    return ModelError(
        f"{total:,} steps, written one after the other, would take about {total * _STEP_BYTES:,} bytes beside the "
        f"weights; at most {MOST_STEPS:,} are written out",
        where=f"layer {', '.join(steps)}",
        hint="give shorter windows; use an LSTM layer, which becomes one op; or build a model of one step, with the "
        "state as an input and an output",
    )
