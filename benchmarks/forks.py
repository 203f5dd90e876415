"""Start `python -m edgecompile…` from a process that has its libraries imported: seconds saved a start, for benchmarks.

edgecompile runs TensorFlow, trials of models and TFLite Micro in processes of their own, `[sys.executable, "-m", …]`.
`served` puts a small program in the place of `sys.executable` that asks a server to fork such a process instead of
starting Python anew. What is run, its arguments, folders and streams stay what they were; a signal that ends it ends
the program as well.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MOST_CPU_S = 30
"""What no trial of a small model takes, unless it never ends."""

_CLIENT = """#!{python} -ISE
import json, os, signal, socket, sys
wire = socket.socket(socket.AF_UNIX)
wire.connect({address!r})
socket.send_fds(wire, [json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode() + b"\\0"], [0, 1, 2])
code = int(wire.makefile().readline() or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """Let Python modules that the block starts be forks of this process, which must not have used TensorFlow yet."""
    address = str(folder / "forks.sock")
    client = folder / "python"
    client.write_text(_CLIENT.format(python=sys.executable, address=address), "utf-8")
    client.chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    server = os.fork()
    if server == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer one call
        while True:
            wire, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(wire)
            wire.close()
    before, sys.executable = sys.executable, str(client)
    try:
        yield
    finally:
        sys.executable = before
        os.kill(server, signal.SIGTERM)
        os.waitpid(server, 0)
        listener.close()


def forked(function: Any, *args: Any) -> int:
    """Run a function in a fork; return its exit code, negative for the signal that ended it."""
    gc.freeze()  # a collection in the fork would copy every page of the libraries
    child = os.fork()
    if child == 0:
        try:
            function(*args)
        except BaseException as error:  # noqa: BLE001 - the boundary of the process
            code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
            if not isinstance(error, SystemExit):
                traceback.print_exc()
        else:
            code = 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _answer(wire: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, _, _ = socket.recv_fds(wire, 1 << 20, 3)
    while not message.endswith(b"\0"):
        message += wire.recv(1 << 20)
    argv, env, cwd = json.loads(message[:-1])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    code = forked(_run, argv, env, cwd)
    wire.sendall(f"{code}\n".encode())
    os._exit(0)


def _run(argv: list[str], env: dict[str, str], cwd: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S))
    module = argv.index("-m") + 1  # behind options of Python
    sys.argv = ["", *argv[module + 1 :]]
    runpy.run_module(argv[module], run_name="__main__", alter_sys=True)
