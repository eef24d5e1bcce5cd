"""cluster/submit.sh on a real Ray head: its token is asked for, its dashboard is on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.clusters.nodes import home_with_a_token
from support.paths import ROOT

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE

SUBMIT = str(ROOT / "cluster" / "submit.sh")
STARTED_S = 90.0


@dataclass(frozen=True)
class Head:
    """A Ray head with a token: its dashboard's address and the environment of its user."""

    dashboard: str
    port: int
    environment: dict[str, str]

    def submit(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", SUBMIT, *arguments], env=self.environment | environment, cwd="/",
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip


def free_ports(number: int) -> list[str]:
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(number)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [str(s.getsockname()[1]) for s in sockets]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` as docs/cluster.md has it, with ports and folders of its own."""
    home = Path(tempfile.mkdtemp(prefix="head"))  # short: Ray's sockets lie below it
    environment = home_with_a_token(home)
    gcs, dashboard, agent, grpc, client = free_ports(5)
    started = subprocess.Popen(
        ["ray", "start", "--head", "--block", "--num-cpus", "2", "--port", gcs,
         "--node-ip-address", "127.0.0.1", "--dashboard-port", dashboard,
         "--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", grpc,
         "--ray-client-server-port", client],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{dashboard}"
    try:
        end = time.monotonic() + STARTED_S
        while status_of(address) is None:
            assert started.poll() is None, started.stdout and started.stdout.read()
            assert time.monotonic() < end, "the dashboard has not started"
            time.sleep(0.3)
        yield Head(address, int(dashboard), environment | {"RAY_API_SERVER_ADDRESS": address})
    finally:
        started.terminate()
        started.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def status_of(address: str) -> int | None:
    """Of an answer to somebody who has no token; None where nobody answers."""
    try:
        return int(urllib.request.urlopen(f"{address}/api/jobs/", timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.mark.starts_ray
def test_a_search_is_submitted_as_a_job_and_leaves_its_results_on_the_storage(
    head: Head, tmp_path: Path
) -> None:
    done = head.submit(
        "search", "--name", "s", "--storage", str(tmp_path), "--data", "digits",
        "--limit-train", "100", "--trials", "2", "--epochs", "2", "--wandb", "disabled",
        "--space", "study_grid", "--searcher", "random", "--scheduler", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout and "best again" in done.stdout, "its log is followed"
    found = read_history(RunFolder(str(tmp_path / "s")))
    assert {t.state for t in found.trials.values()} <= {COMPLETED, INFEASIBLE}
    assert len(found.trials) == 2 and (tmp_path / "s" / "best.json").is_file()


@pytest.mark.starts_ray
def test_a_job_that_fails_is_no_success(head: Head, tmp_path: Path) -> None:
    failed = head.submit("status", "nowhere", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "nowhere" in failed.stdout


@pytest.mark.starts_ray
def test_without_the_token_nothing_is_submitted(head: Head, tmp_path: Path) -> None:
    assert status_of(head.dashboard) == 401, "no token"
    arguments = ("search", "--storage", str(tmp_path))
    wrong = head.submit(*arguments, RAY_AUTH_TOKEN="0" * 64)
    assert wrong.returncode != 0 and "token" in (wrong.stdout + wrong.stderr).lower()
    assert "submitted successfully" not in wrong.stdout and not any(tmp_path.iterdir())


@pytest.mark.starts_ray
def test_the_dashboard_listens_on_loopback_alone(head: Head) -> None:
    listening = [
        c.laddr.ip for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == head.port
    ]  # fmt: skip
    assert listening == ["127.0.0.1"]


@pytest.mark.parametrize("given", [(), ("--storage", "runs"), ("--storage=runs",)])
def test_a_storage_that_would_go_with_the_job_is_refused(given: tuple[str, ...]) -> None:
    refused = subprocess.run(
        ["bash", SUBMIT, "search", *given], capture_output=True, text=True, timeout=20
    )
    assert refused.returncode == 2 and refused.stderr.startswith("error: --storage:")
