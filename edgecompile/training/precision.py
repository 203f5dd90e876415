"""Models that were trained in half precision compute in float32 here.

Their weights are float32 on the disk already, and a float32 `.tflite` is what quantization starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecompile.report import Finding

_HALF = frozenset({"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"})


def in_float32(model: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Return a Keras 3 or tf_keras model that computes in float32, and a finding when that is not how it was saved.

    The model itself when no layer of it asks for half precision, or when it has no config to rebuild it from.
    """
    if not hasattr(model, "layers") or not getattr(model, "inputs", None):
        return model, ()
    config = model.get_config()
    wanted = _float32(config)
    if wanted == config:
        return model, ()
    rebuilt = type(model).from_config(wanted)
    rebuilt.set_weights(model.get_weights())
    finding = Finding(
        severity="info",
        rule="half-precision",
        what="the model was trained in half precision and is compiled in float32",
        where=f"model {model.name}",
        consequence="accuracies are those of float32, which training in half precision may differ from slightly",
    )
    return rebuilt, (finding,)


def _float32(value: Any, key: str = "") -> Any:
    """Return a config with every half-precision dtype or policy replaced by `float32`."""
    if isinstance(value, Mapping):
        inner = value.get("config")
        if "class_name" in value and isinstance(inner, Mapping) and inner.get("name") in _HALF:
            return "float32"
        return {k: _float32(item, k) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_float32(item, key) for item in value)
    return "float32" if key == "dtype" and isinstance(value, str) and value in _HALF else value
