"""When a trial is stopped early: rules that know a trial by its number, and nothing of Ray.

A rule hears each result once, in the order in which results come. What it knows is rebuilt from the
journal when a search is resumed, and the report shows it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from search_spaces import Space
from vgg6.common.seeds import derive_seed
from vgg6.tuning.algorithms.promotion import (
    LEAST_WHOLE,
    NONE_SPARED,
    UNJUDGED,
    PromotionRule,
    Spared,
    rung_epochs,
)

HYPERBAND_BRACKETS = 3
WHOLE_SHARE = 8
WINDOW = 16  # of a rung's arrivals
SPACING = 2  # a rung is at so many times the epochs of the one before
LEAST_OTHERS = 3  # trials that a median is made of
Arrival = tuple[int, int, float]  # trial, epoch, score


class StoppingRule(Protocol):
    """What a search asks of every rule."""

    def stops(self, number: int, epoch: int, score: float) -> bool:
        """Hear the score of a trial after an epoch. Returns whether the trial ends there."""


def replay(rule: StoppingRule, arrivals: Iterable[Arrival]) -> set[int]:
    """Put recorded results to a rule again. Returns the trials whose last one ended them."""
    last = {number: rule.stops(number, epoch, score) for number, epoch, score in arrivals}
    return {number for number, stopped in last.items() if stopped}


class Rungs:
    """The rungs of one bracket: each at ``SPACING`` times the epochs of the one before.

    A rung compares with its latest ``WINDOW`` arrivals.

    Args:
        first: the epoch of the first rung.
        max_t: a trial's full length. There is no rung at it.
        reduction: 1/reduction of those at a rung pass.
    """

    def __init__(self, first: int, max_t: int, reduction: float) -> None:
        count = int(np.log(max_t / first) / np.log(SPACING) + 1)
        epochs = (first * SPACING**k for k in range(count))
        self.scores: dict[int, dict[int, float]] = {e: {} for e in epochs if e < max_t}
        self.reduction = reduction

    def __len__(self) -> int:
        return len(self.scores)

    def cutoff(self, scores: dict[int, float]) -> float | None:
        """The least score that passes a rung with ``scores``; None where nobody has arrived."""
        latest = list(islice(reversed(scores.values()), WINDOW))  # a dict keeps the order
        if not latest:
            return None
        return percentile(latest, (1 - 1 / self.reduction) * 100)

    def arrive(self, number: int, epoch: int, score: float) -> bool:
        """Take in a result at the highest rung it reaches. Returns whether it is turned away."""
        for milestone, scores in reversed(self.scores.items()):
            if epoch >= milestone and number not in scores:
                cutoff = self.cutoff(scores)
                scores[number] = score
                return cutoff is not None and score < cutoff
        return False

    def reached(self, number: int) -> list[dict[int, float]]:
        """The scores at each rung that the trial has been at, its last rung first."""
        return [scores for scores in reversed(self.scores.values()) if number in scores]

    def turns_away(self, number: int, scores: dict[int, float]) -> bool:
        """Whether the trial is outside of what passes, itself counted among those at the rung."""
        cutoff = self.cutoff(scores)
        return cutoff is not None and scores[number] < cutoff

    def is_too_early(self, scores: dict[int, float]) -> bool:
        """Whether so few are at the rung that 1/reduction of them is none."""
        return len(scores) < self.reduction


def percentile(values: Iterable[float], percent: float) -> float:
    """``numpy.nanpercentile`` of a few values, to the last bit, without its overhead: a large
    search asks for it tens of thousands of times."""
    ranked = sorted(value for value in values if not math.isnan(value))
    if not ranked:
        return math.nan
    place = (len(ranked) - 1) * (percent / 100)
    index = math.floor(place)
    if index >= len(ranked) - 1:
        return ranked[-1]
    low, high, part = ranked[index], ranked[index + 1], place - index
    if part >= 0.5:
        return high - (high - low) * (1 - part)
    return low + (high - low) * part


class AshaRule:
    """ASHA that stops for good: a trial goes on past a rung if it is in the best 1/reduction there
    when it arrives.

    It differs from the ASHA that Ray Tune has in four ways:

    - A trial is counted among those that it is compared with. Until its second rung, the first is
      looked at again after each of its epochs. Later rungs are not: with many workers, equally good
      trials would take each other's place.
    - A rung compares with its latest ``WINDOW`` arrivals. A searcher that learns soon beats its own
      beginnings, and nearly all of its trials would pass.
    - Rungs are ``SPACING`` times apart, and not ``reduction`` times.
    - Spared trials are in no rung. Where the first ones are spared, others that reach a first rung
      before ``reduction`` have stop there, as in the paper.

    With several brackets, each of which starts its rungs ``reduction`` times later, it is
    asynchronous Hyperband. A trial's bracket is drawn from (seed, number), so that a resumed search
    draws the same; and by the length that the search began with, so that an extended one does.

    Args:
        began: the full length that the search began with, if it was another.
    """

    def __init__(
        self,
        *,
        max_t: int,
        grace: int,
        reduction: float,
        brackets: int,
        seed: int,
        spared: Spared = NONE_SPARED,
        began: int | None = None,
    ) -> None:
        starts = [round(grace * reduction**s) for s in range(brackets)]
        self.brackets = [Rungs(first, max_t, reduction) for first in starts]
        sizes = [len(Rungs(first, began or max_t, reduction)) for first in starts]
        self._odds = np.exp(np.array(sizes, dtype=float) - max(sizes))
        self._max_t, self._seed, self.spared = max_t, seed, spared
        self._bracket_of: dict[int, Rungs] = {}

    def bracket_of(self, number: int) -> Rungs:
        """The bracket of a trial, drawn when it is first asked for."""
        if number not in self._bracket_of:
            draw = np.random.default_rng(derive_seed(self._seed, number, "bracket"))
            index = draw.choice(len(self.brackets), p=self._odds / self._odds.sum())
            self._bracket_of[number] = self.brackets[index]
        return self._bracket_of[number]

    def stops(self, number: int, epoch: int, score: float) -> bool:
        if number in self.spared:
            return epoch >= self._max_t
        bracket = self.bracket_of(number)
        before = bracket.reached(number)
        outside = len(before) == 1 and bracket.turns_away(number, before[0])
        stopped = epoch >= self._max_t or bracket.arrive(number, epoch, score)
        after = bracket.reached(number)
        if len(after) > len(before):
            outside |= bracket.turns_away(number, after[0])
            outside |= self.spared.first > 0 and len(after) == 1 and bracket.is_too_early(after[0])
        return outside or stopped


class MedianRule:
    """Stops a trial whose best is below the median of the others' running means.

    The rule of Vizier (Golovin et al., 2017). Spared trials count among the others.
    """

    def __init__(self, *, grace: int, spared: Spared = NONE_SPARED) -> None:
        self._grace, self.spared = grace, spared
        self._results: dict[int, dict[int, float]] = {}  # trial, epoch

    def stops(self, number: int, epoch: int, score: float) -> bool:
        own = self._results.setdefault(number, {})
        if own and epoch <= max(own):  # reported again after a resume: one vote each
            return False
        own[epoch] = score
        if epoch < self._grace:
            return False
        others = [rows for n, rows in self._results.items() if n != number and max(rows) >= epoch]
        scored = ([s for e, s in rows.items() if self._grace <= e <= epoch] for rows in others)
        means = [mean for scores in scored if scores and np.isfinite(mean := np.mean(scores))]
        if len(means) < LEAST_OTHERS:
            return False
        behind = bool(np.median(means) > max(own.values()))
        return behind and number not in self.spared


class FullLength:
    """Runs every trial to its full length."""

    def stops(self, number: int, epoch: int, score: float) -> bool:
        return False


def stopping_rule(
    name: str,
    *,
    epochs: int,
    grace: int,
    reduction: float,
    seed: int,
    trials: int,
    spared: Spared = NONE_SPARED,
    began: int | None = None,
    by_model: Collection[int] = (),
) -> AshaRule | MedianRule | FullLength | PromotionRule:
    """The rule that ``scheduler`` names.

    Args:
        epochs: a trial's full length.
        trials: how many the search has.
        spared: trials that are not stopped early.
        began: the full length that the search began with, if it was another.
        by_model: trials that a model has suggested.
    """
    if name == "none":
        return FullLength()
    if name == "median":
        return MedianRule(grace=grace, spared=spared)
    if name == "asha":
        return PromotionRule(
            max_t=epochs, grace=grace, reduction=reduction, trials=trials, spared=spared,
            by_model=by_model,
        )  # fmt: skip
    return AshaRule(
        max_t=epochs, grace=grace, reduction=reduction, seed=seed, spared=spared,
        brackets=brackets_of(name, began or epochs, grace, reduction), began=began,
    )  # fmt: skip


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

    ASHA: of n trials at a rung the best n/reduction go on. Where it stops them for good, one more
    does: the first to arrive. Median: half of the trials run half of the rest.

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
    if name == "asha":
        rungs = rung_epochs(epochs, grace, reduction)
        for rung in rungs:
            unjudged = UNJUDGED if rung == rungs[0] else LEAST_WHOLE
            left = min(left, max(left / reduction, unjudged))
            running[rung:] = left
        return whole + running
    rung = grace
    while rung < epochs:
        left = min(left, left / reduction + 1)
        running[rung:] = left
        rung *= SPACING
    return whole + (running if name == "asha-stop" else (running + trials - whole) / 2)
