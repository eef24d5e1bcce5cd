"""Nodes are asked whether they see the run folder; some end before they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import (
    GetTimeoutError,
    LocalRayletDiedError,
    RayError,
    RaySystemError,
    TaskUnschedulableError,
)

from vgg6.tuning.cluster import shared_storage
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.cluster.connect import ClusterLost
from vgg6.tuning.run.folder import RunFolder

NODE = {"Alive": True, "NodeID": "a" * 56, "NodeManagerAddress": "10.0.0.7"}


class Asked:
    """Stands for the task that a node is asked to run."""

    def options(self, **_: Any) -> Asked:
        return self

    def remote(self, uri: str, name: str) -> None:
        return None


def check(run: RunFolder, monkeypatch: pytest.MonkeyPatch, answer: RayError) -> None:
    def get(asked: Any, timeout: float) -> bool:
        raise answer

    monkeypatch.setattr(shared_storage, "_sees", Asked())
    monkeypatch.setattr(ray, "nodes", lambda: [NODE | {"Resources": {"CPU": 2.0}}])
    monkeypatch.setattr(ray, "get", get)
    shared_storage.check_shared(run, Allotment(1.0, 0.0, 1, 2, ""))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (LocalRayletDiedError(), "the Ray cluster, or this machine's node of it, has ended"),
        (RaySystemError("no connection"), "the Ray cluster, or this machine's node"),
        (GetTimeoutError("too late"), "node 10.0.0.7 does not answer within 120 s"),
    ],
)
def test_a_cluster_that_ends_while_it_is_asked_is_said_to_and_the_name_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: RayError, said: str
) -> None:
    run = RunFolder(str(tmp_path / "first"))
    with pytest.raises(ClusterLost, match=said):
        check(run, monkeypatch, answer)
    assert not (tmp_path / "first").exists()


def test_a_node_that_is_gone_before_it_answers_holds_up_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(str(tmp_path / "first"))
    check(run, monkeypatch, TaskUnschedulableError("its node is gone"))
    assert list((tmp_path / "first").iterdir()) == []


def test_a_lost_cluster_is_an_error_in_one_line(
    said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lost(*_: Any) -> None:
        raise ClusterLost("the Ray cluster has ended")

    monkeypatch.setattr("cli.status.read_search", lost)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "search.json").write_text("{}")
    assert said("status", tmp_path / "first") == (1, "", "error: the Ray cluster has ended\n")
