"""The clock of the watches: a process that was stopped has not waited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from support.paths import ROOT

from vgg6.tuning.cluster import awake_clock, nodes, stall_guard
from vgg6.tuning.cluster.connect import ClusterLost
from vgg6.tuning.cluster.nodes import LOST_S, NodeWatch
from vgg6.tuning.cluster.stall_guard import STALL_S, Beat, StallGuard

PROGRAM = """
import time
from vgg6.tuning.cluster import awake_clock
awake_clock.PAUSE_S = 0.5
clock, began = awake_clock.AwakeClock(), time.monotonic()
print("began", flush=True)
while time.monotonic() - began < 4:
    clock()
    time.sleep(0.05)
print(clock())
"""


def test_the_time_in_which_a_process_was_stopped_does_not_count() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "began\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(process.pid, signal.SIGCONT)
    awake = float(process.communicate(timeout=60)[0])
    assert awake < 2, "of at least four seconds, three were slept through"


class Clock:
    """Stands in for the module ``time``: goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(awake_clock, "time", clock)
    monkeypatch.setattr(nodes, "time", clock)
    return clock


def test_a_cluster_is_lost_by_its_silence_and_not_by_a_pause(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes.ray, "nodes", list)
    limiter, allotment = SimpleNamespace(max_concurrent=1), SimpleNamespace(
        fits=lambda nodes: 1, at_once=lambda holds: holds
    )  # fmt: skip
    watch = NodeWatch(limiter, allotment, SimpleNamespace(enlarged=0))  # type: ignore[arg-type]
    clock.now += 600  # Ctrl-Z
    watch.on_step_begin(1, [])
    while clock.now < 600 + LOST_S:
        clock.now += 2
        watch.on_step_begin(1, []) if clock.now < 600 + LOST_S - 6 else watch._now()
    with pytest.raises(ClusterLost):
        watch.on_step_begin(1, [])


def test_a_worker_is_ended_for_its_silence_and_not_for_a_pause(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, ended = StallGuard(), []
    monkeypatch.setattr(stall_guard.StallGuard, "_end", lambda self, *args: ended.append(args))
    trial: Any = SimpleNamespace(config={"number": 0}, status="RUNNING")

    def step(seconds: float) -> None:
        clock.now += seconds
        guard._read_at = guard._now()
        guard.on_step_begin(1, [trial])

    guard.on_trial_start(1, [trial], trial)
    guard._beats = {0: Beat(1, 7, "node")}
    step(1)
    step(600)
    assert not ended
    for _ in range(int(STALL_S)):
        step(1)
    assert {number for number, *_ in ended} == {0}
