"""The table of any run folder: of this tool's searches, and of real Ray Tune experiments."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import fs as pafs
from support.made_runs import DATA, search_facts

import tune_vgg6
from analysis.insights.insights import insights, render
from analysis.results.ray_results import read_experiment
from analysis.results.search_tables import (
    load_run,
    load_search,
    load_table,
    load_trials,
    write_table,
)
from analysis.results.tables import RAY_KIND, SEARCH_KIND, typed
from vgg6.config import InputError, TrialConfig
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder

CONFIGS = [
    TrialConfig(activation="relu", optimizer="adam", lr=1e-3, epochs=3),
    TrialConfig(activation="silu", optimizer="nesterov", lr=0.0123456789, epochs=3),
    TrialConfig(activation="tanh", optimizer="rmsprop", lr=5e-4, epochs=3),
]


@pytest.fixture
def search(tmp_path: Path) -> RunFolder:
    """A search of a completed, a pruned and a diverged trial."""
    return write_search(RunFolder(str(tmp_path / "runs" / "mine")))


def write_search(run: RunFolder) -> RunFolder:
    run.create()
    facts = search_facts("mine", 3, "default", data=DATA | {"name": "cifar10"})
    run.write_json(SEARCH, facts)
    lines = [{"event": "session", "session": "session_1"}]
    for number, config in enumerate(CONFIGS):
        lines.append({"event": "trial", "trial": number, "config": config.to_dict(), "params": {}})
        for epoch in range(1, 4 - number if number < 2 else 1):
            lines.append(row(number, epoch))
        state = (j.COMPLETED, j.PRUNED, j.INFEASIBLE)[number]
        reason = "training loss is nan" if state == j.INFEASIBLE else ""
        lines.append({"event": "end", "trial": number, "state": state, "reason": reason})
    text = "".join(json.dumps({**line, "time": float(n)}) + "\n" for n, line in enumerate(lines))
    run.write(JOURNAL, text.encode())
    return run


def row(number: int, epoch: int) -> dict[str, Any]:
    score = 0.5 + 0.1 * number + 0.01 * epoch
    return {
        "event": "epoch", "trial": number, "epoch": epoch, "train_loss": 1.5, "train_acc": 0.5,
        "val_loss": 1 / 3, "val_acc": score, "best_val_acc": score, "best_epoch": epoch,
        "lr": 0.01, "seconds": 2.5, "node": "here", "pid": 1,
    }  # fmt: skip


def test_parquet_and_csv_are_written_beside_each_other_and_read_back_equal(
    search: RunFolder,
) -> None:
    write_table(search)
    for name, frame in (("results", load_table(search)), ("trials", load_trials(search))):
        again = pd.read_parquet(search.file(f"{name}.parquet"))
        pd.testing.assert_frame_equal(again, frame)
        plain = pd.read_csv(search.file(f"{name}.csv"), keep_default_na=True)
        assert list(plain.columns) == list(frame.columns) and len(plain) == len(frame)
        assert plain.lr.tolist() == frame.lr.tolist()
    assert len(load_table(search)) == 5 and len(load_trials(search)) == 3


def test_a_search_without_a_trial_has_the_same_column_types_in_parquet(search: RunFolder) -> None:
    full, whole = load_table(search), load_trials(search)
    search.delete(JOURNAL)
    write_table(search)
    empty = pd.read_parquet(search.file("results.parquet"))
    assert len(empty) == 0 and (empty.dtypes == full.dtypes).all()
    trials = pd.read_parquet(search.file("trials.parquet"))
    differs = trials.dtypes.index[trials.dtypes != whole.dtypes]
    assert set(differs) <= {"best_epoch"}, "nullable where a trial has none"


def test_a_missing_value_is_missing_and_not_a_word_or_a_zero(search: RunFolder) -> None:
    trials = load_trials(search)
    assert trials.momentum.isna().tolist() == [True, False, False]
    assert trials.best_epoch.isna().tolist() == [False, False, True]
    assert trials.best_epoch[0] == 3 and trials.best_epoch.dtype == "Int64"
    assert trials.epochs_run.tolist() == [3, 2, 0]


def test_columns_that_nobody_knows_take_the_type_of_their_values() -> None:
    frame = typed(
        {
            "whole": [1, None], "real": [1, 2.5], "yes": [True, False], "word": ["a", None],
            "mixed": [1, "a"], "list": [[1, 2], None], "none": [None, None], "huge": [2**70, 1],
        }
    )  # fmt: skip
    assert [str(t) for t in frame.dtypes] == [
        "Int64", "float64", "bool", "str", "str", "str", "float64", "float64",
    ]  # fmt: skip
    assert frame.mixed.tolist() == ["1", "a"] and frame["list"][0] == "[1, 2]"


def test_an_unfinished_search_is_read_by_name_by_folder_and_by_uri(search: RunFolder) -> None:
    lines = Path(search.file(JOURNAL)).read_text().splitlines(keepends=True)
    Path(search.file(JOURNAL)).write_text("".join(lines[:4]) + lines[4][:30])
    storage = str(Path(search.path).parent)
    for location in ("mine", search.path, Path(search.path).as_uri()):
        run = load_run(location, storage)
        assert (run.kind, run.name, run.metric, run.mode) == (SEARCH_KIND, "mine", "val_acc", "max")
        assert run.table.epoch.tolist() == [1, 2] and run.trials.state.tolist() == ["running"]
        assert {"lr", "optimizer", "momentum"} <= set(run.parameters)
        assert run.notes == ("1 unfinished lines of the journal were left out",)


@pytest.mark.slow
def test_both_kinds_of_folder_are_read_from_storage_that_is_no_disk(
    search: RunFolder, experiments: Path, tmp_path: Path
) -> None:
    for source, read in ((search.path, load_search), (experiments / "asha", read_ray)):
        here = read(RunFolder(str(source)))
        there = read(store(Path(source)))
        pd.testing.assert_frame_equal(here.table, there.table)
        pd.testing.assert_frame_equal(here.trials, there.trials)


def read_ray(folder: RunFolder) -> Any:
    return read_experiment(folder, None, None)


def store(folder: Path) -> RunFolder:
    """The same folder behind a filesystem that is not the local one."""
    run = RunFolder(str(folder))
    run.fs = pafs.SubTreeFileSystem(str(folder.parent), pafs.LocalFileSystem())
    run.path, run.local = folder.name, False
    return run


def test_a_folder_that_is_neither_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for location in ("photos", str(tmp_path / "photos"), (tmp_path / "photos").as_uri()):
        with pytest.raises(InputError, match="is no search"):
            load_run(location, str(tmp_path))


# Every experiment is a real one, on Ray's default loggers. The last one's driver is killed.
EXPERIMENTS = """
import math, os, signal, sys, time

