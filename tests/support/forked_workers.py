"""Ray workers of tests, without the seconds in which each imports torch and Ray.

They are forked by a server that has imported both. Ray starts its workers by a program; with
``forked_workers()``, and in drivers with the variables of ``for_drivers()``, that program is this
file: it asks the server for the worker and ends. So the workers are no children of Ray's:
``forked_for()`` finds those of a test's drivers. Ray reads its configuration when it is imported,
so that this is for Rays that ``tune_vgg6.py`` starts: they are all configured alike.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

SERVER = "TESTS_WORKER_SERVER"  # the environment variable with the folder of the server
TEST = "TESTS_WORKER_TEST"  # and that with the name of the test that has started a driver
PARENT_DEATH_SIGNAL = 1  # of prctl
OF_NO_JOB = "ffffffff"  # as the workers that Ray starts before it is asked for any
NODE = "ray._private.node"
ROOT = Path(__file__).resolve().parents[2]
_running = ExitStack()


@cache
def server() -> Path:
    """The folder of this process's server, which is started at the first call. It has the server's
    socket, and a file for each worker, ``TEST-PID``."""
    folder = tempfile.TemporaryDirectory(prefix="forks")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{folder.name}/socket")
    listening.listen(64)
    # A thread of Arrow's allocator would be missing in what is forked.
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "JE_ARROW_MALLOC_CONF": "background_thread:false"
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(listening.fileno())],
        pass_fds=[listening.fileno()], env=environment, stdin=subprocess.DEVNULL, cwd=folder.name,
    )  # fmt: skip

    _running.callback(folder.cleanup)
    _running.callback(process.wait)
    _running.callback(process.kill)
    return Path(folder.name)


def end() -> None:
    """End this process's server."""
    _running.close()


def for_drivers(test: str) -> dict[str, str]:
    """The variables of drivers whose own Ray is to have forked workers."""
    hook = Path(__file__).parent / "driver"
    return {SERVER: str(server()), TEST: test, "PYTHONPATH": f"{hook}{os.pathsep}{ROOT}"}


def forked_for(test: str) -> list[int]:
    """The process ids of all workers that were forked for its drivers, ended ones too."""
    return [int(file.name.rpartition("-")[2]) for file in server().glob(f"{test}-*")]


@contextmanager
def forked_workers() -> Iterator[None]:
    """Each Ray node that this process starts has such workers, for as long as the block lasts."""
    from ray._private.node import Node

    os.environ[SERVER] = str(server())
    begin = Node.__init__
    Node.__init__ = asking(begin)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Node.__init__ = begin  # type: ignore[method-assign]


def asking(begin: Any) -> Any:
    """The beginning of a Ray node that has its workers started by this file."""

    def with_this_file(node: Any, ray_params: Any, *given: Any, **more: Any) -> None:
        ray_params.setup_worker_path = __file__
        begin(node, ray_params, *given, **more)

    return with_this_file


def use_when_ray_is_imported() -> None:
    """Have all Ray nodes of this process start forked workers. Imports nothing of Ray yet."""
    sys.meta_path.insert(0, _PatchesNode())


class _PatchesNode:
    """Finds the module of Ray's node, once, and changes it after it has run."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != NODE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def run_and_patch(module: Any) -> None:
            run(module)
            module.Node.__init__ = asking(module.Node.__init__)

        spec.loader.exec_module = run_and_patch  # type: ignore[method-assign]
        return spec


def serve(listening: socket.socket) -> None:
    """Fork a worker for each connection, which says how it is to be started."""
    assert ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL) == 0
    import torch  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            asked = lines.readline()
            if asked.endswith(b"\n"):  # else it was killed with its Ray
                arguments, environment, folder = json.loads(asked)
                if "ray" not in sys.modules:
                    import_ray(environment)
                if (forked := os.fork()) == 0:
                    break
                Path(f"{environment.get(TEST, '')}-{forked}").touch()
            for file in files:
                os.close(file)
            with suppress(OSError):
                connection.sendall(b".")
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
    # A worker ends with the raylet that Ray has read of first: one that lives as long as any.
    as_any = {"RAY_JOB_ID": OF_NO_JOB, "RAY_RAYLET_PID": str(os.getpid())}
    os.environ.update(environment | as_any)
    for name in ("ray.tune", "torch._dynamo", "vgg6.tuning.session.trainable"):
        importlib.import_module(name)
    # A title that is first set beside another environment is written over its variables.
    sys.modules["ray._raylet"].setproctitle("forks workers of tests")


def ask() -> None:
    """Have the server start the worker of this command line."""
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--language", "--serialized-"))]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(f"{os.environ[SERVER]}/socket")
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(json.dumps([arguments, dict(os.environ), os.getcwd()]).encode() + b"\n")
        server.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        ask()
