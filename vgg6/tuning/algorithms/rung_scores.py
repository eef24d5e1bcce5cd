"""What a search has seen at each rung, and what all of its trials would have scored there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from vgg6.tuning.algorithms.rung_gaussian_process import Array

PRIOR_PAIRS = 3.0  # trials' worth of belief that a rung spreads as the one before


def seen_at(trial: FrozenTrial, rungs: Sequence[int]) -> tuple[list[float], bool]:
    """A trial's scores at the rungs that it was seen at, from the first, and whether it diverged:
    then it has the worst score of the rung that it did not reach. A failed trial has none."""
    if trial.state == TrialState.FAIL:
        return [], False
    values = trial.intermediate_values
    scores = [values[epoch] for epoch in takewhile(values.__contains__, rungs)]
    return scores, any(value > 0 for value in trial.constraints.values())


def above_first(epochs: int, rungs: Sequence[int], diverged: bool = False) -> int:
    """How many scores above the first rung a trial of so many epochs has, as ``seen_at`` says;
    where there is but one rung, whether it has one there."""
    seen = min(sum(rung <= epochs for rung in rungs) + diverged, len(rungs))
    return max(seen - 1, 0) if rungs[1:] else seen


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
