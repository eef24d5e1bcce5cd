"""Workers of the tests' one Ray, without the seconds in which each imports torch and Ray.

They are forked by a server that has imported both. Ray starts its workers by a program; in
``forked_workers()`` that program is this file. It asks the server for the worker, and stands for it
among Ray's processes until it ends.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = "TESTS_WORKER_SERVER"  # the environment variable with the path of its socket
PARENT_DEATH_SIGNAL = 1  # of prctl
OF_NO_JOB = "ffffffff"  # as the workers that Ray starts before it is asked for any


@contextmanager
def forked_workers() -> Iterator[None]:
    """The next Ray that this process starts has such workers, for as long as the block lasts."""
    from ray._private.node import Node
    from support.paths import ROOT

    begin = Node.__init__

    def with_server(self: Node, ray_params: Any, *given: Any, **more: Any) -> None:
        Node.__init__ = begin  # type: ignore[method-assign]
        listening.bind(f"{folder}/socket")
        listening.listen(64)
        # A thread of Arrow's allocator would be missing in what is forked.
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "JE_ARROW_MALLOC_CONF": "background_thread:false"
        }  # fmt: skip
        servers.append(
            subprocess.Popen(
                [sys.executable, __file__, "serve", str(listening.fileno())],
                pass_fds=[listening.fileno()], env=environment, stdin=subprocess.PIPE,
            )
        )  # fmt: skip
        ray_params.setup_worker_path = __file__
        os.environ[SERVER] = f"{folder}/socket"
        begin(self, ray_params, *given, **more)
        del os.environ[SERVER]

    servers: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        Node.__init__ = with_server  # type: ignore[method-assign]
        try:
            yield
        finally:
            Node.__init__ = begin  # type: ignore[method-assign]
            for server in servers:
                server.kill()
                server.communicate()


def serve(listening: socket.socket) -> None:
    """Fork a worker for each connection, which says how it is to be started."""
    assert ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL) == 0
    import torch  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            arguments, environment, folder = json.loads(lines.readline())
            if "ray" not in sys.modules:
                import_ray(environment)
            if os.fork() == 0:
                os.dup(connection.fileno())  # who has asked waits until its last copy is closed
                break
            for file in files:
                os.close(file)
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, 0)
    listening.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.argv = arguments
    sys.path[:2] = [str(Path(arguments[0]).parent)]
    runpy.run_path(arguments[0], run_name="__main__")


def import_ray(environment: dict[str, str]) -> None:
    """As a worker would that has this environment. Ray reads it when it is imported."""
    os.environ.update(environment | {"RAY_JOB_ID": OF_NO_JOB})
    for name in ("ray.tune", "torch._dynamo", "vgg6.tuning.session.trainable"):
        importlib.import_module(name)
    # A title that is first set beside another environment is written over its variables.
    sys.modules["ray._raylet"].setproctitle("forks workers of tests")


def ask() -> None:
    """Have the server start the worker of this command line, and end when that ends."""
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--language", "--serialized-"))]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[SERVER])
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(json.dumps([arguments, dict(os.environ), os.getcwd()]).encode() + b"\n")
        server.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        ask()
