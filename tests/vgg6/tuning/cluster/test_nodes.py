"""Searches over several Ray nodes, which are lost and added while they run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from support.clusters.nodes import (
    GO,
    SEARCH,
    add_node,
    cluster,
    driver,
    history,
    kill_node,
    messages,
    wait_until,
    waiting,
)

from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, RUNNING

pytestmark = pytest.mark.starts_ray
# Trials wait after three epochs while nodes are lost and found.
EPOCHS, HELD_AFTER = 5, 3


def search(trials: int, nodes: Cluster, cwd: Path) -> subprocess.Popen[str]:
    asked = ("--trials", str(trials), "--epochs", str(EPOCHS), "--address", nodes.address)
    return driver(*SEARCH, *asked, cwd=cwd, held_after=HELD_AFTER)


@pytest.mark.slow
def test_a_search_goes_on_without_a_lost_node_and_grows_into_a_new_one(tmp_path: Path) -> None:
    with cluster() as nodes:
        first, _ = add_node(nodes, 2), add_node(nodes, 3)
        process = search(4, nodes, tmp_path)
        # A worker lost before it waits would be missing from the count of those that have waited.
        wait_until(lambda: waiting(tmp_path) >= 2, "both workers in their fourth epoch", process)
        kill_node(nodes, first)
        lost = time.monotonic()
        add_node(nodes, 4, cpus=2)
        wait_until(lambda: "has joined" in messages(tmp_path), "the new node", process)
        wait_until(lambda: "is gone" in messages(tmp_path), "the lost node", process)
        print(f"the lost node was noticed after {time.monotonic() - lost:.0f} s")
        wait_until(lambda: waiting(tmp_path) >= 4, "two workers of the new node", process)
        grown = [t for t in history(tmp_path).trials.values() if t.state == RUNNING]
        (tmp_path / GO).touch()
        assert process.wait(600) == 0, messages(tmp_path)
    found = history(tmp_path)
    assert sorted(found.trials) == list(range(4))
    for trial in found.trials.values():
        assert trial.state == COMPLETED or trial.state == INFEASIBLE
        assert sorted(trial.rows) == list(range(1, trial.epoch + 1))
    assert "on 3 nodes" in messages(tmp_path) and len(grown) >= 2
    assert len({row.pid for t in found.trials.values() for row in t.rows.values()}) >= 4


@pytest.mark.slow
def test_a_search_without_any_node_waits_says_so_and_goes_on(tmp_path: Path) -> None:
    with cluster() as nodes:
        only = add_node(nodes, 2)
        process = search(2, nodes, tmp_path)
        wait_until(lambda: len(history(tmp_path).arrivals) >= 3, "three epochs", process)
        kill_node(nodes, only)
        (tmp_path / GO).touch()
        wait_until(lambda: "waiting for one" in messages(tmp_path), "a word on it", process)
        before = len(history(tmp_path).arrivals)
        time.sleep(5)
        assert process.poll() is None and len(history(tmp_path).arrivals) == before
        add_node(nodes, 2)
        assert process.wait(300) == 0, messages(tmp_path)
    assert "a node can run trials again" in messages(tmp_path)
    assert len(history(tmp_path).arrivals) == 2 * EPOCHS


@pytest.mark.slow
def test_a_request_that_no_node_of_a_cluster_can_meet_is_refused_with_what_it_has(
    tmp_path: Path,
) -> None:
    with cluster() as nodes:
        add_node(nodes, 2)
        asked = ("--cpus-per-trial", "3", "--address", nodes.address)
        process = driver(*SEARCH, *asked, cwd=tmp_path)
        assert process.wait(90) == 2
    said = messages(tmp_path)
    assert "--cpus-per-trial" in said and "3 CPUs" in said and "1 CPU and 0 GPUs" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_whose_cluster_is_gone_ends_by_name_and_is_resumed(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(head_cpus=2) as nodes:
        process = search(2, nodes, tmp_path)
        wait_until(lambda: len(history(tmp_path).arrivals) >= 6, "six epochs", process)
        os.kill(nodes.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)
        assert process.wait(90) == 1
    ended = messages(tmp_path)
    assert "incomplete: the Ray cluster answers no more" in ended and "resume" in ended
    before = history(tmp_path)
    assert not [t for t in before.trials.values() if t.state == FAILED], "no trial is to blame"
    monkeypatch.chdir(tmp_path)
    status, _, err = said("resume", "s", "--address", "local")
    assert status == 0, err
    after = history(tmp_path)
    assert after.arrivals[: len(before.arrivals)] == before.arrivals
    assert {t.state for t in after.trials.values()} <= {COMPLETED, INFEASIBLE}
    assert after.repeated_rows == 0
