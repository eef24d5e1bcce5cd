"""How a session is said to have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, METRICS, STOPPED
from vgg6.tuning.session.session_outcome import ALL_FAILED, COMPLETE, INCOMPLETE, outcome_of

BUDGET = "the time budget of 40 s is used up"
EPOCH: dict[str, Any] = dict.fromkeys(METRICS, 0.5) | {"best_epoch": 1}


def journal_of(folder: Path, *ends: tuple[str, str], epochs: int = 0) -> Journal:
    """Of trials that ended so, each after ``epochs``."""
    run = RunFolder(str(folder / "run"))
    run.create()
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, (state, reason) in enumerate(ends):
        config = TrialConfig(epochs=4, seed=number).to_dict()
        journal.write("trial", trial=number, config=config, params={})
        for epoch in range(1, epochs + 1):
            journal.write("epoch", trial=number, epoch=epoch, **EPOCH)
        journal.write("end", trial=number, state=state, reason=reason)
    return journal


def test_a_time_budget_that_ends_before_the_first_epoch_is_no_failure_of_the_trials(
    tmp_path: Path,
) -> None:
    history = journal_of(tmp_path, (STOPPED, BUDGET), (STOPPED, BUDGET)).history
    outcome, detail = outcome_of(history, 8, BUDGET, exhausted=False)
    assert (outcome, detail) == (INCOMPLETE, f"{BUDGET}, and no epoch has ended")


def test_a_time_budget_that_ends_after_an_epoch_completes_the_search(tmp_path: Path) -> None:
    history = journal_of(tmp_path, (STOPPED, BUDGET), epochs=1).history
    assert outcome_of(history, 8, BUDGET, exhausted=False) == (COMPLETE, BUDGET)


@pytest.mark.parametrize("state", [FAILED, INFEASIBLE])
def test_where_trials_failed_that_is_said_though_the_time_is_used_up_too(
    tmp_path: Path, state: str
) -> None:
    history = journal_of(tmp_path, (state, "loss is nan"), (STOPPED, BUDGET)).history
    outcome, detail = outcome_of(history, 8, BUDGET, exhausted=False)
    assert outcome == ALL_FAILED and "trial 0: loss is nan" in detail
