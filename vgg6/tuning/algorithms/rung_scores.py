"""What a search has seen at each rung, and what all of its trials would have scored there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import rankdata

from vgg6.tuning.algorithms.rung_process import Array

TELLING = 0.65  # the correlation with the next rung from which on a rung's ranking is trusted
LEAST_PAIRS = 6  # trials that were seen at both; a rung is trusted until there are so many
EQUAL = 1e-9  # places that differ by less are the same
PRIOR_PAIRS = 3.0  # trials' worth of belief that a rung spreads as the one before


def seen_at(trial: FrozenTrial, rungs: Sequence[int]) -> tuple[list[float], bool]:
    """A trial's scores at the rungs that it was seen at, from the first, and whether it diverged:
    then it has the worst score of the rung that it did not reach. A failed trial has none."""
    if trial.state == TrialState.FAIL:
        return [], False
    values = trial.intermediate_values
    scores = [values[epoch] for epoch in takewhile(values.__contains__, rungs)]
    return scores, any(value > 0 for value in trial.constraints.values())


def population(scores: Sequence[Mapping[int, float]]) -> tuple[Array, Array]:
    """Mean and standard deviation at each rung of all trials that began, (rungs,) each.

    Only the better ones reach a high rung. Regressions up the rungs undo that: who passes is chosen
    by the lower score, which leaves the regression on it as it is.
    """
    first = np.array(list(scores[0].values()))
    means, spreads = [float(first.mean())], [max(float(first.std()), 1e-4)]
    for below, above in pairwise(scores):
        both = [number for number in above if number in below]
        low, high = (np.array([side[n] for n in both]) for side in (below, above))
        if len(both) < 2:
            means.append(means[-1] + (float(high[0] - low[0]) if both else 0.0))
            spreads.append(spreads[-1])
            continue
        left, right = low - low.mean(), high - high.mean()
        belief = PRIOR_PAIRS * spreads[-1] ** 2
        slope = (left @ right + belief) / (left @ left + belief)
        rest = right - slope * left
        means.append(float(high.mean() + slope * (means[-1] - low.mean())))
        variance = (slope * spreads[-1]) ** 2 + rest @ rest / (len(both) - 1)
        spreads.append(max(float(np.sqrt(variance)), 1e-4))
    return np.array(means), np.array(spreads)


def rank_correlation(below: Mapping[int, float], above: Mapping[int, float]) -> float:
    """How far a rung's ranking is that of the next one, for all trials that were at the lower.

    Those that went on are not a fair sample where their scores let them. So the correlation is
    made of the slope and the rest of a regression on the place among all, 0 to 1, which such a
    choice leaves as they are. 1 where nothing can be said: where fewer than ``LEAST_PAIRS`` were
    seen at both, or all of them are equal at one.
    """
    both = [number for number in above if number in below]
    if len(both) < LEAST_PAIRS:
        return 1.0
    place = dict(zip(below, rankdata(list(below.values())) / len(below), strict=True))
    low = np.array([place[number] for number in both])
    high = rankdata([above[number] for number in both]) / len(both)
    low, high = low - low.mean(), high - high.mean()
    if low.max() < EQUAL or high.max() < EQUAL:
        return 1.0
    slope = (low @ high) / (low @ low)
    rest = high - slope * low
    explained = slope**2 / 12  # places are uniform: their variance is 1/12
    return float(np.sign(slope) * np.sqrt(explained / (explained + rest @ rest / (len(both) - 2))))


def first_telling(scores: Sequence[Mapping[int, float]]) -> int:
    """The lowest rung that ranks trials as the next one does; at most the last of ``scores``."""
    return next(
        (rung for rung, (below, above) in enumerate(pairwise(scores))
         if rank_correlation(below, above) >= TELLING),
        len(scores) - 1,
    )  # fmt: skip
