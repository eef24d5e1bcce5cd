"""Schedulers whose state is rebuilt from the journal when a search is resumed.

Ray's own schedulers forget their rungs on a restore. These know a trial by the search's number for
it, which outlives the process, and take in recorded results before the first new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from ray.tune.schedulers.async_hyperband import _Bracket

from search_spaces import Space
from vgg6.augment import derive_seed
from vgg6.tuning.session.trainable import INFEASIBLE

METRIC, TIME = "best_val_acc", "epoch"
HYPERBAND_BRACKETS = 3
WHOLE_SHARE = 8
WINDOW = 16  # of a rung's arrivals
SPACING = 2  # a rung is at so many times the epochs of the one before
_NO_CONTROLLER: Any = None  # a replay runs no trials
_NEVER: Any = float("inf")
Arrival = tuple[int, int, float]  # trial, epoch, score


class _Key(NamedTuple):
    trial_id: int


def numbered(number: int) -> Any:
    """Stands for a trial inside a scheduler, which asks only for its ``trial_id``: the search's
    number of it."""
    return _Key(number)


def _replay(arrivals: Iterable[Arrival], decide: Callable[[int, dict[str, Any]], str]) -> set[int]:
    """Put recorded results, in the order they came, to a scheduler's rule again."""
    last = {n: decide(n, {TIME: epoch, METRIC: score}) for n, epoch, score in arrivals}
    return {number for number, decision in last.items() if decision == TrialScheduler.STOP}


class _OfASearch:
    """What a search asks of every scheduler beside its rule."""

    # Trials with a lower number are trained to their full length, unless they diverge.
    whole = 0
    # Lets a search change a trial that will be tried again: between its attempts is the one moment
    # at which Ray takes other resources for it.
    between_attempts: Callable[[Trial], None] | None = None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        # One that is given up is still running here.
        if self.between_attempts is not None and trial.status == Trial.ERROR:
            self.between_attempts(trial)


class _Rungs(_Bracket):
    """Rungs at each doubling of the first, which compare with their latest ``WINDOW`` arrivals."""

    def __init__(self, first: int, max_t: int, reduction: float) -> None:
        super().__init__(first, max_t, SPACING, 0)
        self._rungs = [rung for rung in self._rungs if rung[0] < max_t]  # none is asked at its end
        self.rf = reduction  # the rungs are placed: from here on it is what the cutoff is made of

    def cutoff(self, recorded: dict[Any, float]) -> Any:
        latest = islice(reversed(recorded.items()), WINDOW)  # a dict keeps the order of arrival
        return super().cutoff(dict(latest))

    def reached(self, number: int) -> list[dict[int, float]]:
        """The scores at each rung that the trial has been at, its last rung first."""
        return [scores for _, scores in self._rungs if number in scores]

    def turns_away(self, number: int, scores: dict[int, float]) -> bool:
        """Whether the trial is outside of what passes, itself counted among those at the rung."""
        return bool(scores[number] < self.cutoff(scores))

    def is_too_early(self, scores: dict[int, float]) -> bool:
        """Whether so few are at the rung that 1/reduction of them is none."""
        return len(scores) < self.rf


