"""A driver killed between two of its own steps: the next session does what the last did not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support.paths import ROOT

from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import JOURNAL, WEIGHTS, RunFolder
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.trials import COMPLETED, PRUNED, RUNNING
from vgg6.tuning.session.trial_checkpoints import CHECKPOINTS, keep_state
from vgg6.tuning.session.trial_end import settle

# One that learns, then two that hardly do: they end at a rung.
SPACE = """
name: rungs
parameters:
  activation: {choices: [relu]}
  batch_size: {choices: [16]}
  optimizer: {choices: [adam, sgd]}
  lr: {low: 1e-6, high: 1e-1, log: true}
points:
  - {activation: relu, batch_size: 16, optimizer: adam, lr: 0.001}
  - {activation: relu, batch_size: 16, optimizer: sgd, lr: 0.000002}
  - {activation: relu, batch_size: 16, optimizer: sgd, lr: 0.000001}
"""


def trained(run: RunFolder, data: TrialData, runtime: Runtime, number: int) -> Journal:
    """A journal of one trial of two epochs, with its checkpoints, as if killed before its end."""
    config = TrialConfig(activation="relu", optimizer="sgd", batch_size=64, epochs=2)
    run.create()
    journal = Journal(run)
    journal.write("session", session="session_1")
    journal.write("trial", trial=number, config=config.to_dict(), params={})
    state = TrainState(config, runtime)
    for metrics in fit(state, data):
        keep_state(run, number, state, metrics.to_dict())
        journal.write("epoch", trial=number, **metrics.to_dict())
    return journal


@pytest.mark.parametrize("killed", ["before its end", "before its weights were kept"])
def test_a_trial_that_ran_all_its_epochs_is_completed_without_training(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime, killed: str
) -> None:
    run = RunFolder(str(tmp_path))
    journal = trained(run, digits_small, runtime, 0)
    if killed == "before its weights were kept":
        journal.write("end", trial=0, state=COMPLETED, reason="")
    settle(run, journal, decided=set(), keep=5)
    journal.close()
    record = read_history(run).trials[0]
    assert record.state == COMPLETED and record.epoch == 2
    assert (tmp_path / JOURNAL).read_text().count('"end"') == 1
    assert not run.names(f"{CHECKPOINTS}/trial_00000")
    assert load_file(tmp_path / WEIGHTS / "trial_00000.safetensors")


def test_a_trial_that_may_go_on_is_left_alone(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime
) -> None:
    run = RunFolder(str(tmp_path))
    journal = trained(run, digits_small, runtime, 0)
    trial = journal.history.trials[0]
    trial.config = replace(trial.config, epochs=3)
    settle(run, journal, decided={5}, keep=5)
    assert journal.history.trials[0].state == RUNNING
    assert run.names(f"{CHECKPOINTS}/trial_00000")
    settle(run, journal, decided={0}, keep=5)
    assert journal.history.trials[0].state == PRUNED
    assert not run.names(f"{CHECKPOINTS}/trial_00000")


@pytest.mark.xdist_group("ray")
def test_a_driver_killed_before_it_stops_a_trial_stops_it_when_resumed(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between the row of the epoch that ends a trial and the trial's end."""
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = (
        "search", "--data", "digits", "--limit-train", "300", "--trials", "3", "--epochs", "4",
        "--name", "s", "--wandb", "disabled", "--address", "local", "--grace", "1",
        "--reduction", "2", "--space", "space.yaml", "--searcher", "random", "--max-concurrent",
        "1",
    )  # fmt: skip
    killed = (
        "import os, signal, sys, tune_vgg6\n"
        "from vgg6.tuning.session.callbacks import JournalCallback\n"
        "def die(self, iteration, trials, trial, **info):\n"
        "    if trial.last_result['epoch'] < 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    ends(self, iteration, trials, trial, **info)\n"
        "ends, JournalCallback.on_trial_complete = JournalCallback.on_trial_complete, die\n"
        "sys.exit(tune_vgg6.main(sys.argv[1:]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    stopped = subprocess.run(
        [sys.executable, "-c", killed, *arguments], cwd=tmp_path, env=environment, timeout=120
    )
    assert stopped.returncode == -signal.SIGKILL
    run = RunFolder(str(tmp_path / "runs" / "s"))
    before = read_history(run)
    number, epoch, _ = before.arrivals[-1]
    assert before.trials[number].state == RUNNING and epoch < 4
    monkeypatch.chdir(tmp_path)
    status, _, err = said("resume", "s", "--address", "local")
    assert status == 0, err
    after = read_history(run)
    ended = after.trials[number]
    assert (ended.state, ended.epoch) == (PRUNED, epoch)
    events = [json.loads(line) for line in Path(run.file(JOURNAL)).read_text().splitlines()]
    second_session = [i for i, e in enumerate(events) if e["event"] == "session"][1]
    first = events[second_session + 1]
    assert first["event"] == "end" and first["trial"] == number, "before any worker"
    assert all(t.ended is not None for t in after.trials.values()) and len(after.trials) == 3
