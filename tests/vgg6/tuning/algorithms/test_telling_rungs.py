"""Rungs whose ranking is not that of the next one: found, left out, and passed."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.tuning.algorithms.model_sampler import START, ModelSampler
from vgg6.tuning.algorithms.promotion import UNJUDGED, PromotionRule
from vgg6.tuning.algorithms.telling_rungs import (
    TELLING,
    RungPair,
    TellingRung,
    first_telling,
)

RUNGS = [1, 4, 16, 64]


def made_scores(count: int, agree: float, seed: int = 0) -> list[dict[int, float]]:
    """Scores of trials at three rungs. The first one's agree with the others' as far as said."""
    rng = np.random.default_rng(seed)
    ends = rng.random(count)
    starts = agree * ends + (1 - abs(agree)) * rng.random(count)
    return [dict(enumerate(scores)) for scores in (starts, ends, ends)]


def test_a_rung_that_ranks_as_the_next_one_is_told_from_one_that_does_not() -> None:
    assert first_telling(made_scores(40, agree=0.9)) == 0
    assert first_telling(made_scores(40, agree=0.0)) == 1
    assert first_telling(made_scores(40, agree=-0.9)) == 1, "the last to start end first"
    assert first_telling(made_scores(40, agree=0.9)[:1]) == 0
    assert first_telling(made_scores(5, agree=-0.9)) == 0, "too few to say"


@pytest.mark.parametrize("agree", [0.9, 0.0])
def test_a_rule_that_hears_of_trials_one_by_one_knows_what_all_at_once_tell(agree: float) -> None:
    rng = np.random.default_rng(1)
    whole = made_scores(60, agree)
    scores: list[dict[int, float]] = [{}, {}, {}]
    kept, answers = TellingRung(scores), []
    for number in rng.permutation(60).tolist():
        for rung in rng.permutation(int(rng.integers(1, 4))).tolist():  # above before below too
            scores[rung][number] = whole[rung][number]
            answers.append((kept.find(), first_telling([dict(rung) for rung in scores])))
    assert all(one == all_at_once for one, all_at_once in answers)
    assert {answer for answer, _ in answers} == ({0} if agree else {0, 1})


def test_equal_scores_say_nothing_against_a_rung() -> None:
    differ, same = {n: n / 10 for n in range(10)}, dict.fromkeys(range(10), 0.1)
    assert RungPair(differ, same).correlation() == RungPair(same, differ).correlation() == 1.0


@pytest.mark.parametrize("agree", [0.95, 0.0])
def test_that_only_the_best_go_on_hides_nothing_of_what_a_rung_is_worth(agree: float) -> None:
    found = []
    for seed in range(20):
        below, above, _ = made_scores(80, agree, seed)
        best = sorted(below, key=lambda n: -below[n])[:20]
        found.append(RungPair(below, {n: above[n] for n in best}).correlation())
        everybody = RungPair(below, above).correlation()
        assert (everybody >= TELLING) == (agree > 0.5)
    assert (np.median(found) >= TELLING) == (agree > 0.5), found


def rule_of(agree: float) -> PromotionRule:
    """One that has heard of eight trials which were seen at two rungs; 8 is the model's."""
    rule = PromotionRule(max_t=64, grace=1, reduction=4.0, trials=64, by_model=[8])
    starts, ends, _ = made_scores(UNJUDGED, agree)
    for epoch, scores in ((1, starts), (4, ends)):
        for number, score in scores.items():
            rule.stops(number, epoch, score)
    return rule


def test_the_models_trials_pass_the_rungs_that_tell_nothing_and_no_others() -> None:
    rule = rule_of(agree=-1.0)
    assert rule.telling == 4
    assert not rule.stops(8, 1, 0.0), "the worst of its rung"
    assert rule.stops(9, 1, 1.0), "not the model's"
    assert rule.stops(8, 4, 1.0), "a rung that tells"
    trusted = rule_of(agree=1.0)
    assert trusted.telling == 1
    assert trusted.stops(8, 1, 0.0)


def test_at_a_rung_that_tells_nothing_the_expected_best_go_on_beside_the_best_by_score() -> None:
    rule = rule_of(agree=-1.0)
    for number in range(9, 17):
        assert rule.stops(number, 1, 1.0 - number / 100)
    ends = {number: number / 100 for number in range(17)}
    # The best two of eight at the rung of epoch 4 go on first, by their scores.
    for number in sorted(range(8), key=lambda n: -rule.scores[4][n])[:2]:
        assert rule.promotable(lambda _: ends) == number
        rule.go_on(number)
    promoted = []
    while (number_ := rule.promotable(lambda _: ends)) is not None:
        promoted.append(number_)
        rule.go_on(number_)
    by_score = [9, 10, 11, 12]  # a quarter of the sixteen that no model suggested
    assert promoted == [*by_score, 16, 15], "two more than a quarter of 17"
    # Expectations that change again and again promote no more.
    for number in (13, 14):
        assert rule.promotable(lambda _, best=number: {n: float(n == best) for n in ends}) is None
    assert rule.cutoff(1) is None, "no score decides there"


@pytest.mark.parametrize("agree", [-1.0, 1.0])
def test_a_model_that_fills_a_rung_keeps_no_good_trial_of_others_from_going_on(
    agree: float,
) -> None:
    rule = rule_of(agree)
    models, others = range(100, 140), range(9, 17)
    rule.by_model.update(models)
    for number in models:
        rule.stops(number, 1, 2.0 + number / 1000)
    for number in others:
        rule.stops(number, 1, 1.0 + number / 100)
    ends = dict.fromkeys(range(9), 0.0) | {n: 0.1 for n in others} | {n: 0.9 for n in models}
    promoted = []
    while (number_ := rule.promotable(lambda _: ends)) is not None:
        promoted.append(number_)
        rule.go_on(number_)
    assert {13, 14, 15, 16} <= set(promoted), "the best quarter of sixteen, by their scores"
    assert not {13, 14, 15, 16} & set(rule.hopeless())


def test_where_nothing_is_expected_yet_scores_decide_at_every_rung() -> None:
    rule = rule_of(agree=-1.0)
    for number in range(9, 17):
        rule.stops(number, 1, 1.0 - number / 100)
    best = max(range(9, 17), key=lambda n: rule.scores[1][n])
    for number in sorted(range(8), key=lambda n: -rule.scores[4][n])[:2]:
        rule.go_on(number)
    assert rule.promotable(lambda _: None) == rule.promotable() == best


def test_whoever_waits_at_a_rung_that_tells_nothing_may_still_go_on() -> None:
    rule = rule_of(agree=-1.0)
    for number in range(9, 64):
        rule.stops(number, 1, float(number))
    assert not any(rule.scores[1].get(n, 1.0) < 64 for n in rule.hopeless() if n >= 9)


def test_the_model_leaves_out_rungs_that_rank_otherwise_than_the_next() -> None:
    """Configurations near 0 start best, and those near 1 end best."""
    space = Space(name="line", parameters=(Parameter(name="dropout", low=0.0, high=0.999),))
    sampler = ModelSampler(space, RUNGS, 0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    chosen = []
    for _ in range(40):
        trial = study.ask()
        x = space.suggest(trial)["dropout"]
        trial.report(1 - x, 1)
        trial.report(x, 4)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if sampler.asked_model:
            chosen.append(x)
    assert len(chosen) > (40 - START) / 3
    assert np.median(chosen) > 0.9, chosen
    ends = sampler.expected_ends(study.trials, np.array([[0.1], [0.5], [0.9]]))
    assert ends is not None and list(np.argsort(ends)) == [0, 1, 2]
