"""What the passes of a chain, and the target, must know of each other before anything runs."""

from __future__ import annotations

from typing import Any

from edgecompile.backends import BACKENDS
from edgecompile.errors import ConfigError
from edgecompile.passes.base import Pass
from edgecompile.passes.channels import Channels
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.convert import Convert
from edgecompile.passes.edgetpu_fit import EdgetpuFit
from edgecompile.passes.intake import Intake
from edgecompile.passes.qat import Qat
from edgecompile.passes.quantize import Quantize
from edgecompile.target import Target


def agreeing(passes: tuple[Pass, ...], target: Target) -> tuple[Pass, ...]:
    """Return passes that know of each other and of the target what shapes their work.

    Those that train learn what comes of the model: scales of dense layers, the target's flash. `edgetpu-fit` learns
    how the compiler will be called, `intake` whether the device runs TFLite Micro and what sparse weights are to it,
    `convert` whether loops shall go.

    Raises:
        ConfigError: `qat` for a model that will not be int8, `flash` on a target that sets no limit, a field that
            belongs to the target, or one that `quantize` has otherwise.
    """
    quantize = next((p for p in passes if isinstance(p, Quantize)), Quantize())
    told: list[Pass] = []
    for step in passes:
        if isinstance(step, Qat) and quantize.scheme in ("float16", "float32"):
            raise ConfigError(
                f"`qat` trains for int8, and the model is stored as {quantize.scheme} for {target.name}",
                where="recipe",
                hint="leave out `qat`, or quantize with scheme int8",
            )
        if isinstance(step, Cluster | Qat):
            if quantize.dense_per_channel and not step.dense_per_channel:
                raise ConfigError(
                    f"`dense_per_channel` is false here, and true in `quantize` for {target.name}",
                    where=step.name,
                    hint="set it in `quantize` alone: the passes before train for what that one will store",
                )
            told.append(step.model_copy(update={"dense_per_channel": quantize.dense_per_channel}))
        elif isinstance(step, Channels) and step.bytes == "flash":
            told.append(step.model_copy(update={"bytes": _flash(target)}))
        elif isinstance(step, Convert):
            backend = BACKENDS[target.backend]
            known = {"unroll": backend.unrolls, "tflm": backend.sources}  # sources are for TFLite Micro
            told.append(step.model_copy(update={k: v for k, v in known.items() if k not in step.model_fields_set}))
        elif isinstance(step, Intake):
            backend = BACKENDS[target.backend]
            sparse = step.keep_sparse or (quantize.scheme == "float32" and backend.sparse_weights(target))
            told.append(step.model_copy(update={"tflm": step.tflm or backend.sources, "keep_sparse": sparse}))
        elif isinstance(step, EdgetpuFit):
            told.append(step.model_copy(update=_compiler_settings(step, target)))
        else:
            told.append(step)
    return tuple(told)


def _compiler_settings(step: EdgetpuFit, target: Target) -> dict[str, Any]:
    """Return the target's options that `edgetpu-fit` has fields of the same name for; the target is their one place."""
    if set_here := sorted(step.model_fields_set):
        raise ConfigError(
            f"`{set_here[0]}` belongs to the target",
            where=step.name,
            hint=f"give it as an option of the target: [build.option.{target.name}], or --option {set_here[0]}=…",
        )
    return {key: value for key, value in target.options.items() if key in EdgetpuFit.model_fields}


def _flash(target: Target) -> int:
    """Return how many bytes a model may take in the target's storage."""
    memory = target.memory
    limits = [memory.model_bytes_max or 0, (memory.flash_bytes or 0) - memory.reserved_flash_bytes]
    found = [limit for limit in limits if limit > 0]
    if not found:
        raise ConfigError(
            f"{target.name} sets no limit for models", where="channels.bytes", hint="give a number of bytes"
        )
    return min(found)
