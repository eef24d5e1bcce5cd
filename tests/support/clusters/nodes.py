"""Real Ray nodes on this host, each with its own raylet, and a driver that joins them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from support.paths import NARROW, ROOT

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history

IMAGES = 100  # training images of each search
SEARCH = (
    "search", "--data", "digits", "--limit-train", str(IMAGES), "--name", "s",
    "--wandb", "disabled",
    "--scheduler", "none", "--space", str(NARROW), "--searcher", "random",
)  # fmt: skip
GO = "go"
# A tune_vgg6.py whose trials report no more than EPOCH epochs until FILE is there. A worker that
# waits says so by a file of its own.
HELD = """
import os, sys, time, tune_vgg6
from vgg6.tuning.session import session as experiment
from vgg6.tuning.session.trainable import train_trial
def held(assignment, **shared):
    from vgg6.tuning.session import trainable
    fit = trainable.fit
    def waits(*given):
        for metrics in fit(*given):
            while metrics.epoch > EPOCH and not os.path.exists(FILE):
                open(f"{FILE}-{os.getpid()}", "w").close()
                time.sleep(0.05)
            yield metrics
    trainable.fit = waits
    try:
        train_trial(assignment, **shared)
    finally:
        trainable.fit = fit
experiment.train_trial = held
sys.exit(tune_vgg6.main(sys.argv[1:]))
"""


def home_with_a_token(home: Path) -> dict[str, str]:
    """The environment of one who has ``home``, with a token for Ray in it that was just made."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = kept | {"HOME": str(home), "PATH": path, "RAY_TMPDIR": str(home)}
    subprocess.run(
        ["ray", "get-auth-token", "--generate"], env=environment, check=True, capture_output=True
    )
    return environment


@contextmanager
def cluster(head_cpus: int = 0, **options: Any) -> Iterator[Cluster]:
    """A cluster whose head holds no trial unless it is given CPUs."""
    head = {"num_cpus": head_cpus, "include_dashboard": False, **options}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield nodes
    finally:
        nodes.shutdown()


def driver(*arguments: str, cwd: Path, held_after: int | None = None) -> subprocess.Popen[str]:
    """A tune_vgg6.py of its own, whose messages go to ``cwd/messages``.

    ``held_after``: its trials wait after so many epochs until ``cwd`` has the file ``GO``.
    """
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    program = [str(ROOT / "tune_vgg6.py")]
    if held_after:
        held = HELD.replace("EPOCH", str(held_after)).replace("FILE", "go_ahead")
        held = f"go_ahead = {str(cwd / GO)!r}\n{held}"
        program = ["-c", held]
        environment["PYTHONPATH"] = str(ROOT)
    with open(cwd / "messages", "a") as messages:
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=messages, text=True,
        )  # fmt: skip


def messages(cwd: Path) -> str:
    return (cwd / "messages").read_text()


def history(cwd: Path) -> History:
    return read_history(RunFolder(str(cwd / "runs" / "s")))


def waiting(cwd: Path) -> int:
    """How many workers have waited, those included that have gone on or are dead."""
    return len(list(cwd.glob(f"{GO}-*")))


def wait_until(true: Callable[[], bool], what: str, process: subprocess.Popen[str]) -> None:
    """Wait for something that must come while the driver runs."""
    end = time.monotonic() + 120
    while not true():
        assert process.poll() is None, f"the driver ended ({process.returncode}) before {what}"
        assert time.monotonic() < end, f"{what}: never came"
        time.sleep(0.1)


def add_node(nodes: Cluster, number: int, cpus: int = 1) -> Any:
    """A worker with an address of its own: a driver joins the node that has its own address, which
    must be the head."""
    return nodes.add_node(num_cpus=cpus, node_ip_address=f"127.0.0.{number}")


def kill_node(nodes: Cluster, node: Any) -> None:
    """What a machine that loses power does to the rest: its raylet and workers are gone at once."""
    pid = node.all_processes["raylet"][0].process.pid
    os.kill(pid, signal.SIGKILL)
    nodes.remove_node(node, allow_graceful=False)
