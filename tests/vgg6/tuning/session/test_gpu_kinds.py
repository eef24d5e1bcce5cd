"""A cluster with two kinds of GPU: who gets which, what fits on neither, and what is said of it.

Trials that run out of device memory are tried on it, too. The cluster's GPUs are logical: Ray gives
out fractions of them, and trials that hold one compute on the CPU.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from optuna.trial import TrialState
from ray import PlacementGroupID
from ray.cluster_utils import Cluster
from ray.util.placement_group import PlacementGroup
from support.clusters.nodes import cluster
from support.memory_shortage import attempts, short_of_memory

from search_spaces import Parameter, Space
from vgg6.common.checks import InputError
from vgg6.data import TrialData, data_facts, load_digits, split
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.cluster.allotment import allot
from vgg6.tuning.cluster.connect import HERE, connect, quiet_environment
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search_facts import read_facts
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, RUNNING
from vgg6.tuning.session import plan as planning
from vgg6.tuning.session import session as experiment
from vgg6.tuning.session import start as starting
from vgg6.tuning.session.session import build_searcher, create_run, run_session
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.session.trainable import train_trial
from vgg6.tuning.settings import Settings

A100, T4 = "accelerator_type:A100", "accelerator_type:T4"


@pytest.fixture(scope="module")
def two_kinds(no_ray_here: None) -> Iterator[Cluster]:
    """A node with two A100 and one with a T4, as Ray counts them."""
    quiet_environment()
    with cluster() as nodes:
        nodes.add_node(num_cpus=6, num_gpus=2, resources={A100: 1})
        nodes.add_node(num_cpus=6, num_gpus=1, resources={T4: 1})
        connect(nodes.address, verbose=False)
        yield nodes
        ray.shutdown()


@pytest.fixture(scope="module")
def digits() -> TrialData:
    return split(load_digits(), limit_train=100)


def rows(count: int) -> Space:
    """So many configurations that differ by their learning rate alone."""
    lr = Parameter(name="lr", low=1e-4, high=1.0, log=True)
    points = tuple({"lr": 1e-3 * (1 + i)} for i in range(count))
    fixed = {"activation": "relu", "optimizer": "sgd", "batch_size": 32}
    return Space(name="rows", parameters=(lr,), fixed=fixed, points=points, points_only=True)


def settings_of(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "name": "run", "storage": str(folder), "trials": 4, "epochs": 3, "data": "digits",
        "wandb": "disabled", "scheduler": "none", "searcher": "grid", "device": "cpu",
        "cpus_per_trial": 1.0, "max_concurrent": 2,
    }  # fmt: skip
    return Settings(**(values | changes))


def start(
    folder: Path, data: TrialData, again: bool = False, **changes: Any
) -> tuple[RunFolder, Outcome, Any]:
    """A session of a search on the cluster of this module, with the Optuna study that it told.

    ``again``: it goes on with the one that is in ``folder``.
    """
    settings = settings_of(folder, **changes)
    run, told = RunFolder(str(folder / "run")), []
    plan = planning.make_plan(settings, rows(settings.trials or 0), data, HERE)
    if not again:
        facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=100)
        create_run(run, plan, data_facts=facts, command="test")

    def make_searcher(*arguments: Any) -> Any:
        told.append(build_searcher(*arguments, promotions=None))
        return told[-1]

    outcome = run_session(run, plan, make_searcher)
    return run, outcome, told[0].study


@pytest.mark.slow
@pytest.mark.usefixtures("two_kinds")
def test_out_of_device_memory_is_tried_once_with_twice_the_share_and_is_then_infeasible(
    tmp_path: Path,
    digits: TrialData,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = tmp_path / "log"
    needs = {1: 0.5, 2: 2.0}
    monkeypatch.setattr(experiment, "train_trial", short_of_memory(needs, log))
    run, outcome, study = start(tmp_path, digits, gpus_per_trial=0.25, trials=4)
    assert outcome.outcome == "complete"
    assert attempts(log) == {0: [0.25], 1: [0.25, 0.5], 2: [0.25, 0.5], 3: [0.25]}
    history = read_history(run)
    states = [history.trials[n].state for n in range(4)]
    assert states == [COMPLETED, COMPLETED, INFEASIBLE, COMPLETED]
    assert "out of device memory with 0.5 GPU: CUDA out of memory" in history.trials[2].reason
    # From the last epoch: none was run again, and none is missing.
    assert history.repeated_rows == 0
    assert [sorted(history.trials[n].rows) for n in (1, 2)] == [[1, 2, 3], [1, 2]]
    assert history.enlarged == 2 and history.trials[1].gpus == 0.5

    told = Counter(t.state for t in study.trials)
    assert told == {TrialState.COMPLETE: 3, TrialState.PRUNED: 1}, "each is told once"
    constrained = [t.number for t in study.trials if t.constraints]
    assert len(constrained) == 1 and study.trials[constrained[0]].state == TrialState.PRUNED
    said = capfd.readouterr().err
    assert "trial 1 goes on after epoch 2 with 0.5 GPU" in said
    assert "device memory was short: 1 trial at once from here on" in said


def release_all() -> None:
    """Give back what trials hold, as the end of a driver does: these tests are one driver."""
    for entry in ray.util.placement_group_table().values():
        held = PlacementGroupID(bytes.fromhex(entry["placement_group_id"]))
        ray.util.remove_placement_group(PlacementGroup(held))


@pytest.mark.slow
@pytest.mark.usefixtures("two_kinds")
def test_a_resumed_search_knows_the_larger_share(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setattr(experiment, "train_trial", short_of_memory({1: 0.5}, log, tmp_path / "go"))
    asked: dict[str, Any] = {"gpus_per_trial": 0.25, "trials": 2}

    def interrupt() -> None:
        while len(attempts(log).get(1, [])) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    run, outcome, _ = start(tmp_path, digits, **asked)
    assert outcome.outcome == "interrupted"
    assert read_history(run).trials[1].state == RUNNING
    release_all()
    (tmp_path / "go").touch()
    run, outcome, study = start(tmp_path, digits, again=True, **asked)
    assert outcome.outcome == "complete"
    assert attempts(log)[1] == [0.25, 0.5, 0.5]
    history = read_history(run)
    assert sorted(history.trials[1].rows) == [1, 2, 3] and history.repeated_rows == 0
    assert Counter(t.state for t in study.trials) == {TrialState.COMPLETE: 2}


@pytest.mark.slow
@pytest.mark.usefixtures("two_kinds")
def test_more_trials_than_fit_wait_for_a_gpu_of_the_kind_that_was_asked_for(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six trials of a whole A100, of which there are two; the node with the T4 stays idle."""
    log = tmp_path / "log"

    def timed(assignment: dict[str, Any], **shared: Any) -> None:
        def note(what: int) -> None:
            with open(log, "a") as lines:
                lines.write(f"{what} {node}\n")

        node = ray.get_runtime_context().get_node_id()
        note(+1)
        give_up = time.monotonic() + 60  # two run at once at least once, however slow this machine
        while len(log.read_text().splitlines()) < 2 and time.monotonic() < give_up:
            time.sleep(0.05)
        train_trial(assignment, **shared)
        note(-1)

    monkeypatch.setattr(experiment, "train_trial", timed)
    asked: dict[str, Any] = {"gpus_per_trial": 1.0, "accelerator_type": "A100", "trials": 6}
    run, outcome, _ = start(tmp_path, digits, max_concurrent=None, **asked)
    assert outcome.outcome == "complete"
    assert {t.state for t in read_history(run).trials.values()} == {COMPLETED}
    lines = [line.split() for line in log.read_text().splitlines()]
    with_a100 = {node["NodeID"] for node in ray.nodes() if A100 in node["Resources"]}
    assert {node for _, node in lines} == with_a100
    running, most = 0, 0
    for change, _ in lines:
        running += int(change)
        most = max(most, running)
    assert (len(lines), running, most) == (12, 0, 2)


