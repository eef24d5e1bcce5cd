"""A search that a limit ends, and ends again when it is resumed: what is kept is of the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from support.made.runs import made_run
from support.played_search import new_search, play

from analysis.packages.weights import run_weights
from cli.search import _finish_complete
from vgg6.checkpoint import weights_bytes
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.training import TrainState, fit
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.run.folder import WEIGHTS, RunFolder, weights_file
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    PAUSED,
    RUNNING,
    STOPPED,
    TrialRecord,
    scored,
)
from vgg6.tuning.session.callbacks import StopRule
from vgg6.tuning.session.trial_checkpoints import keep_state
from vgg6.tuning.session.trial_end import DEFAULT_KEEPING, end_trial, keep_best, pause_trial

CONFIG = TrialConfig(
    activation="relu", optimizer="adam", lr=0.003, batch_size=16, epochs=3, width=0.125,
    norm="batch",
)  # fmt: skip


def train_on(journal: Journal, run: RunFolder, state: TrainState, data: TrialData) -> None:
    """One more epoch of trial 0, with its state and its line."""
    metrics = next(fit(state, data))
    keep_state(run, 0, state, metrics.to_dict())
    journal.write("epoch", trial=0, **metrics.to_dict())


def begun(run: RunFolder) -> Journal:
    run.create()
    journal = Journal(run)
    journal.write("session", session="session_1")
    journal.write("trial", trial=0, config=CONFIG.to_dict(), params={})
    return journal


def epoch_of(run: RunFolder) -> str | None:
    with safe_open(run.file(weights_file(0)), "pt") as stored:
        return stored.metadata().get("epoch")


def test_a_trial_that_a_limit_stopped_runs_again_when_the_search_is_resumed(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=3, epochs=6, searcher="random")
    play(run, killed_after=2)
    journal = Journal(run)
    record = journal.history.trials[0]
    end_trial(run, journal, record, STOPPED, "the time budget is used up", DEFAULT_KEEPING)
    journal.close()
    assert read_search(run).history.trials[0].state == STOPPED
    again = play(run, killed_after=0).history.trials[0]
    assert (again.state, again.reason, again.ended) == (RUNNING, "", None)


def test_the_weights_of_a_trial_that_is_stopped_twice_are_those_of_its_best_epoch(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime
) -> None:
    run = RunFolder(str(tmp_path))
    journal, state = begun(run), TrainState(CONFIG, runtime)
    record = journal.history.trials[0]
    for _ in range(3):
        train_on(journal, run, state, digits_small)
        end_trial(run, journal, record, STOPPED, "the time budget is used up", DEFAULT_KEEPING)
        assert epoch_of(run) == str(record.best_epoch)
        journal.write("reopen", trial=0)
    assert record.best_epoch > 1, "or the first ones would do"


def test_weights_of_an_epoch_that_was_the_best_are_refused(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    run.create()
    weights = VGG6(CONFIG).state_dict()
    run.write(weights_file(0), weights_bytes(weights, CONFIG, 2))
    assert run_weights(run, weights_file(0), epoch=2)[0] == CONFIG
    with pytest.raises(InputError, match=r"is of epoch 2, and .* is now epoch 3.*`resume`"):
        run_weights(run, weights_file(0), epoch=3)
    run.write(weights_file(0), weights_bytes(weights, CONFIG))  # as the first searches wrote it
    assert run_weights(run, weights_file(0), epoch=3)[0] == CONFIG


def test_the_best_trial_may_be_paused_when_a_limit_ends_the_search(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime
) -> None:
    run = RunFolder(str(tmp_path))
    journal, state = begun(run), TrainState(CONFIG, runtime)
    train_on(journal, run, state, digits_small)
    rule = PromotionRule(max_t=3, grace=1, reduction=4.0, trials=60)
    pause_trial(run, journal, journal.history.trials[0], rule, DEFAULT_KEEPING)
    assert journal.history.trials[0].state == PAUSED and epoch_of(run) == "1"
    # One that waits and is no more among the best gives its place to those that are.
    for number in range(1, 4):
        journal.write("trial", trial=number, config=CONFIG.to_dict(), params={})
        row = {"best_val_acc": 0.9, "val_acc": 0.9, "best_epoch": 1, "epoch": 1}
        rest = dict.fromkeys(("train_loss", "train_acc", "val_loss", "lr", "seconds"), 0.5)
        journal.write("epoch", trial=number, **rest, **row)
        journal.write("end", trial=number, state=COMPLETED, reason="")
        (tmp_path / weights_file(number)).write_bytes(b"")
    for folder in (tmp_path / "checkpoints").iterdir():
        folder.rename(folder.with_name("trial_00003"))
    keep_best(run, journal.history, journal.history.trials[3], keep=3)
    assert f"{WEIGHTS}/{run.names(WEIGHTS)[0]}" == weights_file(1)


def test_a_winner_that_cannot_be_packed_is_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = read_search(made_run(tmp_path, trials=4, epochs=2))
    why = _finish_complete(search, "the time budget is used up", search.facts.settings)
    out = capsys.readouterr().out
    assert "weights/trial_" in why and "is not there" in why
    assert f"trial {search.history.ranking()[0].number}" in out and "packed in" not in out


def ended(number: int, score: float, state: str, time: float) -> TrialRecord:
    rows: Any = {1: scored(1, score, score)}
    return TrialRecord(
        number, CONFIG, {}, 0.0, rows, state=state, ended=time, ended_as=number + 1
    )  # fmt: skip


@pytest.mark.parametrize("state", [INFEASIBLE, FAILED])
def test_patience_is_not_lost_over_a_score_that_nobody_can_have(state: str) -> None:
    trials = [ended(0, 0.9, state, 1.0)]
    trials += [ended(n, 0.5 + n / 100, COMPLETED, n + 1.0) for n in range(1, 8)]
    assert not StopRule(History({t.number: t for t in trials}), None, 5).stop_all()


def test_patience_counts_ends_as_they_came_though_the_clock_was_set_back() -> None:
    times = [10.0, 11.0, 12.0, 13.0, 1.0, 2.0]
    trials = [ended(n, 0.5 + n / 100, COMPLETED, time) for n, time in enumerate(times)]
    assert not StopRule(History({t.number: t for t in trials}), None, 2).stop_all()
    worse = [ended(n, 0.5 - n / 100, COMPLETED, time) for n, time in enumerate(times)]
    assert StopRule(History({t.number: t for t in worse}), None, 2).stop_all()
