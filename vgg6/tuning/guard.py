"""The guard over frozen trials: workers say that they live, and one that stops saying so is ended.

Ray notices a worker that died, not one that stands still: a stopped or swapped-out process keeps
its resources for ever. Here each trial's process sends a beat to a board, an actor beside the
driver. Where the beats stay away the process is killed on its own node, and Ray retries the trial
from its checkpoint as after any crash.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

BEAT_S = 3.0
STALL_S = 30.0  # no beat for so long: ten were missed
FIRST_BEAT_S = 180.0  # a worker on a new node fetches the code and the images first
Beat = tuple[int, int, str]  # how many beats so far, the process, its node


class Board:
    """Holds the last beat of every trial."""

    def __init__(self) -> None:
        self.beats: dict[int, Beat] = {}

    def beat(self, number: int, beat: Beat) -> None:
        self.beats[number] = beat

    def read(self) -> dict[int, Beat]:
        return self.beats


def open_board() -> Any:
    """A board on the driver's node: it lives and dies with the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()


@dataclass(frozen=True)
class _Seen:
    """A trial's last new beat, when it came, and whether it is of the running attempt."""

    beat: Beat | None
    when: float
    begun: bool


@contextmanager
def beating(board: Any, number: int) -> Iterator[None]:
    """Send beats for a trial from this process, from a thread, for as long as the block lasts."""
    ended = threading.Event()
    node = ray.get_runtime_context().get_node_id()

    def beat() -> None:
        count = 0
        while not ended.is_set():
            count += 1
            board.beat.remote(number, (count, os.getpid(), node))
            ended.wait(BEAT_S)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class StallGuard(tune.Callback):
    """Ends the process of a running trial whose beats stay away."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.ended: list[int] = []  # trials whose process was ended, in that order
        self._seen: dict[int, _Seen] = {}
        self._beats: dict[int, Beat] = {}
        self._asked: Any = None

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        # The beat of an earlier attempt is still on the board: it is no sign of this one.
        number = trial.config["number"]
        self._seen[number] = _Seen(self._beats.get(number), time.monotonic(), begun=False)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Compare the beats with those of before; the board is never waited for."""
        if self._asked is None:
            self._asked = self.board.read.remote()
        done, _ = ray.wait([self._asked], timeout=0)
        if not done:
            return
        self._beats, self._asked = ray.get(self._asked), None
        running = {t.config["number"] for t in trials if t.status == Trial.RUNNING}
        self._seen = {n: seen for n, seen in self._seen.items() if n in running}
        for number, seen in list(self._seen.items()):
            beat, silent = self._beats.get(number), time.monotonic() - seen.when
            if beat is not None and beat != seen.beat:
                self._seen[number] = _Seen(beat, time.monotonic(), begun=True)
            elif seen.begun and seen.beat is not None and silent > STALL_S:
                self._end(number, seen.beat, silent)
            elif not seen.begun and silent > FIRST_BEAT_S:
                print(f"trial {number} has not begun for {silent:.0f} s", file=sys.stderr)
                self._seen[number] = replace(seen, when=time.monotonic())

    def _end(self, number: int, last: Beat, silent: float) -> None:
        _, pid, node = last
        print(
            f"trial {number} has stood still for {silent:.0f} s: its process {pid} is ended, and"
            " the trial goes on from its last epoch",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        self.ended.append(number)
        del self._seen[number]
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        _kill.options(scheduling_strategy=there).remote(pid)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks for a restore of its own, which this tool never uses."""
        return {}


@ray.remote(num_cpus=0, max_retries=0)
def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, signal.SIGKILL)
