"""--stop-margin: what is known of the scores' tail, and when it is enough to end a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vgg6.config import TrialConfig
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.session.callbacks import StopRule
from vgg6.tuning.session.stopping import LEAST, LEAST_FULL, RISK, MarginRule, above, reachable

EPOCHS = 4
CONFIG = TrialConfig(epochs=EPOCHS).to_dict()
TIGHT = 0.75 - 0.002 * np.arange(10) / 9  # ten scores within 0.002


def epoch(number: int, last: int, score: float) -> dict[str, Any]:
    return {**dict.fromkeys(j.METRICS, score), "trial": number, "epoch": last, "best_epoch": last}


class Made:
    """A search's journal on disk, to which trials are added."""

    def __init__(self, folder: Path) -> None:
        self.run = RunFolder(str(folder))
        self.run.create()
        self.journal = j.Journal(self.run)
        self.journal.write("session", session="session_1")

    @property
    def history(self) -> j.History:
        return self.journal.history

    def add(self, scores: list[float], state: str = j.RUNNING) -> int:
        number = len(self.history.trials)
        self.journal.write("trial", trial=number, config=CONFIG, params={})
        for last, score in enumerate(scores, start=1):
            self.journal.write("epoch", **epoch(number, last, score))
        if state != j.RUNNING:
            self.journal.write("end", trial=number, state=state, reason="")
        return number

    def completed(self, *finals: float) -> None:
        for final in finals:
            self.add([0.2, final - 0.1, final - 0.01, final], j.COMPLETED)

    def pruned(self, *scores: float) -> None:
        for score in scores:
            self.add([score], j.PRUNED)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "run")


def rule(margin: float = 0.01, first: int = 0, total: int = 60) -> MarginRule:
    return MarginRule(margin, first, total)


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("shape", ["exponential", "bowl"])
def test_a_better_trial_comes_no_more_often_than_is_said(margin: float, shape: str) -> None:
    """Of an exponential tail, and of random points in a bowl of six dimensions with noise."""
    rng = np.random.default_rng(0)

    def scores(count: int) -> Any:
        if shape == "exponential":
            return 0.8 - 0.02 * rng.exponential(size=count).clip(0, 30)
        away = np.square(rng.uniform(-1, 1, (count, 6))).mean(axis=1)
        return 0.75 - 0.2 * away + 0.004 * rng.standard_normal(count)

    said, came = [], []
    for _ in range(300):
        seen, further = scores(45), scores(20)
        bar = seen.max() + margin
        said.append(above(seen, bar, 20, 45))
        came.append(further.max() > bar)
    error = np.std(came) / np.sqrt(len(came))
    assert np.mean(came) <= np.mean(said) + 2 * error
    assert np.mean(said) <= np.mean(came) + 0.15, "so careful that it never ends a search"


def test_a_larger_margin_is_less_likely_and_more_trials_are_more_likely_to_pass_it() -> None:
    scores = np.random.default_rng(1).normal(0.7, 0.01, 40)
    best = float(scores.max())
    by_margin = [above(scores, best + m, 20, 40) for m in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)]
    assert by_margin == sorted(by_margin, reverse=True) and by_margin[0] > 0.2 > by_margin[-1]
    by_trials = [above(scores, best + 0.005, n, 40) for n in (0, 1, 5, 20, 100, 1000)]
    assert by_trials == sorted(by_trials) and by_trials[0] == 0 and by_trials[-1] > 0.5
    assert above(scores, 1.0, 1000, 40) == 0, "no accuracy is above 1"


def test_nothing_is_said_before_enough_trials_have_ended(made: Made) -> None:
    made.completed(*TIGHT)
    made.pruned(*[0.2] * (LEAST - 11))
    assert rule(0.2).outlook(made.history) is None
    made.pruned(0.2)
    assert rule(0.2).outlook(made.history) is not None
    assert rule(0.2, first=1).outlook(made.history) is None, "a first point was not sampled"


def test_nothing_is_said_before_enough_trials_ran_to_their_full_length(made: Made) -> None:
    made.pruned(*[0.2] * LEAST)
    made.completed(*TIGHT[: LEAST_FULL - 1])
    assert rule(0.2).outlook(made.history) is None
    made.completed(TIGHT[-1])
    assert rule(0.2).outlook(made.history) is not None


