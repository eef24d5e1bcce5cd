"""Ends what a killed driver leaves of the Ray that it had started.

The kernel ends a local Ray's own processes with their driver, but for the raylet's agents, which
wait a minute for a control process that is gone, and workers that stand still. This is a process of
its own, told by the end of its standard input that the driver has ended, however that came about.
It then does what the lines of that input ask for. It removes the folders of Ray's sessions, ends
the GPU service that the driver has started, and says what a driver that was killed cannot say.

    python reaper.py DRIVER_PID < PIPE
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SETTLE_S, ROUNDS = 1.0, 4
QUIT_S = 15.0  # for the GPU service to end; it waits for its clients
# What a line of its input begins with.
REMOVE, SERVICE, SAY, ENDED = "remove ", "service ", "say ", "ended"


class Reaper:
    """What is left to do when this process has ended."""

    def __init__(self, pipe: int | None) -> None:
        self._pipe = pipe

    def said(self) -> None:
        """This process has said itself why it ends."""
        self._tell(ENDED)

    def remove(self, folder: str) -> None:
        """Remove a folder once this process's Ray has ended."""
        self._tell(REMOVE + folder)

    def quit_service(self, folder: str) -> None:
        """End the Multi-Process Service whose files are in ``folder``, and remove that, unless it
        is done by then."""
        self._tell(SERVICE + folder)

    def say_if_killed(self, message: str) -> None:
        """Say a line on standard error should this process end within the block. Somebody may kill
        it, and Ray does when its node is gone."""
        self._tell(SAY + message)

    def _tell(self, line: str) -> None:
        if self._pipe is not None:
            os.write(self._pipe, os.fsencode(line.replace("\n", " ") + "\n"))


_reapers: list[Reaper] = []  # of the blocks that this process is in


def nothing_more_to_say() -> None:
    """This process ends at once, and has said itself why."""
    for reaper in _reapers:
        reaper.said()


@contextmanager
def workers_end_with_this_process() -> Iterator[Reaper]:
    """Whatever ends this process, the Ray that it starts in the block ends with it. Ray itself sees
    to that where there is no ``/proc``."""
    if not os.path.isdir("/proc"):
        yield Reaper(None)
        return
    read, write = os.pipe()
    # Ctrl-C is for the driver: a session of its own.
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(os.getpid())], stdin=read,
        start_new_session=True,
    )  # fmt: skip
    os.close(read)
    reaper = Reaper(write)
    _reapers.append(reaper)
    try:
        yield reaper
    finally:
        _reapers.remove(reaper)
        reaper.said()
        os.close(write)
        watcher.returncode = 0  # nobody waits for it: it ends by itself


def left_of(driver: int) -> dict[int, str]:
    """Processes of Ray that keep a log open in a session of this driver, whose pid ends the name of
    the session's folder; with that name. Others that do so, such as a ``tail``, are left alone."""
    of_driver, found = re.compile(rf"/(session_[^/]+_{driver})/"), {}
    for folder in glob.glob("/proc/[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            with open(f"{folder}/cmdline", "rb") as file:
                if file.read(5) != b"ray::":
                    continue
            names = [os.readlink(f"{folder}/fd/{fd}") for fd in os.listdir(f"{folder}/fd")]
            sessions = [match[1] for name in names if (match := of_driver.search(name))]
            if sessions:
                found[int(folder.removeprefix("/proc/"))] = sessions[0]
    return found


def remove(folder: str) -> None:
    """Remove a session's folder. Processes that are just ending may still write there."""
    for _ in range(ROUNDS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(SETTLE_S)


def service_variables(folder: str) -> dict[str, str]:
    """What the environment of NVIDIA's Multi-Process Service, and of who uses it, has where its
    files are in ``folder``."""
    return {
        "CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe",
        "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log",
    }


def ask_service(folder: str, command: str) -> str | None:
    """What the service in ``folder`` answers; None where it does not, or not in time."""
    try:
        asked = subprocess.run(
            ["nvidia-cuda-mps-control"], env=os.environ | service_variables(folder),
            input=command + "\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=QUIT_S, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout if asked.returncode == 0 else None


def quit_service(folder: str) -> bool:
    """End the service in ``folder``. Returns whether it has ended, or never began: clients that
    stand still hold it up."""
    return not os.path.exists(f"{folder}/pipe") or ask_service(folder, "quit") is not None


def end_service(folder: str) -> None:
    """End the service in ``folder`` in any case, and remove that."""
    if not quit_service(folder):
        name = f"{folder}/pipe/nvidia-cuda-mps-control.pid"
        with suppress(OSError, ValueError), open(name) as file:  # else it has ended, or never began
            os.kill(int(file.read()), signal.SIGTERM)
    remove(folder)


def main() -> None:
    asked = os.fsdecode(sys.stdin.buffer.read()).splitlines()
    if ENDED not in asked:
        with suppress(OSError):  # nobody reads it
            for line in asked:
                if line.startswith(SAY):
                    print(line.removeprefix(SAY), file=sys.stderr, flush=True)
    driver = int(sys.argv[1])
    # A Ray that the same process starts next is not to be ended.
    over = set(left_of(driver).values())
    for _ in range(ROUNDS):
        time.sleep(SETTLE_S)
        for pid, session in left_of(driver).items():
            if session in over:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    for line in asked:
        if line.startswith(REMOVE):
            remove(line.removeprefix(REMOVE))
        if line.startswith(SERVICE):  # its clients have ended by now
            end_service(line.removeprefix(SERVICE))


if __name__ == "__main__":
    main()
