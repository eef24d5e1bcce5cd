"""Ends a Ray that never starts, and says of one that is slow how it can be ended.

``ray.init`` waits for the first workers, in a call that neither a signal nor another thread of its
process interrupts. If one of them ends meanwhile, it waits for ever. This is a process of its own
that looks at those workers while the driver waits. It says what they have said, and ends the Ray:
the driver then ends with status 1.

    python start_watch.py DRIVER_PID TO_GO_ON < PIPE
"""

from __future__ import annotations

import glob
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOOK_S = 0.25
SURE_S = 5.0  # a worker is missed for so long before its Ray is given up
NONE_S = 120.0  # and so is a Ray without any: they may end before they are seen
SLOW_S = 60.0  # after which it is said that Ray is slow


@contextmanager
def ended_if_it_cannot_start(to_go_on: str = "") -> Iterator[None]:
    """Within the block this process starts a Ray, or joins one. It ends if its own cannot start.

    Args:
        to_go_on: the command that does, for a person.
    """
    if not os.path.isdir("/proc"):
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(os.getpid()), to_go_on],
        stdin=subprocess.PIPE, start_new_session=True,
    ) as watch:  # fmt: skip
        try:
            yield
        finally:
            watch.kill()


def children(parent: int) -> dict[int, list[str]]:
    """The command lines of the living processes that ``parent`` has started, by process id."""
    found = {}
    for folder in glob.glob("/proc/[0-9]*"):
        with suppress(OSError):  # it has ended
            with open(f"{folder}/stat", errors="replace") as file:
                state, above = file.read().rpartition(")")[2].split()[:2]
            if int(above) == parent and state != "Z":
                with open(f"{folder}/cmdline", errors="replace") as file:
                    found[int(folder.removeprefix("/proc/"))] = file.read().split("\0")
    return found


def is_worker(line: list[str]) -> bool:
    """Before and after it has given itself a title, as the agents of Ray do as well."""
    if line[0].startswith("ray::"):
        return not line[0].endswith("Agent")
    return any(word.startswith("--worker-id=") for word in line)


def last_line(raylet: list[str]) -> str:
    """What workers that had no log yet have said last, in the log of Ray's node manager."""
    for word in raylet:
        if word.startswith("--log_dir="):
            log = f"{word.partition('=')[2]}/raylet.err"
            with suppress(OSError), open(log, errors="replace") as file:
                return next((line for line in reversed(file.read().splitlines()) if line), "")
    return ""


class Start:
    """A Ray that ``driver`` is starting."""

    def __init__(self, driver: int) -> None:
        self._driver = driver
        self._others = set(children(driver))
        self._began = time.monotonic()
        self._managed: float | None = None  # since when it has a node manager
        self._missed: float | None = None  # since when a worker is
        self._workers: set[int] = set()
        self._is_slow = False

    def look(self) -> str | None:
        """Ends the Ray if it cannot start. Returns what is to be said, if anything is."""
        now = time.monotonic()
        if now - self._began > SLOW_S and not self._is_slow:
            self._is_slow = True
            end = f"`kill {self._driver}` ends it, and Ctrl-C does not yet"
            return f"Ray has not answered for {SLOW_S:.0f} s. {end}"
        every = children(self._driver)
        manager = next((pid for pid, line in every.items() if pid not in self._others
                        and os.path.basename(line[0]) == "raylet"), None)  # fmt: skip
        if manager is None:  # of a cluster, or still to come
            return None
        alive = children(manager)
        self._workers |= {pid for pid, words in alive.items() if is_worker(words)}
        self._managed = self._managed or now
        none_came = not self._workers and now - self._managed > NONE_S
        is_missed = none_came or not self._workers <= alive.keys()
        self._missed = (self._missed or now) if is_missed else None
        if self._missed and now - self._missed > SURE_S:
            said = last_line(every[manager])
            os.kill(manager, signal.SIGKILL)
            why = "a worker ended while it started" + (f": {said}" if said else "")
            return f"incomplete: Ray cannot be started here: {why}"
        return None


def main() -> None:
    start, to_go_on = Start(int(sys.argv[1])), sys.argv[2]
    while not select.select([sys.stdin], [], [], LOOK_S)[0]:  # else the driver has ended
        if said := start.look():
            if said.startswith("incomplete") and to_go_on:
                said += f". To go on: {to_go_on}"
            with suppress(OSError):  # nobody reads it
                print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
