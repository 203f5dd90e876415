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


_ADVICE = {
    "NCHW": "build it with data_format='channels_last': TensorFlow's kernels for this processor know no other",
    "scope name": "give the layer a name of letters, digits and `_`",
}
"""Part of a message → what to do about it."""


@contextmanager
def load_faults(path: Path) -> Iterator[None]:
    """Turn what a library raises while it reads the model at path into a ModelError with the library's own words."""
    hint = "the file is damaged, or was made by a version that this TensorFlow cannot read; save it again"
    with _translated("cannot be loaded", hint, where=str(path)):
        yield


@contextmanager
def run_faults() -> Iterator[None]:
    """Turn what a library raises while it runs a model into a ModelError with the library's own words."""
    with _translated("the model cannot be run", "does it run in Keras, with rows like these, on a CPU?"):
        yield


@contextmanager
def trace_faults() -> Iterator[None]:
    """Turn what a library raises while it traces and saves a model into a ModelError with the library's own words."""
    with _translated("the model cannot be traced", "if you gave a --shape, does the model take it?"):
        yield


@contextmanager
def _translated(what: str, hint: str, *, where: str = "") -> Iterator[None]:
    from tensorflow.errors import OpError

    try:
        yield
    except EdgeCompileError:
        raise
    except (*FAULTS, OpError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk says nothing about the model
        text = said(error)
        better = next((advice for sign, advice in _ADVICE.items() if sign in text), hint)
        raise ModelError(f"{what}: {text}", where=where, hint=better) from error


def said(error: BaseException) -> str:
    """Return the message of an error of Keras or TensorFlow on one line: no colours, no node names, 300 characters."""
    text = re.sub(r"\x1b\[[0-9;]*m|\{\{[^}]*\}\}", "", str(getattr(error, "message", error)))
    text = re.sub(r"Exception encountered when calling (\S+?)\.call\(\)\.", r"in \1:", text)
    text = " ".join(text.partition("Arguments received")[0].split())
    return (text if len(text) <= 300 else text[:300] + "…") or type(error).__name__
