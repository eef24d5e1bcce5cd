"""Fractions of GPUs: who gets which, what never fits, and trials that run out of device memory.

The cluster's GPUs are logical: Ray gives out fractions of them, and trials that hold one compute on
the CPU. What needs a real one is skipped, with the reason.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from optuna.trial import TrialState
from ray import PlacementGroupID
from ray.cluster_utils import Cluster
from ray.util.placement_group import PlacementGroup
from support.nodes import cluster

from cli.doctor import examine
from search_spaces import Parameter, Space, load_space
from tune_vgg6 import main
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import TrialData, data_facts, load_digits, split
from vgg6.hardware import cpu_speed
from vgg6.hardware.device_memory import prepare_gpu, ran_out, tensors_part
from vgg6.hardware.measurements import remember, remembered
from vgg6.hardware.runtime import Runtime
from vgg6.run_record import EpochMetrics
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.cluster import gpu_probe as probe
from vgg6.tuning.cluster import gpu_sharing
from vgg6.tuning.cluster.connect import HERE, connect, quiet_environment
from vgg6.tuning.cluster.gpu_sharing import (
    SharedSpeed,
    SharedSpeeds,
    best_runs,
    measure_shared_speeds,
    next_to_measure,
    share_of,
)
from vgg6.tuning.cluster.resources import allot
from vgg6.tuning.cluster.retries import fewer, larger_share
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


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


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


def short_of_memory(
    needs: dict[int, float], log: Path, hold: Path | None = None
) -> Callable[..., None]:
    """The shared trainable where trials need more device memory than a share of a GPU has.

    Args:
        needs: the share that a trial needs, by its number; with less its training raises PyTorch's
            own error after its second epoch.
        log: gets a line an attempt, of the trial and its share.
        hold: an attempt with a larger share waits for this file, for a minute at most.
    """

    def train(assignment: dict[str, Any], **shared: Any) -> None:
        from vgg6.tuning.session import trainable

        gpus, fit = assignment.get("gpus", shared["gpu_fraction"]), trainable.fit
        with open(log, "a") as lines:
            lines.write(f"{assignment['number']} {gpus:g}\n")

        def limited(*arguments: Any) -> Iterator[EpochMetrics]:
            for metrics in fit(*arguments):
                if metrics.epoch > 2 and gpus < needs.get(assignment["number"], 0):
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
                yield metrics

        give_up = time.monotonic() + 60
        while hold and "gpus" in assignment and not hold.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        trainable.fit = limited  # type: ignore[assignment]
        try:
            train_trial(assignment, **shared)
        finally:
            trainable.fit = fit

    return train


def attempts(log: Path) -> dict[int, list[float]]:
    """The share of every attempt of every trial."""
    found: dict[int, list[float]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        number, gpus = line.split()
        found.setdefault(int(number), []).append(float(gpus))
    return found


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


def test_trials_on_the_cpu_hold_the_fraction_that_was_asked_for_and_the_plan_says_so() -> None:
    asked = Settings(name="x", gpus_per_trial=0.25, device="cpu")
    plan = allot(asked, [{"CPU": 8.0, "GPU": 1.0}], "cpu")
    assert plan.concurrent == 4 and "0.25 GPU, held and not used" in plan.why


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--gpus-per-trial", "1.5"], ["1.5", "fraction of one GPU (up to 1) or a whole number"]),
        (["--gpus-per-trial", "-0.5"], ["-0.5"]),
        (["--gpus-per-trial", "nan"], ["nan"]),
        (["--gpus-per-trial", "half"], ["half", "neither a number nor auto"]),
        (["--gpus-per-trial", "auto", "--device", "cpu"], ["auto", "--device cpu"]),
        (["--accelerator-type", "A 100"], ["A 100", "such as A100"]),
        (["--accelerator-type", "A100", "--device", "cpu"], ["--gpus-per-trial"]),
        (["--accelerator-type", "A100", "--gpus-per-trial", "0"], ["--gpus-per-trial"]),
    ],
)
def test_a_share_or_a_kind_that_can_be_none_is_refused_before_ray_starts(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--data", "digits", *arguments]) == 2
    said = capsys.readouterr().err
    assert arguments[0] in said and all(part in said for part in parts), said


def test_every_way_in_which_cuda_is_out_of_memory_is_known_from_a_bug() -> None:
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert ran_out(torch.cuda.OutOfMemoryError("the same by its old name"))
    assert ran_out(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"))
    assert ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublas`"))
    assert ran_out(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:  # as the end of a CUDA graph's capture does
            raise RuntimeError("CUDA error: operation failed due to a previous error in capture")
    except RuntimeError as error:
        assert ran_out(error)
    assert not ran_out(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("share", "larger"),
    [(0.1, 0.2), (0.25, 0.5), (0.6, 1.0), (1.0, None), (2.0, None), (0.0, None)],
)
def test_a_larger_share_is_twice_as_large_and_never_more_than_a_gpu(
    share: float, larger: float | None
) -> None:
    assert larger_share(share) == larger


def test_each_out_of_memory_means_one_trial_less_at_once_down_to_half() -> None:
    assert [fewer(8, times) for times in range(7)] == [8, 7, 6, 5, 4, 4, 4]
    assert [fewer(n, 1) for n in (1, 2, 3)] == [1, 1, 2]


def found(total_gb: float, *measured: tuple[int, float, float]) -> SharedSpeeds:
    """A measurement: runs, images a second of all together, GB in use; of each number of runs."""
    return SharedSpeeds("a device", total_gb, tuple(SharedSpeed(*speed) for speed in measured))


@pytest.mark.parametrize(
    ("measurement", "runs"),
    [
        (found(80, (1, 100, 2), (2, 180, 4), (3, 240, 6), (4, 250, 8)), 4 - 1),  # hardly more
        (found(80, (1, 100, 2), (2, 180, 4), (3, 240, 6), (4, 300, 8)), 4),
        (found(80, (1, 100, 2), (2, 90, 4), (3, 80, 6)), 1),  # they take turns
        (found(10, (1, 100, 3), (2, 190, 6), (3, 280, 9.5)), 2),  # no margin is left
        (found(10, (1, 100, 3), (2, 190, 6), (3, 0, 9)), 2),  # the third was out of memory
        (found(10, (1, 100, 9.8)), 1),  # nothing else can be given
        (found(10, (1, 0, 10)), 1),
    ],
)
def test_the_share_is_that_of_the_number_of_runs_which_trains_most_and_leaves_a_margin(
    measurement: SharedSpeeds, runs: int
) -> None:
    assert best_runs(measurement) == runs
    auto = Settings(name="x", gpus_per_trial="auto", trials=100)
    nodes = [{"CPU": 64.0, "GPU": 2.0}]
    plan = allot(auto, nodes, "cuda", shared_speeds=lambda: [measurement])
    assert plan.gpus == share_of(runs) and plan.concurrent == 2 * runs
    assert f"{measurement.measured[0].speed:.0f} with 1" in plan.measured or "not fit" in (
        plan.measured
    )
    assert SharedSpeeds.from_dict(measurement.to_dict()) == measurement


def test_of_several_kinds_the_one_that_holds_fewest_decides_and_all_are_shown(
    digits: TrialData,
) -> None:
    large = found(80, (1, 100, 2), (2, 190, 4), (3, 280, 6))
    small = found(16, (1, 50, 6), (2, 90, 12))
    nodes = [{"CPU": 16.0, "GPU": 1.0, A100: 1.0}, {"CPU": 16.0, "GPU": 1.0, T4: 1.0}]
    asked = Settings(name="x", gpus_per_trial="auto", trials=100)

    def probed(*arguments: Any) -> list[SharedSpeeds]:
        _, config, images, of = arguments
        assert (config.batch_size, images) == (256, 100) and of == nodes
        return [large, small]

    plan = planning.decide(asked, load_space("default"), digits, nodes, "disabled", probed)
    assert (plan.allotment.gpus, plan.allotment.concurrent) == (0.5, 4)
    assert "280 with 3" in plan.allotment.measured and "90 with 2" in plan.allotment.measured
    assert "one takes 2.0 of 80 GB" in plan.allotment.measured
    with pytest.raises(InputError, match="no GPU to measure: there is 8 CPUs and 0 GPUs"):
        planning.decide(asked, load_space("default"), digits, [{"CPU": 8.0}], "disabled", probed)


def test_numbers_of_runs_are_measured_until_more_runs_cannot_win() -> None:
    assert next_to_measure(None, 8) == 1
    rising = [(1, 100, 2), (2, 190, 4), (3, 270, 6), (4, 340, 8)]
    assert [next_to_measure(found(80, *rising[:n]), 8) for n in (1, 2, 3, 4)] == [2, 3, 4, 6]
    assert next_to_measure(found(80, *rising), 4) is None, "there are no more CPUs"
    assert next_to_measure(found(9, *rising), 8) is None, "six would not fit"
    assert next_to_measure(found(80, *rising[:3], (4, 0, 80)), 8) is None, "four did not fit"
    flat = [(1, 100, 2), (2, 99, 4), (3, 101, 6)]
    assert next_to_measure(found(80, *flat[:2]), 8) == 3, "one measurement may be unlucky"
    assert next_to_measure(found(80, *flat), 8) is None


@pytest.mark.slow
def test_the_probe_trains_really_so_many_runs_at_once() -> None:
    """As on a GPU, but for the memory: on the CPU, with two runs at the most."""
    config = TrialConfig(activation="relu", optimizer="adam", lr=1e-5, batch_size=16, epochs=10_000)
    runtime = Runtime(device="cpu", precision="fp32", threads=1)
    measured = measure_shared_speeds(runtime, config, 100, 2, epoch_images=32, seconds=0.2)
    assert [p.runs for p in measured.measured] == [1, 2]
    assert all(p.speed > 0 for p in measured.measured)
    if not torch.cuda.is_available():
        on_cuda = Runtime(device="cuda", precision="bf16", threads=1)
        with pytest.raises(RuntimeError, match="a measuring run ended .*NVIDIA|CUDA"):
            measure_shared_speeds(on_cuda, config, 100, 2)


def test_a_measurement_is_remembered_by_device_and_torch_version_and_doctor_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = probe.hungriest(load_space("default"))
    name, runtime = (
        gpu_sharing.device_name("cpu"),
        Runtime(device="cpu", precision="fp32", threads=1),
    )
    known = found(16, (1, 100, 2), (2, 190, 4))
    remember(gpu_sharing.measurement_key(name, config, 1000), known.to_dict())
    monkeypatch.setattr(
        probe, "measure_shared_speeds", None
    )  # to measure again would be a TypeError
    assert probe.probe_here(runtime, config, 1000, [{"CPU": 2.0}]) == [known]
    with pytest.raises(TypeError):
        probe.probe_here(runtime, config, 2000, [{"CPU": 2.0}])
    assert not remembered(gpu_sharing.key_start(f"not {name}"))
    assert list(remembered(gpu_sharing.key_start(name)).values()) == [known.to_dict()]

    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: 1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
    said = next(f.found for f in examine(str(tmp_path)) if f.topic == "gpu")
    assert "190 with 2" in said and "one takes 2.0 of 16 GB: 2 at once" in said


def test_the_memory_of_tensors_leaves_room_for_cudas_own() -> None:
    assert tensors_part(1.0, 80e9) == 1.0
    assert tensors_part(0.25, 80e9) == pytest.approx(0.25 - 0.5 / 80)
    assert tensors_part(0.25, 2e9) == 0.125
    for share in (0.1, 0.25, 0.5):
        assert tensors_part(share, 16e9) * 16e9 + 0.5e9 <= share * 16e9 * 1.0001 or share == 0.1


@needs_gpu
def test_a_real_gpu_caps_a_run_at_its_share_and_is_measured() -> None:
    total = torch.cuda.mem_get_info()[1]
    prepare_gpu(0.25)
    try:
        with pytest.raises(torch.OutOfMemoryError) as error:
            torch.empty(int(0.3 * total), dtype=torch.uint8, device="cuda")
        assert ran_out(error.value)
    finally:
        prepare_gpu(1.0)
    runtime = Runtime(device="cuda", precision="bf16", threads=1)
    measured = measure_shared_speeds(runtime, probe.hungriest(load_space("default")), 45_000, 2)
    assert measured.measured[0].speed > 0 and 0 < measured.measured[0].used_gb < total / 1e9
