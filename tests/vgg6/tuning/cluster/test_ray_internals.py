"""Each private name of Ray that this project uses is there, and nobody else uses one."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from vgg6.tuning.cluster.ray_internals import (
    INTERNALS,
    OPTIONS,
    UNUSED,
    metrics_are_not_averaged,
    read_value,
    trainable_is_read_once,
    trials_in_waiting_workers,
    without_unused_processes,
    write_value,
)

HERE = "vgg6/tuning/cluster/ray_internals.py"


@pytest.mark.parametrize("name", INTERNALS)
def test_this_version_of_ray_has_the_private_name(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = hasattr(importlib.import_module(module), attribute)
    purpose, instead = INTERNALS[name]
    assert found, f"Ray has no {name} any more. It is used so that: {purpose}. Look for: {instead}"


def test_a_local_ray_is_started_without_some_of_its_processes_in_the_block_alone() -> None:
    from ray._private.node import Node

    before = {name: getattr(Node, name) for name in UNUSED}
    with pytest.raises(KeyboardInterrupt), without_unused_processes():
        assert all(getattr(Node, name) is not method for name, method in before.items())
        raise KeyboardInterrupt
    assert {name: getattr(Node, name) for name in UNUSED} == before


@pytest.mark.usefixtures("ray_here")
def test_a_trial_asks_for_no_worker_but_one_that_waits() -> None:
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    class Worker:
        def asked_for(self) -> str | None:
            return os.environ.get("PL_DISABLE_FORK")

    with trials_in_waiting_workers():
        cache = _ActorClassCache()
        ours = cache.get(Worker).remote()
        assert cache.get(Worker) is cache.get(Worker), "one class, however many trials there are"
    assert ray.get(ours.asked_for.remote()) is None
    ray.kill(ours)
    assert _ActorClassCache().get(Worker)._default_options["runtime_env"], "Tune asks as before"


def test_workers_wait_though_tune_reserves_their_cpus_before_its_trials_begin() -> None:
    script = """
import os, time
import psutil, ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from vgg6.tuning.cluster import ray_internals
from vgg6.tuning.cluster.connect import connected

class Trial:
    def pid(self):
        return os.getpid()

ray_internals.PRELOAD[:] = ["json"]
with connected("local", verbose=False):
    time.sleep(3)  # Ray may end a worker that has waited for a second
    workers = {one.pid for one in psutil.Process().children(recursive=True)}
    group = placement_group([{"CPU": 1}] * int(ray.cluster_resources()["CPU"]))
    assert group.wait(30)
    time.sleep(1)  # it looks five times a second
    place = PlacementGroupSchedulingStrategy(placement_group=group)
    trial = ray.remote(Trial).options(num_cpus=1, scheduling_strategy=place).remote()
    print(ray.get(trial.pid.remote()) in workers)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_a_trainable_is_read_from_the_store_once_and_in_the_block_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray import tune
    from ray.tune import registry

    reads: list[tuple[str, ...]] = []
    read: Any = registry._Registry.get

    def counted(one: object, *name: str) -> Any:
        reads.append(name)
        return read(one, *name)

    monkeypatch.setattr(registry._Registry, "get", counted)
    with trainable_is_read_once():
        assert not registry._has_trainable("counted"), "it is not there yet"
        tune.register_trainable("counted", lambda config: None)
        reads.clear()
        first = registry.get_trainable_cls("counted")
        assert registry.get_trainable_cls("counted") is first and len(reads) == 1
    registry.get_trainable_cls("counted")
    assert len(reads) == 2


def test_tune_keeps_no_averages_in_the_block_alone() -> None:
    from ray.tune.trainable.metadata import _TrainingRunMetadata

    for block, kept in ((metrics_are_not_averaged(), {}), (nullcontext(), {"val_acc"})):
        with block:
            facts = _TrainingRunMetadata()
            facts.update_metric("val_acc", 0.5)
        assert set(facts.metric_analysis) == set(kept)


def test_a_session_starts_without_importing_trackers() -> None:
    script = """
import sys
from ray import tune
import vgg6.tuning.session.session
from ray.air._internal import usage
usage.tag_callbacks([tune.Callback()])
print([name for name in ("mlflow", "wandb") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def private_names(file: Path) -> set[str]:
    """What a module imports from Ray, and what it passes to ``ray.init``, with a part that begins
    with an underscore."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ray.init":
            names = [f"ray.init.{word.arg}" for word in node.keywords if word.arg]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            private = any(part.startswith("_") for part in parts) or "internal_kv" in parts
            if parts[0] == "ray" and private:
                found.add(name)
    return found


def test_no_other_module_imports_a_private_name_of_ray() -> None:
    folders = ("cli", "analysis", "vgg6", "search_spaces", "benchmarks")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    users = {str(file.relative_to(ROOT)): names for file in files if (names := private_names(file))}
    assert set(users) == {HERE}
    listed = " ".join(INTERNALS)
    missing = [name for name in users[HERE] if name not in listed and f"{name}." not in listed]
    assert not missing, "each private name is listed with its purpose"


def test_each_listed_private_name_is_used() -> None:
    _, code = (ROOT / HERE).read_text().split("# Workers import what trials need", 1)
    listed = [*(name.rpartition(".")[2] for name in INTERNALS), *OPTIONS]
    assert not [name for name in listed if name not in code]


def test_this_version_of_ray_has_the_private_options() -> None:
    import ray

    asked = inspect.getsource(ray.init)
    for name, (purpose, instead) in OPTIONS.items():
        assert f'"{name}"' in asked, f"ray.init has no {name} any more: {purpose}; {instead}"


@pytest.mark.usefixtures("ray_here")
def test_beats_are_read_though_another_cluster_of_this_process_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_value("beat", b"1")
    # As ray.cluster_utils.Cluster.shutdown does.
    monkeypatch.setattr("ray.experimental.internal_kv.global_gcs_client", None)
    write_value("beat", b"2")
    assert read_value("beat") == b"2"
    assert read_value("no beat") is None