FOLDER = sys.argv[1]
os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0"  # a killed driver shall have written something

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)

def run(name, train, space, callbacks=(), stop=None, failures=0, **config):
    tune.Tuner(
        train, param_space=space,
        tune_config=tune.TuneConfig(reuse_actors=True, **config),
        run_config=tune.RunConfig(
            name=name, storage_path=FOLDER, verbose=0, stop=stop, callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=failures),
            sync_config=tune.SyncConfig(sync_period=0)),
    ).fit()

def climb(config):
    for i in range(1, 9):
        tune.report({"val_accuracy": config["lr"] * i, "lr": config["lr"] / i,
                     "detail": {"train_loss": 1 / i}, "note": "text"})

run("asha", climb, {"lr": tune.grid_search([0.1, 0.05, 0.02, 0.01]), "optimizer": "sgd",
                    "model": {"layers": [1, 2], "act": "relu"}, "extra": None},
    metric="val_accuracy", mode="max",
    scheduler=ASHAScheduler(max_t=8, grace_period=2, reduction_factor=2))

def fragile(config):
    marker = os.path.join(FOLDER, "tried")
    for i in range(1, 4):
        tune.report({"mean_accuracy": config["width"] / 100 + i / 10})
        if i == 2 and config["width"] == 16:
            raise ValueError("boom\\nand more")
        if i == 2 and config["width"] == 32 and not os.path.exists(marker):
            open(marker, "w").close()
            raise RuntimeError("once")

run("errors", fragile, {"width": tune.grid_search([8, 16])})
run("retried", fragile, {"width": 32}, failures=1)

def losses(config):
    for i in range(4):
        tune.report({"loss": math.nan if config["lr"] > 5 and i else abs(i - 2) + config["lr"]})

run("losses", losses, {"lr": tune.grid_search([0.5, 0.25, 10.0])}, stop={"training_iteration": 4})

def one(config):
    tune.report({"mean_accuracy": 0.5 - abs(math.log10(config["lr"]) + 2) / 5})

run("many", one, {"lr": tune.grid_search([10 ** (-4 + i / 3) for i in range(12)]),
                  "optimizer": tune.grid_search(["sgd", "adam"]),
                  "head": {"width": tune.grid_search([8])}})

class Killer(tune.Callback):
    seen = 0
    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.seen += 1
        if self.seen == 8:
            os.kill(os.getpid(), signal.SIGKILL)

def slow(config):
    for i in range(1, 6):
        time.sleep(0.05)
        tune.report({"mean_accuracy": i / 10})

