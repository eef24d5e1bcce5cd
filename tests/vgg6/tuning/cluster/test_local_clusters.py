"""A search never joins the Ray that another program has started for itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import ray
from support.paths import ROOT

from vgg6.tuning.cluster.connect import running_cluster
from vgg6.tuning.cluster.local_clusters import MARK, local_clusters

ASKED = "from vgg6.tuning.cluster.connect import running_cluster; print(running_cluster())"


@pytest.mark.usefixtures("ray_here")
def test_the_ray_of_one_search_is_not_joined_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    mine = ray.get_runtime_context().gcs_address
    assert mine in [cluster.address for cluster in local_clusters() if cluster.private]
    assert running_cluster() != mine and MARK not in os.environ
    other = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert other.returncode == 0 and mine not in other.stdout, other.stderr


@pytest.mark.usefixtures("ray_here")
def test_a_cluster_that_is_named_is_joined_whoever_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = ray.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_ADDRESS", mine)
    assert running_cluster() == mine
