"""What a long search forgets of its ended trials, and that it goes on as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState
from support.made.searchers import make, play, row

from search_spaces import load_space
from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.algorithms.told_study import TOLD_BEST, TOLD_KEPT, TOLD_MOST, worth_telling
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PRUNED


def grow(folder: Path, trials: int, monkeypatch: pytest.MonkeyPatch) -> TruthfulSearcher:
    """A searcher that was told ``trials`` random ends, and was never thinned."""
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_MOST", 10**9)
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_KEPT", 10**9)
    searcher = make(folder, load_space("default"), limit=trials, kind="random")
    scores = np.random.default_rng(0).random((trials, 4))
    for i, curve in enumerate(np.maximum.accumulate(scores, axis=1).tolist()):
        state = (COMPLETED, PRUNED, INFEASIBLE, FAILED, PRUNED, INFEASIBLE)[i % 6]
        play(searcher, f"ray{i}", curve if state == COMPLETED else curve[: 1 + i % 3], state)
    return searcher


@pytest.fixture
def few_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 ended trials a study keeps 15, the best five among them."""
    for name, count in (("TOLD_MOST", 30), ("TOLD_KEPT", 15), ("TOLD_BEST", 5)):
        monkeypatch.setattr(f"vgg6.tuning.algorithms.told_study.{name}", count)


def test_a_long_history_is_thinned_to_the_good_trials_that_tpe_would_use_and_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grow(tmp_path, TOLD_MOST, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_MOST", TOLD_MOST + 1)
    assert len(make(tmp_path, load_space("default"), limit=2000).study.trials) == TOLD_MOST
    monkeypatch.undo()
    thinned = make(tmp_path, load_space("default"), limit=2000)
    told = thinned.study.trials
    assert len(told) == TOLD_KEPT
    states = {t.state for t in told}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}, "crashed trials teach nothing"
    able = [t for t in whole.study.trials if t.state != TrialState.FAIL]
    for good in (1, 10, 25):
        expected, _ = _split_trials(whole.study, able, good)
        found, _ = _split_trials(thinned.study, told, good)
        assert [t.params for t in found] == [t.params for t in expected]
    # A uniform sample of the others: a third of them diverged, there and here.
    diverged = [sum(t.constraints.values()) > 0 for t in told]
    assert 0.2 < sum(diverged) / len(diverged) < 0.45


@pytest.mark.usefixtures("few_told")
def test_running_trials_outlive_a_thinning_and_are_told_once(
    tmp_path: Path,
) -> None:
    searcher = make(tmp_path, load_space("default"), limit=100)
    long = searcher.suggest("long")
    assert isinstance(long, dict)
    searcher.journal.write("epoch", **row(long["number"], 1, 0.3))
    searcher.on_trial_result("long", row(long["number"], 1, 0.3))
    first = searcher.study
    for i in range(80):
        play(searcher, f"ray{i}", [0.1 + 0.001 * i] * 4, COMPLETED)
    assert searcher.study is not first
    assert len(searcher.study.trials) <= 31
    searcher.on_trial_result("long", row(long["number"], 2, 0.4))
    searcher.on_trial_complete("long", row(long["number"], 4, 0.9))
    best = searcher.study.best_trial
    assert (best.value, best.intermediate_values) == (0.9, {1: 0.3, 2: 0.4, 4: 0.9})
    assert best.params == searcher.journal.history.trials[long["number"]].params
    assert TrialState.RUNNING not in [t.state for t in searcher.study.trials]
    configs = [t.config for t in searcher.journal.history.trials.values()]
    assert len({c.fingerprint for c in configs}) == 81, "a forgotten trial is not run again"


@pytest.mark.usefixtures("few_told")
def test_the_model_is_asked_as_often_when_most_trials_are_forgotten(
    tmp_path: Path,
) -> None:
    searcher = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(100):
        play(searcher, f"ray{i}", [0.1 + 0.001 * i] * 4, COMPLETED)
    resumed = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(40):
        play(resumed, f"later{i}", [0.3 + 0.001 * i] * 4, COMPLETED)
    assert len(resumed.study.trials) <= 31
    trials = resumed.journal.history.trials
    for late in (range(60, 100), range(100, 140)):
        # Two thirds of forty, with a standard deviation of 3.
        assert sum(trials[number].by_model for number in late) >= 18


@pytest.mark.usefixtures("few_told")
def test_a_diverged_trial_counts_for_the_gate_as_it_did_before_it_was_forgotten(
    tmp_path: Path,
) -> None:
    live = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(29):
        state = (COMPLETED, INFEASIBLE)[i % 2]
        play(live, f"ray{i}", [0.1 + 0.001 * i] * (4 if state == COMPLETED else 1 + i % 3), state)
    told = live.study.get_trials(deepcopy=False)
    known = make(tmp_path, load_space("default"), limit=200, kind="gp")
    play(known, "one more", [0.5], INFEASIBLE)
    thinned = make(tmp_path, load_space("default"), limit=200, kind="gp")
    assert len(thinned.study.trials) == 15 < len(told)

    def above(searcher: TruthfulSearcher) -> int:
        sampler = searcher.study.sampler
        assert isinstance(sampler, ModelSampler)
        scores = sampler._rung_scores({t.number: t for t in searcher.study.trials})
        return sampler.forgotten + sum(map(len, scores[1:]))

    assert above(thinned) == above(known)


def test_trials_of_an_earlier_length_take_no_place_of_the_best(tmp_path: Path) -> None:
    searcher = make(tmp_path, load_space("default"), limit=700, kind="random")
    for i in range(600):
        play(searcher, f"ray{i}", [0.001 * i] * 4, COMPLETED)
    records = list(searcher.journal.history.trials.values())
    for record in records[560:]:  # the forty best, of the earlier length
        record.config = replace(record.config, epochs=2)
    told = worth_telling(records, np.random.default_rng(0), lengths=(2,))
    best = {record.number for record in records[560 - TOLD_BEST : 560]}
    assert best <= {record.number for record in told}