def test_a_search_whose_best_trials_agree_ends_and_says_why_with_its_numbers(made: Made) -> None:
    made.completed(*TIGHT, *TIGHT)
    reason = rule(0.02).reason(made.history)
    found = rule(0.02).outlook(made.history)
    assert found is not None and found.probability < RISK
    assert (found.incumbent, found.to_come, found.running) == (0.75, 40, 0)
    for part in (f"{found.probability:.1%}", "below 5%", "40 trials", "0.7500", "0.02"):
        assert part in reason
    assert rule(0.0001).reason(made.history) == "", "by so little any trial may be better"


def test_a_search_whose_scores_are_spread_goes_on(made: Made) -> None:
    made.completed(*np.linspace(0.5, 0.75, 20))
    assert rule(0.02).reason(made.history) == ""


def test_scores_of_pruned_trials_are_no_part_of_the_tail(made: Made) -> None:
    """They are lower for having been stopped, and would make the tail a long one."""
    made.completed(*TIGHT)
    made.pruned(*np.linspace(0.2, 0.7, 30))
    found = rule(0.02).outlook(made.history)
    assert found is not None and found.probability < RISK
    scores = np.array([t.best_val_acc for t in made.history.trials.values()])
    assert above(scores, 0.77, found.to_come, len(scores)) > RISK, "as if all were comparable"


def test_a_diverged_trial_counts_as_one_without_a_score_and_a_crashed_one_not_at_all(
    made: Made,
) -> None:
    made.completed(*TIGHT)
    for _ in range(LEAST - 11):
        made.add([0.9], j.INFEASIBLE)
    made.add([0.95], j.FAILED)
    assert rule().outlook(made.history) is None
    made.add([0.9], j.INFEASIBLE)
    found = rule(0.02).outlook(made.history)
    assert found is not None and found.incumbent == 0.75 and found.probability < RISK


def test_the_later_half_of_the_trials_speaks(made: Made) -> None:
    """What a sampler suggests now is not what it suggested before it knew anything."""
    made.completed(*np.linspace(0.4, 0.7, 30))
    rises = rule(0.05, total=70).outlook(made.history)
    made.completed(*[0.6, 0.6001] * 15)
    stands_still = rule(0.05, total=100).outlook(made.history)
    assert rises is not None and rises.probability > RISK
    assert stands_still is not None and stands_still.probability < RISK


def test_a_running_trial_that_may_win_keeps_the_search_going(made: Made) -> None:
    made.completed(*TIGHT, *TIGHT)
    number = made.add([0.2, 0.3])
    assert rule(0.005).reason(made.history), "far behind where the others stood"
    # All others gained 0.01 in their last epoch.
    made.journal.write("epoch", **epoch(number, 3, 0.7499))
    reach = reachable(made.history.trials[number], [*made.history.trials.values()][:-1])
    assert len(reach) == 20 and np.all(reach > 0.755)
    assert rule(0.005).reason(made.history) == "", "it is likely to end at 0.76"


def test_a_running_trial_beyond_what_any_other_ran_keeps_the_search_going(made: Made) -> None:
    made.completed(*TIGHT, *TIGHT)
    number = made.add([0.2])
    assert rule(0.02).reason(made.history)
    for record in list(made.history.trials.values())[:-1]:
        record.epoch = 1
    assert len(reachable(made.history.trials[number], [*made.history.trials.values()][:-1])) == 0
    assert rule(0.02).reason(made.history) == ""


def test_a_resumed_search_decides_at_every_end_as_the_one_that_was_never_stopped(
    made: Made,
) -> None:
    rng = np.random.default_rng(3)
    live = StopRule(made.history, None, None, rule(0.01))
    decisions = []
    for number in range(45):
        final = 0.75 - 0.002 * rng.random()
        state = j.COMPLETED if number % 2 else j.PRUNED
        scores = [0.2, final - 0.1, final - 0.01, final]
        ended = made.add(scores if number % 2 else scores[:1], state)
        live.trial_ended(made.history.trials[ended])
        live.stop_all()
        again = StopRule(j.read_history(made.run), None, None, rule(0.01))
        again.stop_all()
        assert again.reason == live.reason or (decisions and decisions[-1]), "the first one stands"
        decisions.append(live.reason)
    assert decisions[LEAST - 2] == "" and "probability" in decisions[-1]


def test_patience_counts_what_ended_before_a_resume_and_not_what_will_go_on(made: Made) -> None:
    made.completed(0.7, 0.6)
    made.add([0.5], j.STOPPED)
    made.add([0.5], j.STOPPED)
    assert not StopRule(j.read_history(made.run), None, 2).stop_all()
    made.completed(0.6)
    assert StopRule(j.read_history(made.run), None, 2).stop_all()
