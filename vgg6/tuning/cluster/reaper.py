"""Ends what a killed driver leaves of the Ray that it had started.

The kernel ends a local Ray's own processes with their driver, but for the raylet's agents, which
wait a minute for a control process that is gone, and workers that stand still. This is a process of
its own, told by the end of its standard input that the driver has ended, however that came about.
It then does what the lines of that input ask for. It removes the folders of Ray's sessions, and
says what a driver that was killed cannot say.

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
REMOVE, SAY, ENDED = "remove ", "say ", "ended"  # what a line of its input begins with


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


if __name__ == "__main__":
    main()