class Asha(_OfASearch, AsyncHyperBandScheduler):
    """ASHA (Li et al., 2020): a trial goes on past a rung if it is in the best 1/reduction there.

    Four things differ. Plain ASHA asks once, when a trial arrives, and lets the first ones pass
    for want of others; here a trial is counted among those that it is compared with, and until it
    has reached its second rung the first one is looked at again after each of its epochs: it is
    stopped once those that have arrived since put it outside of the best 1/reduction. Not at later
    rungs, where, with many workers, equally good trials would take each other's place. And where
    other trials are trained whole, so that some are complete in any case, those that reach a first
    rung before ``reduction`` have stop there: ASHA as published promotes none of so few.
    Plain ASHA compares with all that ever arrived: a searcher that learns soon beats its own
    beginnings, and nearly all of its trials pass. Here the latest ``WINDOW`` count. And plain ASHA
    has its rungs ``reduction`` times apart, so that what passes one is seen to several times its
    length before anyone asks again; here they are ``SPACING`` times apart. Trials that are trained
    whole are in no rung: somebody chose them, they arrive first everywhere, and the few that
    follow would have to be as good to be seen to their end.

    With several brackets, of which each starts its rungs ``reduction`` times later, it is
    asynchronous Hyperband. The bracket of a trial is drawn from (seed, number), so that a resumed
    search draws the same.
    """

    def __init__(
        self, *, max_t: int, grace_period: int, reduction_factor: float, brackets: int, seed: int
    ) -> None:
        super().__init__(TIME, METRIC, "max", max_t, grace_period, reduction_factor, brackets)
        starts = (round(grace_period * reduction_factor**s) for s in range(brackets))
        self._brackets = [_Rungs(first, max_t, reduction_factor) for first in starts]
        self._seed = seed

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def _join(self, number: int) -> Any:
        if number not in self._trial_info:
            sizes = np.array([len(b._rungs) for b in self._brackets], dtype=float)
            odds = np.exp(sizes - sizes.max())
            draw = np.random.default_rng(derive_seed(self._seed, number, "bracket"))
            index = draw.choice(len(self._brackets), p=odds / odds.sum())
            self._trial_info[number] = self._brackets[index]
        return numbered(number)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._join(trial.config["number"])

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if INFEASIBLE in result:
            return TrialScheduler.STOP
        return self._decide(trial.config["number"], result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        pass  # its last result has already been through on_trial_result

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        pass

    def replay(self, arrivals: Iterable[Arrival]) -> set[int]:
        """Take in recorded results. Returns the trials whose last one ended them."""
        return _replay(arrivals, self._decide)

    def _decide(self, number: int, row: dict[str, Any]) -> str:
        if number < self.whole:
            full = row[TIME] >= self._max_t
            return TrialScheduler.STOP if full else TrialScheduler.CONTINUE
        key = self._join(number)
        bracket = self._trial_info[number]
        before = bracket.reached(number)
        outside = len(before) == 1 and bracket.turns_away(number, before[0])
        decision = super().on_trial_result(_NO_CONTROLLER, key, row)
        after = bracket.reached(number)
        if len(after) > len(before):
            outside |= bracket.turns_away(number, after[0])
            outside |= self.whole > 0 and len(after) == 1 and bracket.is_too_early(after[0])
        return TrialScheduler.STOP if outside else decision


class Median(_OfASearch, MedianStoppingRule):
    """Stops a trial whose best is below the median of the others' running means (Vizier's rule).

    Ray's version pauses trials while it has too few to compare, and counts a finished trial's last
    result twice; this one does neither. It compares with trials that are trained whole, too.
    """

    def __init__(self, *, grace_period: int) -> None:
        super().__init__(TIME, METRIC, "max", grace_period=grace_period, min_time_slice=_NEVER)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if INFEASIBLE in result:
            return TrialScheduler.STOP
        key = numbered(trial.config["number"])
        seen = self._results.get(key)
        if seen and result[TIME] <= seen[-1][TIME]:  # reported again after a resume: one vote each
            return TrialScheduler.CONTINUE
        return self._decide(trial.config["number"], result)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        pass

    def replay(self, arrivals: Iterable[Arrival]) -> set[int]:
        """Take in recorded results. Returns the trials whose last one ended them."""
        return _replay(arrivals, self._decide)

    def _decide(self, number: int, row: dict[str, Any]) -> str:
        decision = super().on_trial_result(_NO_CONTROLLER, numbered(number), row)
        if number < self.whole:
            self._stopped_trials.discard(numbered(number))
            return TrialScheduler.CONTINUE
        return decision


class Full(_OfASearch, FIFOScheduler):
    """Runs every trial to its full length."""

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def replay(self, arrivals: Iterable[Arrival]) -> set[int]:
        """Returns no trial: only its length ends one."""
        return set()


def build_scheduler(
    name: str, *, epochs: int, grace: int, reduction: float, seed: int, whole: int = 0
) -> Asha | Median | Full:
    """The scheduler that ``scheduler`` names.

    Args:
        epochs: a trial's full length.
        whole: this many trials, the first ones, are not stopped early.
    """
    if name == "none":
        return Full()
    scheduler: Asha | Median
    if name == "median":
        scheduler = Median(grace_period=grace)
    else:
        scheduler = Asha(
            max_t=epochs,
            grace_period=grace,
            reduction_factor=reduction,
            brackets=brackets_of(name, epochs, grace, reduction),
            seed=seed,
        )
    scheduler.whole = whole
    return scheduler


def trained_whole(space: Space, searcher: str, trials: int, added: int = 0) -> int:
    """How many of a search's first trials are not stopped early: the space's own first points.

    Somebody chose them, and a good one may start late: without normalisation layers the
    hand-tuned point of the default space is at chance when the first rung looks. No more than one
    trial in ``WHOLE_SHARE``, and none of a grid or of a space that is a list of points.

    Args:
        added: how many of the space's points, the last ones, a warm start added.
    """
    listed = searcher == "grid" or space.points_only
    own = 0 if listed else len(space.points) - added
    return min(own, trials // WHOLE_SHARE)


def brackets_of(name: str, epochs: int, grace: int, reduction: float) -> int:
    """1 for ASHA; for Hyperband 3, or as many as there are rungs to start from."""
    rungs = int(np.log(epochs / grace) / np.log(reduction) + 1)
    return min(HYPERBAND_BRACKETS, rungs) if name == "hyperband" else 1


def expected_trials(
    name: str, *, epochs: int, grace: int, reduction: float, trials: int, whole: int = 0
) -> npt.NDArray[np.float64]:
    """About how many of ``trials`` trials will run each epoch, (epochs,), for a plan made before
    the first one.

    ASHA: of n trials at a rung the best n/reduction go on, and about as many again arrive early
    and are promoted before the rung has filled. Median: half of the trials run half of the rest.

    Args:
        whole: this many of them are not stopped early.
    """
    if name == "none":
        return np.full(epochs, float(trials))
    left = float(trials - whole)
    running = np.full(epochs, left)
    if name == "median":
        running[grace:] *= 0.75
        return whole + running
    rung = grace
    while rung < epochs:
        left = min(left, left / reduction + 1)
        running[rung:] = left
        rung *= SPACING
    return whole + (running if name == "asha" else (running + trials - whole) / 2)
