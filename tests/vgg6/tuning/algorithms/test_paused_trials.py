"""Paused and promoted trials, as Optuna and a resume know them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from support.made.searchers import begin, early, promoting, row, step, with_paused

from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.algorithms.promotion import Spared
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, PAUSED, PRUNED, RUNNING


def test_a_paused_trial_stays_running_for_optuna_and_goes_on_when_it_is_promoted(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=30)
    with_paused(searcher)
    history = searcher.journal.history
    told = searcher.study.trials
    assert [t.state for t in told[:8]] == [TrialState.COMPLETE] * 8
    paused = [n for n, t in history.trials.items() if t.state == PAUSED]
    assert paused == [8, 9, 10, 11]
    assert all(told[n].state == TrialState.RUNNING for n in paused)
    assert all(told[n].intermediate_values == {1: early(n)} for n in paused)
    promoted = 11
    assert begin(searcher, "again") == promoted
    events = [json.loads(x) for x in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "promotion" and events[-1]["trial"] == promoted
    assert history.trials[promoted].state == RUNNING
    for epoch in (2, 3, 4):
        step(searcher, "again", promoted, epoch, 0.9)
    frozen = searcher.study.trials[promoted]
    assert (frozen.state, frozen.value) == (TrialState.COMPLETE, 0.9)
    assert frozen.intermediate_values == {1: 0.95, 2: 0.9, 3: 0.9, 4: 0.9}


def test_a_paused_trial_that_will_not_go_on_is_told_as_pruned_with_its_curve(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=30)
    with_paused(searcher)
    paused = [n for n, t in searcher.journal.history.trials.items() if t.state == PAUSED]
    lost = paused[0]
    assert searcher.rule is not None
    searcher.rule.end(lost)
    searcher.journal.write("end", trial=lost, state=PRUNED, reason="behind the others")
    begin(searcher, "next")
    frozen = searcher.study.trials[lost]
    assert frozen.state == TrialState.PRUNED
    assert frozen.intermediate_values == {1: early(lost)}
    others = [searcher.study.trials[n].state for n in paused[1:]]
    assert set(others) == {TrialState.RUNNING}
    begin(searcher, "it is told once")


@pytest.mark.parametrize("kind", ["gp", "optuna"])
def test_a_resumed_study_with_paused_and_promoted_trials_equals_the_one_never_stopped(
    tmp_path: Path, kind: str
) -> None:
    live = promoting(tmp_path, limit=30, kind=kind)
    with_paused(live)
    promoted, fresh = begin(live, "promoted"), begin(live, "fresh")
    step(live, "promoted", promoted, 2, 0.7)
    live.journal.close()
    paused = {n for n, t in live.journal.history.trials.items() if t.state == PAUSED}
    assert paused

    again = promoting(tmp_path, limit=30, kind=kind)
    assert live.rule is not None and again.rule is not None
    assert again.rule.by_hope() == live.rule.by_hope()
    assert again.rule.promotable() == live.rule.promotable()
    assert {n for n, t in again.journal.history.trials.items() if t.state == PAUSED} == paused
    assert len(again.study.trials) == len(live.study.trials)
    for a, b in zip(again.study.trials, live.study.trials, strict=True):
        assert (a.state, a.params, a.distributions) == (b.state, b.params, b.distributions)
        assert (a.value, a.intermediate_values) == (b.value, b.intermediate_values)
    assert again.study.trials[promoted].state == TrialState.RUNNING
    assert {begin(again, "a"), begin(again, "b")} == {promoted, fresh}, "unfinished ones first"


@pytest.mark.parametrize("state", [INFEASIBLE, FAILED])
def test_a_trial_that_was_promoted_and_lost_is_known_as_promoted_after_a_resume(
    tmp_path: Path, state: str
) -> None:
    live = promoting(tmp_path, limit=30)
    with_paused(live)
    assert begin(live, "promoted") == 11 and live.rule is not None
    live.rule.end(11)
    live.journal.write("end", trial=11, state=state, reason="lost before its next epoch")
    live.journal.close()
    again = promoting(tmp_path, limit=30)
    assert again.rule is not None
    assert again.rule._promoted == live.rule._promoted == {1: {11}}
    assert again.rule.by_hope() == live.rule.by_hope()


def test_a_search_waits_while_a_running_trial_may_let_a_paused_one_go_on_and_then_is_finished(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=13)
    with_paused(searcher)
    going = {}
    while isinstance(found := searcher.suggest(name := f"more{len(going)}"), dict):
        going[name] = int(found["number"])
    assert found is None, "what runs may change who is among the best"
    assert sorted(searcher.journal.history.trials) == list(range(13))
    assert not searcher.exhausted
    while going:
        name, number = going.popitem()
        record = searcher.journal.history.trials[number]
        while record.state == RUNNING:
            step(searcher, name, number, record.epoch + 1, 0.3)
        found = searcher.suggest(f"after {name}")
        if isinstance(found, dict):
            going[f"after {name}"] = int(found["number"])
        else:
            assert (found is None) == bool(going)
    assert found == Searcher.FINISHED
    assert any(t.state == PAUSED for t in searcher.journal.history.trials.values())


def test_when_no_trial_is_left_to_begin_the_best_paused_ones_go_on_until_three_are_whole(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=11)
    for number in range(11):
        assert begin(searcher, f"ray{number}") == number
        if number < 8:
            searcher.journal.write("epoch", **row(number, 1, 0.9))
            assert searcher.rule is not None and not searcher.rule.stops(number, 1, 0.9)
            searcher.on_trial_complete(f"ray{number}", None, error=True)
            searcher.rule.end(number)
            searcher.journal.write("end", trial=number, state=FAILED, reason="crash")
        else:
            step(searcher, f"ray{number}", number, 1, 0.1 + number / 100)
    assert searcher.rule is not None and searcher.rule.promotable() is None
    assert [begin(searcher, str(i)) for i in range(3)] == [10, 9, 8]
    assert searcher.suggest("no more") is None
    for i, number in enumerate((10, 9, 8)):
        for epoch in (2, 3, 4):
            step(searcher, str(i), number, epoch, 0.5)
    assert searcher.suggest("no more") == Searcher.FINISHED


def test_the_journal_says_which_trials_the_model_chose_and_a_resume_counts_them(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=60, kind="gp")
    for i in range(30):
        number = begin(searcher, str(i))
        record = searcher.journal.history.trials[number]
        while record.state == RUNNING:
            step(searcher, str(i), number, record.epoch + 1, 0.2 + 0.02 * (number % 7))
    chosen = [n for n, t in searcher.journal.history.trials.items() if t.by_model]
    sampler = searcher.study.sampler
    assert isinstance(sampler, ModelSampler) and sampler.made == len(chosen) > 3
    assert min(chosen) >= 10
    searcher.journal.close()
    again = promoting(tmp_path, limit=60, kind="gp").study.sampler
    assert isinstance(again, ModelSampler) and again.made == len(chosen)


def test_the_model_is_not_told_of_the_points_that_are_trained_whole_also_after_a_resume(
    tmp_path: Path,
) -> None:
    def modelled(searcher: TruthfulSearcher) -> list[int]:
        sampler = searcher.study.sampler
        assert isinstance(sampler, ModelSampler)
        return list(sampler._rung_scores({t.number: t for t in searcher.study.trials})[0])

    searcher = promoting(tmp_path, limit=60, kind="gp", spared=Spared(first=1))
    for i in range(3):
        number = begin(searcher, str(i))
        step(searcher, str(i), number, 1, 0.1)
    assert len(searcher.space.points) == 2, "the second one is judged, and modelled"
    assert modelled(searcher) == [1, 2]
    searcher.journal.close()
    assert modelled(promoting(tmp_path, limit=60, kind="gp", spared=Spared(first=1))) == [1, 2]
