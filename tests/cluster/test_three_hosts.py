"""A search over three hosts of one network, started as cluster/on_premise.yaml says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.clusters.namespaces import Host, missing, network
from support.clusters.nodes import IMAGES, SEARCH, home_with_a_token
from support.paths import ROOT

from vgg6.data import load_digits, split
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE

pytestmark = [
    pytest.mark.starts_ray,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
CONFIG = yaml.safe_load((ROOT / "cluster" / "on_premise.yaml").read_text())
BOOTSTRAP = "--autoscaling-config ~/ray_bootstrap_config.yaml"
# Bytes that each node's object store has ever taken in, asked of the nodes themselves.
STORES = """
import json, ray
from ray._private.internal_api import node_stats
ray.init(address="auto", logging_level="ERROR")
print(json.dumps({
    n["NodeManagerAddress"]: node_stats(
        n["NodeManagerAddress"], n["NodeManagerPort"], include_memory_info=False
    ).store_stats.cumulative_created_bytes
    for n in ray.nodes() if n["Alive"]
}))
"""


@dataclass(frozen=True)
class Hosts:
    """A Ray cluster: the head first. ``hidden``: a folder that the last host has for itself."""

    hosts: list[Host]
    environment: dict[str, str]
    shared: Path
    hidden: Path

    def run(self, host: Host, *command: str, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*host.within, *command], env=self.environment | environment, cwd=self.shared,
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def search(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        program = (sys.executable, str(ROOT / "tune_vgg6.py"), *SEARCH)
        head = self.hosts[0]
        address = ("--address", head.address)
        return self.run(head, *program, *address, *arguments, **environment)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    home = Path(tempfile.mkdtemp(prefix="hosts"))  # short: Ray's sockets lie below it
    environment = home_with_a_token(home)
    (head_start,) = (c for c in CONFIG["head_start_ray_commands"] if "ray start" in c)
    (worker_start,) = (c for c in CONFIG["worker_start_ray_commands"] if "ray start" in c)
    assert BOOTSTRAP in head_start
    shared, hidden = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("hidden")
    try:
        with network(3) as found:
            cluster = Hosts(found, environment, shared, hidden)
            starts = [head_start.replace(BOOTSTRAP, "")] + 2 * [worker_start]
            starts[-1] = f"mount -t tmpfs hidden {hidden}; {starts[-1]}"
            for host, start in zip(found, starts, strict=True):
                code, out, error = cluster.run(
                    host, "bash", "-c", f"{start} --num-cpus 1", RAY_HEAD_IP=found[0].address
                )
                assert code == 0, out + error
            yield cluster
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_search_runs_on_three_hosts_and_its_data_reaches_each_of_them_once(hosts: Hosts) -> None:
    code, out, said = hosts.search("--storage", str(hosts.shared), "--trials", "7", "--epochs", "1")
    assert code == 0, out + said
    assert "3 at once" in said and "on 3 nodes" in said
    found = read_history(RunFolder(str(hosts.shared / "s")))
    assert {t.state for t in found.trials.values()} <= {COMPLETED, INFEASIBLE}
    where = [t.rows[1].node for t in found.trials.values() if t.rows]
    assert set(where) == {host.address for host in hosts.hosts}
    assert len(where) > 2 * len(set(where)), "most of them had several trials"
    data = split(load_digits(), limit_train=IMAGES)
    size = sum(part.images.nbytes + part.labels.nbytes for part in (data.train, data.val))
    code, out, error = hosts.run(hosts.hosts[0], sys.executable, "-c", STORES)
    assert code == 0, error
    taken = json.loads(out.splitlines()[-1])
    assert taken.keys() == set(where)
    for host, stored in taken.items():
        assert size <= stored < 2 * size, f"{host}: {stored} bytes, of data with {size}"


def test_a_dry_run_plans_for_the_cluster_that_it_is_given(hosts: Hosts) -> None:
    code, out, said = hosts.search("--storage", str(hosts.shared), "--name", "plan", "--dry-run")
    assert code == 0, said
    assert f"planned for  the Ray cluster at {hosts.hosts[0].address}:6379" in out
    assert "3 at once" in out and "on 3 nodes" in out
    assert not (hosts.shared / "plan").exists()


def test_a_storage_that_one_host_does_not_see_is_refused_with_its_address(hosts: Hosts) -> None:
    code, out, said = hosts.search("--storage", str(hosts.hidden), "--trials", "3", "--epochs", "1")
    assert code == 2, out + said
    assert f"--storage: {hosts.hidden / 's'}" in said.replace("'", "")
    assert f"is not shared: {hosts.hosts[-1].address} cannot see it" in said
    assert not any(hosts.hidden.iterdir()), "no half-made run folder is left"


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_driver_without_the_clusters_token_is_refused(
    hosts: Hosts, tmp_path: Path, token: str | None
) -> None:
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(token)
    code, out, said = hosts.search("--storage", str(tmp_path), HOME=str(tmp_path))
    assert code == 2 and "--address" in said and "token" in said, out + said
    assert not (tmp_path / "s").exists()