@pytest.mark.usefixtures("two_kinds")
def test_a_kind_or_a_number_of_gpus_that_no_node_has_is_refused_with_what_there_is(
    tmp_path: Path, digits: TrialData
) -> None:
    def refused(**changes: Any) -> str:
        with pytest.raises(InputError) as refusal:
            planning.make_plan(settings_of(tmp_path, **changes), rows(4), digits, HERE)
        return str(refusal.value)

    unknown = refused(accelerator_type="a100", gpus_per_trial=0.5)
    assert "accelerator_type" in unknown and "A100, T4" in unknown
    assert "did you mean 'A100'" in unknown or "A100" in unknown.rsplit("T4", 1)[1]
    unseen = refused(gpus_per_trial="auto", device="cuda") if not torch.cuda.is_available() else ""
    assert not unseen or ("torch sees no CUDA GPU on" in unseen and "`device` cpu" in unseen)
    for few in (
        refused(accelerator_type="T4", gpus_per_trial=2.0),
        refused(gpus_per_trial=3.0),
        refused(gpus_per_trial=0.5, cpus_per_trial=7.0),
    ):
        assert "fits on no node" in few
        assert "6 CPUs and 2 A100 GPUs" in few and "6 CPUs and 1 T4 GPU" in few


@pytest.mark.usefixtures("two_kinds")
@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        ({"device": "cuda"}, ["A100", "T4"]),
        ({"device": "cuda", "accelerator_type": "T4"}, ["T4"]),
        ({"device": "cpu"}, None),
    ],
)
def test_a_search_records_the_kinds_of_gpu_that_it_ran_on(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any], recorded: list[str] | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(starting, "run_session", lambda *_: None)  # no GPU is here to run it on
    facts = data_facts("digits", load_digits(), digits, split_seed=42, limit_train=100)
    run, settings = RunFolder(str(tmp_path / "run")), settings_of(tmp_path, **changes)
    starting.start_search(HERE, run, settings, rows(4), digits, facts, "test", WarmStart())
    assert (read_facts(run).gpus or None) == recorded