run("killed", slow, {"seed": tune.grid_search([1, 2, 3])}, callbacks=[Killer()])
"""


@pytest.fixture(scope="session")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray_results")
    # Stock Ray: this tool's commands, which other tests call, set Ray's variables for themselves.
    stock = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", EXPERIMENTS, str(folder)],
        capture_output=True, text=True, timeout=300, cwd=folder, env=stock,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr[-2000:]  # killed by itself, in the last experiment
    return folder


@pytest.fixture
def ray_run(experiments: Path, tmp_path: Path) -> Any:
    """A copy of an experiment to do things to."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(experiments / name, tmp_path / name))

    return copy


@pytest.mark.slow
def test_a_finished_ray_experiment_is_read_with_its_pruned_trials(experiments: Path) -> None:
    run = load_run("asha", str(experiments))
    assert (run.kind, run.metric, run.mode, run.metric_name) == (
        RAY_KIND, "val_acc", "max", "val_accuracy",
    )  # fmt: skip
    assert run.trials.trial.tolist() == [0, 1, 2, 3]
    assert run.trials.lr.tolist() == [0.1, 0.05, 0.02, 0.01]
    assert run.trials.state.tolist() == ["completed", "pruned", "pruned", "pruned"]
    assert run.trials.epochs_run.tolist() == [8, 2, 2, 2]
    assert set(run.trials.epochs) == {8}
    assert set(run.trials["config/model/act"]) == {"relu"}
    assert set(run.trials["config/model/layers"]) == {"[1, 2]"}
    assert run.trials["config/extra"].isna().all()
    assert run.parameters == ("lr",)
    first = run.table[run.table.trial == 0]
    assert first.epoch.tolist() == list(range(1, 9))
    assert first.val_acc.tolist() == pytest.approx([0.1 * i for i in range(1, 9)])
    assert set(first.lr) == {0.1}, "the configuration's, not the reported rate"
    assert first.epoch_lr.tolist() == pytest.approx([0.1 / i for i in range(1, 9)])
    assert first["detail/train_loss"].tolist() == pytest.approx([1 / i for i in range(1, 9)])
    assert "note" not in run.table and "pid" not in run.table
    assert (run.table.seconds >= 0).all() and run.table.node.notna().all()
    assert (first.time.diff().dropna() >= 0).all()
    assert (run.trials.created <= run.trials.ended + 1).all()


@pytest.mark.slow
def test_a_trial_that_raised_has_failed_and_one_that_was_retried_has_not(
    experiments: Path,
) -> None:
    run = load_run(str(experiments / "errors"))
    assert run.metric_name == "mean_accuracy" and run.metric == "val_acc"
    assert run.trials.state.tolist() == ["completed", "failed"]
    assert run.trials.reason.tolist() == ["", "ValueError: boom"]
    assert run.trials.epochs_run.tolist() == [3, 2]
    again = load_run(str(experiments / "retried"))
    (folder,) = again.trials.label
    assert (experiments / "retried" / folder / "error.txt").exists()
    assert again.trials.state.tolist() == ["completed"]
    assert again.table.epoch.tolist() == [1, 2, 3], "what ran twice counts once"


@pytest.mark.slow
def test_a_killed_experiment_is_read_up_to_its_torn_last_line(ray_run: Any) -> None:
    folder = ray_run("killed")
    whole = load_run(str(folder))
    assert whole.trials.state.tolist()[:2] == ["completed", "running"]
    assert 5 <= len(whole.table) <= 8  # Ray copies results to the storage a little later
    (result,) = folder.glob("*_00000_*/result.json")
    content = result.read_bytes()
    result.write_bytes(content[:-40])
    torn = load_run(str(folder))
    assert len(torn.table) == len(whole.table) - 1
    assert any("1 unfinished lines" in note for note in torn.notes)
    # progress.csv takes the place of a result.json that is not there; its torn line would parse.
    (progress,) = folder.glob("*_00000_*/progress.csv")
    result.unlink()
    pd.testing.assert_frame_equal(load_run(str(folder)).table, whole.table, check_dtype=False)
    progress.write_bytes(progress.read_bytes()[:-3])
    assert len(load_run(str(folder)).table) == len(whole.table) - 1


@pytest.mark.slow
def test_a_loss_is_judged_by_its_least_and_a_nan_is_a_diverged_trial(experiments: Path) -> None:
    run = load_run(str(experiments / "losses"))
    assert (run.metric, run.mode, run.best) == ("loss", "min", "best_loss")
    assert run.trials.state.tolist() == ["completed", "completed", "infeasible"]
    assert run.trials.reason[2] == "loss is nan"
    assert run.trials.best_loss.tolist() == [0.5, 0.25, 12.0]
    assert run.trials.best_epoch.tolist() == [3, 3, 1]
    assert run.table[run.table.trial == 0].best_loss.tolist() == [2.5, 1.5, 0.5, 0.5]
    found = insights(run)
    assert found["infeasible"]["count"] == 1 and found["importance"] is None
    assert "Diverged: 1 trials" in render(run, found)


