"""Do all nodes see the run folder? Found out before a trial starts, and again by each trial."""

from __future__ import annotations

import os

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vgg6.common.checks import InputError
from vgg6.tuning.cluster.resources import Allotment
from vgg6.tuning.run.folder import RunFolder

MARK = ".here"  # a file that every session of a run folder begins with
ANSWER_S = 120.0  # a node that has just joined fetches the code first


def check_shared(run: RunFolder, allotment: Allotment) -> None:
    """Let every node that can hold a trial look for a file in the new run folder.

    Raises:
        InputError: a node does not see it; the folder is removed again.
    """
    name = f".seen-by-all-{os.getpid()}"
    run.write(name, b"")
    blind = []
    for node in ray.nodes():
        if node["Alive"] and allotment.fits([node["Resources"]]):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = _sees.options(scheduling_strategy=there).remote(run.uri, name)
            if not ray.get(answer, timeout=ANSWER_S):
                blind.append(node["NodeManagerAddress"])
    run.delete(name)
    if blind:
        run.fs.delete_dir(run.path)
        raise InputError("storage", run.uri, _rule(", ".join(blind)))


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