@pytest.mark.usefixtures("two_kinds")
def test_that_trials_on_one_gpu_take_turns_is_said_where_the_service_does_not_run(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))

    def planned(**changes: Any) -> bool:
        planning.make_plan(settings_of(tmp_path, **changes), rows(4), digits, HERE)
        return "take turns" in capsys.readouterr().err

    assert planned(device="cuda", gpus_per_trial=0.5)
    assert not planned(device="cuda", gpus_per_trial=1.0)
    assert not planned(device="cpu", gpus_per_trial=0.5)
    (tmp_path / "nvidia-cuda-mps-control.pid").touch()
    assert not planned(device="cuda", gpus_per_trial=0.5)


def test_only_nodes_with_the_kind_that_was_asked_for_are_counted() -> None:
    nodes = [
        {"CPU": 16.0, "GPU": 2.0, A100: 1.0},
        {"CPU": 16.0, "GPU": 4.0, T4: 1.0},
        {"CPU": 16.0},
    ]
    some = Settings(name="x", gpus_per_trial=0.5)
    assert allot(some, nodes, "cuda").concurrent == 4 + 8
    one = Settings(name="x", gpus_per_trial=0.5, accelerator_type="A100")
    plan = allot(one, nodes, "cuda")
    assert plan.concurrent == 4 and "0.5 A100 GPU" in plan.why and "on 1 node" in plan.why
    assert plan.fits(nodes) == 4 and plan.fits(nodes[1:]) == 0
    assert plan.request({}).required_resources == {"CPU": 1.0, "GPU": 0.5, A100: 0.001}
    assert plan.request({"gpus": 1.0}).required_resources["GPU"] == 1.0
    with pytest.raises(InputError, match="nor is any other kind of GPU.*16 CPUs and 0 GPUs"):
        allot(one, nodes[2:], "cuda")
    assert planning.choose_device(Settings(name="x", accelerator_type="T4"), nodes) == "cuda"
