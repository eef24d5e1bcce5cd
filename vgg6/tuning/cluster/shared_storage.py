"""Do all nodes see the run folder? Found out before a trial starts, and again by each trial."""

from __future__ import annotations

import os

import ray
from ray.exceptions import (
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    RaySystemError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vgg6.common.checks import InputError
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.cluster.connect import ClusterLost
from vgg6.tuning.run.folder import RunFolder

MARK = ".here"  # a file that every session of a run folder begins with
ANSWER_S = 120.0  # a node that has just joined fetches the code first


def check_shared(run: RunFolder, allotment: Allotment) -> None:
    """Let every node that can hold a trial look for a file in the new run folder.

    Raises:
        InputError: a node does not see it.
        ClusterLost: the cluster ended while it was asked, or a node does not answer. In both cases
            the folder is removed again.
    """
    name = f".seen-by-all-{os.getpid()}"
    run.write(name, b"")
    try:
        if blind := _blind_nodes(run, name, allotment):
            raise InputError("storage", run.uri, _rule(", ".join(blind)))
    except (InputError, ClusterLost):
        run.fs.delete_dir(run.path)
        raise
    run.delete(name)


def _blind_nodes(run: RunFolder, name: str, allotment: Allotment) -> list[str]:
    """The addresses of the nodes that can hold a trial and do not see the file of this name."""
    blind = []
    for node in ray.nodes():
        if node["Alive"] and allotment.fits([node["Resources"]]):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = _sees.options(scheduling_strategy=there).remote(run.uri, name)
            if not _answer(asked, node["NodeManagerAddress"]):
                blind.append(node["NodeManagerAddress"])
    return blind


def _answer(asked: ray.ObjectRef[bool], address: str) -> bool:
    """What a node says. One that is gone meanwhile runs no trial, and has nothing to see."""
    try:
        return ray.get(asked, timeout=ANSWER_S)
    except (TaskUnschedulableError, NodeDiedError, WorkerCrashedError):
        return True
    except GetTimeoutError:
        raise ClusterLost(f"node {address} does not answer within {ANSWER_S:.0f} s") from None
    except (LocalRayletDiedError, RaySystemError):
        raise ClusterLost("the Ray cluster, or this machine's node of it, has ended") from None


def mark(run: RunFolder) -> None:
    """Leave what ``check_here`` looks for."""
    run.write(MARK, b"")


def check_here(run: RunFolder, node: str) -> None:
    """What a trial asks before it trains: nodes may have joined since the search began.

    Raises:
        FileNotFoundError: this node does not see the search's files.
    """
    if not run.exists(MARK):
        raise FileNotFoundError(f"storage {run.uri} {_rule(node)}")


def _rule(nodes: str) -> str:
    return (
        f"is not shared: {nodes} cannot see it. Give a folder that all nodes share, or a URI such"
        " as s3://bucket/runs"
    )


@ray.remote(num_cpus=0)
def _sees(uri: str, name: str) -> bool:
    return RunFolder(uri).exists(name)
