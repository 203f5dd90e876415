"""What TensorFlow Lite Micro, which runs what Vela leaves to the CPU, says of a model.

Its interpreter has no `ethos-u` op on the host, so it is asked about the model before Vela.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from edgecompile.backends.base import Runnable
from edgecompile.backends.ethosu.placement import Placement, name_of
from edgecompile.report import Finding
from edgecompile.tflite.tflm_trials import OpTrial, try_ops

_BEFORE = "no Ethos-U on this host: the int8 model before Vela, on"
_TFLM = f"{_BEFORE} TensorFlow Lite Micro's interpreter with reference kernels"
_REFERENCE = f"{_BEFORE} LiteRT's reference kernels"
_INSTALL = 'pip install "edgecompile[ethosu]"'


def try_model(model: Path) -> Mapping[int, OpTrial] | None:
    """Return what the interpreter says of each op of the main subgraph; None where it is not installed."""
    if find_spec("tflite_micro") is None:
        return None
    return {trial.index: trial for trial in try_ops(model) if trial.subgraph == 0}


def stand_in(model: Path, trials: Mapping[int, OpTrial] | None) -> Runnable:
    """Return what stands for the device: the interpreter that runs there, or where it cannot run the model, LiteRT.

    An op that the NPU has and the interpreter does not is no fault of the model.
    """
    if trials is None:
        return Runnable(model=model, kernels="reference", fidelity=f"{_REFERENCE}; tflite-micro is not installed")
    refused = dict.fromkeys(trial.name for trial in trials.values() if trial.refused)
    if refused:
        names = ", ".join(refused)
        return Runnable(
            model=model,
            kernels="reference",
            fidelity=f"{_REFERENCE}: TensorFlow Lite Micro's interpreter does not take {names}",
        )
    return Runnable(model=model, kernels="tflm", fidelity=_TFLM)


def refusals(placement: Placement, trials: Mapping[int, OpTrial] | None) -> tuple[Finding, ...]:
    """Return the ops that neither the NPU nor the interpreter takes: the device cannot run them."""
    if trials is None:
        if not placement.left:
            return ()
        return (
            Finding(
                severity="info",
                rule="ethosu-cpu-untried",
                what=f"Whether TensorFlow Lite Micro takes the ops on the CPU ({len(placement.left)}) was not tried: "
                "tflite-micro is not installed",
                remedy=_INSTALL,
            ),
        )
    return tuple(
        Finding(
            severity="error",
            rule="ethosu-cpu-refused",
            what=f"{left.op.name} is left to the CPU, and TensorFlow Lite Micro does not take it: {trial.refused}",
            where=name_of(placement.graph, left.op),
            consequence="the model does not load on the device, unless the application brings this op",
            remedy="end the model before it, or take another layer in its place",
        )
        for left in placement.left
        if (trial := trials.get(left.op.index)) is not None and trial.refused
    )
