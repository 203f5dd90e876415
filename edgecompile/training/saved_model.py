"""SavedModel folders as a Source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError, near_miss
from edgecompile.recipe import ModelSection
from edgecompile.training.faults import load_faults
from edgecompile.training.keras2 import unique
from edgecompile.training.shapes import Port, fix_shapes
from edgecompile.training.source import Source


def load_saved_model(path: Path, tf: Any, *, section: ModelSection) -> Source:
    """Return the signature of a SavedModel as a Source.

    Raises:
        ModelError: damaged, or without the signature that section names (the message says which it has).
        ConfigError: open dimensions without a shape, or a shape that contradicts the model.
    """
    with load_faults(path):
        loaded = tf.saved_model.load(str(path))
    function = _pick(loaded, section.signature, path)
    named: dict[str, Any] = function.structured_input_signature[1]
    outputs: dict[str, Any] = function.structured_outputs
    inputs = tuple(Port(name, _shape(spec.shape), spec.dtype.name) for name, spec in named.items())

    def run(tensors: Sequence[Any]) -> Sequence[Any]:
        # By way of `loaded`, which owns the variables that the function reads: who has `run` needs nothing else.
        given = loaded.signatures[section.signature](**dict(zip(named, tensors, strict=True)))
        return [given[name] for name in outputs]

    variables = {id(v): v for v in function.variables}.values()
    return Source(
        format="saved model",
        reference="saved model",
        route="saved model",
        inputs=inputs,
        shapes=fix_shapes(inputs, section),
        outputs=tuple(unique(list(outputs))),
        run=run,
        forward=run,
        owner=loaded,
        layers=0,
        parameters=sum(int(v.shape.num_elements()) for v in variables),
    )


def _pick(loaded: Any, signature: str, path: Path) -> Any:
    """Return the function of a signature; nothing is chosen in its place."""
    known = list(loaded.signatures)
    if not known:
        raise ModelError(
            "the SavedModel has no signature, so nothing says what goes in and comes out",
            where=str(path),
            hint="save it with `tf.saved_model.save(model, folder, signatures=…)` or Keras' `model.export(folder)`",
        )
    if signature not in known:
        raise ModelError(
            f"the SavedModel has no signature `{signature}`",
            where=str(path),
            hint=f"set `signature` in the recipe's [model] section; {near_miss(signature, known)}",
        )
    return loaded.signatures[signature]


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())
