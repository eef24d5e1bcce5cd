"""Searches on a real Ray, with real trials on real images of digits."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from safetensors.torch import load_file
from support.wandb_files import read_runs

from analysis.report.wandb_summary import WandbSummary
from cli.search import finish
from search_spaces import Parameter, Space, load_space
from vgg6.common.checks import InputError
from vgg6.data import TrialData, data_facts, load_digits, split
from vgg6.evaluation import evaluate
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6
from vgg6.training import TrainState, fit
from vgg6.tuning.algorithms.warm_start import begin_from, read_earlier
from vgg6.tuning.cluster import connect as cluster
from vgg6.tuning.cluster.allotment import allot
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PRUNED
from vgg6.tuning.session import plan as planning
from vgg6.tuning.session import start as starting
from vgg6.tuning.session.session import MAX_FAILURES, build_searcher, create_run, run_session
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.session.trainable import train_trial
from vgg6.tuning.settings import Settings
from vgg6.tuning.trackers.journal_mirror import FINISH_S
from vgg6.tuning.trackers.wandb_mirror import default_mode

IMAGES = 32
LR = Parameter(name="lr", low=1e-4, high=10.0, log=True)
# One trial at a time: one worker to start, where the number of them proves nothing.
ALONE: dict[str, Any] = {"max_concurrent": 1, "cpus_per_trial": 1.0}


@pytest.fixture(scope="module")
def digits() -> TrialData:
    return split(load_digits(), limit_train=IMAGES)


def points(*rows: dict[str, Any]) -> Space:
    """A space that is just these configurations, for ``--searcher grid``."""
    names = {name for row in rows for name in row if name != "epochs"}
    parameters = [LR] if "lr" in names else []
    for name in sorted(names - {"lr"}):
        choices = tuple(dict.fromkeys(row[name] for row in rows))
        parameters.append(Parameter(name=name, choices=choices))
    return Space(name="points", parameters=tuple(parameters), points=rows, points_only=True)


def narrow(space: Space) -> Space:
    """The space with the smallest network, where its size proves nothing."""
    return replace(space, fixed=space.fixed | {"width": 0.125})


def start(
    folder: Path, space: Space, data: TrialData, make_searcher: Any = None, **changes: Any
) -> tuple[RunFolder, Outcome]:
    """Run a whole search on the Ray of this module."""
    values: dict[str, Any] = {"trials": 4, "epochs": 2, "data": "digits", "wandb": "disabled"}
    settings = Settings(name="run", storage=str(folder), **(values | changes))
    run = RunFolder(str(folder / "run"))
    plan = planning.make_plan(settings, space, data, "this machine")
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=IMAGES)
    create_run(run, plan, data_facts=facts, command="test")
    return run, run_session(run, plan, make_searcher)


@pytest.mark.usefixtures("ray_here")
def test_a_search_journals_every_epoch_once_and_keeps_the_best_weights(
    tmp_path: Path, digits: TrialData
) -> None:
    run, outcome = start(tmp_path, narrow(load_space("wide")), digits, trials=7, epochs=4)
    assert outcome.outcome == "complete"
    history = read_history(run)
    assert sorted(history.trials) == list(range(7))
    assert history.repeated_rows == history.torn_lines == 0
    workers = {row.pid for t in history.trials.values() for row in t.rows.values()}
    assert len(workers) <= 2, "actors are reused: two trials at once need two processes"
    states = Counter(t.state for t in history.trials.values())
    assert not set(states) - {COMPLETED, PRUNED, INFEASIBLE}
    for trial in history.trials.values():
        assert sorted(trial.rows) == list(range(1, trial.epoch + 1))
        assert (trial.state == COMPLETED) == (trial.epoch == 4)
    kept = sorted(p.name for p in (Path(run.path) / "weights").iterdir())
    assert len(kept) == 5
    best = history.incumbent
    assert best is not None and f"trial_{best.number:05d}.safetensors" in kept
    assert not list(Path(run.path).rglob("*.pkl")), "nothing pickled is left"
    left = {p.name for p in Path(run.path).iterdir()}
    kept = {"journal.jsonl", "search.json", "weights", ".lock", ".here", ".before"}
    assert left - {"checkpoints"} == kept, "what is Ray's goes"
    states = [run.names(f"checkpoints/{name}") for name in run.names("checkpoints")]
    assert all(len(last) == 1 for last in states), "of ended trials the last state, if any"

    # The kept weights are those of the best epoch: they score what was recorded of it.
    runtime = Runtime(**run.read_json("search.json")["runtime"])
    config = best.config
    model = VGG6(config)
    model.load_state_dict(load_file(Path(run.file(f"weights/trial_{best.number:05d}.safetensors"))))
    model.to(memory_format=torch.channels_last)
    runtime.apply()
    parts = resident(digits, "cpu")
    found = evaluate(model, parts.val_images, parts.val_labels, parts.normalize, runtime)
    assert found.accuracy == best.best_val_acc


@pytest.mark.usefixtures("ray_here")
def test_a_trial_in_a_search_equals_the_same_run_outside_ray_bit_for_bit(
    tmp_path: Path, digits: TrialData
) -> None:
    row = {"activation": "silu", "optimizer": "nadam", "lr": 1e-3, "batch_size": 64}
    run, _ = start(tmp_path, narrow(points(row)), digits, searcher="grid", epochs=3)
    record = read_history(run).trials[0]
    runtime = Runtime(**run.read_json("search.json")["runtime"])
    state = TrainState(record.config, runtime)
    for metrics in fit(state, digits):
        expected = {k: v for k, v in metrics.to_dict().items() if k != "seconds"}
        assert record.rows[metrics.epoch].metrics.to_dict().items() >= expected.items()


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("searcher", "scheduler"), [("random", "hyperband"), ("optuna", "median"), ("gp", "none")]
)
def test_every_searcher_and_scheduler_runs_a_search_to_its_end(
    tmp_path: Path, digits: TrialData, searcher: str, scheduler: str
) -> None:
    run, outcome = start(
        tmp_path, narrow(load_space("default")), digits, trials=5, searcher=searcher,
        scheduler=scheduler,
    )  # fmt: skip
    history = read_history(run)
    assert outcome.outcome == "complete"
    assert all(t.ended is not None for t in history.trials.values()) and len(history.trials) == 5


@pytest.mark.usefixtures("ray_here")
def test_trials_read_the_images_of_the_object_store_without_a_copy(digits: TrialData) -> None:
    @ray.remote
    def look(data: TrialData) -> list[bool]:
        parts = resident(data, "cpu")
        return [
            not data.train.images.flags.owndata,
            not data.train.images.flags.writeable,
            parts.train_images.data_ptr() == data.train.images.ctypes.data,
            parts.val_images.data_ptr() == data.val.images.ctypes.data,
        ]

    assert ray.get(look.remote(ray.put(digits))) == [True] * 4


@pytest.mark.usefixtures("ray_here")
def test_asha_stop_ends_the_bad_ones_and_optuna_hears_pruned(tmp_path: Path) -> None:
    base = {"activation": "relu", "batch_size": 32}
    bad = ({"optimizer": "sgd", "lr": 1e-4 + i * 1e-9} for i in range(4))
    rows = [base | row for row in ({"optimizer": "adam", "lr": 3e-3}, *bad)]
    space = replace(points(*rows), fixed={"width": 0.125, "norm": "batch", "dropout": 0.0})
    run, outcome = start(
        tmp_path, space, split(load_digits(), limit_train=200), searcher="grid",
        epochs=8, trials=5, max_concurrent=1, reduction=2, scheduler="asha-stop",
    )  # fmt: skip
    history = read_history(run)
    assert outcome.outcome == "complete"
    assert history.trials[0].state == COMPLETED
    states = [history.trials[n].state for n in range(1, 5)]
    assert states.count(PRUNED) >= 3, states
    assert all(history.trials[n].epoch in (1, 2, 4, 8) for n in range(5))


@pytest.mark.usefixtures("ray_here")
def test_a_diverged_trial_ends_in_that_epoch_as_infeasible_and_is_not_retried(
    tmp_path: Path, digits: TrialData
) -> None:
    rows = [
        {"activation": "relu", "optimizer": "sgd", "batch_size": 16, "lr": 10.0},
        {"activation": "relu", "optimizer": "sgd", "batch_size": 16, "lr": 1e-3},
    ]
    run, outcome = start(tmp_path, points(*rows), digits, searcher="grid", trials=2, **ALONE)
    history = read_history(run)
    assert outcome.outcome == "complete"
    assert [history.trials[n].state for n in (0, 1)] == [INFEASIBLE, COMPLETED]
    assert "loss is" in history.trials[0].reason and history.trials[0].epoch < 2


@pytest.mark.usefixtures("ray_here")
def test_when_every_trial_diverges_the_search_says_why_and_writes_no_best(
    tmp_path: Path, digits: TrialData, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"activation": "relu", "optimizer": "sgd", "batch_size": 16, "lr": 10.0}
    run, outcome = start(tmp_path, points(row), digits, searcher="grid")
    assert outcome.outcome == "all failed"
    assert "trial 0" in outcome.detail and "loss is" in outcome.detail
    capsys.readouterr()
    assert finish(run, outcome, Settings(name="run", storage=str(tmp_path)), "") == 1
    assert "loss is" in capsys.readouterr().err
    assert not (tmp_path / "run" / "best.json").exists() and not (tmp_path / "run/best").exists()


def kill_workers(run: Path, *, after_epochs: int, times: int) -> list[int]:
    """Kill the processes that this run's journal names, from a thread. Returns the growing list of
    those that were killed."""
    killed: list[int] = []

    def watch() -> None:
        while len(killed) < times:
            time.sleep(0.02)
            rows = read_history(RunFolder(str(run))).trials
            epochs = [row for trial in rows.values() for row in trial.rows.values()]
            pids = {int(row.pid) for row in epochs} - set(killed)
            if len(epochs) >= after_epochs * (len(killed) + 1) and pids:
                killed.append(pids.pop())
                psutil.Process(killed[-1]).send_signal(signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return killed


@pytest.mark.usefixtures("ray_here")
def test_a_killed_worker_resumes_without_repeating_an_epoch(
    tmp_path: Path, digits: TrialData
) -> None:
    row = {"activation": "relu", "optimizer": "sgd", "batch_size": 16, "lr": 1e-3}
    killed = kill_workers(tmp_path / "run", after_epochs=2, times=2)
    run, outcome = start(tmp_path, points(row), digits, searcher="grid", epochs=8)
    assert len(killed) == 2, "no worker was killed: no test"
    history = read_history(run)
    assert outcome.outcome == "complete"
    assert sorted(history.trials[0].rows) == list(range(1, 9))
    state = TrainState(
        history.trials[0].config,
        Runtime(**run.read_json("search.json")["runtime"]),
    )
    for metrics in fit(state, digits):
        assert history.trials[0].rows[metrics.epoch].train_loss == metrics.train_loss


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("how", ["raises", "killed"])
def test_a_trial_that_crashes_at_every_attempt_fails_with_its_reason_and_the_others_finish(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    attempts, asked = tmp_path / "attempts", []

    def listening(*given: Any) -> Any:
        asked.append(build_searcher(*given, promotions=None))
        return asked[0]

    def crash(assignment: dict[str, Any], **shared: Any) -> None:
        if assignment["number"] == 1:
            with open(attempts, "a") as lines:
                lines.write("once more\n")
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("no such luck")
        train_trial(assignment, **shared)

    monkeypatch.setattr("vgg6.tuning.session.session.train_trial", crash)
    row = {"activation": "relu", "optimizer": "sgd", "batch_size": 16}
    rows = [{**row, "lr": lr} for lr in (1e-3, 2e-3, 3e-3)]
    run, outcome = start(
        tmp_path, narrow(points(*rows)), digits, listening, searcher="grid", scheduler="none",
        trials=3,
    )  # fmt: skip
    history = read_history(run)
    # Optuna refuses to be told twice: the search would have ended with its error.
    told = [t.state.name for t in asked[0].study.trials]
    assert sorted(told) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert [history.trials[n].state for n in range(3)] == [COMPLETED, FAILED, COMPLETED]
    cause = {"raises": "no such luck", "killed": "died"}[how]
    assert cause in history.trials[1].reason
    assert attempts.read_text().count("once more") == 1 + MAX_FAILURES
    assert outcome.outcome == "complete" and "1 of them failed" in outcome.detail


@pytest.mark.usefixtures("ray_here")
def test_patience_ends_a_search_that_no_longer_improves(tmp_path: Path, digits: TrialData) -> None:
    good = {"activation": "relu", "optimizer": "adam", "batch_size": 32}
    rows = [{**good, "lr": 1e-3}, *({**good, "lr": 1e-4 + i * 1e-9} for i in range(11))]
    run, outcome = start(
        tmp_path, points(*rows), digits, searcher="grid", epochs=2, trials=12, patience=3,
        max_concurrent=1, scheduler="none",
    )  # fmt: skip
    assert outcome.outcome == "complete" and "no new incumbent" in outcome.detail
    assert len(read_history(run).trials) < 12


@pytest.mark.usefixtures("ray_here")
def test_a_warm_start_runs_the_earlier_best_first_and_is_resumed_without_the_earlier_folder(
    tmp_path: Path, digits: TrialData
) -> None:
    space = narrow(
        Space(name="lr", parameters=(LR,), fixed={"activation": "relu", "batch_size": 32})
    )
    before, _ = start(tmp_path, space, digits, trials=6, epochs=1, scheduler="none", **ALONE)
    best = read_history(before).ranking()[0]
    settings = Settings(name="warm", storage=str(tmp_path), trials=3, epochs=1, data="digits",
                        scheduler="none", wandb="disabled", **ALONE)  # fmt: skip
    earlier = read_earlier(["run"], settings, space)
    warmed, warm = begin_from(earlier, space, settings, digits.fingerprint)
    run = RunFolder(str(tmp_path / "warm"))
    facts = data_facts("digits", load_digits(), digits, split_seed=42, limit_train=IMAGES)
    starting.start_search(cluster.HERE, run, settings, warmed, digits, facts, "test", warm)
    shutil.rmtree(before.path)
    found = read_search(run)
    found = replace(found, facts=found.facts.model_copy(update={"trials": 5}))
    asked = []

    def listening(*given: Any) -> Any:
        asked.append(build_searcher(*given, promotions=None))
        return asked[0]

    longer = Settings(**(settings.to_dict() | {"trials": 5}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vgg6.tuning.session.session.run_session.__defaults__", (listening,))
        outcome = starting.resume_search(cluster.HERE, found, longer, digits)
    history = read_history(run)
    assert outcome.outcome == "complete" and sorted(history.trials) == list(range(5))
    # The same run as before: it has the same score to the last bit.
    assert history.trials[0].config == best.config
    assert history.trials[0].best_val_acc == best.best_val_acc
    told = [t.params["lr"] for t in asked[0].study.trials[: len(warm.told)]]
    assert warm.told and told == [t.config.lr for t in warm.told]
    assert found.facts.warm_start.sources[0].run == before.uri


@pytest.mark.usefixtures("ray_here")
def test_wandb_gets_one_run_a_trial_with_every_epoch_in_it(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    row = {"activation": "gelu", "optimizer": "sgd", "batch_size": 128, "lr": 0.01}
    rows = [row, {**row, "lr": 0.02}]
    run, outcome = start(tmp_path, points(*rows), digits, searcher="grid", wandb="offline")
    assert outcome.tracker_problems == []
    history, runs = read_history(run), read_runs(Path(run.path))
    assert sorted(r.name for r in runs) == ["Gelu_SGD_0.01_128_2", "Gelu_SGD_0.02_128_2"]
    assert {(r.group, r.project) for r in runs} == {("run", "tune_vgg6")}
    assert len({r.id for r in runs}) == 2
    for wandb_run in runs:
        record = history.trials[wandb_run.config["trial"]]
        assert wandb_run.config == {**record.config.to_dict(), "trial": record.number}
        assert wandb_run.summary["best_val_acc"] == record.best_val_acc
        assert wandb_run.exit_code == 0
        logged = {row["epoch"]: row for row in wandb_run.history}
        assert sorted(logged) == sorted(record.rows) == [1, 2]
        for epoch, row in logged.items():
            for key in ("train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc"):
                assert row[key] == getattr(record.rows[epoch], key)


@pytest.mark.usefixtures("ray_here")
def test_broken_wandb_neither_fails_nor_holds_up_a_search(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key, but a server that refuses: the search goes on, and W&B goes on offline."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    row = {"activation": "gelu", "optimizer": "sgd", "batch_size": 128, "lr": 0.01}
    run, outcome = start(tmp_path, narrow(points(row)), digits, searcher="grid", wandb="online")
    assert outcome.outcome == "complete"
    assert read_history(run).trials[0].epoch == 2
    for file in Path(run.path).rglob("*"):
        assert not file.is_file() or b"0" * 40 not in file.read_bytes(), f"the key is in {file}"


@pytest.mark.usefixtures("ray_here")
def test_a_hanging_wandb_holds_up_the_end_of_a_search_by_ten_seconds_at_most(
    tmp_path: Path, digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes every connection and never answers."""
    row = {"activation": "gelu", "optimizer": "sgd", "batch_size": 128, "lr": 0.01}
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        space = narrow(points(row))
        run, outcome = start(tmp_path, space, digits, searcher="grid", wandb="online")
    assert outcome.outcome == "complete"
    assert sorted(read_history(run).trials[0].rows) == [1, 2]
    assert ["wandb.log" in problem for problem in outcome.tracker_problems] == [True]
    assert outcome.wandb_seconds < 2 * FINISH_S, "it is ended after 10 s"
    waited = time.monotonic()
    summary = WandbSummary(run, "online", folder=Path(run.path), project="p", group="g")
    said = summary.finish(waited=FINISH_S)
    assert "still being sent" in said and time.monotonic() - waited < FINISH_S, "and gets no more"


