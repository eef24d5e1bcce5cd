"""A driver killed between two of its own steps: the next session does what the last did not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.killed_search import killed_search

from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.run.folder import JOURNAL, WEIGHTS, RunFolder, weights_file
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, METRICS, PAUSED, PRUNED, RUNNING, STOPPED
from vgg6.tuning.session import trial_end
from vgg6.tuning.session.trial_checkpoints import CHECKPOINTS, keep_state
from vgg6.tuning.session.trial_end import Keeping, end_trial, settle, worth_keeping

# One that learns, then two that hardly do: they end at a rung.
SPACE = """
name: rungs
parameters:
  activation: {choices: [relu]}
  batch_size: {choices: [16]}
  optimizer: {choices: [adam, sgd]}
  lr: {low: 1e-6, high: 1e-1, log: true}
fixed: {width: 0.125, norm: batch, dropout: 0.0}
points:
  - {activation: relu, batch_size: 16, optimizer: adam, lr: 0.003}
  - {activation: relu, batch_size: 16, optimizer: sgd, lr: 0.000002}
  - {activation: relu, batch_size: 16, optimizer: sgd, lr: 0.000001}
"""


def trained(run: RunFolder, data: TrialData, runtime: Runtime, number: int) -> Journal:
    """A journal of one trial of two epochs, with its checkpoints, as if killed before its end."""
    config = TrialConfig(activation="relu", optimizer="sgd", batch_size=64, epochs=2, width=0.125)
    run.create()
    journal = Journal(run)
    journal.write("session", session="session_1")
    journal.write("trial", trial=number, config=config.to_dict(), params={})
    state = TrainState(config, runtime)
    for metrics in fit(state, data):
        keep_state(run, number, state, metrics.to_dict())
        journal.write("epoch", trial=number, **metrics.to_dict())
    return journal


@pytest.mark.parametrize("widths", [(1.0,), (1.0, 0.5, 0.25, 0.125)], ids=["one", "four"])
def test_trials_that_end_one_by_one_leave_the_weights_that_are_the_best_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widths: tuple[float, ...]
) -> None:
    weights = {"weight": torch.zeros(1)}
    monkeypatch.setattr(trial_end, "kept_weights", lambda *trial: weights)
    run, draw = RunFolder(str(tmp_path)), Random(5)
    run.create()
    journal = Journal(run)
    for number in range(30):
        config = TrialConfig(width=draw.choice(widths), epochs=1)
        score = round(draw.random(), 1)
        row = ROW | {"val_acc": score, "best_val_acc": score, "best_epoch": 1}
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        journal.write("epoch", trial=number, epoch=1, **row)
        state = draw.choice((COMPLETED, PRUNED, INFEASIBLE))
        record = journal.history.trials[number]
        end_trial(run, journal, record, state, "", Keeping(weights=4))
        best = worth_keeping(journal.history.trials.values(), 4)
        assert {f"{WEIGHTS}/{name}" for name in run.names(WEIGHTS)} == set(map(weights_file, best))


@pytest.mark.parametrize("killed", ["before its end", "before its weights were kept"])
def test_a_trial_that_ran_all_its_epochs_is_completed_without_training(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime, killed: str
) -> None:
    run = RunFolder(str(tmp_path))
    journal = trained(run, digits_small, runtime, 0)
    if killed == "before its weights were kept":
        journal.write("end", trial=0, state=COMPLETED, reason="")
    settle(run, journal, decided=set())
    journal.close()
    record = read_history(run).trials[0]
    assert record.state == COMPLETED and record.epoch == 2
    assert (tmp_path / JOURNAL).read_text().count('"end"') == 1
    kept = run.names(f"{CHECKPOINTS}/trial_00000")
    assert kept == ["epoch_00002"], "the last state, for a search that is extended"
    assert load_file(tmp_path / WEIGHTS / "trial_00000.safetensors")


def test_a_trial_that_may_go_on_is_left_alone(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime
) -> None:
    run = RunFolder(str(tmp_path))
    journal = trained(run, digits_small, runtime, 0)
    trial = journal.history.trials[0]
    trial.config = replace(trial.config, epochs=3)
    settle(run, journal, decided={5})
    assert journal.history.trials[0].state == RUNNING
    assert run.names(f"{CHECKPOINTS}/trial_00000")
    settle(run, journal, decided={0})
    assert journal.history.trials[0].state == PRUNED
    assert not run.names(f"{CHECKPOINTS}/trial_00000")


ROW = dict.fromkeys(METRICS, 0.5)
EPOCHS = 8  # rungs at 1 and 4
# Twelve trials were at the first rung; the last of them, trial 11, is the one that goes on.
BEFORE: list[tuple[Any, ...]] = [
    *(("epoch", n, 1, 0.3) for n in range(8)),
    *(x for n in (8, 9, 10) for x in (("epoch", n, 1, 0.2 + n / 1000), ("pause", n))),
    ("epoch", 11, 1, 0.9),
]
PLACES: dict[str, tuple[list[tuple[Any, ...]], str, int]] = {
    "before its pause": ([], PAUSED, 1),
    "after its pause": ([("pause", 11)], PAUSED, 1),
    "after its promotion": ([("pause", 11), ("promotion", 11)], RUNNING, 1),
    "an epoch after its promotion": (
        [("pause", 11), ("promotion", 11), ("epoch", 11, 2, 0.9)], RUNNING, 2
    ),
    "before its pause at the second rung": (
        [("pause", 11), ("promotion", 11), *(("epoch", 11, e, 0.9) for e in (2, 3, 4))], PAUSED, 4
    ),
    "after its second promotion": (
        [("pause", 11), ("promotion", 11), *(("epoch", 11, e, 0.9) for e in (2, 3, 4)),
         ("pause", 11), ("promotion", 11)], RUNNING, 4
    ),
    "before its end": (
        [("pause", 11), ("promotion", 11), *(("epoch", 11, e, 0.9) for e in (2, 3, 4)),
         ("pause", 11), ("promotion", 11), *(("epoch", 11, e, 0.9) for e in (5, 6, 7, 8))],
        COMPLETED, 8
    ),
    "after it was found hopeless, before its states were removed": (
        [("pause", 11), ("end", 11, PRUNED)], PRUNED, 1
    ),
    "after the search had stopped it": (
        [("pause", 11), ("promotion", 11), ("epoch", 11, 2, 0.9), ("end", 11, STOPPED)], STOPPED, 2
    ),
}  # fmt: skip


def played(run: RunFolder, events: list[tuple[Any, ...]]) -> Journal:
    """A journal of these events, with two states of every trial that has not ended."""
    run.create()
    journal = Journal(run)
    journal.write("session", session="session_1")
    config = TrialConfig(
        activation="relu", optimizer="sgd", batch_size=64, epochs=EPOCHS, width=0.125
    )
    for kind, number, *more in events:
        if kind == "epoch":
            epoch, score = more
            if number not in journal.history.trials:
                journal.write("trial", trial=number, config=config.to_dict(), params={})
            journal.write(
                "epoch", trial=number, epoch=epoch,
                **ROW | {"best_val_acc": score, "best_epoch": epoch},
            )  # fmt: skip
        elif kind == "end":
            journal.write("end", trial=number, state=more[0], reason="it was so")
        else:
            journal.write(kind, trial=number)
    for number, record in journal.history.trials.items():
        for epoch in {max(0, record.epoch - 1), record.epoch}:
            state = Path(run.file(f"{CHECKPOINTS}/trial_{number:05d}/epoch_{epoch:05d}"))
            state.mkdir(parents=True)
            (state / "state").write_bytes(b"x" * 100)
    return journal


def settled(run: RunFolder, journal: Journal) -> PromotionRule:
    """A rule as a resumed session has it before the first worker starts."""
    rule = PromotionRule(max_t=EPOCHS, grace=1, reduction=4.0, trials=60)
    settle(run, journal, replay(rule, journal.history.arrivals), promotions=rule)
    return rule


@pytest.mark.parametrize("place", PLACES)
def test_a_driver_killed_around_a_pause_or_a_promotion_goes_on_as_if_it_had_not_been(
    tmp_path: Path, place: str
) -> None:
    happened, state, epoch = PLACES[place]
    run = RunFolder(str(tmp_path))
    journal = played(run, [*BEFORE, *happened])
    rule = settled(run, journal)
    records = journal.history.trials
    assert (records[11].state, records[11].epoch) == (state, epoch)
    assert rule.waits(11) == (state == PAUSED)
    assert [records[n].state for n in range(11)] == [RUNNING] * 8 + [PAUSED] * 3
    assert [n for n in range(11) if rule.waits(n)] == [8, 9, 10]
    assert rule.promotable() == (11 if (state, epoch) == (PAUSED, 1) else None), "one is no quarter"
    left = run.names(f"{CHECKPOINTS}/trial_00011")
    assert (left == []) == (state == PRUNED)
    assert f"epoch_{epoch:05d}" in left or state == PRUNED
    assert len(run.names(f"{CHECKPOINTS}/trial_00000")) == 2, "of a running trial all are kept"
    lines = (tmp_path / JOURNAL).read_text()
    again = settled(run, journal)
    assert (tmp_path / JOURNAL).read_text() == lines, "it is settled once"
    assert again.by_hope() == rule.by_hope() and again.hopeless() == rule.hopeless()
    journal.close()
    assert read_history(run).trials[11].state == state


def test_of_a_trial_that_is_paused_when_resumed_the_newest_state_is_kept(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    settled(run, played(run, BEFORE))
    for number in (8, 9, 10, 11):
        assert run.names(f"{CHECKPOINTS}/trial_{number:05d}") == ["epoch_00001"]


def test_states_that_the_journal_does_not_lead_to_are_removed(tmp_path: Path) -> None:
    """It may have lost its last lines, on a storage that cannot append or in a power cut."""
    run = RunFolder(str(tmp_path))
    journal = played(run, BEFORE)
    for trial, epoch in ((0, 2), (0, 3), (40, 1)):
        path = run.file(f"{CHECKPOINTS}/trial_{trial:05d}/epoch_{epoch:05d}")
        Path(path).mkdir(parents=True)
    settled(run, journal)
    left = run.names(f"{CHECKPOINTS}/trial_00000")
    assert sorted(left) == ["epoch_00000", "epoch_00001", "epoch_00002"], "a worker is one ahead"
    assert "trial_00040" not in run.names(CHECKPOINTS)


def test_a_trial_that_was_stopped_and_pauses_in_the_next_session_is_paused_and_no_more_stopped(
    tmp_path: Path,
) -> None:
    run = RunFolder(str(tmp_path))
    journal = played(
        run,
        [*BEFORE, ("pause", 11), ("promotion", 11), ("epoch", 11, 2, 0.9), ("end", 11, STOPPED),
         ("epoch", 11, 3, 0.9), ("epoch", 11, 4, 0.9)],
    )  # fmt: skip
    settled(run, journal)
    record = journal.history.trials[11]
    assert (record.state, record.reason, record.ended) == (PAUSED, "", None)


@pytest.mark.starts_ray
def test_a_driver_killed_before_it_stops_a_trial_stops_it_when_resumed(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between the row of the epoch that ends a trial and the trial's end."""
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = (
        "search", "--data", "digits", "--limit-train", "100", "--trials", "3", "--epochs", "4",
        "--name", "s", "--wandb", "disabled", "--address", "local", "--grace", "1",
        "--reduction", "2", "--scheduler", "asha-stop", "--space", "space.yaml", "--searcher",
        "random", "--max-concurrent", "1",
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
    run = killed_search(killed, arguments, tmp_path, "s")
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
