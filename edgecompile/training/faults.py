"""What Keras and TensorFlow raise on a model file that is damaged or not theirs, as a ModelError."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecompile.errors import EdgeCompileError, ModelError

FAULTS = (
    ValueError,  # Keras on unknown classes, bad configs, weights that do not fit; UnicodeDecodeError
    TypeError,  # a config value of another type than the layer takes
    LookupError,  # a key or a position that is missing: KeyError, IndexError
    OSError,  # h5py on truncated or damaged files, missing variables
    AttributeError,  # a config that is a list where a dictionary belongs
    RuntimeError,  # h5py on damaged links; NotImplementedError
    ImportError,  # a layer of a package that is not installed
    ArithmeticError,  # damaged sizes
    AssertionError,  # tf.saved_model on objects whose variables are missing
    EOFError,
    MemoryError,  # a damaged size
)
"""What a reader of a damaged file raises; none of these says more than that."""


@contextmanager
def load_faults(path: Path) -> Iterator[None]:
    """Turn what a library raises while it reads the model at path into a ModelError with the library's own words."""
    from tensorflow.errors import OpError

    try:
        yield
    except EdgeCompileError:
        raise
    except (*FAULTS, OpError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk says nothing about the model
        said = re.sub(r"\s+", " ", str(error)).strip()
        shown = said if len(said) <= 300 else said[:300] + "…"
        raise ModelError(
            f"cannot be loaded: {shown or type(error).__name__}",
            where=str(path),
            hint="the file is damaged, or was made by a version that this TensorFlow cannot read; save it again",
        ) from error
