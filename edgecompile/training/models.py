"""Load trained models, whatever they are stored as."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import ModelError, Problem
from edgecompile.recipe import ModelSection
from edgecompile.training.archive import keras_version
from edgecompile.training.bridge_layers import CannotCrossError
from edgecompile.training.h5 import check_weights, read_header
from edgecompile.training.keras2 import check_known, keras2_source, load_keras2
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
    if kind == "tflite":
        hint = "name the .keras, .h5 or SavedModel that it was made of"
        raise ModelError("is a .tflite, which TensorFlow does not run", where=str(path), hint=hint)
    if kind == "saved model":
        return _with_numbers(load_saved_model(path, tf, section=section))
    if _keras_major(path, kind, allow_code=section.allow_code) >= 3:
        model, findings = load_keras3(path, section)
        source = keras3_source(model, tf, kind=kind, section=section, seed=seed)
    else:
        model, findings = load_keras2(path, section)
        source = keras2_source(model, tf, kind=kind, section=section)
    _ensure_finite(model, path)
    return _with_numbers(replace(source, findings=(*findings, *source.findings)))


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
        return load_keras2(path, section)[0]
    try:
        return bridged(load_keras3(path, section)[0], tf, section=section, seed=seed)
    except CannotCrossError as error:
        hint = "training-time passes need tf_keras; replace the layer, or leave those passes out"
        raise ModelError.of([Problem(p.what, p.where, hint) for p in error.problems]) from error


def _keras_major(path: Path, kind: Format, *, allow_code: bool) -> int:
    """Return which Keras wrote the file: 3 and later, or 2 and earlier; checks the content of an .h5 file."""
    if kind == "keras h5":
        header = read_header(path, allow_code=allow_code)
        version = header.version
    else:
        check_weights(path)
        header, version = None, keras_version(path)
    major = version.split(".", 1)[0]
    if not major.isdigit():
        raise ModelError(f"was written by an unknown Keras `{version}`", where=str(path), hint="save it again")
    if header is not None and int(major) < 3:
        check_known(header.config)
    return int(major)


def _with_numbers(source: Source) -> Source:
    """Return source, or raise ModelError when an input takes anything but numbers."""
    problems = [
        Problem(
            f"takes `{port.dtype}`, and a device gives numbers",
            f"input {port.name}",
            "leave text processing and look-up of text out of the model: give it what they produce",
        )
        for port in source.inputs
        if not re.fullmatch(r"(float|int|uint)\d+|bool", port.dtype)
    ]
    if problems:
        raise ModelError.of(problems)
    return source


def _ensure_finite(model: Any, path: Path) -> None:
    """Raise ModelError when weights hold NaN or infinity: training diverged, and every output would be NaN."""
    names = [weight.name for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
    if names:
        raise ModelError(
            f"{len(names)} of its weights hold NaN or infinity: {', '.join(names[:5])}",
            where=str(path),
            hint="training diverged; take an earlier checkpoint, or train with a smaller learning rate",
        )
