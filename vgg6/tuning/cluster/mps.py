"""NVIDIA's Multi-Process Service (MPS): started for trials that share a GPU, and ended with them.

Without it the kernels of processes that share a GPU take turns. Any user may start it where the
driver allows that. A program finds it by an environment variable when it first uses CUDA, and is
bound to it from then on. So only the processes that trials run in get the variable: this process
goes on when the service has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vgg6.common.machine import mps_is_running
from vgg6.common.say import say
from vgg6.tuning.cluster.ray_internals import local_gpus
from vgg6.tuning.cluster.reaper import (
    Reaper,
    ask_service,
    quit_service,
    remove,
    service_variables,
    workers_end_with_this_process,
)
from vgg6.tuning.settings import AUTO, Settings

TOOL = "nvidia-cuda-mps-control"
SERVICE = "NVIDIA's Multi-Process Service"
START_S, POLL_S = 30.0, 0.1
# A socket's path is at most 107 bytes, of which the service takes some 30 below its folder.
LONGEST_BASE = 50
# What the driver says while the service's server is starting.
NOT_READY = "CUDA error 807"
# A process that uses a GPU as the first of the service's clients. With the driver's own library,
# since importing torch takes seconds.
FIRST_CLIENT = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
device, context = ctypes.c_int(), ctypes.c_void_p()
for call, arguments in (
    (cuda.cuInit, (0,)),
    (cuda.cuDeviceGet, (ctypes.byref(device), 0)),
    (cuda.cuDevicePrimaryCtxRetain, (ctypes.byref(context), device)),
):
    if code := call(*arguments):
        raise SystemExit(f"CUDA error {code}")
"""

_given: dict[str, str] = {}  # to processes for trials, while this process's service runs
_failed: list[str] = []  # why there is none, although it was wanted


class NotServing(RuntimeError):
    """The service cannot be used here; the message says why."""


def may_share(settings: Settings) -> bool:
    """Whether several trials may get parts of one GPU, and the service may be started for them."""
    share = settings.gpus_per_trial
    in_parts = share in (None, AUTO) or (isinstance(share, float | int) and 0 < share < 1)
    several = settings.max_concurrent != 1 and settings.trials != 1
    return settings.mps == AUTO and settings.device != "cpu" and in_parts and several


def variables() -> dict[str, str]:
    """What the environment of a process that trains must have for it to use the service of this
    one; empty where this process has started none."""
    return dict(_given)


def why_not() -> str:
    """Why trials that share a GPU take turns; empty where they compute at the same time."""
    if _given or mps_is_running():
        return ""
    return _failed[-1] if _failed else f"{SERVICE} does not run"


@contextmanager
def service(reaper: Reaper) -> Iterator[None]:
    """Run the service while the block lasts, where there is a GPU. One that runs already is used,
    and left alone. Where it cannot be started ``why_not`` says why, and nothing else changes.

    Args:
        reaper: ends it if this process is killed.
    """
    if not local_gpus() or mps_is_running():
        yield
        return
    folder = ""
    try:
        try:
            folder = _new_folder()
            reaper.quit_service(folder)
            start(folder)
            _given.update(service_variables(folder))
            say(f"{SERVICE} is started for trials that share a GPU, and ends with them")
        except (NotServing, OSError) as error:
            _failed.append(f"{SERVICE} cannot be used: {error}")
            _end(folder)
        yield
    finally:
        _given.clear()
        _failed.clear()
        _end(folder)


def _new_folder() -> str:
    base = tempfile.gettempdir()
    short = base if len(os.fsencode(base)) <= LONGEST_BASE else "/tmp"
    return tempfile.mkdtemp(prefix="vgg6-mps-", dir=short)


def _end(folder: str) -> None:
    """End the service in this folder, if there is one. Where that fails, the reaper does it."""
    if folder and quit_service(folder):
        remove(folder)


@contextmanager
def service_for(wanted: bool) -> Iterator[None]:
    """``service``, where it is wanted, for processes that are not started by Ray."""
    if not wanted:
        yield
        return
    with workers_end_with_this_process() as reaper, service(reaper):
        yield


def start(folder: str) -> None:
    """Start the service with its files in ``folder``, and see that a process can use it.

    Raises:
        NotServing: it does not start, or refuses its first client.
    """
    if shutil.which(TOOL) is None:
        raise NotServing(f"{TOOL} is not on PATH")
    environment = os.environ | service_variables(folder)
    # Given numbers, it would number its devices anew, and its clients would ask by the old ones.
    if not environment.get("CUDA_VISIBLE_DEVICES", "").startswith("GPU-"):
        environment.pop("CUDA_VISIBLE_DEVICES", None)
    for name in service_variables(folder).values():
        os.makedirs(name, exist_ok=True)
    _run([TOOL, "-d"], environment, TOOL)
    give_up = time.monotonic() + START_S
    while not mps_is_running(service_variables(folder)):
        if time.monotonic() > give_up:
            raise NotServing(f"it has not started in {START_S:.0f} s")
        time.sleep(POLL_S)
    client = [sys.executable, "-S", "-E", "-c", FIRST_CLIENT]
    while True:
        try:
            _run(client, os.environ | service_variables(folder), "its first client")
            break
        except NotServing as error:
            if NOT_READY not in str(error) or time.monotonic() > give_up:
                raise
        time.sleep(POLL_S)
    if not (ask_service(folder, "get_server_list") or "").strip():
        raise NotServing("no process comes to use it")


def _run(command: list[str], environment: dict[str, str], name: str) -> None:
    """Run a program to its end. What it says goes to a file: a daemon that it leaves behind may
    hold that open.

    Raises:
        NotServing: it fails, or takes too long; with the last line that it said.
    """
    with tempfile.TemporaryFile("w+") as said:
        try:
            ended = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                timeout=START_S, start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotServing(f"{name} takes over {START_S:.0f} s") from None
        except OSError as error:
            raise NotServing(f"{name} cannot be run: {error.strerror}") from None
        if ended.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it says nothing"])[-1]
            raise NotServing(f"{name} ends with status {ended.returncode}: {last}")
