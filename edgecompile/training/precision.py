"""Models that were trained in half or double precision compute in float32 here.

A float32 `.tflite` is what quantization starts from, and TFLite has next to no kernels for doubles.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgecompile.report import Finding

_HALF = frozenset({"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"})
_DOUBLE = frozenset({"float64"})


def in_float32(model: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Return a Keras 3 or tf_keras model that computes in float32, and a finding when that is not how it was saved.

    The model itself when no layer of it computes in another precision, or when it has no config to rebuild it from.
    """
    if not hasattr(model, "layers") or not getattr(model, "inputs", None):
        return model, ()
    config = model.get_config()
    double = any("float64" in str(weight.dtype) for weight in model.weights)
    wanted = _float32(config, _HALF | _DOUBLE if double else _HALF)
    if wanted == config:
        return model, ()
    rebuilt = type(model).from_config(wanted)
    rebuilt.set_weights(model.get_weights())
    size = "double" if double else "half"
    finding = Finding(
        severity="info",
        rule=f"{size}-precision",
        what=f"the model was trained in {size} precision and is compiled in float32",
        where=f"model {model.name}",
        consequence=f"accuracies are those of float32, which training in {size} precision may differ from slightly",
    )
    return rebuilt, (finding,)


def _float32(value: Any, others: Collection[str], key: str = "") -> Any:
    """Return a config with every dtype and policy that is one of others replaced by `float32`."""
    if isinstance(value, Mapping):
        inner = value.get("config")
        if "class_name" in value and isinstance(inner, Mapping) and inner.get("name") in others:
            return "float32"
        return {k: _float32(item, others, k) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_float32(item, others, key) for item in value)
    return "float32" if key == "dtype" and isinstance(value, str) and value in others else value
