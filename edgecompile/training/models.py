"""Load trained models, whatever they are stored as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError, Problem
from edgecompile.recipe import ModelSection
from edgecompile.training.archive import keras_version
from edgecompile.training.bridge_layers import CannotCrossError
from edgecompile.training.h5 import read_header
from edgecompile.training.keras2 import keras2_source, load_keras2
from edgecompile.training.keras3 import bridged, keras3_source, load_keras3
from edgecompile.training.saved_model import load_saved_model
from edgecompile.training.scan import Format, scan_source, source_format
from edgecompile.training.source import Source


def load_source(path: Path, tf: Any, *, section: ModelSection, seed: int) -> Source:
    """Return the model at path, ready to be run and converted.

    Args:
        path: `.keras`, `.h5` or a SavedModel folder.
        tf: TensorFlow, from `tf.start`.
        section: shapes for open dimensions, batch, signature, and whether code from the file may run.
        seed: of the rows on which the bridge is checked.

    Raises:
        ModelError: unsafe, damaged, or made of layers that nobody here knows.
        ConfigError: open dimensions without a shape, or a shape that contradicts the model.
    """
    scan_source(path, allow_code=section.allow_code)
    kind = source_format(path)
    if kind == "saved model":
        return load_saved_model(path, tf, section=section)
    if _keras_major(path, kind, allow_code=section.allow_code) >= 3:
        return keras3_source(load_keras3(path, section), tf, kind=kind, section=section, seed=seed)
    return keras2_source(load_keras2(path, section), tf, kind=kind, section=section)


def load_tf_keras(path: Path, tf: Any, *, section: ModelSection, seed: int) -> Any:
    """Return the model at path as a tf_keras model: what training-time passes work on.

    Raises:
        ModelError: as `load_source`; or it cannot be a tf_keras model: every layer that is in the way, and why.
    """
    scan_source(path, allow_code=section.allow_code)
    kind = source_format(path)
    if kind == "saved model":
        raise ModelError(
            "a SavedModel holds a graph of operations; training needs the layers",
            where=str(path),
            hint="start from the .keras or .h5 file that it was exported from, or leave out the training-time passes",
        )
    if _keras_major(path, kind, allow_code=section.allow_code) < 3:
        return load_keras2(path, section)
    try:
        return bridged(load_keras3(path, section), tf, section=section, seed=seed)
    except CannotCrossError as error:
        hint = "training-time passes need tf_keras; replace the layer, or leave those passes out"
        raise ModelError.of([Problem(p.what, p.where, hint) for p in error.problems]) from error


def _keras_major(path: Path, kind: Format, *, allow_code: bool) -> int:
    """Return which Keras wrote the file: 3 and later, or 2 and earlier; checks the content of an .h5 file."""
    version = read_header(path, allow_code=allow_code).version if kind == "keras h5" else keras_version(path)
    major = version.split(".", 1)[0]
    if not major.isdigit():
        raise ModelError(f"was written by an unknown Keras `{version}`", where=str(path), hint="save it again")
    return int(major)
