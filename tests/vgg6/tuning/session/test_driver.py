"""A driver that is interrupted or killed at any moment, and what is left of it."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from support.clusters.nodes import SEARCH, driver, history, messages, wait_until
from support.paths import ROOT

from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.cluster.reaper import ROUNDS, SETTLE_S
from vgg6.tuning.run.folder import BEST
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE
from vgg6.tuning.session.session import MAX_FAILURES

pytestmark = pytest.mark.starts_ray
LOCAL = ("--address", "local")
AGAIN = ("resume", "s", *LOCAL)
EPOCHS = 40  # of a narrow network: more than it is given until it is killed for the last time


def all_end(processes: list[psutil.Process], within: float = 30) -> bool:
    """Whether none of these is left, a frozen or a detached one included."""
    psutil.wait_procs(processes, timeout=within)
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def search(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver of its own, which ends with the block at the latest."""
    process = driver(*arguments, cwd=cwd)
    try:
        yield process
    finally:
        process.kill()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
def test_a_driver_killed_three_times_at_random_ends_with_every_trial_and_epoch_once(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    arguments: tuple[str, ...] = (*SEARCH, *LOCAL, "--trials", "4", "--epochs", str(EPOCHS))
    seen: list[tuple[int, int, float]] = []
    for _ in range(3):
        known = len(seen)
        with search(*arguments, cwd=tmp_path) as process:
            wait_until(lambda n=known: len(history(tmp_path).arrivals) > n, "an epoch", process)
            time.sleep(draw.uniform(0, 1))
            left = family(process)
        assert process.wait(10) == -signal.SIGKILL, "it ended before it was killed: no test"
        assert all_end(left), "a process of the search outlived its driver"
        now = history(tmp_path)
        assert now.arrivals[: len(seen)] == seen, "progress went back"
        seen, arguments = now.arrivals, AGAIN
    monkeypatch.chdir(tmp_path)
    status, _, err = said(*AGAIN)
    assert status == 0 and "Traceback" not in err, err
    found = history(tmp_path)
    assert found.arrivals[: len(seen)] == seen
    assert sorted(found.trials) == list(range(4))
    assert len({(number, epoch) for number, epoch, _ in found.arrivals}) == len(found.arrivals)
    assert found.repeated_rows == 0, "an epoch was run again that had been reported"
    assert {t.state for t in found.trials.values()} <= {COMPLETED, INFEASIBLE}
    whole = [sorted(t.rows) for t in found.trials.values() if t.state == COMPLETED]
    assert all(epochs == list(range(1, EPOCHS + 1)) for epochs in whole)
    assert "Traceback" not in messages(tmp_path)


@pytest.mark.slow
def test_a_search_interrupted_before_its_first_trial_or_while_it_is_packed_says_how_to_go_on(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "s"
    arguments = (*SEARCH, *LOCAL, "--trials", "1", "--epochs", "1")
    with search(*arguments, cwd=tmp_path) as process:
        wait_until(lambda: (run / "search.json").exists(), "the run folder", process)
        left = family(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert all_end(left)
    first = messages(tmp_path)
    assert "incomplete: " in first and "resume s" in first and "Traceback" not in first
    assert not (run / BEST).exists()

    with search(*AGAIN, cwd=tmp_path) as process:
        wait_until(lambda: (run / BEST).exists(), "its last steps", process)
        left = family(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, "it ended before it was interrupted: no test"
    assert all_end(left)
    second = messages(tmp_path).removeprefix(first)
    assert "incomplete: " in second and "resume s" in second and "Traceback" not in second
    assert not (run / "best").exists()

    monkeypatch.chdir(tmp_path)
    assert said(*AGAIN)[0] == 0
    assert (run / "best" / "SHA256SUMS").exists()
    assert not [p for p in run.iterdir() if p.name.startswith(".best-")], "scraps are left"
    assert len(history(tmp_path).arrivals) == 1


# A search whose trial 1 eats memory, up to 9 GB, before it trains.
HUNGRY = """
import sys, time, tune_vgg6
from vgg6.tuning.session import session as experiment
from vgg6.tuning.session.trainable import train_trial
def hungry(assignment, **shared):
    eaten = []
    while assignment["number"] == 1 and len(eaten) < 90:
        eaten.append(b"x" * 100 * 2**20)
        time.sleep(0.02)
    train_trial(assignment, **shared)
experiment.train_trial = hungry
sys.exit(tune_vgg6.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_trial_that_eats_the_hosts_memory_fails_by_name_and_the_search_goes_on(
    tmp_path: Path,
) -> None:
    """Ray ends its worker where the host has little memory left: here from 6 GB more than now."""
    memory, room = psutil.virtual_memory(), 6 * 2**30
    if memory.available < 10 * 2**30:
        pytest.skip("needs 10 GB of free memory")
    limit = (memory.total - memory.available + room) / memory.total
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "RAY_memory_usage_threshold": f"{limit:.3f}", "RAY_memory_monitor_refresh_ms": "50",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", HUNGRY, *SEARCH, *LOCAL, "--trials", "3", "--epochs", "2",
         "--max-concurrent", "1"],
        cwd=tmp_path, env=environment, timeout=240, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    trials = history(tmp_path).trials
    assert [trials[n].state for n in range(3)] == [COMPLETED, FAILED, COMPLETED]
    assert "ran out of memory" in trials[1].reason
    assert ended.stderr.count("trial 1 goes on after epoch 0") == MAX_FAILURES
    assert "1 of them failed" in ended.stdout


@pytest.mark.usefixtures("no_ray_here")
def test_the_end_of_one_ray_does_not_touch_the_next_one_of_the_same_process() -> None:
    with connected("local", verbose=False):
        pass
    with connected("local", verbose=False):
        time.sleep(1 + SETTLE_S * ROUNDS)
        assert ray.get(ray.remote(lambda: 42).remote(), timeout=60) == 42
