"""ASHA by promotion, on made results: who waits, who goes on, and who no longer can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vgg6.tuning.algorithms.early_stopping import Arrival, expected_trials, replay
from vgg6.tuning.algorithms.promotion import (
    LEAST_WHOLE,
    UNJUDGED,
    PromotionRule,
    Spared,
    compared_at,
    rung_epochs,
)

EPOCHS = 20


def make(trials: int = 64, whole: int = 0, grace: int = 1, epochs: int = EPOCHS) -> PromotionRule:
    return PromotionRule(
        max_t=epochs, grace=grace, reduction=4.0, trials=trials, spared=Spared(whole)
    )


def fill(rule: PromotionRule, epoch: int, scores: Sequence[float], first: int = 0) -> list[bool]:
    """Trials ``first``, ``first`` + 1, ... come to ``epoch``; what the rule says of each."""
    return [rule.stops(first + i, epoch, score) for i, score in enumerate(scores)]


def promote_all(rule: PromotionRule) -> list[int]:
    """Every promotion that is due, one after another."""
    found = []
    while (number := rule.promotable()) is not None:
        rule.go_on(number)
        found.append(number)
    return found


def test_rungs_lie_a_reduction_apart_below_the_full_length() -> None:
    assert rung_epochs(52, 1, 4.0) == [1, 4, 16]
    assert compared_at(52, 1, 4.0) == [1, 4, 16, 52]
    assert compared_at(16, 1, 4.0) == [1, 4, 16], "no rung at a trial's end"
    assert rung_epochs(10, 2, 2.5) == [2, 5]
    assert rung_epochs(6, 1, 1.2) == [1, 2, 3, 4, 5], "each at another epoch"
    assert compared_at(1, 1, 4.0) == compared_at(1, 5, 4.0) == [1]


def test_the_first_eight_pass_the_first_rung_and_all_wait_at_the_next() -> None:
    rule = make()
    assert fill(rule, 1, [0.5] * 10) == [False] * UNJUDGED + [True] * 2
    assert fill(rule, 2, [0.5] * UNJUDGED) == [False] * UNJUDGED, "there is no rung"
    assert fill(rule, 4, [0.5] * UNJUDGED) == [True] * UNJUDGED
    assert all(rule.waits(n) for n in range(10))


def test_the_best_quarter_of_a_rung_is_promoted_the_best_first() -> None:
    rule = make()
    fill(rule, 1, [0.1] * UNJUDGED)
    fill(rule, 1, [0.2, 0.5, 0.3, 0.4], first=UNJUDGED)
    assert promote_all(rule) == [9, 11, 10], "three of twelve"
    assert [rule.waits(n) for n in (8, 9, 10, 11)] == [True, False, False, False]
    assert rule.cutoff(1) == 0.3


def test_a_trial_that_was_not_among_the_best_is_promoted_when_the_rung_has_filled() -> None:
    rule = make()
    fill(rule, 1, [0.9, 0.8] + [0.1] * 6)
    fill(rule, 1, [0.5, 0.2, 0.2], first=8)
    assert promote_all(rule) == [], "two of eleven are ahead, and running"
    fill(rule, 1, [0.2], first=11)
    assert promote_all(rule) == [8], "third of twelve"


def test_of_two_rungs_the_higher_ones_trial_is_promoted_first() -> None:
    rule = make()
    fill(rule, 1, [0.5] * 8)
    fill(rule, 1, [0.9] * 4, first=8)
    fill(rule, 4, [0.3, 0.4, 0.2, 0.1])
    assert rule.promotable() == 1
    assert promote_all(rule) == [1, 8, 9, 10]
    assert rule.cutoff(16) is None


def test_of_equals_the_one_that_began_first_goes_on() -> None:
    rule = make()
    fill(rule, 1, [0.1] * 8)
    for number in (11, 9, 8, 10):
        rule.stops(number, 1, 0.5)
    assert promote_all(rule) == [8, 9, 10]
    assert rule.by_hope() == [11]


def test_trials_trained_whole_never_wait_are_in_no_rung_and_count_as_complete() -> None:
    rule = make(whole=2)
    assert fill(rule, 1, [0.9] * 11) == [False] * (2 + UNJUDGED) + [True]
    assert list(rule.scores[1]) == list(range(2, 11))
    assert [rule.stops(0, e, 0.9) for e in (4, 16, EPOCHS)] == [False, False, True]
    assert rule.complete == {0} and not rule.waits(0)


def test_an_epoch_that_is_heard_again_changes_nothing() -> None:
    rule = make()
    fill(rule, 1, [0.5] * 8)
    fill(rule, 1, [0.9] * 4, first=8)
    rule.go_on(8)
    assert not rule.stops(8, 1, 0.1), "begun anew, it passes the rung that it had passed"
    assert rule.scores[1][8] == 0.9 and not rule.waits(8)


def test_by_hope_names_first_who_came_furthest_then_who_scored_best() -> None:
    rule = make()
    fill(rule, 1, [0.1] * 8)
    fill(rule, 1, [0.9, 0.2, 0.3], first=8)
    fill(rule, 4, [0.2, 0.4])
    assert rule.by_hope() == [1, 0, 8, 10, 9]
    assert rule.best_waiting() == 1
    for number in rule.by_hope():
        rule.go_on(number)
    assert rule.by_hope() == [] and rule.best_waiting() is None


class Search:
    """A whole search under the rule, as the searcher drives it, one step of one worker at a time.

    Args:
        scores: of each trial at each of the compared epochs, (trials, compared).
        order: which of the running workers makes the next step; by its remainder.
    """

    def __init__(
        self, scores: Sequence[Sequence[float]], order: Sequence[int], workers: int, whole: int = 0
    ) -> None:
        self.scores, self.order, self.workers = scores, order, workers
        self.rule = make(trials=len(scores), whole=whole)
        self.at = compared_at(EPOCHS, 1, 4.0)
        self.reached = dict.fromkeys(range(len(scores)), 0)  # compared epochs that it has run
        self.running: list[int] = []
        self.begun = 0
        self.promoted: list[int] = []
        self.arrivals: list[Arrival] = []
        self.hopeless: dict[int, int] = {}  # trial: how many were promoted before
        self.drop = True  # whether the rule hears that a hopeless one has ended

    def next_trial(self) -> int | None:
        if (number := self.rule.promotable()) is None:
            if self.begun < len(self.scores):
                self.begun += 1
                return self.begun - 1
            if len(self.rule.complete) + len(self.running) >= LEAST_WHOLE:
                return None
            if (number := self.rule.best_waiting()) is None:
                return None
        self.rule.go_on(number)
        self.promoted.append(number)
        return number

    def step(self, pick: int) -> bool:
        """Fill the workers, and let one trial run to its next compared epoch."""
        while len(self.running) < self.workers and (number := self.next_trial()) is not None:
            self.running.append(number)
        if not self.running:
            return False
        number = self.running[pick % len(self.running)]
        place = self.reached[number]
        self.reached[number] += 1
        self.arrivals.append((number, self.at[place], self.scores[number][place]))
        if self.rule.stops(*self.arrivals[-1]):
            self.running.remove(number)
            if number in self.rule.complete:
                self.rule.end(number)
            for lost in self.rule.hopeless():
                self.hopeless.setdefault(lost, len(self.promoted))
                if self.drop:
                    self.rule.end(lost)
        return True

    def run(self) -> Search:
        turn = 0
        while self.step(self.order[turn % len(self.order)]):
            turn += 1
        return self


def drawn(trials: int, seed: int = 0) -> list[list[float]]:
    return np.random.default_rng(seed).random((trials, 4)).tolist()


rows = st.integers(0, 4).map(lambda score: score / 4)  # many ties
searches = st.integers(1, 40).flatmap(
    lambda trials: st.lists(st.lists(rows, min_size=4, max_size=4), min_size=trials,
                            max_size=trials)
)  # fmt: skip
RISING = [[n / 64, -n / 64, 0.0, 0.0] for n in range(64)]
"""Each is the best so far, and goes on: there are many at the second rung, the first ones best."""


@settings(max_examples=60, deadline=None)
@given(searches, st.lists(st.integers(0, 7), min_size=1, max_size=20), st.integers(1, 8),
       st.integers(0, 2))  # fmt: skip
@example(RISING, [0], 1, 0)
@example(RISING, [7, 3, 1], 8, 0)
def test_a_trial_that_is_called_hopeless_would_never_have_been_promoted(
    scores: list[list[float]], order: list[int], workers: int, whole: int
) -> None:
    search = Search(scores, order, workers, whole)
    search.drop = False  # the rule goes on as if nobody had called it hopeless
    search.run()
    for lost, before in search.hopeless.items():
        assert lost not in search.promoted[before:]


@settings(max_examples=60, deadline=None)
@given(searches, st.lists(st.integers(0, 7), min_size=1, max_size=20), st.integers(1, 8))
def test_a_search_trains_three_trials_whole_if_it_has_them(
    scores: list[list[float]], order: list[int], workers: int
) -> None:
    search = Search(scores, order, workers).run()
    assert search.begun == len(scores)
    assert len(search.rule.complete) >= min(LEAST_WHOLE, len(scores))
    assert not search.rule.promotable()


def test_most_trials_that_wait_are_known_to_be_hopeless_before_the_search_ends() -> None:
    """Else their states would be kept for nothing."""
    search = Search(drawn(64), [0], 1).run()
    paused = [n for n in range(64) if search.rule.waits(n)]
    assert len(search.hopeless) > 40 > len(paused)


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("cut", [1, 12, 30, 60])
def test_rebuilt_from_results_and_promotions_a_rule_gives_the_same_answers(
    workers: int, cut: int
) -> None:
    scores, order = drawn(40), [3, 0, 5, 1, 2]
    whole = Search(scores, order, workers)
    for turn in range(cut):
        assert whole.step(order[turn % 5])
    again = make(trials=40)
    replay(again, whole.arrivals)
    # What settle does: those that were promoted, and not heard of since, or have ended.
    for number in whole.running:
        again.go_on(number)
    for number in [*whole.hopeless, *whole.rule.complete]:
        again.end(number)
    assert again.by_hope() == whole.rule.by_hope() and again.complete == whole.rule.complete
    assert again.promotable() == whole.rule.promotable()
    assert again.hopeless() == whole.rule.hopeless()
    whole.rule = again
    turn, promoted = cut, len(whole.promoted)
    while whole.step(order[turn % 5]):
        turn += 1
    other = Search(scores, order, workers).run()
    assert whole.promoted[promoted:] == other.promoted[promoted:]
    assert whole.arrivals == other.arrivals


def test_a_trial_that_has_run_past_a_rung_no_longer_waits_there_in_a_replay() -> None:
    rule = make()
    rows = [(n, 1, 0.5) for n in range(8)] + [(n, 1, 0.6) for n in range(8, 12)]
    replay(rule, [*rows, (8, 2, 0.6), (8, 3, 0.7)])
    assert not rule.waits(8), "its promotion is known from its epochs"
    assert rule.waits(9) and promote_all(rule) == [9, 10]


def test_a_plan_expects_about_the_epochs_that_promotion_runs() -> None:
    for trials in (12, 40, 128):
        search = Search(drawn(trials), [0], 4).run()
        at = [0, *search.at]
        ran = sum(at[n] for n in search.reached.values())
        plan = expected_trials("asha", epochs=EPOCHS, grace=1, reduction=4.0, trials=trials).sum()
        assert 0.5 < plan / ran < 2, (plan, ran)


def test_a_plan_of_few_epochs_knows_that_the_first_eight_are_trained_whole() -> None:
    for epochs in (2, 3, 4):
        rule = make(epochs=epochs)
        assert fill(rule, 1, [0.5] * UNJUDGED) == [False] * UNJUDGED
        plan = expected_trials("asha", epochs=epochs, grace=1, reduction=4.0, trials=UNJUDGED)
        assert plan.tolist() == [UNJUDGED] * epochs