@pytest.mark.usefixtures("ray_here")
def test_a_request_that_no_node_can_meet_is_refused_with_what_there_is(
    digits: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "JOINING_S", 0.5)
    for changes, part in (
        ({"gpus_per_trial": 0.5}, "gpus_per_trial"),
        ({"cpus_per_trial": 4096.0 / 4}, "cpus_per_trial"),
    ):
        settings = Settings(name="x", data="digits", **changes)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="the cluster has .*CPUs") as refusal:
            planning.make_plan(settings, load_space("default"), digits, "here")
        assert refusal.value.field == part


def test_automatic_trials_promise_a_time_and_keep_to_it(digits: TrialData) -> None:
    nodes = [{"CPU": 2.0}]
    space = load_space("default")
    plan = planning.decide(Settings(name="x", trials=None), space, digits, nodes, "disabled")
    assert 8 <= plan.trials <= 64 and plan.settings.time_budget == 240
    given = Settings(name="x", trials=None, time_budget=1.0)
    plan = planning.decide(given, space, digits, nodes, "disabled")
    assert (plan.trials, plan.settings.time_budget) == (8, 1.0)
    plan = planning.decide(Settings(name="x", trials=9), space, digits, nodes, "disabled")
    assert (plan.trials, plan.settings.time_budget) == (9, None)


def test_a_resumed_search_computes_as_it_began_and_says_so(digits: TrialData) -> None:
    began = Runtime(device="cpu", precision="fp32", threads=2)
    nodes, space = [{"CPU": 4.0, "GPU": 1.0}], load_space("default")
    settings = Settings(name="x", trials=9)
    plan = planning.decide(settings, space, digits, nodes, "disabled", recorded=began)
    assert plan.runtime == began and plan.allotment.gpus == 0
    assert plan.allotment.why.startswith("2 at once, 2 CPUs (2 threads) each")


def test_wandb_is_online_with_a_key_and_else_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert default_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert default_mode() == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert default_mode() == "online"


def test_fractions_of_a_gpu_never_span_two() -> None:
    settings = Settings(name="x", gpus_per_trial=0.4, trials=64)
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 4.0}]
    assert allot(settings, nodes, "cuda").concurrent == 4 + 3
    whole = replace(settings, gpus_per_trial=2.0)
    assert allot(whole, nodes, "cuda").concurrent == 1 + 2
    assert allot(replace(settings, gpus_per_trial=None), nodes, "cuda").gpus == 0.25
