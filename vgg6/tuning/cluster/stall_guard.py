"""The guard over frozen trials: workers say that they live, and one that stops saying so is ended.

Ray notices a worker that died, not one that stands still: a stopped or swapped-out process keeps
its resources for ever. Here each trial's process writes a beat into the cluster's own key-value
store, which needs no process beside it that could die as well. Where the beats stay away the
process is killed on its own node, and Ray retries the trial from its checkpoint as after any crash.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vgg6.common.say import say
from vgg6.tuning.cluster.awake_clock import AwakeClock
from vgg6.tuning.cluster.ray_internals import read_value, write_value

BEAT_S = 3.0
STALL_S = 30.0  # no beat for so long: ten were missed
FIRST_BEAT_S = 180.0  # a worker on a new node fetches the code and the images first


class Beat(NamedTuple):
    """The how manieth it is, from which process, on which node."""

    nth: int
    pid: int
    node: str


def _key(number: int | None = None) -> str:
    """Where a trial's beat is kept; without a number what all keys of this driver begin with."""
    job = ray.get_runtime_context().get_job_id()
    return f"tune_vgg6:beat:{job}:{'' if number is None else number}"


def read_beats(numbers: set[int]) -> dict[int, Beat]:
    """The last beat of each of these trials that has sent one."""
    found = {n: read_value(_key(n)) for n in numbers}
    return {n: Beat(*json.loads(text)) for n, text in found.items() if text}


@dataclass(frozen=True)
class _Seen:
    """A trial's last new beat, when it came, and whether it is of the running attempt."""

    beat: Beat | None
    when: float
    begun: bool


@contextmanager
def beating(number: int) -> Iterator[None]:
    """Send beats for a trial from this process, from a thread, for as long as the block lasts."""
    ended = threading.Event()
    key, node = _key(number), ray.get_runtime_context().get_node_id()

    def beat() -> None:
        nth = 0
        while not ended.is_set():
            nth += 1
            text = json.dumps(Beat(nth, os.getpid(), node)).encode()
            with suppress(Exception):  # a store that cannot be reached now may be back soon
                write_value(key, text)
            ended.wait(BEAT_S)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


class StallGuard(tune.Callback):
    """Ends the process of a running trial whose beats stay away.

    Beats are read in a thread of its own: the search never waits for the cluster's store.
    """

    def __init__(self) -> None:
        self.ended: list[int] = []  # trials whose process was ended, in that order
        self._seen: dict[int, _Seen] = {}
        self._started: dict[int, Trial] = {}  # of those in ``_seen``
        self._beats: dict[int, Beat] = {}
        self._now = AwakeClock()
        self._read_at = self._now()
        self._over = threading.Event()

    def __enter__(self) -> StallGuard:
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        """The beats of this driver stay in the store, a hundred bytes a trial, until its cluster
        ends: asking for their removal could hang where the cluster is gone."""
        self._over.set()

    def _follow(self) -> None:
        said, read_last = False, self._now()
        while not self._over.wait(BEAT_S / 2):
            try:
                self._beats = read_beats(set(self._seen))
            except Exception as error:  # of the store, which may be back soon
                if not said and self._now() - read_last > STALL_S:
                    said = True
                    say(f"a worker that stands still would not be noticed: {error}")
                continue
            self._read_at = read_last = self._now()

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        # The beat of an earlier attempt is still there: it is no sign of this one.
        number = trial.config["number"]
        self._started[number] = trial
        self._seen[number] = _Seen(self._beats.get(number), self._now(), begun=False)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Compare the beats with those of before. Where none can be read, nobody is to blame."""
        now = self._now()
        if now - self._read_at > 2 * BEAT_S:
            self._seen = {n: replace(seen, when=now) for n, seen in self._seen.items()}
            return
        running = {n: t for n, t in self._started.items() if t.status == Trial.RUNNING}
        self._started = running
        self._seen = {n: seen for n, seen in self._seen.items() if n in running}
        for number, seen in list(self._seen.items()):
            beat, silent = self._beats.get(number), now - seen.when
            if beat is not None and beat != seen.beat:
                self._seen[number] = _Seen(beat, now, begun=True)
            elif seen.begun and seen.beat is not None and silent > STALL_S:
                self._end(number, seen.beat, silent)
            elif not seen.begun and silent > FIRST_BEAT_S:
                say(f"trial {number} has not begun for {silent:.0f} s")
                self._seen[number] = replace(seen, when=now)

    def _end(self, number: int, last: Beat, silent: float) -> None:
        say(
            f"trial {number} has stood still for {silent:.0f} s: its process {last.pid} is ended,"
            " and the trial goes on from its last epoch"
        )
        self.ended.append(number)
        del self._seen[number]
        there = NodeAffinitySchedulingStrategy(last.node, soft=False)
        _kill.options(scheduling_strategy=there).remote(last.pid)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks for a restore of its own, which this tool never uses."""
        return {}


@ray.remote(num_cpus=0, max_retries=0)
def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, signal.SIGKILL)
