"""A finished search that is extended on a real Ray, killed in between and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.killed_search import killed_search

from vgg6.data import load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import SEARCH, open_run
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED

IMAGES = 120
SPACE = """
name: two
parameters:
  activation: {choices: [relu]}
  optimizer: {choices: [adam]}
  batch_size: {choices: [32]}
  lr: {low: 1e-4, high: 1e-2, log: true}
  schedule: {choices: [constant, cosine]}
fixed: {width: 0.125}
points:
  - {activation: relu, optimizer: adam, batch_size: 32, lr: 0.001, schedule: constant}
  - {activation: relu, optimizer: adam, batch_size: 32, lr: 0.001, schedule: cosine}
  - {activation: relu, optimizer: adam, batch_size: 32, lr: 0.002, schedule: constant}
"""
# SIGKILL when the first trial has run an epoch of its greater length.
KILLED = """
import os, signal, sys, tune_vgg6
from vgg6.tuning.session.callbacks import JournalCallback
def die(self, iteration, trials, trial, result, **info):
    hears(self, iteration, trials, trial, result, **info)
    if self.journal.history.trials[0].epoch == 2: os.kill(os.getpid(), signal.SIGKILL)
hears, JournalCallback.on_trial_result = JournalCallback.on_trial_result, die
sys.exit(tune_vgg6.main(sys.argv[1:]))
"""


@pytest.mark.starts_ray
def test_a_search_extended_by_epochs_and_trials_survives_a_kill_and_is_bitwise_the_longer_one(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    status, _, err = said(
        "search", "--data", "digits", "--limit-train", str(IMAGES), "--trials", "2",
        "--epochs", "1", "--name", "s", "--wandb", "disabled", "--address", "local",
        "--space", "space.yaml", "--scheduler", "none", "--max-concurrent", "1",
    )  # fmt: skip
    assert status == 0, err
    run = open_run("s", "runs")
    assert run.names("checkpoints") == ["trial_00000"], "the cosine one cannot go on"
    asked = ("--trials", "3", "--epochs", "3")
    status, out, _ = said("resume", "s", *asked, "--dry-run")
    assert status == 0 and "1 trial (1) will begin again with 3 epochs: its cosine" in out
    assert "1 trial (0) will go on to 3 epochs" in out

    killed_search(KILLED, ("resume", "s", *asked, "--address", "local"), tmp_path, "s")
    status, out, _ = said("status", "s")
    assert "killed" in out and "2 to 3 trials, 1 to 3 epochs" in out and "resume s" in out
    status, out, err = said("resume", "s", "--address", "local")
    assert status == 0, err
    assert "4 trials" in out
    search = read_search(run)
    trials = read_history(run).trials
    assert {n: (t.state, t.epoch, t.again_of) for n, t in trials.items()} == {
        0: (COMPLETED, 3, None), 1: (COMPLETED, 1, None), 2: (COMPLETED, 3, 1),
        3: (COMPLETED, 3, None),
    }  # fmt: skip
    assert search.facts.trials == 4 and search.history.repeated_rows == 0
    assert json.loads(run.read(SEARCH))["trials"] == 2, "what was asked at first"

    data = split(load_digits(), limit_train=IMAGES)
    runtime = Runtime(**run.read_json(SEARCH)["runtime"])
    for number in (0, 2):
        for metrics in fit(TrainState(trials[number].config, runtime), data):
            expected = {k: v for k, v in metrics.to_dict().items() if k != "seconds"}
            assert trials[number].rows[metrics.epoch].metrics.to_dict().items() >= expected.items()
    status, out, _ = said("best", "s")
    assert status == 0 and "2 to 3 trials" in out
    status, _, err = said("resume", "s", "--trials", "3")
    assert status == 2 and "--trials: 3 must be more than 3" in err
