"""What a confirmation concludes from its runs, and that each sentence of it is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.confirmation import confirm
from analysis.confirmation.confirmed_result import confirmed_result, verdict
from analysis.confirmation.contest import conclude
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY
from vgg6.task import STUDY
from vgg6.tuning.run.confirmation import Candidate, Confirmation
from vgg6.tuning.run.folder import CONFIRMATION, RunFolder, weights_file
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, STOPPED, TrialRecord, scored
from vgg6.tuning.session.session_outcome import COMPLETE, INCOMPLETE, Outcome

DIVERGED, CRASHED = "diverged", "crashed"
ENDS = {DIVERGED: (INFEASIBLE, "loss is nan"), CRASHED: (FAILED, "RuntimeError: out of memory")}


def run_of(number: int, end: float | str, config: TrialConfig, **params: int) -> TrialRecord:
    state, reason = (COMPLETED, "") if isinstance(end, float) else ENDS[end]
    score = end if isinstance(end, float) else 0.1
    known = dict.fromkeys(("train_loss", "train_acc", "val_loss", "lr"), 0.5)
    rows = {1: replace(scored(1, score, score), best_epoch=1, seconds=1.0, **known)}
    return TrialRecord(number, config, params, 0.0, rows, state, reason=reason)


def concluded(
    ends: dict[int, list[float | str]], dear: tuple[int, ...] = (), margin: float = 0.005
) -> Confirmation:
    """Of made-up runs over seeds 50 and on. ``dear``: candidates that cost twice as much."""
    history, seeds = History(), list(range(50, 50 + max(map(len, ends.values()))))
    trials = []
    for candidate, own in ends.items():
        config = TrialConfig(epochs=1, sam=0.05 if candidate in dear else 0.0)
        trials.append(run_of(candidate, 0.9, config))
        for seed, end in zip(seeds, own, strict=False):
            number = len(history.trials)
            made = run_of(number, end, replace(config, seed=seed), candidate=candidate, seed=seed)
            history.trials[number] = made
    return conclude(history, trials, seeds, images=5000, margin=margin)


def row_of(found: Confirmation, trial: int) -> Candidate:
    return next(row for row in found.candidates if row.trial == trial)


@pytest.mark.parametrize("end", [DIVERGED, CRASHED])
def test_who_wins_since_the_others_were_lost_is_not_said_to_be_better(end: str) -> None:
    found = concluded({4: [0.85, 0.86], 6: [0.95, end]})
    assert found.why == f"trial 6 {end}; trial 4 is the only one left, over 2 fresh seeds"
    assert verdict(row_of(found, 6), 4) == end


def test_the_highest_mean_is_that_of_those_that_are_left() -> None:
    found = concluded({4: [0.86, 0.87], 6: [0.95, DIVERGED], 7: [0.60, 0.61]})
    assert found.why == (
        "trial 6 diverged; trial 4 has the highest mean of the others over 2 fresh seeds, by more"
        " than noise"
    )


def test_of_equal_means_none_is_called_the_highest() -> None:
    found = concluded({6: [0.9, 0.9, 0.9], 4: [0.9, 0.9, 0.9], 7: [0.8, 0.81, 0.8]})
    assert found.winner == 6
    assert found.why.startswith(
        "trials 6, 4 have the same highest mean over 3 fresh seeds, and trial 6 was first in the"
        " search"
    )


def test_an_optimism_of_nothing_has_no_minus() -> None:
    found = concluded({4: [0.9, 0.9, 0.9]}).chosen.model_copy(update={"optimism": -1e-17})
    assert str(confirmed_result(found)).endswith("an optimism of +0.0000")


def test_one_that_was_dropped_names_whom_it_was_compared_with() -> None:
    found = concluded({4: [0.90, 0.90, 0.90, 0.80], 6: [0.60], 7: [0.89, 0.89, 0.895, 0.89]})
    assert found.winner == 7
    lost = row_of(found, 6)
    assert (lost.compared_with, lost.eliminated_after) == (4, 1)
    assert verdict(lost, 7) == "at least 0.1000 worse than trial 4"
    assert row_of(found, 4).compared_with == 7
    assert verdict(lost, 4) == "at least 0.1000 worse"


def test_a_cheaper_one_wins_within_a_wide_margin_though_it_is_shown_to_be_worse() -> None:
    ends: dict[int, list[float | str]] = {4: [0.90, 0.901, 0.9], 6: [0.88, 0.881, 0.88]}
    found = concluded(ends, dear=(4,), margin=0.05)
    assert found.winner == 6 and "cheaper to train and shown to be at most 0.05 worse" in found.why
    assert concluded(ends, dear=(6,), margin=0.05).winner == 4
    assert concluded(ends, dear=(4,)).winner == 4


def test_without_a_margin_none_is_spoken_of() -> None:
    found = concluded({4: [0.90, 0.91], 6: [0.91, 0.90]}, margin=0.0)
    assert "not shown to be better than trial 6: at least 100 more seeds would tell" in found.why


def test_after_a_single_seed_the_number_of_seeds_is_a_least_one() -> None:
    found = concluded({4: [0.90], 6: [0.86]})
    assert "trial 4 is not shown to be better than trial 6" in found.why
    assert found.why.endswith("at least 1 more seed would tell")


def ended_by_its_time(
    run: RunFolder, ends: dict[int, list[float]], monkeypatch: pytest.MonkeyPatch, **asked: Any
) -> tuple[Outcome, Confirmation | None]:
    """A confirmation over at most 10 seeds that had time for so many runs, and began one more."""
    config = TrialConfig(epochs=1)
    trials = [run_of(candidate, 0.9, config) for candidate in ends]

    def session(inner: RunFolder, *_: Any) -> Outcome:
        journal = Journal(inner)
        keys = [(c, 50 + i, x) for c, own in ends.items() for i, x in enumerate(own)]
        for number, (c, seed, score) in enumerate([*keys, (next(iter(ends)), 59, 0.0)]):
            params, whole = {"candidate": c, "seed": seed}, replace(config, seed=seed).to_dict()
            journal.write("trial", trial=number, config=whole, params=params)
            state, reason = (COMPLETED, "") if score else (STOPPED, "the time is used up")
            for row in run_of(number, score, config).curve if score else ():
                metrics = row.metrics.to_dict()
                journal.write("epoch", trial=number, node="here", pid=1, **metrics)
            journal.write("end", trial=number, state=state, reason=reason)
            inner.write(weights_file(number), b"weights")
        journal.close()
        return Outcome(COMPLETE, "the time is used up", "", 0.0)

    monkeypatch.setattr(confirm, "run_session", session)
    plan: Any = SimpleNamespace(data=SimpleNamespace(val=range(5000), train=range(300), task=STUDY))
    facts = SimpleNamespace(extensions=(), data=SimpleNamespace(val_by_class=None))
    search: Any = SimpleNamespace(folder=run, facts=facts, metric=ACCURACY)
    return confirm.confirm(search, plan, trials, list(range(50, 60)), "made", **asked)


def test_rounds_whose_time_is_used_up_conclude_from_the_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(str(tmp_path))
    ends = {4: [0.90, 0.91, 0.99], 6: [0.91, 0.895]}
    outcome, found = ended_by_its_time(run, ends, monkeypatch, until_settled=True)
    assert outcome.outcome == COMPLETE and found is not None
    assert (found.winner, found.seeds) == (4, [50, 51]), "the third round was not whole"
    assert found.more_seeds and "more seeds would tell" in found.why
    assert run.read_json(CONFIRMATION) == found.to_dict()


@pytest.mark.parametrize(
    ("ends", "until_settled"),
    [({4: [0.9, 0.91], 6: [0.91, 0.9]}, False), ({4: [0.9], 6: []}, True)],
)
def test_a_number_of_seeds_that_was_not_reached_or_no_whole_round_names_no_winner(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: dict[int, list[float]],
    until_settled: bool,
) -> None:
    run = RunFolder(str(tmp_path))
    outcome, found = ended_by_its_time(run, ends, monkeypatch, until_settled=until_settled)
    assert (outcome.outcome, outcome.detail, found) == (INCOMPLETE, "the time is used up", None)
    assert not run.exists(CONFIRMATION)