@pytest.mark.slow
def test_what_mattered_in_a_ray_experiment_is_said_without_a_search_space(
    experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_vgg6.main(["insights", str(experiments / "many"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    values = found["importance"]["values"]
    assert (
        list(values) == ["lr", "optimizer"] and values["lr"]["p"] < 0.1 < values["optimizer"]["p"]
    )
    assert found["interaction"]["optimizers"] == ["adam", "sgd"]
    assert sum(map(sum, found["interaction"]["count"])) == 24
    (row,) = found["effects"]["optimizer"]
    assert (row["value"], row["against"], row["pairs"]) == ("adam", "sgd", 12)
    assert row["difference"] == pytest.approx(0)


@pytest.mark.slow
def test_the_metric_is_asked_for_by_name_and_a_wrong_one_offers_the_reported_ones(
    experiments: Path,
) -> None:
    location = str(experiments / "asha")
    run = load_run(location, metric="detail/train_loss")
    assert (run.metric, run.mode) == ("detail/train_loss", "min")
    assert run.trials["best_detail/train_loss"][0] == pytest.approx(1 / 8)
    assert load_run(location, metric="val_acc").metric_name == "val_accuracy"
    assert load_run(location, metric="val_accuracy", mode="min").trials.best_val_acc[0] == 0.1
    with pytest.raises(InputError, match="--metric: 'val_accurac' .*did you mean 'val_accuracy'"):
        load_run(location, metric="val_accurac")
    with pytest.raises(InputError, match="--mode"):
        load_run(location, mode="most")


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.slow
def test_nothing_of_a_ray_experiment_is_unpickled(ray_run: Any, tmp_path: Path) -> None:
    folder, trace = ray_run("errors"), tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(trace))
    pickled = [*folder.rglob("*.pkl"), *folder.glob("basic-variant-state-*")]
    assert len(pickled) > 3
    for file in pickled:
        file.write_bytes(bomb)
    (state,) = folder.glob("experiment_state-*.json")
    text = state.read_text()
    assert "80054e2e" in text  # a pickled None, in hexadecimal
    state.write_text(text.replace("80054e2e", bomb.hex()))
    assert load_run(str(folder)).trials.state.tolist() == ["completed", "failed"]
    assert not trace.exists()


@pytest.mark.slow
def test_without_its_state_an_experiment_is_read_from_its_trials_alone(ray_run: Any) -> None:
    folder = ray_run("asha")
    whole = load_run(str(folder))
    for file in folder.glob("*.json"):
        file.unlink()
    alone = load_run(str(folder))
    assert alone.trials.lr.tolist() == whole.trials.lr.tolist()
    assert alone.trials.state.tolist() == whole.trials.state.tolist()
    pd.testing.assert_frame_equal(alone.table, whole.table)


@pytest.mark.slow
def test_what_runs_again_after_a_restore_replaces_what_it_repeats(ray_run: Any) -> None:
    folder = ray_run("asha")
    (result,) = folder.glob("*_00000_*/result.json")
    lines = result.read_text().splitlines(keepends=True)
    again = json.loads(lines[5]) | {"val_accuracy": 0.99}
    result.write_text("".join(lines[:7]) + json.dumps(again) + "\n")
    rows = load_run(str(folder)).table
    assert rows[rows.trial == 0].epoch.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows[(rows.trial == 0) & (rows.epoch == 6)].val_acc.tolist() == [0.99]


@pytest.mark.slow
def test_the_table_command_writes_either_kind_of_folder_in_either_format(
    search: RunFolder, experiments: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for location, rows in ((search.path, 5), (str(experiments / "asha"), 14)):
        out = tmp_path / "out.parquet"
        assert tune_vgg6.main(["table", location, "--out", str(out)]) == 0
        assert capsys.readouterr().out == ""
        pd.testing.assert_frame_equal(pd.read_parquet(out), load_run(location).table)
        assert len(pd.read_parquet(out)) == rows
        assert tune_vgg6.main(["table", location, "--trials"]) == 0
        text = capsys.readouterr().out
        assert len(text.splitlines()) == len(load_run(location).trials) + 1


def test_the_table_command_refuses_other_formats_and_absent_folders(
    search: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rule in (("a.xlsx", ".csv or .parquet"), ("no/a.csv", "no folder that exists")):
        assert tune_vgg6.main(["table", search.path, "--out", str(tmp_path / name)]) == 2
        assert rule in capsys.readouterr().err
    assert tune_vgg6.main(["table", search.path, "--metric", "val_loss"]) == 2
    assert "Ray Tune experiments" in capsys.readouterr().err
