"""What the system offers for folders: a lock, a sync, and changing places in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edgecompile.errors import ToolError

LOCK_NAME = ".edgecompile-lock"
_AT_FDCWD = -100 if sys.platform == "linux" else -2
"""fcntl.h: paths are relative to the working folder."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of linux/fs.h; RENAME_SWAP of macOS's sys/stdio.h has the same value."""
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What kernels and file systems that cannot exchange answer."""


@contextlib.contextmanager
def locked(folder: Path, *, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold the writers' lock of folder. The lock ends with the process, however that ends.

    The lock is a file that its holder deletes, so nothing stays behind; whoever waited on a deleted one tries again.

    Raises:
        ToolError: another process held the lock all the time.
    """
    path = folder / LOCK_NAME
    deadline = time.monotonic() + timeout_s
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise ToolError(
                f"another build has been writing into the folder for {timeout_s:g} s",
                where=str(folder),
                hint="end it, or choose another --out",
            )
        time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock at path, or None: somebody else has it or has just deleted it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass  # held: the caller asks again
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sync(folder: Path) -> None:
    """Have the system write the names in folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(a: Path, b: Path) -> bool:
    """Let two folders change places in one system call; False where the system or the file system cannot.

    Raises:
        OSError: it could, and refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "renameat2" if sys.platform == "linux" else "renameatx_np", None)
    if call is None:
        return False
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(b))
